//! Plans for images with a multiboot header, version 1.
#![allow(missing_docs)]

mod common;

use common::{
    Elf, MIB, Segment, headed_code, headed_elf, is_sound, le, memory, multiboot, refused, request,
    text,
};
use skerry_load::{ImageKind, LoadError, Module, Part, Request, plan, sniff};
use skerry_words::{AccessRights, Gpr, Segment as Register};

const PAGE: u64 = 4096;

/// The address fields of an image that is loaded at 2 MiB, header and all.
fn addresses(load_end: u32, bss_end: u32, entry: u32) -> Vec<u32> {
    vec![0x20_0000, 0x20_0000, load_end, bss_end, entry]
}

#[test]
fn an_elf_file_of_either_class_is_entered_32_bit_and_flat() {
    for bits in [32, 64] {
        let image = headed_elf(bits, &multiboot(0, &[]));
        assert_eq!(sniff(&image), Ok(ImageKind::Multiboot));
        let plan = plan(&request(&image, 4)).unwrap();
        let entry = &plan.entry;
        assert_eq!(entry.rip, MIB + 12);
        assert_eq!((entry.cr0, entry.cr4, entry.efer), (0x11, 0, 0));
        assert_eq!(entry.rflags, 2);
        assert_eq!(entry.segment(Register::Cs).rights, AccessRights::CODE32);
        assert_eq!(entry.get(Gpr::Rax), 0x2bad_b002);
        assert_eq!(&memory(&plan, 4 * MIB)[0x10_000c..][..4], b"code");
    }
}

#[test]
fn the_entry_is_taken_to_its_segments_physical_address() {
    let header = multiboot(0, &[]);
    let mut segment = Segment::load(MIB, &header, 0x1000);
    segment.virtual_at = 0xc000_0000;
    // 52 bytes of header and 32 of program header are a multiple of 4 already.
    let image = Elf::new(32, 0xc000_0020, vec![segment]).build();
    assert_eq!(plan(&request(&image, 4)).unwrap().entry.rip, MIB + 0x20);
}

#[test]
fn the_information_says_memory_command_line_and_loader() {
    let image = headed_elf(32, &multiboot(3, &[]));
    let request = Request {
        cmdline: "kernel quiet",
        ..request(&image, 128)
    };
    let plan = plan(&request).unwrap();
    let memory = memory(&plan, 128 * MIB);
    let info = plan.entry.get(Gpr::Rbx);
    let field = |at| le(&memory, info + at, 4);
    assert_eq!(field(0), 0x245, "memory, command line, map, loader's name");
    assert_eq!((field(4), field(8)), (640, 127 * 1024));
    assert_eq!(text(&memory, field(16)), "kernel quiet");
    assert_eq!((field(20), field(24)), (0, 0), "no modules");
    assert_eq!(text(&memory, field(64)), "Skerry");
    let (map_bytes, map_at) = (field(44), field(48));
    let entries = (0..map_bytes / 24).map(|index| {
        let at = map_at + index * 24;
        assert_eq!(le(&memory, at, 4), 20);
        let part = |offset, bytes| le(&memory, at + offset, bytes);
        (part(4, 8), part(12, 8), part(20, 4))
    });
    let expected = [
        (0, 0xa_0000, 1),
        (0xa_0000, 0x6_0000, 2),
        (MIB, 127 * MIB, 1),
    ];
    assert!(entries.eq(expected));
    assert!(is_sound(&plan, 128 * MIB));
}

#[test]
fn an_empty_command_line_is_there_all_the_same() {
    let image = headed_elf(32, &multiboot(0, &[]));
    let plan = plan(&request(&image, 4)).unwrap();
    let memory = memory(&plan, 4 * MIB);
    let cmdline = le(&memory, plan.entry.get(Gpr::Rbx) + 16, 4);
    assert_ne!(cmdline, 0);
    assert_eq!(text(&memory, cmdline), "");
}

#[test]
fn modules_follow_the_image_page_by_page_the_initrd_first() {
    let image = headed_elf(32, &multiboot(1, &[]));
    let (disk, first, second) = (vec![1; 5000], vec![2; 4096], vec![3; 1]);
    let modules =
        [(&first, "first one"), (&second, "")].map(|(bytes, cmdline)| Module { bytes, cmdline });
    let request = Request {
        initrd: Some(&disk),
        modules: &modules,
        ..request(&image, 4)
    };
    let plan = plan(&request).unwrap();
    let memory = memory(&plan, 4 * MIB);
    let info = plan.entry.get(Gpr::Rbx);
    assert_eq!(le(&memory, info, 4) & 8, 8);
    assert_eq!(le(&memory, info + 20, 4), 3);
    let list = le(&memory, info + 24, 4);
    let entries = (0..3).map(|index| {
        let field = |at| le(&memory, list + index * 16 + at, 4);
        (field(0), field(4), text(&memory, field(8)))
    });
    // The image ends at 1 MiB + 3 pages.
    let at = MIB + 3 * PAGE;
    let expected = [
        (at, at + 5000, String::new()),
        (at + 2 * PAGE, at + 3 * PAGE, "first one".into()),
        (at + 3 * PAGE, at + 3 * PAGE + 1, String::new()),
    ];
    assert!(entries.eq(expected));
    assert_eq!(memory[at as usize..][..5000], disk);
    assert_eq!(memory[(at + 2 * PAGE) as usize..][..4096], first);
    assert_eq!(memory[(at + 3 * PAGE) as usize], 3);
    assert!(is_sound(&plan, 4 * MIB));
}

