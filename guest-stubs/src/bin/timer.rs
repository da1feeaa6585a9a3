//! Does the PIT's periodic interrupt come at the rate that was set?
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::{Boot, Report, cpu, pit, println, stub, trap};

stub!(
    "the PIT interrupts 100 times a second, held against channel 2 and the TSC",
    run
);

/// 10 ms of the PIT.
const CLOCKS: u16 = 11_932;

fn run(report: &mut Report, boot: &Boot) {
    let ticks = boot.number("ticks", 20);
    pit::set_up_pic(1 << pit::LINE);
    let Some(millisecond) = pit::millisecond_tsc() else {
        return report.check("channel 2 counts down a millisecond", false);
    };
    println!("a millisecond by channel 2 is {millisecond} TSC ticks");
    let plausible = (10_000..10_000_000).contains(&millisecond);
    report.check("the TSC runs between 10 MHz and 10 GHz", plausible);
    check_frequency(report, millisecond);
    check_rate(report, ticks, millisecond * 10);
    check_still(report);
}

/// Polling channel 2 reads a little long, so the tolerance is one-sided.
fn check_frequency(report: &mut Report, millisecond: u64) {
    let Some(tsc_hz) = cpu::tsc_hz() else {
        return report.skip("CPUID does not tell the TSC's frequency");
    };
    let told = tsc_hz / 1000;
    println!("by CPUID it is {told}");
    let agree = (told * 99..told * 115).contains(&(millisecond * 100));
    report.check("channel 2 agrees with the frequency in CPUID", agree);
}

fn check_rate(report: &mut Report, ticks: u64, period: u64) {
    let before = trap::irqs(pit::LINE);
    let start = cpu::tsc();
    pit::arm_periodic(CLOCKS);
    while trap::irqs(pit::LINE) - before < ticks && cpu::tsc() - start < 1000 * ticks * period {
        cpu::sleep();
    }
    let came = trap::irqs(pit::LINE) - before;
    let elapsed = cpu::tsc() - start;
    println!(
        "{came} ticks in {elapsed} TSC ticks, {} each",
        elapsed / came.max(1)
    );
    report.check("all of them come", came >= ticks);
    // A VM that waits for its turn loses ticks; one that gets too many has a fast clock.
    // The period may have been measured up to 15 percent long.
    report.check(
        "and none too early",
        came <= elapsed * 115 / (period * 100) + 1,
    );
}

/// In mode 0 after its one interrupt, the channel is silent.
fn check_still(report: &mut Report) {
    pit::arm_once(100);
    cpu::sleep();
    let before = trap::irqs(pit::LINE);
    let quiet = pit::millisecond_tsc();
    cpu::let_interrupts_in();
    report.check("the clock still runs", quiet.is_some());
    report.check_eq(
        "no tick comes after a one-shot",
        trap::irqs(pit::LINE),
        before,
    );
}
