//! Does the hypercall table do what it says, and refuse the rest?
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::arch::naked_asm;
use guest_stubs::hypercall::{
    BAD_ARGUMENT, CONSOLE_WRITE, NOT_PERMITTED, SHUTDOWN, STATISTICS, UNKNOWN, VERSION, YIELD, call,
};
use guest_stubs::{Boot, Report, cpu, memory, port, stub, trap, user};

stub!("hypercalls answer, and refuse what they must", run);

fn run(report: &mut Report, boot: &Boot) {
    if !report.on_skerry("hypercalls answer") {
        return;
    }
    report.check(
        "the table has a version of at least 1",
        call(VERSION, 0, 0) >= 1,
    );
    check_console(report, boot);
    check_unknown(report);
    check_statistics(report);
    report.check_eq("yield succeeds", call(YIELD, 0, 0), 0);
    check_user_mode(report);
    report.sum();
    call(SHUTDOWN, report.status().into(), 0);
    report.check("shutdown does not return", false);
}

fn check_console(report: &mut Report, boot: &Boot) {
    let text = b"written by hypercall, across a page boundary\n";
    let at = memory::SCRATCH + 4096 - 10;
    memory::store(at, text);
    let written = call(CONSOLE_WRITE, at, text.len() as u64);
    report.check("a console write across pages succeeds", written >= 0);
    report.check(
        "a console write of no bytes succeeds",
        call(CONSOLE_WRITE, at, 0) >= 0,
    );
    let end = boot.free().end;
    let hostile = [
        ("a console write from a hole", 0xa_0000, 16),
        ("one that leaves memory half-way", end - 8, 16),
        ("one far above memory", 1 << 40, 16),
        ("one that wraps around 2^64", u64::MAX - 7, 16),
        ("one of 2^64 - 1 bytes", at, u64::MAX),
        ("one of 4 GiB", at, 1 << 32),
    ];
    for (claim, gpa, length) in hostile {
        guest_stubs::println!("{claim}:");
        report.check_eq(
            "it is refused as a bad argument",
            call(CONSOLE_WRITE, gpa, length),
            BAD_ARGUMENT,
        );
    }
}

fn check_unknown(report: &mut Report) {
    let numbers = [5, 6, 255, 0x1_0000_0000, 1 << 63, u64::MAX];
    let refused = numbers.iter().all(|number| call(*number, 0, 0) == UNKNOWN);
    report.check(
        "unknown numbers are refused as such, to all 64 bits",
        refused,
    );
}

/// Counter 0 counts exits, 1 accesses to absent ports and memory.
fn check_statistics(report: &mut Report) {
    let refused = [4, 1 << 20, 1 << 32, u64::MAX].map(|index| call(STATISTICS, index, 0));
    report.check(
        "statistics out of range are refused",
        refused == [BAD_ARGUMENT; 4],
    );
    let before = [0, 1].map(|index| call(STATISTICS, index, 0));
    (0..10).for_each(|_| _ = cpu::cpuid(0, 0));
    (0..3).for_each(|_| _ = port::read8(0x5a50));
    let [exits, absent] = [0, 1].map(|index| call(STATISTICS, index, 0));
    report.check(
        "counters are never negative",
        before.iter().all(|count| *count >= 0),
    );
    report.check("13 exits and more are counted", exits - before[0] >= 13);
    report.check_eq(
        "3 accesses to an absent port are counted",
        absent - before[1],
        3,
    );
}

fn check_user_mode(report: &mut Report) {
    // Yield: the result is in RAX when INT3 ends user mode.
    #[unsafe(naked)]
    extern "C" fn yield_by_vmcall() {
        naked_asm!("mov eax, 2", "vmcall", "int3")
    }
    #[unsafe(naked)]
    extern "C" fn yield_by_vmmcall() {
        naked_asm!("mov eax, 2", "vmmcall", "int3")
    }
    let amd = cpu::vendor() == *b"AuthenticAMD";
    let end = user::run(
        if amd {
            yield_by_vmmcall
        } else {
            yield_by_vmcall
        },
        0,
    );
    report.check_eq("user mode comes to its end", end.vector, trap::BP);
    #[allow(clippy::cast_possible_wrap)] // the register holds a signed result
    let result = end.rax as i64;
    report.check_eq(
        "a hypercall from user mode is not permitted",
        result,
        NOT_PERMITTED,
    );
}
