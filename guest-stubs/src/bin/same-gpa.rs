//! Does a page stay a VM's own, while another VM uses the same address?
//!
//! `byte=N` is what this VM fills the page with, `address=N` where it is, `rounds=N` how
//! often it gives the CPU away and looks again.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::{Boot, Report, cpu, hypercall, memory, pit, println, stub};

stub!(
    "a page at a shared guest-physical address stays its own",
    run
);

fn run(report: &mut Report, boot: &Boot) {
    let byte = boot.number("byte", 0x5a);
    let page = boot.number("address", 0x30_0000);
    let rounds = boot.number("rounds", 40);
    println!("byte {byte:#x} at {page:#x}, {rounds} rounds");
    pit::set_up_pic(1 << pit::LINE);
    memory::fill(page..page + 4096, word(byte, 0));
    let broken = (0..rounds).find(|round| !round_holds(page, byte, *round));
    report.check_none("the page holds this VM's bytes in every round", 1, broken);
}

fn word(byte: u64, round: u64) -> u64 {
    byte.wrapping_mul(0x0101_0101_0101_0000) | round
}

/// Gives the CPU away, checks the page, and writes the next round's value.
fn round_holds(page: u64, byte: u64, round: u64) -> bool {
    pit::arm_once(300);
    cpu::sleep();
    if cpu::is_skerry() {
        hypercall::call(hypercall::YIELD, 0, 0);
    }
    let kept = memory::first_other(page..page + 4096, word(byte, round)).is_none();
    memory::fill(page..page + 4096, word(byte, round + 1));
    kept
}
