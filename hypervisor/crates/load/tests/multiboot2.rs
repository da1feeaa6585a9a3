//! Plans for images with a multiboot2 header.
#![allow(missing_docs)]

mod common;

use common::{
    MIB, headed_code, headed_elf, is_sound, le, memory, multiboot, multiboot2, refused, request,
    text,
};
use skerry_load::{ImageKind, LoadError, Module, Request, plan, sniff};
use skerry_words::Gpr;

const TOP: u32 = 0x20_0000;

/// The tags at EBX, each its type with where its body is and how many bytes that has.
fn tags(memory: &[u8], info: u64) -> Vec<(u64, u64, u64)> {
    let (end, mut at) = (info + le(memory, info, 4), info + 8);
    assert_eq!((info % 8, end % 8), (0, 0));
    let mut tags = Vec::new();
    while at < end {
        let (kind, bytes) = (le(memory, at, 4), le(memory, at + 4, 4));
        tags.push((kind, at + 8, bytes - 8));
        at = (at + bytes).next_multiple_of(8);
    }
    assert_eq!(at, end);
    tags
}

fn elf_with(list: &[(u16, u16, &[u32])]) -> Vec<u8> {
    headed_elf(32, &multiboot2(list))
}

fn refusal_of(list: &[(u16, u16, &[u32])]) -> LoadError {
    refused(&request(&elf_with(list), 4))
}

#[test]
fn an_elf_file_of_either_class_is_entered_with_the_tags_in_ebx() {
    for bits in [32, 64] {
        let header = multiboot2(&[]);
        let image = headed_elf(bits, &header);
        assert_eq!(sniff(&image), Ok(ImageKind::Multiboot2));
        let plan = plan(&request(&image, 4)).unwrap();
        assert_eq!(plan.entry.rip, MIB + header.len() as u64);
        assert_eq!((plan.entry.cr0, plan.entry.efer), (0x11, 0));
        assert_eq!(plan.entry.get(Gpr::Rax), 0x36d7_6289);
        let found = tags(&memory(&plan, 4 * MIB), plan.entry.get(Gpr::Rbx));
        let kinds: Vec<_> = found.iter().map(|tag| tag.0).collect();
        assert_eq!(kinds, [1, 2, 4, 6, 15, 0]);
        assert!(is_sound(&plan, 4 * MIB));
    }
}

#[test]
fn the_tags_say_memory_modules_texts_and_the_acpi_tables() {
    let image = elf_with(&[]);
    let disk = vec![1; 5000];
    let modules = [Module {
        bytes: b"abc",
        cmdline: "its own",
    }];
    let request = Request {
        initrd: Some(&disk),
        cmdline: "quiet 1",
        modules: &modules,
        ..request(&image, 4 << 10)
    };
    let plan = plan(&request).unwrap();
    let memory = memory(&plan, 8 * MIB);
    let found = tags(&memory, plan.entry.get(Gpr::Rbx));
    let kinds: Vec<_> = found.iter().map(|tag| tag.0).collect();
    assert_eq!(kinds, [1, 2, 3, 3, 4, 6, 15, 0]);
    let body = |index: usize| found[index].1;
    let field = |index, at| le(&memory, body(index) + at, 4);
    assert_eq!(text(&memory, body(0)), "quiet 1");
    assert_eq!(found[0].2, 8, "with its zero byte");
    assert_eq!(text(&memory, body(1)), "Skerry");
    assert_eq!((field(2, 0), field(2, 4)), (0x10_3000, 0x10_3000 + 5000));
    assert_eq!(text(&memory, body(2) + 8), "");
    assert_eq!((field(3, 0), field(3, 4)), (0x10_5000, 0x10_5003));
    assert_eq!(text(&memory, body(3) + 8), "its own");
    assert_eq!(&memory[0x10_5000..][..3], b"abc");
    assert_eq!((field(4, 0), field(4, 4)), (640, 3071 * 1024));
    assert_eq!((field(5, 0), field(5, 4)), (24, 0));
    let entry = |index: u64| {
        let at = body(5) + 8 + index * 24;
        let part = |offset, bytes| le(&memory, at + offset, bytes);
        (part(0, 8), part(8, 8), part(16, 8))
    };
    assert_eq!(found[5].2, 8 + 4 * 24);
    assert_eq!(entry(1), (0xa_0000, 0x6_0000, 2));
    assert_eq!(entry(3), (4 << 30, 1 << 30, 1));
    let rsdp = &memory[0xe_0000..][..36];
    assert_eq!(&memory[body(6) as usize..][..36], rsdp);
    assert_eq!(&rsdp[..8], b"RSD PTR ");
    assert_eq!(found[6].2, 36);
}

