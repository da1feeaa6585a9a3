//! Plans for ELF kernels and boot sectors.
#![allow(missing_docs)]

mod common;

use common::{Elf, MIB, Segment, is_sound, le, memory, refused, request, text};
use skerry_load::{ImageKind, LoadError, Part, Request, plan, sniff};
use skerry_words::{AccessRights, Gpr, Segment as Register};

const CODE: &[u8] = b"\xfa\xf4 code";

fn code() -> Segment {
    Segment::load(0x10_0000, CODE, 0x3000)
}

fn pvh(desc: &[u8]) -> Vec<u8> {
    let segments = vec![Segment::pvh_note(desc), code()];
    Elf::new(64, 0xffff_ffff_8100_0000, segments).build()
}

#[test]
fn a_note_makes_an_elf_file_a_pvh_kernel() {
    let plain = Elf::new(64, 0x10_0000, vec![code()]).build();
    assert_eq!(sniff(&plain), Ok(ImageKind::Elf));
    assert_eq!(sniff(&pvh(&0x10_0000u32.to_le_bytes())), Ok(ImageKind::Pvh));
}

#[test]
fn a_pvh_kernel_is_entered_32_bit_and_flat_with_its_start_info_in_ebx() {
    // The address is 4 bytes in a 32-bit kernel's note, 8 in a 64-bit one's.
    for desc in [&0x10_0004u32.to_le_bytes()[..], &0x10_0004u64.to_le_bytes()] {
        let image = pvh(desc);
        let plan = plan(&request(&image, 4)).unwrap();
        let entry = &plan.entry;
        assert_eq!(entry.rip, 0x10_0004);
        assert_eq!(
            (entry.cr0, entry.cr4, entry.efer, entry.rflags),
            (0x11, 0, 0, 2)
        );
        let code = entry.segment(Register::Cs);
        assert_eq!(
            (code.base, code.limit, code.rights),
            (0, u32::MAX, AccessRights::CODE32)
        );
        assert_eq!(entry.segment(Register::Tr).limit, 0x67);
        let memory = memory(&plan, 4 * MIB);
        assert_eq!(le(&memory, entry.get(Gpr::Rbx), 4), 0x336e_c578);
    }
}

#[test]
fn the_start_info_leads_to_module_command_line_and_memory_map() {
    let (image, initrd) = (pvh(&0x10_0000u32.to_le_bytes()), vec![0x5a; 5000]);
    let request = Request {
        initrd: Some(&initrd),
        cmdline: "root=/dev/nil",
        ..request(&image, 8)
    };
    let plan = plan(&request).unwrap();
    let memory = memory(&plan, 8 * MIB);
    let info = plan.entry.get(Gpr::Rbx);
    assert_eq!(le(&memory, info + 4, 4), 1, "version");
    assert_eq!(le(&memory, info + 12, 4), 1, "modules");
    let module = le(&memory, info + 16, 8);
    assert_eq!(
        (le(&memory, module, 8), le(&memory, module + 8, 8)),
        (0x7f_e000, 5000)
    );
    assert_eq!(memory[0x7f_e000..][..5000], initrd);
    assert_eq!(text(&memory, le(&memory, info + 24, 8)), "root=/dev/nil");
    let map = le(&memory, info + 40, 8);
    let entries: Vec<_> = (0..le(&memory, info + 48, 4))
        .map(|i| map + i * 24)
        .map(|at| {
            (
                le(&memory, at, 8),
                le(&memory, at + 8, 8),
                le(&memory, at + 16, 4),
            )
        })
        .collect();
    let expected = [(0, 0xa_0000, 1), (0xa_0000, 0x6_0000, 2), (MIB, 7 * MIB, 1)];
    assert_eq!(entries, expected);
    assert!(is_sound(&plan, 8 * MIB));
}

#[test]
fn without_an_initrd_the_start_info_counts_no_module() {
    let image = pvh(&0x10_0000u32.to_le_bytes());
    let plan = plan(&request(&image, 4)).unwrap();
    let memory = memory(&plan, 4 * MIB);
    assert_eq!(le(&memory, plan.entry.get(Gpr::Rbx) + 12, 4), 0);
}

