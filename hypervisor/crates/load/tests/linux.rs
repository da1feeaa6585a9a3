//! Plans for bzImages, against the boot protocol's document.
#![allow(missing_docs)]

mod common;

use common::{BzImage, MIB, is_sound, le, memory, refused, request, text};
use skerry_load::{ImageKind, LoadError, Part, Request, plan};
use skerry_words::{Gpr, Segment};

/// Follows four levels of page tables as a CPU does; `None` where nothing is mapped.
fn walk(memory: &[u8], cr3: u64, address: u64) -> Option<u64> {
    let mut table = cr3;
    for level in (0..4).rev() {
        let shift = 12 + 9 * level;
        let entry = le(memory, table + (address >> shift & 0x1ff) * 8, 8);
        if entry & 1 == 0 {
            return None;
        }
        let base = entry & 0x000f_ffff_ffff_f000;
        if level == 0 || (level < 3 && entry & 0x80 != 0) {
            return Some(base | address & ((1 << shift) - 1));
        }
        table = base;
    }
    None
}

#[test]
fn the_kernel_goes_to_its_preferred_address_without_its_setup_sectors() {
    let kernel = BzImage::default();
    let image = kernel.build();
    let plan = plan(&request(&image, 64)).unwrap();
    let memory = memory(&plan, 64 * MIB);
    assert_eq!(memory[0x100_0000..0x100_1000], kernel.payload);
    assert_eq!(plan.entry.rip, 0x100_0200);
    assert!(is_sound(&plan, 64 * MIB));
}

#[test]
fn zero_setup_sectors_mean_four() {
    let kernel = BzImage {
        setup_sectors: 0,
        ..BzImage::default()
    };
    let image = kernel.build();
    let plan = plan(&request(&image, 64)).unwrap();
    assert_eq!(
        memory(&plan, 64 * MIB)[0x100_0000..0x100_1000],
        kernel.payload
    );
}

#[test]
fn a_last_paragraph_left_short_is_no_truncation() {
    let mut image = BzImage::default().build();
    image.truncate(image.len() - 15);
    assert!(plan(&request(&image, 64)).is_ok());
}

#[test]
fn the_zero_page_holds_header_map_command_line_and_initrd() {
    let image = BzImage::default().build();
    let initrd = vec![0x5a; 0x12_3456];
    let request = Request {
        initrd: Some(&initrd),
        cmdline: "console=ttyS0 quiet",
        ..request(&image, 64)
    };
    let plan = plan(&request).unwrap();
    let memory = memory(&plan, 64 * MIB);
    let zero_page = plan.entry.get(Gpr::Rsi);
    let field = |at, bytes| le(&memory, zero_page + at, bytes);

    assert_eq!(&memory[zero_page as usize + 0x202..][..4], b"HdrS");
    assert_eq!(field(0x260, 4), 0x80_0000, "init_size is copied");
    assert_eq!(field(0x210, 1), 0xff, "no boot loader's number");
    assert_eq!(text(&memory, field(0x228, 4)), "console=ttyS0 quiet");

    let (at, bytes) = (field(0x218, 4), field(0x21c, 4));
    assert_eq!(
        at,
        64 * MIB - 0x12_4000,
        "as high as a page boundary lets it"
    );
    assert_eq!(memory[at as usize..(at + bytes) as usize], initrd);

    let map: Vec<_> = (0..field(0x1e8, 1))
        .map(|i| 0x2d0 + i * 20)
        .map(|at| (field(at, 8), field(at + 8, 8), field(at + 16, 4)))
        .collect();
    let expected = [
        (0, 0xa_0000, 1),
        (0xa_0000, 0x6_0000, 2),
        (0x10_0000, 63 * MIB, 1),
    ];
    assert_eq!(map, expected);
}

#[test]
fn the_entry_is_64_bit_on_an_identity_map_of_4_gib_with_interrupts_off() {
    let image = BzImage::default().build();
    let plan = plan(&request(&image, 64)).unwrap();
    let memory = memory(&plan, 64 * MIB);
    let entry = &plan.entry;
    assert_eq!(
        (entry.cr0, entry.cr4, entry.efer),
        (0x8000_0011, 0x20, 0x500)
    );
    assert_eq!(entry.rflags, 2);
    for address in [
        0,
        0x1f_ffff,
        0x20_0000,
        0x1234_5678,
        0xbfff_ffff,
        0xffff_ffff,
    ] {
        assert_eq!(walk(&memory, entry.cr3, address), Some(address));
    }
    assert_eq!(walk(&memory, entry.cr3, 0x1_0000_0000), None);
}

#[test]
fn the_segment_registers_agree_with_the_descriptors_behind_them() {
    let image = BzImage::default().build();
    let plan = plan(&request(&image, 64)).unwrap();
    let memory = memory(&plan, 64 * MIB);
    for (segment, selector) in [
        (Segment::Cs, 0x10),
        (Segment::Ds, 0x18),
        (Segment::Ss, 0x18),
    ] {
        let register = plan.entry.segment(segment);
        let descriptor = le(&memory, plan.entry.gdtr.base + selector, 8);
        assert_eq!(u64::from(register.selector), selector);
        assert_eq!(u64::from(register.rights.bits()), descriptor >> 40 & 0xf0ff);
    }
    assert_eq!(plan.entry.gdtr.limit, 4 * 8 - 1);
}