#[test]
fn a_module_without_room_behind_the_image_goes_in_front_of_it() {
    let header = multiboot(0, &[]);
    let image = Elf::new(32, 3 * MIB, vec![Segment::load(3 * MIB, &header, MIB)]).build();
    let disk = vec![1; 5000];
    let with_disk = Request {
        initrd: Some(&disk),
        ..request(&image, 4)
    };
    let plan = plan(&with_disk).unwrap();
    assert_eq!(memory(&plan, 4 * MIB)[MIB as usize..][..5000], disk);
    let large = vec![1; 2 << 20];
    let modules = [Module {
        bytes: &large,
        cmdline: "",
    }];
    let error = refused(&Request {
        modules: &modules,
        ..with_disk
    });
    assert_eq!((error.key(), error.module()), ("modules", Some(0)));
    let expected = "module 1 of 2 MiB does not fit in 4 MiB of memory beside the kernel; \
                    raise `memory` to 6M or more";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_information_keeps_clear_of_an_image_in_low_memory() {
    // The image fills all of the place where the information would be.
    let header = multiboot(0, &[]);
    let image = Elf::new(32, 0x8000, vec![Segment::load(0x8000, &header, 0x9_7c00)]).build();
    let plan = plan(&request(&image, 1)).unwrap();
    assert_eq!(plan.entry.get(Gpr::Rbx), 0x1000);
    assert!(is_sound(&plan, MIB));
    let all = Elf::new(32, 0x8000, vec![Segment::load(0x1000, &header, 0x9_f000)]).build();
    let above = structure_at(&all);
    assert_eq!(above, MIB, "above 1 MiB if there is no other place");
    let error = refused(&request(&all, 1));
    assert!(
        matches!(
            error,
            LoadError::DoesNotFit {
                part: Part::BootData,
                ..
            }
        ),
        "{error}"
    );
}

fn structure_at(image: &[u8]) -> u64 {
    plan(&request(image, 2)).unwrap().entry.get(Gpr::Rbx)
}

#[test]
fn address_fields_say_what_of_a_file_goes_where() {
    // 64 bytes of file, the header, code; the header is at 2 MiB, loading starts 16 before.
    let fields = [0x20_0000, 0x1f_fff0, 0x20_0030, 0x20_1000, 0x20_0020];
    let image = headed_code(64, &multiboot(1 << 16, &fields));
    assert_eq!(sniff(&image), Ok(ImageKind::Multiboot));
    let plan = plan(&request(&image, 4)).unwrap();
    assert_eq!(plan.entry.rip, 0x20_0020);
    let memory = memory(&plan, 4 * MIB);
    assert_eq!(memory[0x1f_fff0..0x20_0000], [0xcc; 16]);
    assert_eq!(memory[0x20_0000..0x20_0020], image[64..96]);
    assert_eq!(memory[0x20_0020..0x20_0030], [0xf4; 16]);
    assert!(memory[0x20_0030..0x20_1000].iter().all(|byte| *byte == 0));
    let piece = plan.pieces.iter().find(|piece| piece.at.0 == 0x1f_fff0);
    assert_eq!(piece.unwrap().zero_bytes, 0xfd0);
}

#[test]
fn without_ends_the_rest_of_the_file_is_loaded_and_no_zeros() {
    let image = headed_code(0, &multiboot(1 << 16, &addresses(0, 0, 0x20_0020)));
    let plan = plan(&request(&image, 4)).unwrap();
    let piece = plan.pieces.iter().find(|piece| piece.at.0 == 0x20_0000);
    let piece = piece.unwrap();
    assert_eq!((&piece.bytes[..], piece.zero_bytes), (&image[..], 0));
}

#[test]
fn address_fields_win_over_an_elf_files_own() {
    let fields = addresses(0x20_0024, 0, 0x20_0020);
    let image = headed_elf(32, &multiboot(1 << 16, &fields));
    let plan = plan(&request(&image, 4)).unwrap();
    assert_eq!(plan.entry.rip, 0x20_0020);
    assert_eq!(&memory(&plan, 4 * MIB)[0x20_0020..][..4], b"code");
    assert!(plan.pieces.iter().all(|piece| piece.at.0 != MIB));
}

#[test]
fn address_fields_that_contradict_each_other_are_refused() {
    let with = |before, fields: [u32; 5]| {
        let image = headed_code(before, &multiboot(1 << 16, &fields));
        refused(&request(&image, 4))
    };
    let top = 0x20_0000;
    for (fields, field) in [
        ([top, top + 4, 0, 0, top], "header_addr"),
        ([top, top - 0x11, 0, 0, top], "load_addr"),
        ([top, top, top - 1, 0, top], "load_end_addr"),
        ([top, top, top + 64, top + 63, top], "bss_end_addr"),
    ] {
        let error = with(16, fields);
        let LoadError::HeaderAddresses { field: found, .. } = error else {
            panic!("{fields:x?}: {error}")
        };
        assert_eq!(found.0, field);
    }
    let cut = with(0, [top, top, top + 0x10_0000, 0, top]);
    let expected = LoadError::Truncated {
        what: "part to be loaded",
        needed_bytes: 0x10_0000,
        image_bytes: 4096 + 32,
    };
    assert_eq!(cut, expected);
    let outside = with(0, [top, top, top + 64, 0, top + 64]);
    assert_eq!(outside, LoadError::EntryOutside(u64::from(top) + 64));
    let too_high = with(0, [4 << 20, 4 << 20, 0, 0, 4 << 20]).to_string();
    assert!(
        too_high.ends_with("raise `memory` to 5M or more"),
        "{too_high}"
    );
}

#[test]
fn address_fields_that_are_cut_off_are_refused() {
    let image = multiboot(1 << 16, &[1, 2]);
    let error = refused(&request(&image, 4));
    assert!(
        matches!(
            error,
            LoadError::Truncated {
                what: "multiboot header",
                needed_bytes: 32,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn an_image_of_no_format_without_address_fields_is_refused() {
    let image = headed_code(0, &multiboot(0, &[]));
    let error = refused(&request(&image, 4));
    assert_eq!(error, LoadError::NoAddresses([0x02, 0xb0, 0xad, 0x1b]));
}

#[test]
fn requirements_that_are_unknown_are_refused_and_a_screen_is_only_a_wish() {
    for flags in [0, 4, 7, 0x8000_0000, 0xfffe_0000] {
        let image = headed_elf(32, &multiboot(flags, &[]));
        assert!(plan(&request(&image, 4)).is_ok(), "{flags:#x}");
    }
    for flags in [8, 0x8001] {
        let image = headed_elf(32, &multiboot(flags, &[]));
        let error = refused(&request(&image, 4));
        assert_eq!(error, LoadError::MultibootFlags(flags));
    }
}

#[test]
fn the_header_must_be_in_the_first_8_kib_on_a_boundary_of_4_with_a_right_checksum() {
    let fields = |at: u32| multiboot(1 << 16, &[MIB as u32 + at, MIB as u32, 0, 0, MIB as u32]);
    for at in [0, 4, 8192 - 32, 8192 - 12] {
        assert!(
            plan(&request(&headed_code(at, &fields(at as u32)), 4)).is_ok(),
            "{at}"
        );
    }
    let missing = LoadError::NoMultibootHeader {
        version: 1,
        search_bytes: 8192,
    };
    let mut damaged = headed_code(0, &fields(0));
    damaged[8] ^= 1;
    for image in [
        headed_code(2, &fields(2)),
        headed_code(8192 - 8, &fields(0)),
        damaged,
    ] {
        let claimed = Request {
            kind: ImageKind::Multiboot,
            ..request(&image, 4)
        };
        assert_eq!(refused(&claimed), missing);
        assert!(matches!(sniff(&image), Err(LoadError::Unrecognized(_))));
    }
}

#[test]
fn a_header_with_a_wrong_checksum_does_not_hide_a_right_one() {
    let mut decoy = multiboot(0, &[]);
    decoy[8] ^= 1;
    let header = multiboot(1 << 16, &[MIB as u32 + 12, MIB as u32, 0, 0, MIB as u32]);
    let image = headed_code(0, &[decoy, header].concat());
    assert_eq!(plan(&request(&image, 4)).unwrap().entry.rip, MIB);
}

#[test]
fn a_pvh_note_goes_before_a_multiboot_header_unless_the_manifest_says_otherwise() {
    let code = Segment::load(MIB, &multiboot(0, &[]), 0x1000);
    let note = Segment::pvh_note(&(MIB as u32).to_le_bytes());
    let mut image = Elf::new(32, MIB + 0x10, vec![note, code]).build();
    // The header is the last there is; so that it is on a boundary of 4, the file is.
    assert!(image.len().is_multiple_of(4));
    image.extend([0; 16]);
    assert_eq!(sniff(&image), Ok(ImageKind::Pvh));
    let claimed = Request {
        kind: ImageKind::Multiboot,
        ..request(&image, 4)
    };
    assert_eq!(plan(&claimed).unwrap().entry.rip, MIB + 0x10);
}

#[test]
fn an_elf_file_of_another_machine_is_refused_with_a_header_too() {
    let mut image = headed_elf(32, &multiboot(0, &[]));
    image[18] = 40;
    assert_eq!(refused(&request(&image, 4)), LoadError::ElfMachine(40));
}
