//! Does memory end exactly where it ends, and does a hole read all ones?
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::{Boot, Report, memory, println, stub};

stub!(
    "memory ends where the map says, and holes read all ones",
    run
);

const VGA: u64 = 0xa_0000;
const LOCAL_APIC: u64 = 0xfee0_0000;

fn run(report: &mut Report, boot: &Boot) {
    boot.ram().for_each(|range| println!("RAM {range:#x?}"));
    check_map(report, boot);
    let below_4_gib = |range: &core::ops::Range<u64>| range.end <= memory::MAPPED_BYTES;
    for range in boot.ram().filter(below_4_gib) {
        println!("the boundary at {:#x}:", range.end);
        let last = range.end - 8;
        if memory::image().contains(&last) || boot.is_loaders(last & !0xfff) {
            report.skip("the last page is in use");
        } else {
            report.check("the last doubleword keeps a value", keeps(last));
        }
    }
    check_holes(report, boot);
}

/// A multiboot2 loader's map is not read.
fn check_map(report: &mut Report, boot: &Boot) {
    let claim = "the loader's map names RAM";
    let named = boot.ram().next().is_some();
    if named || report.on_skerry(claim) {
        report.check(claim, named);
    }
}

fn keeps(address: u64) -> bool {
    let before = memory::read64(address);
    memory::write64(address, 0x0123_4567_89ab_cdef);
    let kept = memory::read64(address) == 0x0123_4567_89ab_cdef;
    memory::write64(address, before);
    kept
}

fn check_holes(report: &mut Report, boot: &Boot) {
    if !report.on_skerry("unbacked memory reads all ones and drops writes") {
        return;
    }
    let end = boot.free().end;
    let far = [
        VGA,
        VGA + 0x1_fff8,
        end,
        end + 0x1000,
        end + 0x20_0000,
        LOCAL_APIC - 8,
        0xffff_fff8,
    ];
    for hole in far.into_iter().filter(|hole| !is_ram(boot, *hole)) {
        println!("the hole at {hole:#x}:");
        check_hole(report, hole);
    }
    check_straddle(report, end);
}

fn is_ram(boot: &Boot, address: u64) -> bool {
    boot.ram().any(|range| range.contains(&address))
}

fn check_hole(report: &mut Report, hole: u64) {
    report.check_eq(
        "a doubleword reads all ones",
        memory::read64(hole),
        u64::MAX,
    );
    report.check_eq("a byte reads all ones", memory::read8(hole + 3), 0xff);
    memory::write64(hole, 0);
    memory::write32(hole + 4, 0x1234_5678);
    memory::write8(hole + 1, 0);
    report.check_eq("writes are dropped", memory::read64(hole), u64::MAX);
}

/// An access that begins in the last page of RAM and ends in the hole.
fn check_straddle(report: &mut Report, end: u64) {
    memory::write32(end - 4, 0x89ab_cdef);
    let read = memory::read64(end - 4);
    report.check_eq(
        "a read across the end is half RAM, half ones",
        read,
        0xffff_ffff_89ab_cdef,
    );
}