#[test]
fn an_initrd_stays_below_the_kernels_limit_and_out_of_its_way() {
    let kernel = BzImage {
        initrd_last: 0x11f_ffff,
        ..BzImage::default()
    };
    let (image, initrd) = (kernel.build(), vec![1; 4096]);
    let request = Request {
        initrd: Some(&initrd),
        ..request(&image, 64)
    };
    let plan = plan(&request).unwrap();
    assert!(plan.pieces.iter().any(|piece| piece.at.0 == 0xff_f000));
}

#[test]
fn memory_beyond_3_gib_is_in_the_map_above_4_gib() {
    let image = BzImage::default().build();
    let plan = plan(&request(&image, 5 << 10)).unwrap();
    let zero_page = plan
        .pieces
        .iter()
        .find(|piece| piece.at.0 == 0x2000)
        .unwrap();
    assert_eq!(zero_page.bytes[0x1e8], 4);
    assert_eq!(le(&zero_page.bytes, 0x2d0 + 60, 8), 4 << 30);
    assert_eq!(le(&zero_page.bytes, 0x2d0 + 68, 8), 2 << 30);
}

#[test]
fn too_little_memory_is_refused_with_the_amount_that_would_do() {
    let image = BzImage::default().build();
    let error = refused(&request(&image, 23));
    assert!(matches!(
        error,
        LoadError::OutsideRam {
            part: Part::Kernel,
            ..
        }
    ));
    assert!(
        error.to_string().ends_with("raise `memory` to 24M or more"),
        "{error}"
    );
    assert!(plan(&request(&image, 24)).is_ok());
}

#[test]
fn an_initrd_that_does_not_fit_is_refused_with_the_amount_that_would_do() {
    let (image, initrd) = (BzImage::default().build(), vec![1; 40 << 20]);
    let with = |memory_mib| Request {
        initrd: Some(&initrd),
        ..request(&image, memory_mib)
    };
    assert_eq!(
        refused(&with(32)).to_string(),
        "the initrd of 40 MiB does not fit in 32 MiB of memory beside the kernel; \
         raise `memory` to 64M or more"
    );
    assert!(plan(&with(63)).is_err());
    assert!(plan(&with(64)).is_ok());
}

#[test]
fn the_command_line_may_have_as_many_bytes_as_the_kernel_says() {
    let image = BzImage::default().build();
    let cmdline = "x".repeat(2048);
    let with = |cmdline| Request {
        cmdline,
        ..request(&image, 64)
    };
    assert!(plan(&with(&cmdline[..2047])).is_ok());
    let expected = LoadError::CmdlineTooLong {
        cmdline_bytes: 2048,
        limit_bytes: 2047,
    };
    assert_eq!(refused(&with(&cmdline)), expected);
    assert_eq!(refused(&with("a\0b")), LoadError::CmdlineNul);
}

#[test]
fn kernels_that_cannot_be_entered_are_refused_by_name() {
    let refused_with = |kernel: BzImage| refused(&request(&kernel.build(), 64));
    let old = BzImage {
        version: 0x020b,
        ..BzImage::default()
    };
    assert_eq!(refused_with(old), LoadError::LinuxVersion(0x020b));
    let narrow = BzImage {
        xloadflags: 0x7e,
        ..BzImage::default()
    };
    assert_eq!(refused_with(narrow), LoadError::Linux32Bit(0x7e));
    let odd = BzImage {
        alignment: 3,
        ..BzImage::default()
    };
    assert_eq!(refused_with(odd), LoadError::LinuxAlignment(3));
}

#[test]
fn a_truncated_kernel_is_refused_with_the_bytes_it_lacks() {
    let image = BzImage::default().build();
    let cut = |bytes: usize| refused(&request(&image[..bytes], 64));
    let expected = LoadError::Truncated {
        what: "kernel",
        needed_bytes: 3 * 512 + 0x1000,
        image_bytes: 5000,
    };
    assert_eq!(cut(5000), expected);
    let LoadError::Truncated { what, .. } = cut(0x210) else {
        unreachable!()
    };
    assert_eq!(what, "setup header");
}

#[test]
fn an_image_that_is_not_what_it_claims_is_refused_with_what_it_is() {
    let image = b"\x1f\x8b\x08\0 a gzip file";
    let claimed = |kind| {
        refused(&Request {
            kind,
            ..request(image, 64)
        })
    };
    assert_eq!(
        claimed(ImageKind::LinuxBzImage),
        LoadError::NotLinux([0; 4])
    );
    assert_eq!(
        claimed(ImageKind::Pvh),
        LoadError::NotElf([0x1f, 0x8b, 8, 0])
    );
    assert_eq!(
        claimed(ImageKind::Elf),
        LoadError::NotElf([0x1f, 0x8b, 8, 0])
    );
    assert_eq!(
        claimed(ImageKind::Auto),
        LoadError::Unrecognized([0x1f, 0x8b, 8, 0])
    );
}

#[test]
fn empty_files_and_less_memory_than_a_pc_has_are_refused() {
    let image = BzImage::default().build();
    assert_eq!(refused(&request(b"", 64)), LoadError::EmptyImage);
    assert_eq!(refused(&request(&image, 0)), LoadError::Memory(0));
    let empty_initrd = Request {
        initrd: Some(b""),
        ..request(&image, 64)
    };
    assert_eq!(refused(&empty_initrd), LoadError::EmptyInitrd);
}