#[test]
fn a_note_segment_without_alignment_is_read_all_the_same() {
    let mut note = Segment::pvh_note(&0x10_0000u32.to_le_bytes());
    note.align = 0;
    let image = Elf::new(64, 0x10_0000, vec![note, code()]).build();
    assert_eq!(sniff(&image), Ok(ImageKind::Pvh));
}

#[test]
fn an_initrd_is_never_put_below_1_mib() {
    let image = Elf::new(64, 0x10_0000, vec![Segment::load(0x10_0000, CODE, MIB)]).build();
    let with_initrd = Request {
        initrd: Some(b"x"),
        ..request(&image, 2)
    };
    let error = refused(&with_initrd).to_string();
    assert!(error.ends_with("raise `memory` to 3M or more"), "{error}");
}

#[test]
fn a_64_bit_kernel_is_entered_in_long_mode_at_the_physical_address_of_its_entry() {
    let mut high = code();
    high.virtual_at = 0xffff_ffff_8010_0000;
    let image = Elf::new(64, 0xffff_ffff_8010_0002, vec![high]).build();
    let plan = plan(&request(&image, 4)).unwrap();
    assert_eq!(plan.entry.rip, 0x10_0002);
    assert_eq!((plan.entry.cr0, plan.entry.efer), (0x8000_0011, 0x500));
    assert_eq!(plan.entry.get(Gpr::Rdi), plan.entry.get(Gpr::Rbx));
    assert_eq!(plan.entry.get(Gpr::Rsp), 0xa_0000 - 8);
    let memory = memory(&plan, 4 * MIB);
    assert_eq!(&memory[0x10_0000..][..CODE.len()], CODE);
    assert_eq!(le(&memory, plan.entry.get(Gpr::Rdi), 4), 0x336e_c578);
}

#[test]
fn a_32_bit_kernel_is_entered_in_protected_mode() {
    let image = Elf::new(32, 0x10_0000, vec![code()]).build();
    let plan = plan(&request(&image, 4)).unwrap();
    assert_eq!((plan.entry.rip, plan.entry.cr0), (0x10_0000, 0x11));
    assert_ne!(plan.entry.get(Gpr::Rbx), 0);
}

#[test]
fn a_segments_rest_is_zeroed() {
    let image = Elf::new(64, 0x10_0000, vec![code()]).build();
    let plan = plan(&request(&image, 4)).unwrap();
    let piece = plan
        .pieces
        .iter()
        .find(|piece| piece.at.0 == 0x10_0000)
        .unwrap();
    assert_eq!(piece.zero_bytes, 0x3000 - CODE.len() as u64);
}

#[test]
fn segments_outside_ram_are_refused_with_the_way_out_that_helps() {
    let at = |at| {
        refused(&request(
            &Elf::new(64, at, vec![Segment::load(at, CODE, 0x1000)]).build(),
            4,
        ))
    };
    let beyond = at(0x40_0000).to_string();
    assert!(beyond.ends_with("raise `memory` to 5M or more"), "{beyond}");
    for hopeless in [0xa_0000, 0xb_f000, 0xe000_0000, u64::MAX - 0xfff, u64::MAX] {
        let error = at(hopeless).to_string();
        assert!(
            error.ends_with("link it between 1 MiB and 3 GiB"),
            "{error}"
        );
    }
}

