//! Plans for firmware.
#![allow(missing_docs)]

mod common;

use common::{is_sound_beside, multiboot, refused, request};
use skerry_load::{ImageKind, LoadError, Module, Request, layout, plan, rom_bytes, sniff};
use skerry_words::Segment;

const KIB: usize = 1 << 10;

/// So many bytes, each 4 KiB of them telling its number, with a jump where it is entered.
fn rom(bytes: usize) -> Vec<u8> {
    let mut image: Vec<u8> = (0..bytes).map(|at| (at / 4096) as u8).collect();
    image[bytes - 16] = 0xea;
    image
}

fn claimed(image: &[u8]) -> Request<'_> {
    Request {
        kind: ImageKind::Rom,
        ..request(image, 1)
    }
}

/// The bytes of the piece at this address.
fn piece<'a>(plan: &'a skerry_load::LoadPlan<'_>, at: u64) -> &'a [u8] {
    let found = plan.pieces.iter().find(|piece| piece.at.0 == at);
    &found.unwrap().bytes
}

#[test]
fn a_rom_ends_at_4_gib_and_its_last_128_kib_are_seen_below_1_mib() {
    for (bytes, at) in [(256 * KIB, 0xfffc_0000), (1024 * KIB, 0xfff0_0000)] {
        let image = rom(bytes);
        let plan = plan(&request(&image, 1)).unwrap();
        assert_eq!(plan.pieces.len(), 2, "no tables beside it");
        assert_eq!(piece(&plan, at), image);
        assert_eq!(piece(&plan, 0xe_0000), &image[bytes - 128 * KIB..]);
        assert!(is_sound_beside(&plan, 1 << 20, bytes as u64));
    }
}

#[test]
fn a_smaller_rom_is_seen_whole_below_1_mib() {
    let image = rom(64 * KIB);
    let plan = plan(&request(&image, 1)).unwrap();
    assert_eq!(piece(&plan, 0xffff_0000), image);
    assert_eq!(piece(&plan, 0xf_0000), image);
}

#[test]
fn a_rom_is_entered_as_a_cpu_comes_out_of_reset() {
    let image = rom(64 * KIB);
    let entry = plan(&request(&image, 1)).unwrap().entry;
    let code = entry.segment(Segment::Cs);
    assert_eq!((code.selector, code.base), (0xf000, 0xffff_0000));
    assert_eq!((entry.rip, entry.rflags), (0xfff0, 2));
    assert_eq!((entry.cr0, entry.efer), (0x6000_0010, 0));
}

#[test]
fn the_largest_rom_has_16_mib_and_each_has_whole_pages() {
    for bytes in [4096, 12 * KIB, 16 << 20] {
        let image = vec![0xf4; bytes];
        let plan = plan(&claimed(&image)).unwrap();
        assert!(is_sound_beside(&plan, 1 << 20, bytes as u64));
        assert_eq!(rom_bytes(&image, ImageKind::Rom), bytes as u64);
    }
    for bytes in [1, 4095, (16 << 20) + 4096] {
        let image = vec![0xf4; bytes];
        let expected = LoadError::RomBytes(bytes as u64);
        assert_eq!(refused(&claimed(&image)), expected);
        assert_eq!(rom_bytes(&image, ImageKind::Rom), 0);
    }
}

#[test]
fn a_file_is_taken_for_a_rom_by_its_size_and_its_first_instruction() {
    for vector in [
        &[0xea][..],
        &[0xe9],
        &[0xeb],
        &[0xfa, 0xfc, 0xe9],
        &[0x90, 0xeb],
    ] {
        let mut image = rom(128 * KIB);
        image[128 * KIB - 16..][..vector.len()].copy_from_slice(vector);
        assert_eq!(sniff(&image), Ok(ImageKind::Rom));
        assert_eq!(rom_bytes(&image, ImageKind::Auto), 128 << 10);
    }
    let kind_of = |image: &[u8]| (sniff(image), rom_bytes(image, ImageKind::Auto));
    let mut no_jump = rom(128 * KIB);
    no_jump[128 * KIB - 16] = 0xf4;
    assert!(matches!(kind_of(&no_jump), (Err(_), 0)));
    no_jump[128 * KIB - 16..].fill(0x90);
    assert!(matches!(kind_of(&no_jump), (Err(_), 0)));
    assert!(matches!(kind_of(&rom(96 * KIB)), (Err(_), 0)));
    let mut sector = rom(64 * KIB);
    sector[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(kind_of(&sector), (Ok(ImageKind::Flat), 0));
    let mut headed = rom(64 * KIB);
    headed[..12].copy_from_slice(&multiboot(0, &[]));
    assert_eq!(kind_of(&headed), (Ok(ImageKind::Rom), 64 << 10));
    headed.push(0);
    assert_eq!(kind_of(&headed), (Ok(ImageKind::Multiboot), 0));
    assert_eq!(rom_bytes(&rom(64 * KIB), ImageKind::Elf), 0);
}

#[test]
fn a_rom_takes_neither_initrd_nor_command_line_nor_modules() {
    let image = rom(64 * KIB);
    let modules = [Module {
        bytes: b"x",
        cmdline: "",
    }];
    for (request, key) in [
        (
            Request {
                initrd: Some(b"x"),
                ..claimed(&image)
            },
            "initrd",
        ),
        (
            Request {
                cmdline: "x",
                ..claimed(&image)
            },
            "cmdline",
        ),
        (
            Request {
                modules: &modules,
                ..claimed(&image)
            },
            "modules",
        ),
    ] {
        let error = refused(&request);
        assert_eq!(error, LoadError::Unused(key, ImageKind::Rom));
        assert_eq!(error.key(), key);
    }
}

#[test]
fn the_memory_of_a_rom_is_backed_whether_it_is_named_or_found() {
    let image = rom(256 * KIB);
    for kind in [ImageKind::Rom, ImageKind::Auto] {
        let ranges = layout::backed(1 << 20, rom_bytes(&image, kind));
        assert_eq!(ranges.last().unwrap().start.0, 0xfffc_0000);
    }
}
