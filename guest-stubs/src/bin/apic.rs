//! Is there a local APIC by the book, in xAPIC and in x2APIC mode?
//!
//! Both modes answer the same questions; then those about the one and about the way between
//! them. Times of the APIC timer are held against the TSC under Skerry only, where one tick of
//! the timer is one of the TSC; `alone` says that no other machine is given the CPU, so that
//! being late is a fault too. Needs a single CPU.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::apic::{
    self, AT_DEADLINE, CURRENT_COUNT, DIVIDE, ENABLE, ERRORS, EXTENDED, ID, IN_SERVICE,
    INITIAL_COUNT, LOGICAL_ID, LVT_ERROR, LVT_TIMER, MASKED, PERIODIC, PRIORITY, REQUESTS,
    TASK_PRIORITY, VERSION,
};
use guest_stubs::trap::{self, GP};
use guest_stubs::{Boot, Report, cpu, instruction, memory, pit, println, stub};

stub!("the local APIC, in both its modes", run);

/// Long enough for an interrupt that should not come.
const WHILE_TSC: u64 = 300_000;
/// What the timer is set to, and the most that the luckiest round may take.
const AHEAD: u64 = 500_000;
const LATEST: u64 = 550_000;
const ROUNDS: u64 = 8;
const TIMER: u8 = 0x55;
/// Divides by 1.
const UNDIVIDED: u32 = 0xb;

fn run(report: &mut Report, boot: &Boot) {
    let latest = if boot.has("alone") { LATEST } else { u64::MAX };
    if !cpu::has_apic() {
        return report.skip("the CPU has no local APIC");
    }
    pit::arm_once(u16::MAX);
    pit::set_up_pic(0);
    apic::set_up();
    check_base(report);
    check_mode(report, "xAPIC", latest);
    check_absent_register(report);
    if !apic::has_x2apic() {
        return report.skip("the CPU has no x2APIC mode");
    }
    check_msrs_in_memory_mode(report);
    apic::enter_x2apic();
    report.check("x2APIC mode can be entered", apic::is_x2apic());
    check_mode(report, "x2APIC", latest);
    check_identity(report);
    check_self_ipi_register(report);
    check_refusals(report);
    check_transitions(report);
}

/// What both modes have in common.
fn check_mode(report: &mut Report, mode: &str, latest: u64) {
    check_registers(report, mode);
    check_order(report, mode);
    check_priority(report, mode);
    check_service(report, mode);
    check_one_shot(report, mode, latest);
    check_periodic(report, mode);
    check_deadline(report, mode, latest);
    check_errors(report, mode);
}

fn check_base(report: &mut Report) {
    let base = cpu::rdmsr(apic::BASE);
    let wanted = apic::PAGE | ENABLE | apic::BOOT_PROCESSOR;
    report.check_eq("IA32_APIC_BASE is as firmware leaves it", base, wanted);
    let told = cpu::cpuid(1, 0).ebx >> 24;
    report.check_eq("the ID is CPUID's", apic::id(), told);
}

fn check_registers(report: &mut Report, mode: &str) {
    let version = apic::read(VERSION);
    let plausible = (0x10..=0x1f).contains(&(version & 0xff)) && version >> 16 & 0xff >= 3;
    report.check_of(mode, "the version is that of an integrated APIC", plausible);
    for priority in [0x50, 0xf0, 0] {
        apic::write(TASK_PRIORITY, priority);
        let pair = [apic::read(TASK_PRIORITY), apic::read(PRIORITY)];
        report.check_eq_of(mode, "PPR follows TPR", pair, [priority; 2]);
        let (cr8, wanted) = (read_cr8(), u64::from(priority >> 4));
        report.check_eq_of(mode, "and so does CR8", cr8, wanted);
    }
    write_cr8(7);
    let task = apic::read(TASK_PRIORITY);
    report.check_eq_of(mode, "TPR follows CR8", task, 0x70);
    write_cr8(0);
}

fn read_cr8() -> u64 {
    let value;
    instruction!("mov {}, cr8", out(reg) value, options(nomem, nostack));
    value
}

fn write_cr8(value: u64) {
    instruction!("mov cr8, {}", in(reg) value, options(nostack));
}

/// Interrupts that wait for the flag are taken highest vector first.
fn check_order(report: &mut Report, mode: &str) {
    _ = apic::order::<0>();
    for vector in [0x41, 0x61, 0x51, 0x62] {
        apic::send_self(vector);
    }
    let waiting = apic::has(REQUESTS, 0x51) && !apic::has(IN_SERVICE, 0x51);
    report.check_of(mode, "with the flag clear they wait in IRR", waiting);
    apic::idle(WHILE_TSC);
    let order = apic::order::<5>();
    let wanted = [0x62, 0x61, 0x51, 0x41, 0];
    report.check_eq_of(mode, "self-IPIs come by priority", order, wanted);
    let left = apic::has(REQUESTS, 0x51) || apic::has(IN_SERVICE, 0x51);
    report.check_of(mode, "and leave IRR and ISR clear", !left);
    apic::send_self(0x41);
    apic::send_self(0x41);
    apic::idle(WHILE_TSC);
    let order = apic::order::<2>();
    report.check_eq_of(mode, "two of the same are one", order, [0x41, 0]);
}

