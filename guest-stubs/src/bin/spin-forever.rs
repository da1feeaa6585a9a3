//! Does a VM that never gives the CPU back get its share and no more?
//!
//! Interrupts off, no exits. `ms=N` ends it after that many milliseconds of the PIT with what
//! share of the CPU it had; `least=P` and `most=P` say between which percentages that must lie.
//! `way=ins` spins in one endless string instruction, `way=pause` in PAUSE.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::{Boot, Report, console, cpu, instruction, memory, pit, println, stub};

stub!("a spinning VM gets its share of the CPU", run);

const LOOPS: u64 = 10_000;

fn run(report: &mut Report, boot: &Boot) {
    let ticks = ticks_of(boot.number("ms", u64::MAX));
    println!("spinning with interrupts off");
    console::drain();
    match boot.value("way") {
        Some("ins") => instruction!(
            "rep insb", in("dx") console::COM1 + 7,
            inout("rdi") memory::SCRATCH => _, inout("rcx") u64::MAX => _,
        ),
        Some("pause") => instruction!("2: pause", "jmp 2b"),
        _ => check_share(report, boot, ticks),
    }
}

/// So many milliseconds in ticks of the TSC; no end where there is no PIT to ask.
fn ticks_of(ms: u64) -> u64 {
    match ms {
        u64::MAX => ms,
        _ => pit::millisecond_tsc().map_or(u64::MAX, |tsc| tsc.saturating_mul(ms)),
    }
}

/// The shortest block was not preempted: it tells what each of them had of the CPU.
fn check_share(report: &mut Report, boot: &Boot, ticks: u64) {
    let start = cpu::tsc();
    let [mut blocks, mut shortest] = [0, u64::MAX];
    while cpu::tsc() - start < ticks {
        shortest = shortest.min(block());
        blocks += 1;
    }
    let share = blocks * shortest * 100 / (cpu::tsc() - start).max(1);
    println!("progress {blocks} blocks of {shortest} ticks, {share} percent of the CPU");
    report.check(
        "it had at least the share it must get",
        share >= boot.number("least", 0),
    );
    report.check(
        "and at most what is left to it",
        share <= boot.number("most", 101),
    );
}

/// Runs a fixed number of instructions; the ticks they took, preemption included.
fn block() -> u64 {
    let start = cpu::tsc();
    instruction!("2: dec {}", "jnz 2b", inout(reg) LOOPS => _, options(nostack));
    cpu::tsc() - start
}