#[test]
fn segments_over_each_other_or_over_the_boot_data_are_refused() {
    let over = Segment::load(0x10_2fff, CODE, 16);
    let image = Elf::new(64, 0x10_0000, vec![code(), over]).build();
    let expected = LoadError::Overlap {
        first: Part::Segment(0),
        second: Part::Segment(1),
        start: 0x10_2fff,
    };
    assert_eq!(refused(&request(&image, 4)), expected);
    let low = Elf::new(64, 0x9000, vec![Segment::load(0x9000, CODE, 16)]).build();
    let error = refused(&request(&low, 4));
    assert!(
        matches!(
            error,
            LoadError::Overlap {
                second: Part::BootData,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_segment_larger_in_the_file_than_in_memory_is_refused() {
    let image = Elf::new(64, 0x10_0000, vec![Segment::load(0x10_0000, CODE, 3)]).build();
    let expected = LoadError::SegmentBytes {
        index: 0,
        file_bytes: CODE.len() as u64,
        memory_bytes: 3,
    };
    assert_eq!(refused(&request(&image, 4)), expected);
}

#[test]
fn an_entry_in_no_segment_is_refused() {
    let image = Elf::new(64, 0x10_3000, vec![code()]).build();
    assert_eq!(
        refused(&request(&image, 4)),
        LoadError::EntryOutside(0x10_3000)
    );
    let noted = pvh(&0x20_0000u32.to_le_bytes());
    assert_eq!(
        refused(&request(&noted, 4)),
        LoadError::EntryOutside(0x20_0000)
    );
    let wide = pvh(&0x1_0010_0000u64.to_le_bytes());
    assert_eq!(
        refused(&request(&wide, 4)),
        LoadError::EntryOutside(0x1_0010_0000)
    );
}

#[test]
fn elf_files_of_other_machines_and_types_and_empty_ones_are_refused() {
    let with = |machine, kind, segments| {
        let file = Elf {
            machine,
            kind,
            ..Elf::new(64, 0x10_0000, segments)
        };
        refused(&request(&file.build(), 4))
    };
    assert_eq!(with(183, 2, vec![code()]), LoadError::ElfMachine(183));
    assert_eq!(
        with(3, 2, vec![code()]),
        LoadError::ElfMachine(3),
        "386 has no 64-bit class"
    );
    assert_eq!(with(62, 3, vec![code()]), LoadError::ElfType(3));
    assert_eq!(with(62, 2, vec![]), LoadError::NoSegment);
}

#[test]
fn a_truncated_elf_file_is_refused() {
    let image = Elf::new(64, 0x10_0000, vec![code()]).build();
    for bytes in [4, 40, 100, image.len() - 1] {
        let error = refused(&request(&image[..bytes], 4));
        assert!(matches!(error, LoadError::Elf(_)), "{bytes}: {error}");
    }
}

#[test]
fn a_claimed_pvh_kernel_needs_a_note_of_4_or_8_bytes() {
    let plain = Elf::new(64, 0x10_0000, vec![code()]).build();
    let claimed = Request {
        kind: ImageKind::Pvh,
        ..request(&plain, 4)
    };
    assert_eq!(refused(&claimed), LoadError::NoPvhNote);
    assert_eq!(
        refused(&request(&pvh(b"abcdef"), 4)),
        LoadError::PvhNoteBytes(6)
    );
}

#[test]
fn a_boot_sector_is_entered_in_real_mode_at_0_7c00_with_a_disk_in_dl() {
    let mut sector = vec![0xf4; 512];
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let plan = plan(&request(&sector, 1)).unwrap();
    let entry = &plan.entry;
    assert_eq!((entry.rip, entry.cr0, entry.efer), (0x7c00, 0x10, 0));
    assert_eq!((entry.get(Gpr::Rsp), entry.get(Gpr::Rdx)), (0x7c00, 0x80));
    for register in [Register::Cs, Register::Ss, Register::Ds, Register::Es] {
        let segment = entry.segment(register);
        assert_eq!(
            (segment.selector, segment.base, segment.limit),
            (0, 0, 0xffff)
        );
    }
    assert_eq!(memory(&plan, MIB)[0x7c00..0x7e00], sector);
}

#[test]
fn flat_code_needs_no_signature_if_the_manifest_says_so_but_must_fit() {
    let largest = vec![0xf4; 0x9_fc00 - 0x7c00];
    let flat = |image| Request {
        kind: ImageKind::Flat,
        ..request(image, 1)
    };
    assert!(plan(&flat(&largest)).is_ok());
    let larger = vec![0xf4; largest.len() + 1];
    assert!(matches!(
        refused(&flat(&larger)),
        LoadError::FlatTooLarge { .. }
    ));
    assert!(matches!(
        refused(&request(&largest, 1)),
        LoadError::Unrecognized(_)
    ));
}

#[test]
fn flat_code_takes_neither_initrd_nor_command_line() {
    let flat = Request {
        kind: ImageKind::Flat,
        ..request(b"\xf4", 1)
    };
    let with_initrd = Request {
        initrd: Some(b"x"),
        ..flat
    };
    assert_eq!(
        refused(&with_initrd),
        LoadError::Unused("initrd", ImageKind::Flat)
    );
    let with_cmdline = Request {
        cmdline: "x",
        ..flat
    };
    assert_eq!(
        refused(&with_cmdline),
        LoadError::Unused("cmdline", ImageKind::Flat)
    );
}