/// What TPR holds back comes when TPR falls.
fn check_priority(report: &mut Report, mode: &str) {
    apic::write(TASK_PRIORITY, 0x60);
    apic::send_self(0x6f);
    apic::send_self(0x70);
    apic::idle(WHILE_TSC);
    let order = apic::order::<2>();
    report.check_eq_of(mode, "only the class above TPR comes", order, [0x70, 0]);
    apic::write(TASK_PRIORITY, 0x50);
    apic::idle(WHILE_TSC);
    let order = apic::order::<2>();
    report.check_eq_of(mode, "the other when TPR falls", order, [0x6f, 0]);
    apic::write(TASK_PRIORITY, 0);
}

/// An interrupt in service holds its class and those below back until its end.
fn check_service(report: &mut Report, mode: &str) {
    apic::hold(0x58);
    apic::send_self(0x58);
    apic::idle(WHILE_TSC);
    let served = apic::has(IN_SERVICE, 0x58) && !apic::has(REQUESTS, 0x58);
    report.check_of(mode, "without EOI it stays in ISR", served);
    let priority = apic::read(PRIORITY);
    report.check_eq_of(mode, "and its class is in PPR", priority & 0xf0, 0x50);
    _ = apic::order::<0>();
    for vector in [0x49, 0x59, 0x63] {
        apic::send_self(vector);
    }
    apic::idle(WHILE_TSC);
    let order = apic::order::<2>();
    report.check_eq_of(mode, "only a higher class comes then", order, [0x63, 0]);
    apic::hold(0);
    apic::end();
    apic::idle(WHILE_TSC);
    let order = apic::order::<3>();
    report.check_eq_of(mode, "EOI lets the others come", order, [0x59, 0x49, 0]);
}

/// Whether this vector comes to `wanted` interrupts, and no more in the time after.
fn comes(vector: u8, wanted: u64) -> bool {
    apic::eventually(|| apic::count(vector) >= wanted) && {
        apic::idle(WHILE_TSC);
        apic::count(vector) == wanted
    }
}

fn check_one_shot(report: &mut Report, mode: &str, latest: u64) {
    const COUNT: u32 = AHEAD as u32;
    apic::write(DIVIDE, UNDIVIDED);
    apic::write(LVT_TIMER, TIMER.into());
    let (mut all_once, mut shortest) = (true, u64::MAX);
    for _ in 0..ROUNDS {
        let before = apic::count(TIMER);
        let start = cpu::tsc();
        apic::write(INITIAL_COUNT, COUNT);
        let came = apic::eventually(|| apic::count(TIMER) > before);
        shortest = shortest.min(cpu::tsc() - start);
        all_once &= came && comes(TIMER, before + 1);
    }
    report.check_of(mode, "a one-shot timer fires once", all_once);
    report.check_eq_of(mode, "then it stands at 0", apic::read(CURRENT_COUNT), 0);
    if report.on_skerry("one tick of the timer is one of the TSC") {
        check_time(report, mode, shortest, latest);
    }
    apic::write(LVT_TIMER, MASKED | u32::from(TIMER));
    let before = apic::count(TIMER);
    apic::write(INITIAL_COUNT, u32::MAX);
    let [first, second] = [(); 2].map(|()| apic::read(CURRENT_COUNT));
    let falls = first > second && second > 0;
    report.check_of(mode, "the current count falls", falls);
    apic::write(INITIAL_COUNT, COUNT);
    apic::idle(3 * u64::from(COUNT));
    let quiet = apic::count(TIMER) == before;
    report.check_of(mode, "a masked timer does not interrupt", quiet);
}

/// Not before its time, and in the luckiest round not later than `latest`.
fn check_time(report: &mut Report, mode: &str, shortest: u64, latest: u64) {
    println!("{mode}: {shortest} ticks where {AHEAD} were asked for");
    let right = (AHEAD..=latest).contains(&shortest);
    report.check_of(mode, "it takes the time that was asked for", right);
}

