//! Do other CPUs start, hear, wake and tell the time?
//!
//! All others are started at once by a broadcast, and one of them again by its ID. `cpus=4`
//! says how many CPUs there should be; `x2apic` does everything in that mode.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use guest_stubs::smp::{self, Mailbox, SLOTS};
use guest_stubs::{Boot, Report, apic, cpu, pit, println, stub};

stub!("several CPUs: start-up, IPIs, HLT, NMI, time", run);

/// Long enough for something that should not happen.
const WHILE_TSC: u64 = 1_000_000;
const TO_AP: u8 = 0x44;
const TO_BOOT: u8 = 0x54;
const WAKE: u8 = 0x64;
const SHOOT: u8 = 0x74;
const NMI_VECTOR: u8 = 2;

/// What a CPU is asked to do; the upper half of the word is an APIC ID or a round.
mod order {
    /// To answer with its TSC.
    pub const TELL_TIME: u64 = 1;
    /// To send `TO_BOOT` to an ID.
    pub const SEND: u64 = 2;
    /// To sleep, interrupts let in.
    pub const SLEEP: u64 = 3;
    /// To sleep with interrupts off, which only an NMI ends.
    pub const SLEEP_DEAF: u64 = 4;
}

/// What a CPU answers to all but the time.
const DONE: u64 = 1;

static ORDERS: [Mailbox; SLOTS] = [const { Mailbox::new() }; SLOTS];
static ANSWERS: [Mailbox; SLOTS] = [const { Mailbox::new() }; SLOTS];
/// By slot: the ID of who has it, plus 1.
static IDS: [AtomicU64; SLOTS] = [const { AtomicU64::new(0) }; SLOTS];
/// Whether others are to enter x2APIC mode.
static X2APIC: AtomicU64 = AtomicU64::new(0);

fn run(report: &mut Report, boot: &Boot) {
    pit::arm_once(u16::MAX);
    pit::set_up_pic(0);
    if boot.has("x2apic") {
        apic::enter_x2apic();
        X2APIC.store(1, SeqCst);
    }
    apic::set_up();
    let others = boot.number("cpus", 4) - 1;
    check_start(report, others);
    let ids: [Option<u32>; SLOTS] = core::array::from_fn(id_of);
    if ids.iter().flatten().count() as u64 != others {
        return report.check("each CPU has come once", false);
    }
    check_time(report, &ids);
    check_ipis(report, &ids);
    check_wake(report, &ids);
    check_nmi(report, &ids);
    check_shoot_down(report, others);
    check_restart(report, &ids, others);
}

extern "C" fn work(slot: usize) -> ! {
    smp::join();
    if X2APIC.load(SeqCst) == 1 {
        apic::enter_x2apic();
    }
    apic::switch_on();
    IDS[slot].store(u64::from(apic::id()) + 1, SeqCst);
    loop {
        cpu::let_interrupts_in();
        if let Some(order) = ORDERS[slot].take() {
            ANSWERS[slot].put(obey(order));
        }
        core::hint::spin_loop();
    }
}

fn obey(order: u64) -> u64 {
    match order & 0xffff_ffff {
        order::TELL_TIME => return cpu::tsc(),
        order::SEND => apic::send((order >> 32) as u32, TO_BOOT.into()),
        order::SLEEP => cpu::sleep(),
        order::SLEEP_DEAF => {
            guest_stubs::instruction!("hlt", options(nostack));
        }
        _ => {}
    }
    DONE
}

fn id_of(slot: usize) -> Option<u32> {
    let id = IDS[slot].load(SeqCst).checked_sub(1)?;
    u32::try_from(id).ok()
}

fn arrived() -> u64 {
    (0..SLOTS).filter_map(id_of).count() as u64
}

/// Gives an order and waits for the answer.
fn ask(slot: usize, order: u64) -> Option<u64> {
    ORDERS[slot].put(order);
    answer(slot)
}

fn answer(slot: usize) -> Option<u64> {
    apic::eventually(|| !ANSWERS[slot].is_empty());
    ANSWERS[slot].take()
}

fn present(ids: &[Option<u32>]) -> impl Iterator<Item = (usize, u32)> {
    ids.iter()
        .enumerate()
        .filter_map(|(slot, id)| Some((slot, (*id)?)))
}

fn check_start(report: &mut Report, others: u64) {
    smp::prepare(work);
    apic::send(0, apic::TO_OTHERS | apic::INIT);
    apic::idle(WHILE_TSC);
    apic::send(0, apic::TO_OTHERS | apic::START_UP | smp::START_PAGE);
    apic::eventually(|| arrived() >= others);
    apic::idle(WHILE_TSC);
    report.check_eq("INIT and SIPI start all other CPUs", arrived(), others);
    apic::send(0, apic::TO_OTHERS | apic::START_UP | smp::START_PAGE);
    apic::idle(WHILE_TSC);
    let taken = smp::slots_taken();
    report.check_eq("a second SIPI starts nobody", taken, others);
    let all = (0..SLOTS)
        .filter_map(id_of)
        .fold(1_u64 << apic::id(), |all, id| all | 1 << (id & 63));
    let own = (1 << (others + 1)) - 1;
    report.check_eq("each has an APIC ID of its own", all, own);
}

