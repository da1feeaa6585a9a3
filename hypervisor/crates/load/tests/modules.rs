//! Modules and the ACPI tables, for the kinds of image that have their tests elsewhere.
#![allow(missing_docs)]

mod common;

use common::{BzImage, Elf, MIB, Segment, is_sound, le, memory, refused, request, text};
use skerry_load::{ImageKind, LoadError, Module, Part, Request, plan};
use skerry_words::Gpr;

const RSDP: u64 = 0xe_0000;

fn module<'a>(bytes: &'a [u8], cmdline: &'a str) -> Module<'a> {
    Module { bytes, cmdline }
}

fn pvh() -> Vec<u8> {
    let note = Segment::pvh_note(&(MIB as u32).to_le_bytes());
    Elf::new(64, MIB, vec![note, Segment::load(MIB, b"code", 0x1000)]).build()
}

#[test]
fn a_pvh_kernel_is_told_of_each_module_with_its_command_line() {
    let image = pvh();
    let modules = [module(&[2; 4097], "second"), module(b"3", "")];
    let request = Request {
        initrd: Some(b"disk"),
        cmdline: "root=/dev/nil",
        modules: &modules,
        ..request(&image, 4)
    };
    let plan = plan(&request).unwrap();
    let memory = memory(&plan, 4 * MIB);
    let info = plan.entry.get(Gpr::Rbx);
    assert_eq!(le(&memory, info + 12, 4), 3);
    assert_eq!(text(&memory, le(&memory, info + 24, 8)), "root=/dev/nil");
    let list = le(&memory, info + 16, 8);
    let told = (0..3).map(|index| {
        let field = |at| le(&memory, list + index * 32 + at, 8);
        (field(0), field(8), text(&memory, field(16)))
    });
    let expected = [
        (0x3f_f000, 4, String::new()),
        (0x3f_d000, 4097, "second".into()),
        (0x3f_c000, 1, String::new()),
    ];
    assert!(told.eq(expected));
    assert_eq!(&memory[0x3f_f000..][..4], b"disk");
    assert_eq!(memory[0x3f_d000..][..4097], [2; 4097]);
    let map = le(&memory, info + 40, 8);
    assert_eq!(le(&memory, map + 24, 8), 0xa_0000, "the map is behind them");
    assert!(is_sound(&plan, 4 * MIB));
}

#[test]
fn eight_modules_and_an_initrd_are_the_most() {
    let image = pvh();
    let modules = [module(b"m", "x"); 9];
    let with = |count: usize| Request {
        initrd: Some(b"disk"),
        modules: &modules[..count],
        ..request(&image, 4)
    };
    assert!(is_sound(&plan(&with(8)).unwrap(), 4 * MIB));
    let error = refused(&with(9));
    assert_eq!(error, LoadError::TooManyModules(9));
    assert_eq!(error.key(), "modules");
}

#[test]
fn modules_without_bytes_or_with_a_zero_in_their_command_line_are_refused() {
    let image = pvh();
    let refusal = |second| {
        let modules = [module(b"m", ""), second];
        refused(&Request {
            modules: &modules,
            ..request(&image, 4)
        })
    };
    let empty = refusal(module(b"", ""));
    assert_eq!(
        (&empty, empty.module()),
        (&LoadError::EmptyModule(1), Some(1))
    );
    assert!(empty.to_string().starts_with("module 2 is empty"));
    let zero = refusal(module(b"m", "a\0b"));
    assert_eq!(zero, LoadError::ModuleCmdlineNul(1));
}

#[test]
fn command_lines_that_do_not_fit_together_are_refused() {
    let (image, long) = (pvh(), "x".repeat(0x3ff0));
    let with = |cmdline: &str, own: &str| {
        let modules = [module(b"m", own)];
        plan(&Request {
            cmdline,
            modules: &modules,
            ..request(&image, 4)
        })
        .map(drop)
    };
    assert_eq!(with(&long, &"y".repeat(14)), Ok(()));
    let error = with(&long, &"y".repeat(15)).unwrap_err();
    assert_eq!(error, LoadError::CmdlinesTooLong(0x4001, 0x4000));
    assert_eq!(error.key(), "modules");
    let longer = "x".repeat(0x4000);
    assert_eq!(with(&longer, "").unwrap_err().key(), "cmdline");
}

#[test]
fn a_module_that_does_not_fit_is_refused_by_its_number() {
    let (image, large) = (pvh(), vec![1; 4 << 20]);
    let modules = [module(b"m", ""), module(&large, "")];
    let error = refused(&Request {
        modules: &modules,
        ..request(&image, 4)
    });
    assert!(
        matches!(
            error,
            LoadError::DoesNotFit {
                part: Part::Module(1),
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.module(), Some(1));
}

#[test]
fn linux_and_boot_sectors_take_no_modules() {
    let modules = [module(b"m", "")];
    let mut sector = vec![0xf4; 512];
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    for (image, kind) in [
        (BzImage::default().build(), ImageKind::LinuxBzImage),
        (sector, ImageKind::Flat),
    ] {
        let with = Request {
            modules: &modules,
            ..request(&image, 32)
        };
        assert_eq!(refused(&with), LoadError::Unused("modules", kind));
    }
}

#[test]
fn every_kind_but_a_rom_finds_the_acpi_tables() {
    let (linux, pvh) = (BzImage::default().build(), pvh());
    let plain = Elf::new(64, MIB, vec![Segment::load(MIB, b"code", 0x1000)]).build();
    let flat = Request {
        kind: ImageKind::Flat,
        ..request(b"\xf4", 32)
    };
    for request in [
        request(&linux, 32),
        request(&pvh, 32),
        request(&plain, 32),
        flat,
    ] {
        let plan = plan(&request).unwrap();
        assert_eq!(&memory(&plan, 32 * MIB)[RSDP as usize..][..8], b"RSD PTR ");
    }
}

#[test]
fn linux_and_pvh_kernels_are_told_where_the_acpi_tables_are() {
    let told = |image: &[u8], register, at| {
        let plan = plan(&request(image, 32)).unwrap();
        le(&memory(&plan, 32 * MIB), plan.entry.get(register) + at, 8)
    };
    assert_eq!(told(&BzImage::default().build(), Gpr::Rsi, 0x70), RSDP);
    assert_eq!(told(&pvh(), Gpr::Rbx, 32), RSDP);
}

#[test]
fn an_image_over_the_acpi_tables_is_refused() {
    let segments = vec![Segment::load(RSDP, b"code", 0x1000)];
    let image = Elf::new(64, RSDP, segments).build();
    let expected = LoadError::Overlap {
        first: Part::Acpi,
        second: Part::Segment(0),
        start: RSDP,
    };
    assert_eq!(refused(&request(&image, 4)), expected);
}
