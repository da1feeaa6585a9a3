//! The local APIC as a stub reaches it, and the interrupts that come by it.
//!
//! [`read`] and [`write()`] take the registers' offsets in the page and go by memory or, in
//! x2APIC mode, by MSRs. [`set_up`] points the vectors from 30h on and the NMI's at routines
//! that count, per CPU and in the order of arrival, and end the interrupt. Registers are as in
//! `[SDM 3A, "Advanced Programmable Interrupt Controller (APIC)", ed. 085]`.

use crate::{cpu, memory, tables};
use core::arch::naked_asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

/// IA32_APIC_BASE.
pub const BASE: u32 = 0x1b;
/// In [`BASE`]: this CPU boots the machine.
pub const BOOT_PROCESSOR: u64 = 1 << 8;
/// In [`BASE`]: x2APIC mode.
pub const EXTENDED: u64 = 1 << 10;
/// In [`BASE`]: the APIC is on.
pub const ENABLE: u64 = 1 << 11;
/// IA32_TSC_DEADLINE.
pub const TSC_DEADLINE: u32 = 0x6e0;
/// The MSR of the register at offset 0.
pub const FIRST_MSR: u32 = 0x800;

/// Where the page is after reset.
pub const PAGE: u64 = 0xfee0_0000;
/// The APIC's ID.
pub const ID: u16 = 0x20;
/// Version and number of LVT entries.
pub const VERSION: u16 = 0x30;
/// Task priority.
pub const TASK_PRIORITY: u16 = 0x80;
/// Processor priority.
pub const PRIORITY: u16 = 0xa0;
/// End of interrupt.
pub const END: u16 = 0xb0;
/// Logical destination.
pub const LOGICAL_ID: u16 = 0xd0;
/// Spurious vector and software enable.
pub const SPURIOUS: u16 = 0xf0;
/// The first word of ISR.
pub const IN_SERVICE: u16 = 0x100;
/// The first word of IRR.
pub const REQUESTS: u16 = 0x200;
/// Error status.
pub const ERRORS: u16 = 0x280;
/// Interrupt command, lower half.
pub const COMMAND: u16 = 0x300;
/// Interrupt command, upper half; in memory only.
pub const COMMAND_HIGH: u16 = 0x310;
/// The timer's LVT entry.
pub const LVT_TIMER: u16 = 0x320;
/// The error interrupt's LVT entry.
pub const LVT_ERROR: u16 = 0x370;
/// Initial count of the timer.
pub const INITIAL_COUNT: u16 = 0x380;
/// Current count of the timer.
pub const CURRENT_COUNT: u16 = 0x390;
/// Divisor of the timer.
pub const DIVIDE: u16 = 0x3e0;
/// Self IPI; in x2APIC mode only.
pub const SELF_IPI: u16 = 0x3f0;

/// In an LVT entry: masked.
pub const MASKED: u32 = 1 << 16;
/// In the timer's LVT entry: again and again.
pub const PERIODIC: u32 = 1 << 17;
/// In the timer's LVT entry: at a time of the TSC.
pub const AT_DEADLINE: u32 = 2 << 17;
/// In a command: to the sender itself.
pub const TO_SELF: u32 = 1 << 18;
/// In a command: to all but the sender.
pub const TO_OTHERS: u32 = 3 << 18;
/// In a command: an NMI.
pub const NMI: u32 = 4 << 8;
/// In a command: INIT, asserted.
pub const INIT: u32 = 5 << 8 | 1 << 14;
/// In a command: start-up, its page in the lower byte.
pub const START_UP: u32 = 6 << 8;

/// The vector that says no more than that there is none.
const SPURIOUS_VECTOR: u8 = 0xff;
const NMI_VECTOR: u8 = 2;
/// How many CPUs are told apart.
pub const CPUS: usize = 16;
const LOG_ENTRIES: usize = 64;

static COUNTS: [[AtomicU64; 256]; CPUS] = [const { [const { AtomicU64::new(0) }; 256] }; CPUS];
static LOG: [AtomicU64; LOG_ENTRIES] = [const { AtomicU64::new(0) }; LOG_ENTRIES];
static LOGGED: AtomicU64 = AtomicU64::new(0);
/// The vector whose routine does not end it; 0 for none.
static HELD: AtomicU64 = AtomicU64::new(0);

/// Whether CPUID shows x2APIC mode.
#[must_use]
pub fn has_x2apic() -> bool {
    cpu::has_apic() && cpu::cpuid(1, 0).ecx & 1 << 21 != 0
}

/// Whether this CPU's APIC is in x2APIC mode.
#[must_use]
pub fn is_x2apic() -> bool {
    cpu::rdmsr(BASE) & (ENABLE | EXTENDED) == ENABLE | EXTENDED
}

/// Switches this CPU's APIC from xAPIC to x2APIC mode.
pub fn enter_x2apic() {
    cpu::wrmsr(BASE, cpu::rdmsr(BASE) | ENABLE | EXTENDED);
}

/// The MSR of a register.
#[must_use]
pub fn msr(offset: u16) -> u32 {
    FIRST_MSR + u32::from(offset >> 4)
}

/// Reads a register.
#[must_use]
#[allow(clippy::cast_possible_truncation)] // but for the command's, all MSRs are 32 bits
pub fn read(offset: u16) -> u32 {
    if is_x2apic() {
        cpu::rdmsr(msr(offset)) as u32
    } else {
        memory::read32(PAGE + u64::from(offset))
    }
}

