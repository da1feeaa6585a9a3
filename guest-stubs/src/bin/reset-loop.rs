//! Is a restarted VM as clean as a new one?
//!
//! Every life checks memory, fills it, and asks the keyboard controller for a reset. What
//! the policy allows of restarts is the manifest's affair.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::memory::{self, SCRATCH};
use guest_stubs::{Boot, Report, console, cpu, port, println, stub};

stub!("memory is clean after a reset", run);

const LENGTH: u64 = 0x10_0000;
const STATUS_AND_COMMAND: u16 = 0x64;
const PULSE_RESET: u8 = 0xfe;

fn run(report: &mut Report, boot: &Boot) {
    let range = SCRATCH..SCRATCH + LENGTH.min(boot.free().end - SCRATCH);
    if report.on_skerry("memory is zero at the start of every life") {
        let dirty = memory::first_other(range.clone(), 0);
        report.check_none("memory is zero at the start of this life", 1, dirty);
    }
    memory::fill(range, 0xdead_beef_dead_beef);
    report.sum();
    if report.status() == 0 {
        reset();
        report.check("the keyboard controller resets the machine", false);
    }
}

fn reset() {
    println!("asking the keyboard controller for a reset");
    console::drain();
    port::write8(STATUS_AND_COMMAND, PULSE_RESET);
    let start = cpu::tsc();
    while cpu::tsc() - start < 1_000_000_000 {}
}
