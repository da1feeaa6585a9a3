//! The local APIC: its timer wakes an idle CPU, its LINT0 lets the 8259 through.
//!
//! Owns the choice between x2APIC (MSRs) and xAPIC (one page of registers), and between
//! TSC-deadline and one-shot timer. IA32_APIC_BASE.EN is never cleared: that cannot be
//! undone everywhere. `[SDM 3A, "Advanced Programmable Interrupt Controller (APIC)", ed. 085]`

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use skerry_words::{Hpa, MsrIndex, Tsc};

use super::{
    features,
    interrupt::{SPURIOUS, TIMER},
    msr, tsc,
};

const APIC_BASE: MsrIndex = MsrIndex(0x1b);
const TSC_DEADLINE: MsrIndex = MsrIndex(0x6e0);
const X2APIC_BASE: u32 = 0x800;
const ENABLED: u64 = 1 << 11;
const X2APIC: u64 = 1 << 10;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Registers, by their offset in the xAPIC page.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Register {
    TaskPriority = 0x80,
    EndOfInterrupt = 0xb0,
    Spurious = 0xf0,
    Timer = 0x320,
    Lint0 = 0x350,
    Lint1 = 0x360,
    Error = 0x370,
    InitialCount = 0x380,
    CurrentCount = 0x390,
    Divide = 0x3e0,
}

const MASKED: u32 = 1 << 16;
const DEADLINE_MODE: u32 = 2 << 17;
const EXTERNAL: u32 = 7 << 8;
const NMI: u32 = 4 << 8;
const SOFTWARE_ENABLE: u32 = 1 << 8;
const DIVIDE_BY_1: u32 = 0b1011;

/// The xAPIC's page; 0 while there is none (x2APIC, or not started).
static PAGE: AtomicUsize = AtomicUsize::new(0);
/// Timer ticks per TSC tick, times 2^32; 0 in TSC-deadline mode.
static RATIO: AtomicU64 = AtomicU64::new(0);
/// What the timer is armed for; never, while it is not.
static ARMED: AtomicU64 = AtomicU64::new(Tsc::NEVER.0);

/// Enables the APIC, its timer disarmed.
pub(super) fn start() {
    let base = msr::read(APIC_BASE) | ENABLED;
    if features::x2apic() {
        // SAFETY: enabling x2APIC mode changes how the APIC is reached, nothing else.
        unsafe { msr::write(APIC_BASE, base | X2APIC) };
    } else {
        // SAFETY: sets the enable bit of an APIC that CPUs are reset with.
        unsafe { msr::write(APIC_BASE, base) };
        let page = crate::mem::map_device(Hpa(base & ADDRESS), 4096);
        PAGE.store(page as usize, Ordering::Relaxed);
    }
    write(Register::Spurious, SOFTWARE_ENABLE | u32::from(SPURIOUS));
    write(Register::TaskPriority, 0);
    write(Register::Lint0, EXTERNAL);
    write(Register::Lint1, NMI);
    write(Register::Error, MASKED);
    start_timer();
}

fn start_timer() {
    if features::tsc_deadline() {
        write(Register::Timer, DEADLINE_MODE | u32::from(TIMER));
        // Orders the store to an xAPIC page before the first write of the deadline
        // [SDM 3A, "TSC-Deadline Mode", ed. 085].
        core::sync::atomic::fence(Ordering::SeqCst);
        return;
    }
    write(Register::Divide, DIVIDE_BY_1);
    write(Register::Timer, MASKED | u32::from(TIMER));
    RATIO.store(measured_ratio(), Ordering::Relaxed);
    write(Register::Timer, u32::from(TIMER));
}

/// Timer ticks per TSC tick, times 2^32, measured over about a millisecond.
fn measured_ratio() -> u64 {
    write(Register::InitialCount, u32::MAX);
    let (start, first) = (tsc::now(), read(Register::CurrentCount));
    let end = start.after(tsc::hz() / 1024);
    while tsc::now() < end {}
    let (stop, last) = (tsc::now(), read(Register::CurrentCount));
    write(Register::InitialCount, 0);
    let ticks = u64::from(first.wrapping_sub(last)) << 32;
    (ticks / stop.since(start).max(1)).max(1)
}

/// Lets the timer interrupt at `deadline` at the latest, whatever it was armed for. Cheap
/// where it is armed for an earlier time: who is woken too early asks again.
#[inline]
pub fn interrupt_by(deadline: Tsc) {
    if deadline.0 < ARMED.load(Ordering::Relaxed) {
        arm(deadline);
    }
}

/// Lets the timer interrupt at `deadline`, or earlier if that is very far.
pub(super) fn arm(deadline: Tsc) {
    ARMED.store(deadline.0, Ordering::Relaxed);
    match RATIO.load(Ordering::Relaxed) {
        0 => write_deadline(deadline.0.max(1)),
        ratio => {
            let ticks = (u128::from(deadline.since(tsc::now())) * u128::from(ratio)) >> 32;
            let count = u32::try_from(ticks + 1).unwrap_or(u32::MAX);
            write(Register::InitialCount, count);
        }
    }
}

/// Takes the deadline back, if its interrupt has not come.
pub(super) fn disarm_if_armed() {
    if ARMED.load(Ordering::Relaxed) != Tsc::NEVER.0 {
        disarm();
    }
}

fn disarm() {
    ARMED.store(Tsc::NEVER.0, Ordering::Relaxed);
    match RATIO.load(Ordering::Relaxed) {
        0 => write_deadline(0),
        _ => write(Register::InitialCount, 0),
    }
}

/// Ends the timer's interrupt, which comes once for each time it is armed.
pub(super) fn end_timer() {
    ARMED.store(Tsc::NEVER.0, Ordering::Relaxed);
    end();
}

/// Ends the interrupt in service.
pub(super) fn end() {
    write(Register::EndOfInterrupt, 0);
}

fn write_deadline(tsc: u64) {
    // SAFETY: a deadline raises the timer's vector, which has a handler.
    unsafe { msr::write(TSC_DEADLINE, tsc) };
}

fn x2apic_index(register: Register) -> MsrIndex {
    MsrIndex(X2APIC_BASE + (register as u32 >> 4))
}

fn read(register: Register) -> u32 {
    match PAGE.load(Ordering::Relaxed) {
        0 => msr::read(x2apic_index(register)) as u32,
        page => {
            let at = (page + register as usize) as *const u32;
            // SAFETY: `page` is the APIC's page, mapped uncached for good.
            unsafe { at.read_volatile() }
        }
    }
}

fn write(register: Register, value: u32) {
    match PAGE.load(Ordering::Relaxed) {
        // SAFETY: only this file's registers; what they raise has a handler.
        0 => unsafe { msr::write(x2apic_index(register), u64::from(value)) },
        page => {
            let at = (page + register as usize) as *mut u32;
            // SAFETY: `page` is the APIC's page, mapped uncached for good.
            unsafe { at.write_volatile(value) }
        }
    }
}