#[test]
fn an_address_tag_says_what_of_a_file_goes_where_and_an_entry_tag_where_it_starts() {
    let fields = [TOP, TOP - 16, TOP + 0x80, TOP + 0x1000];
    let header = multiboot2(&[(2, 0, &fields), (3, 0, &[TOP + 0x60])]);
    let image = headed_code(64, &header);
    assert_eq!(sniff(&image), Ok(ImageKind::Multiboot2));
    let plan = plan(&request(&image, 4)).unwrap();
    assert_eq!(plan.entry.rip, 0x20_0060);
    let memory = memory(&plan, 4 * MIB);
    assert_eq!(memory[0x1f_fff0..0x20_0080], image[48..192]);
    assert!(memory[0x20_0080..0x20_1000].iter().all(|byte| *byte == 0));
}

#[test]
fn an_address_tag_needs_an_entry_tag_and_an_elf_file_may_have_one() {
    let only = headed_code(0, &multiboot2(&[(2, 0, &[TOP, TOP, 0, 0])]));
    assert_eq!(refused(&request(&only, 4)), LoadError::Multiboot2NoEntry);
    let image = elf_with(&[(3, 0, &[0x10_0123])]);
    assert_eq!(plan(&request(&image, 4)).unwrap().entry.rip, 0x10_0123);
    let error = refusal_of(&[(3, 0, &[0x10_3000])]);
    assert_eq!(error, LoadError::EntryOutside(0x10_3000));
    let bare = headed_code(0, &multiboot2(&[]));
    let error = refused(&request(&bare, 4));
    assert!(matches!(error, LoadError::NoAddresses(_)), "{error}");
}

#[test]
fn unknown_tags_are_refused_unless_they_are_optional() {
    assert_eq!(refusal_of(&[(11, 0, &[])]), LoadError::Multiboot2Tag(11));
    for known in [
        (11, 1, &[][..]),
        (1, 0, &[1, 3, 6, 8, 21]),
        (1, 1, &[22]),
        (4, 0, &[2]),
        (4, 1, &[1]),
        (5, 0, &[1024, 768, 32]),
        (6, 0, &[]),
        (7, 0, &[]),
        (8, 0, &[5]),
        (9, 0, &[5]),
    ] {
        assert!(plan(&request(&elf_with(&[known]), 4)).is_ok(), "{known:?}");
    }
}

#[test]
fn required_information_that_nobody_knows_and_a_required_screen_are_refused() {
    let unknown = refusal_of(&[(1, 0, &[6, 22])]);
    assert_eq!(unknown, LoadError::Multiboot2Request(22));
    assert_eq!(refusal_of(&[(4, 0, &[3])]), LoadError::Multiboot2Console);
}