fn check_periodic(report: &mut Report, mode: &str) {
    const PERIOD: u32 = 200_000;
    const ROUNDS: u64 = 10;
    apic::write(LVT_TIMER, PERIODIC | u32::from(TIMER));
    let before = apic::count(TIMER);
    let start = cpu::tsc();
    apic::write(INITIAL_COUNT, PERIOD);
    let came = apic::eventually(|| apic::count(TIMER) >= before + ROUNDS);
    report.check_of(mode, "a periodic timer fires again and again", came);
    let fired = apic::count(TIMER) - before;
    let elapsed = cpu::tsc() - start;
    if report.on_skerry("a period of the timer is one of the TSC") {
        let none_early = fired * u64::from(PERIOD) <= elapsed;
        report.check_of(mode, "no period is too short", none_early);
    }
    apic::write(INITIAL_COUNT, 0);
    apic::idle(WHILE_TSC);
    let before = apic::count(TIMER);
    apic::idle(4 * u64::from(PERIOD));
    let quiet = apic::count(TIMER) == before;
    report.check_of(mode, "an initial count of 0 stops it", quiet);
}

fn check_deadline(report: &mut Report, mode: &str, latest: u64) {
    if cpu::cpuid(1, 0).ecx & 1 << 24 == 0 {
        return report.skip("the CPU has no TSC deadline");
    }
    cpu::wrmsr(apic::TSC_DEADLINE, cpu::tsc() + AHEAD);
    let unarmed = cpu::rdmsr(apic::TSC_DEADLINE);
    report.check_eq_of(mode, "in another mode no deadline is armed", unarmed, 0);
    apic::write(LVT_TIMER, AT_DEADLINE | u32::from(TIMER));
    let mut shortest = u64::MAX;
    let mut once = true;
    for _ in 0..ROUNDS {
        let before = apic::count(TIMER);
        let start = cpu::tsc();
        let deadline = start + AHEAD;
        cpu::wrmsr(apic::TSC_DEADLINE, deadline);
        let armed = [deadline, 0].contains(&cpu::rdmsr(apic::TSC_DEADLINE));
        let came = apic::eventually(|| apic::count(TIMER) > before);
        shortest = shortest.min(cpu::tsc() - start);
        once &= armed && came && comes(TIMER, before + 1);
    }
    report.check_of(mode, "a deadline fires once", once);
    let left = cpu::rdmsr(apic::TSC_DEADLINE);
    report.check_eq_of(mode, "and is 0 then", left, 0);
    check_time(report, mode, shortest, latest);
    check_deadline_edges(report, mode);
    apic::write(LVT_TIMER, MASKED | u32::from(TIMER));
}

fn check_deadline_edges(report: &mut Report, mode: &str) {
    let before = apic::count(TIMER);
    cpu::wrmsr(apic::TSC_DEADLINE, 1);
    let fires = comes(TIMER, before + 1);
    report.check_of(mode, "a deadline in the past fires at once", fires);
    cpu::wrmsr(apic::TSC_DEADLINE, cpu::tsc() + WHILE_TSC);
    cpu::wrmsr(apic::TSC_DEADLINE, 0);
    apic::idle(3 * WHILE_TSC);
    // A machine so slow that it fired in between is not at fault.
    let quiet = apic::count(TIMER) <= before + 2;
    let disarmed = cpu::rdmsr(apic::TSC_DEADLINE) == 0;
    report.check_of(mode, "0 disarms it", quiet && disarmed);
    let far = cpu::tsc() + (1 << 40);
    cpu::wrmsr(apic::TSC_DEADLINE, far);
    let armed = cpu::rdmsr(apic::TSC_DEADLINE);
    report.check_eq_of(mode, "one far away can be read", armed, far);
    apic::write(LVT_TIMER, u32::from(TIMER));
    let gone = cpu::rdmsr(apic::TSC_DEADLINE);
    report.check_eq_of(mode, "and goes with its mode", gone, 0);
}

/// The error status register shows what came before it was written.
fn check_errors(report: &mut Report, mode: &str) {
    const SENT_ILLEGAL_VECTOR: u32 = 1 << 5;
    const ERROR: u8 = 0x66;
    apic::write(ERRORS, 0);
    apic::write(LVT_ERROR, ERROR.into());
    let before = apic::count(ERROR);
    apic::send_self(5);
    apic::write(ERRORS, 0);
    let shown = apic::read(ERRORS) & SENT_ILLEGAL_VECTOR;
    let claim = "sending vector 5 is an error";
    report.check_eq_of(mode, claim, shown, SENT_ILLEGAL_VECTOR);
    let interrupts = comes(ERROR, before + 1);
    report.check_of(mode, "which interrupts once", interrupts);
    apic::write(ERRORS, 0);
    report.check_eq_of(mode, "and is gone then", apic::read(ERRORS), 0);
    apic::write(LVT_ERROR, MASKED);
}

fn check_absent_register(report: &mut Report) {
    const ILLEGAL_REGISTER: u32 = 1 << 7;
    apic::write(ERRORS, 0);
    let value = memory::read32(apic::PAGE + 0x40);
    apic::write(ERRORS, 0);
    println!("xAPIC: register 40h reads {value:#x}");
    let shown = apic::read(ERRORS);
    let claim = "xAPIC: a register that is not there is an error";
    report.check_eq(claim, shown, ILLEGAL_REGISTER);
    apic::write(ERRORS, 0);
}