/// Writes a register.
pub fn write(offset: u16, value: u32) {
    if is_x2apic() {
        cpu::wrmsr(msr(offset), value.into());
    } else {
        memory::write32(PAGE + u64::from(offset), value);
    }
}

/// This CPU's APIC ID.
#[must_use]
pub fn id() -> u32 {
    let id = read(ID);
    if is_x2apic() { id } else { id >> 24 }
}

/// Gives a command; `destination` is an APIC ID, without meaning where the command has a
/// shorthand.
pub fn send(destination: u32, command: u32) {
    if is_x2apic() {
        cpu::wrmsr(
            msr(COMMAND),
            u64::from(destination) << 32 | u64::from(command),
        );
    } else {
        write(COMMAND_HIGH, destination << 24);
        write(COMMAND, command);
    }
}

/// Sends an interrupt to this CPU.
pub fn send_self(vector: u8) {
    send(0, TO_SELF | u32::from(vector));
}

/// Whether a vector's bit is set in [`IN_SERVICE`] or [`REQUESTS`].
#[must_use]
pub fn has(set: u16, vector: u8) -> bool {
    read(set + u16::from(vector >> 5) * 0x10) & 1 << (vector & 31) != 0
}

/// Points the vectors at the counting routines and switches this CPU's APIC on.
pub fn set_up() {
    for vector in (0x30..=0xff).chain([NMI_VECTOR]) {
        let entry = (entries as *const ()).addr() as u64 + 16 * u64::from(vector);
        // On the stack of whom it interrupts, which each CPU has its own of.
        tables::set_gate(vector.into(), entry, 0x8e00);
    }
    switch_on();
}

/// Switches this CPU's APIC on.
pub fn switch_on() {
    write(SPURIOUS, 0x100 | u32::from(SPURIOUS_VECTOR));
}

/// Ends the interrupt in service.
pub fn end() {
    write(END, 0);
}

/// From now on this vector's routine leaves its interrupt in service; 0 for none.
pub fn hold(vector: u8) {
    HELD.store(vector.into(), Relaxed);
}

/// How often this vector has interrupted any CPU.
#[must_use]
pub fn count(vector: u8) -> u64 {
    COUNTS
        .iter()
        .map(|counts| counts[usize::from(vector)].load(SeqCst))
        .sum()
}

/// How often this vector has interrupted the CPU of this ID.
#[must_use]
pub fn count_on(id: u32, vector: u8) -> u64 {
    COUNTS[id as usize % CPUS][usize::from(vector)].load(SeqCst)
}

/// The order of the interrupts since the last call, as far as it is kept.
#[must_use]
pub fn order<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut order = [0; LENGTH];
    for (place, entry) in order.iter_mut().zip(&LOG) {
        *place = entry.swap(0, SeqCst).to_le_bytes()[0];
    }
    LOG.iter().for_each(|entry| entry.store(0, SeqCst));
    LOGGED.store(0, SeqCst);
    order
}

extern "C" fn count_and_end(vector: u64) {
    let counts = &COUNTS[id() as usize % CPUS];
    let at = LOGGED.fetch_add(1, SeqCst);
    if let Some(entry) = LOG.get(usize::try_from(at).unwrap_or(LOG_ENTRIES)) {
        entry.store(vector, SeqCst);
    }
    let ends = ![NMI_VECTOR, SPURIOUS_VECTOR]
        .map(u64::from)
        .contains(&vector);
    if ends && vector != HELD.load(Relaxed) {
        end();
    }
    if let Some(count) = usize::try_from(vector).ok().and_then(|at| counts.get(at)) {
        count.fetch_add(1, SeqCst);
    }
}

/// 256 entries of 16 bytes: each pushes its vector.
#[unsafe(naked)]
extern "C" fn entries() {
    naked_asm!(
        ".set skerry_apic_vector, 0",
        ".rept 256",
        ".balign 16",
        "push skerry_apic_vector",
        "jmp {common}",
        ".set skerry_apic_vector, skerry_apic_vector + 1",
        ".endr",
        ".balign 16",
        common = sym common,
    )
}

/// Keeps what a call may change, the vector above it.
#[unsafe(naked)]
extern "C" fn common() {
    naked_asm!(
        "push rax", "push rcx", "push rdx", "push rsi", "push rdi", "push r8", "push r9",
        "push r10", "push r11", "push rbp",
        "mov rdi, [rsp + 80]",
        "mov rbp, rsp",
        "and rsp, -16",
        "cld",
        "call {count_and_end}",
        "mov rsp, rbp",
        "pop rbp", "pop r11", "pop r10", "pop r9", "pop r8", "pop rdi", "pop rsi", "pop rdx",
        "pop rcx", "pop rax",
        "add rsp, 8",
        "iretq",
        count_and_end = sym count_and_end,
    )
}

/// Waits until it `holds`, interrupts coming in; whether it does before a thousand million
/// ticks are over.
pub fn eventually(holds: impl Fn() -> bool) -> bool {
    const PATIENCE_TSC: u64 = 1_000_000_000;
    let start = cpu::tsc();
    while cpu::tsc() - start < PATIENCE_TSC {
        cpu::let_interrupts_in();
        if holds() {
            return true;
        }
        core::hint::spin_loop();
    }
    false
}

/// Lets so many ticks pass, interrupts coming in; and not only while somebody else has the CPU.
pub fn idle(ticks: u64) {
    const OPPORTUNITIES: u64 = 64;
    let start = cpu::tsc();
    let mut given = 0;
    while cpu::tsc() - start < ticks || given < OPPORTUNITIES {
        cpu::let_interrupts_in();
        given += 1;
    }
}