/// A CPU's TSC lies between two readings of the boot CPU's.
fn check_time(report: &mut Report, ids: &[Option<u32>]) {
    for (_, (slot, id)) in (0..8).flat_map(|round| present(ids).map(move |ap| (round, ap))) {
        let before = cpu::tsc();
        let its = ask(slot, order::TELL_TIME).unwrap_or(0);
        let after = cpu::tsc();
        if !(before..=after).contains(&its) {
            println!("CPU {id}: {its} is not in {before}..={after}");
            return report.check("every TSC agrees with the boot CPU's", false);
        }
    }
    report.check("every TSC agrees with the boot CPU's", true);
}

fn check_ipis(report: &mut Report, ids: &[Option<u32>]) {
    let mut heard = true;
    for (_, id) in present(ids) {
        apic::send(id, TO_AP.into());
        heard &= apic::eventually(|| apic::count_on(id, TO_AP) == 1);
    }
    let alone = apic::count(TO_AP) == present(ids).count() as u64;
    report.check("each hears what is for it", heard);
    report.check("and nobody else does", alone);
    let own = apic::id();
    let mut answered = 0;
    for (slot, _) in present(ids) {
        ask(slot, u64::from(own) << 32 | order::SEND);
        answered += 1;
        apic::eventually(|| apic::count_on(own, TO_BOOT) >= answered);
    }
    let came = apic::count_on(own, TO_BOOT);
    report.check_eq("the boot CPU hears each of them", came, answered);
    let pairs = [(0, 1), (1, 2), (2, 0)];
    let mut wanted = came;
    for (from, to) in pairs {
        if let (Some(_), Some(id)) = (ids[from], ids[to]) {
            ask(from, u64::from(id) << 32 | order::SEND);
            wanted += 1;
        }
    }
    let all = apic::eventually(|| apic::count(TO_BOOT) == wanted);
    report.check("and they hear each other", all);
    apic::send(0x7e, TO_AP.into());
    apic::idle(WHILE_TSC);
    let none = apic::count(TO_AP) == present(ids).count() as u64;
    report.check("an ID that nobody has is nobody's", none);
}

/// A CPU in HLT does nothing until its interrupt, and goes on then.
fn check_wake(report: &mut Report, ids: &[Option<u32>]) {
    let (mut sleeps, mut wakes) = (true, true);
    for (_, (slot, id)) in (0..8).flat_map(|round| present(ids).map(move |ap| (round, ap))) {
        let before = apic::count_on(id, WAKE);
        ORDERS[slot].put(order::SLEEP);
        let heard = apic::eventually(|| ORDERS[slot].is_empty());
        apic::idle(WHILE_TSC / 4);
        sleeps &= heard && ANSWERS[slot].is_empty();
        apic::send(id, WAKE.into());
        wakes &= answer(slot) == Some(DONE) && apic::count_on(id, WAKE) == before + 1;
    }
    report.check("a CPU sleeps in HLT", sleeps);
    report.check("and an IPI wakes it", wakes);
}

fn check_nmi(report: &mut Report, ids: &[Option<u32>]) {
    let (mut deaf, mut wakes) = (true, true);
    for (slot, id) in present(ids) {
        ORDERS[slot].put(order::SLEEP_DEAF);
        apic::eventually(|| ORDERS[slot].is_empty());
        apic::send(id, WAKE.into());
        apic::idle(WHILE_TSC / 4);
        deaf &= ANSWERS[slot].is_empty();
        apic::send(id, apic::NMI);
        wakes &= answer(slot) == Some(DONE) && apic::count_on(id, NMI_VECTOR) == 1;
    }
    report.check("an interrupt does not wake a CPU with interrupts off", deaf);
    report.check("an NMI does, once", wakes);
    let nobody = apic::count_on(apic::id(), NMI_VECTOR) == 0;
    report.check("and nobody else has one", nobody);
}

/// As operating systems flush TLBs: everybody is interrupted, and waited for.
fn check_shoot_down(report: &mut Report, others: u64) {
    const ROUNDS: u64 = 20;
    let mut missing = None;
    for round in 1..=ROUNDS {
        apic::send(0, apic::TO_OTHERS | u32::from(SHOOT));
        if !apic::eventually(|| apic::count(SHOOT) >= round * others) {
            missing = missing.or(Some(round));
        }
    }
    report.check_none(
        "all answer each of 20 broadcasts",
        missing.is_some().into(),
        missing,
    );
    let exact = apic::count(SHOOT);
    report.check_eq("each once", exact, ROUNDS * others);
    let own = apic::count_on(apic::id(), SHOOT);
    report.check_eq("but for the sender", own, 0);
}

/// INIT stops a CPU where it is; SIPI starts it at the beginning.
fn check_restart(report: &mut Report, ids: &[Option<u32>], others: u64) {
    let Some((slot, id)) = present(ids).last() else {
        return;
    };
    apic::send(id, apic::INIT);
    apic::idle(WHILE_TSC);
    ORDERS[slot].put(order::TELL_TIME);
    apic::idle(WHILE_TSC);
    report.check("INIT stops a CPU", !ORDERS[slot].is_empty());
    apic::send(id, apic::START_UP | smp::START_PAGE);
    apic::eventually(|| arrived() > others);
    let again = (0..SLOTS).filter_map(id_of).filter(|other| *other == id);
    report.check_eq("SIPI starts it again", again.count(), 2);
}