/// Whether RDMSR is refused.
fn read_faults(msr: u32) -> bool {
    trap::vector_of(|| _ = cpu::rdmsr(msr)) == Some(GP)
}

/// Whether WRMSR is refused.
fn write_faults(msr: u32, value: u64) -> bool {
    trap::vector_of(|| cpu::wrmsr(msr, value)) == Some(GP)
}

fn check_msrs_in_memory_mode(report: &mut Report) {
    let refused = read_faults(apic::msr(ID)) && write_faults(apic::msr(TASK_PRIORITY), 0);
    report.check("in xAPIC mode its MSRs are #GP", refused);
}

fn check_identity(report: &mut Report) {
    let id = apic::read(ID);
    report.check_eq(
        "x2APIC: the ID is 32 bits of CPUID",
        id,
        cpu::cpuid(0xb, 0).edx,
    );
    let logical = (id >> 4) << 16 | 1 << (id & 0xf);
    let claim = "x2APIC: the logical ID is made of it";
    report.check_eq(claim, apic::read(LOGICAL_ID), logical);
}

fn check_self_ipi_register(report: &mut Report) {
    _ = apic::order::<0>();
    apic::write(apic::SELF_IPI, 0x42);
    apic::write(apic::SELF_IPI, 0x72);
    apic::idle(WHILE_TSC);
    let order = apic::order::<3>();
    report.check_eq_of(
        "x2APIC",
        "the self-IPI register sends",
        order,
        [0x72, 0x42, 0],
    );
}

/// What x2APIC mode refuses `[SDM 3A, "x2APIC Register Address Space" and "Reserved Bit
/// Checking", ed. 085]`.
fn check_refusals(report: &mut Report) {
    const HIGH: u64 = 1 << 32;
    let reads = [
        (0x80b, "EOI cannot be read"),
        (0x83f, "nor the self-IPI register"),
        (0x80e, "there is no DFR"),
        (0x831, "there is no second half of ICR"),
        (0x804, "nor anything at 804h"),
        (0x8ff, "nor at 8FFh"),
    ];
    for (msr, claim) in reads {
        report.check_of("x2APIC, #GP", claim, read_faults(msr));
    }
    let writes = [
        (0x802, 0, "the ID cannot be written"),
        (0x803, 0, "nor the version"),
        (0x80a, 0, "nor PPR"),
        (0x80d, 0, "nor the logical ID"),
        (0x810, 0, "nor ISR"),
        (0x820, 0, "nor IRR"),
        (0x839, 0, "nor the current count"),
        (0x80e, 0, "there is no DFR to write"),
        (0x80b, 1, "EOI takes 0 only"),
        (0x828, 1, "so does ESR"),
        (0x808, 0x100, "TPR has 8 bits"),
        (0x808, HIGH, "and no upper half"),
        (0x80f, HIGH | 0x1ff, "nor has SVR"),
        (0x832, 1 << 19 | 0xff, "LVT's reserved bits are reserved"),
        (0x838, HIGH, "the initial count has no upper half"),
        (0x83e, 0x10, "the divisor has reserved bits"),
        (0x83f, 0x100, "the self-IPI register has 8 bits"),
    ];
    for (msr, value, claim) in writes {
        report.check_of("x2APIC, #GP", claim, write_faults(msr, value));
    }
}

/// The ways between the modes `[SDM 3A, "x2APIC State Transitions", ed. 085]`.
fn check_transitions(report: &mut Report) {
    let base = cpu::rdmsr(apic::BASE);
    let neither = base & !(ENABLE | EXTENDED);
    let refused = |value| write_faults(apic::BASE, value);
    report.check("from x2APIC to xAPIC is #GP", refused(neither | ENABLE));
    report.check("EXTD without EN is #GP", refused(neither | EXTENDED));
    report.check("reserved bits are #GP", refused(base | 1));
    report.check_eq("and nothing has changed", cpu::rdmsr(apic::BASE), base);
    cpu::wrmsr(apic::BASE, neither);
    report.check("switched off, CPUID shows no APIC", !cpu::has_apic());
    let refused = refused(neither | ENABLE | EXTENDED);
    report.check("from off to x2APIC is #GP", refused);
    cpu::wrmsr(apic::BASE, neither | ENABLE);
    report.check("and back on it does", cpu::has_apic());
    apic::switch_on();
    _ = apic::order::<0>();
    apic::send_self(0x41);
    apic::idle(WHILE_TSC);
    let works = apic::order::<2>() == [0x41, 0];
    report.check("which works in xAPIC mode", works);
}
