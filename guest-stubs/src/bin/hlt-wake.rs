//! Does HLT sleep until an interrupt comes, and no longer?
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::{Boot, Report, cpu, pit, println, stub, trap};

stub!("HLT sleeps until the PIT interrupts, and wakes", run);

const ROUNDS: u64 = 16;

fn run(report: &mut Report, _boot: &Boot) {
    let reference = pit::millisecond_tsc();
    report.check("channel 2 counts down a millisecond", reference.is_some());
    // A tick that an earlier clock left pending would end the first sleep at once.
    pit::arm_once(u16::MAX);
    pit::set_up_pic(1 << pit::LINE);
    cpu::let_interrupts_in();
    check_sleep(report, reference.unwrap_or(0));
    check_pending(report);
    check_masked(report);
}

fn check_sleep(report: &mut Report, millisecond: u64) {
    let before = trap::irqs(pit::LINE);
    let shortest = (0..ROUNDS).map(|_| sleep_once()).min().unwrap_or(0);
    let woken = trap::irqs(pit::LINE) - before;
    report.check_eq("every sleep ends with one interrupt", woken, ROUNDS);
    println!("the shortest sleep took {shortest} ticks, a millisecond {millisecond}");
    let wanted = millisecond * 8 / 10;
    report.check(
        "no sleep is shorter than the time asked for",
        shortest >= wanted,
    );
}

fn sleep_once() -> u64 {
    let start = cpu::tsc();
    pit::arm_once(pit::MILLISECOND);
    cpu::sleep();
    cpu::tsc() - start
}

/// An interrupt that waits already is taken in the HLT after STI, not before it: else the
/// HLT would never end.
fn check_pending(report: &mut Report) {
    let before = trap::irqs(pit::LINE);
    for _ in 0..ROUNDS {
        pit::arm_once(100);
        while pit::pic_requests() & 1 == 0 {}
        cpu::sleep();
    }
    let woken = trap::irqs(pit::LINE) - before;
    report.check_eq("a waiting interrupt ends the HLT behind STI", woken, ROUNDS);
}

fn check_masked(report: &mut Report) {
    let before = trap::irqs(pit::LINE);
    pit::set_up_pic(0);
    pit::arm_once(100);
    while pit::pic_requests() & 1 == 0 {}
    cpu::let_interrupts_in();
    report.check_eq(
        "a masked line does not interrupt",
        trap::irqs(pit::LINE),
        before,
    );
}