#[test]
fn an_image_that_can_be_relocated_stays_where_it_is_linked_and_is_told() {
    let relocatable = |least, most| (10, 0, [least, most, 4096, 0]);
    let with = |(kind, flags, fields): (u16, u16, [u32; 4])| elf_with(&[(kind, flags, &fields)]);
    // From 1 MiB, three pages.
    let image = with(relocatable(0x10_0000, 0x10_2fff));
    let plan = plan(&request(&image, 4)).unwrap();
    let memory = memory(&plan, 4 * MIB);
    let found = tags(&memory, plan.entry.get(Gpr::Rbx));
    let base = found.iter().find(|tag| tag.0 == 21).unwrap();
    assert_eq!((le(&memory, base.1, 4), base.2), (MIB, 4));
    for (least, most) in [(0x10_0001, u32::MAX), (0, 0x10_2ffe)] {
        let error = refused(&request(&with(relocatable(least, most)), 4));
        assert!(matches!(error, LoadError::Relocation { .. }), "{error}");
    }
}

#[test]
fn a_position_independent_elf_file_is_loaded_where_it_is_linked() {
    let mut image = elf_with(&[]);
    image[16] = 3;
    assert_eq!(sniff(&image), Ok(ImageKind::Multiboot2));
    assert_eq!(plan(&request(&image, 4)).unwrap().entry.rip, MIB + 24);
}

#[test]
fn damaged_tags_are_refused_at_their_place() {
    // Size 7 of the first tag; no end tag; a tag without its field; a body that is cut.
    let header = multiboot2(&[(6, 0, &[])]);
    let damaged = |at: usize, value: u8| {
        let mut header = header.clone();
        header[at] = value;
        refused(&request(&headed_code(0, &header), 4))
    };
    assert_eq!(damaged(20, 7), LoadError::Multiboot2Damaged(16));
    assert_eq!(damaged(20, 0), LoadError::Multiboot2Damaged(16));
    assert_eq!(damaged(23, 0x80), LoadError::Multiboot2Damaged(16));
    assert_eq!(damaged(24, 6), LoadError::Multiboot2Damaged(32));
    let error = refused(&request(&headed_code(0, &multiboot2(&[(3, 0, &[])])), 4));
    assert_eq!(error, LoadError::Multiboot2Damaged(16));
    let addresses = headed_code(8, &multiboot2(&[(2, 0, &[TOP, TOP, TOP])]));
    assert_eq!(
        refused(&request(&addresses, 4)),
        LoadError::Multiboot2Damaged(24)
    );
}

#[test]
fn the_header_must_be_in_the_first_32_kib_on_a_boundary_of_8() {
    let header = |at: usize| {
        let load = TOP - at as u32;
        multiboot2(&[(2, 0, &[TOP, load, 0, 0]), (3, 0, &[TOP])])
    };
    let bytes = header(0).len();
    for at in [0, 8, 32768 - bytes] {
        assert!(
            plan(&request(&headed_code(at, &header(at)), 4)).is_ok(),
            "{at}"
        );
    }
    // Its end tag is outside.
    let late = headed_code(32768 - bytes + 8, &header(0));
    assert_eq!(
        refused(&request(&late, 4)),
        LoadError::Multiboot2Damaged(32768)
    );
    for at in [4, 32768] {
        let image = headed_code(at, &header(0));
        let claimed = Request {
            kind: ImageKind::Multiboot2,
            ..request(&image, 4)
        };
        let missing = LoadError::NoMultibootHeader {
            version: 2,
            search_bytes: 32768,
        };
        assert_eq!(refused(&claimed), missing);
    }
}

#[test]
fn a_header_for_another_architecture_is_none() {
    let mut header = multiboot2(&[]);
    header[4] = 4;
    header[12] -= 4;
    let image = headed_code(0, &header);
    assert!(matches!(sniff(&image), Err(LoadError::Unrecognized(_))));
}

#[test]
fn version_2_goes_before_version_1() {
    let both = [multiboot(0, &[]), vec![0; 4], multiboot2(&[])].concat();
    let image = headed_elf(32, &both);
    assert_eq!(sniff(&image), Ok(ImageKind::Multiboot2));
    let first = Request {
        kind: ImageKind::Multiboot,
        ..request(&image, 4)
    };
    assert_eq!(plan(&first).unwrap().entry.get(Gpr::Rax), 0x2bad_b002);
}
