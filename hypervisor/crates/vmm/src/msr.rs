//! Model-specific registers: one table.
//!
//! | register | read | write |
//! |---|---|---|
//! | IA32_TIME_STAMP_COUNTER 10h | by the CPU, or the same | moves this vCPU's offset and IA32_TSC_ADJUST |
//! | IA32_PLATFORM_ID 17h, IA32_BIOS_SIGN_ID 8Bh | 0 | 0 only (8Bh) |
//! | IA32_APIC_BASE 1Bh | as written | by the rules of `skerry_devices::lapic` |
//! | IA32_FEATURE_CONTROL 3Ah | 1: locked, nothing on | `#GP` |
//! | IA32_TSC_ADJUST 3Bh | what was added by writes | moves this vCPU's offset |
//! | IA32_MISC_ENABLE 1A0h | fast strings, no BTS, no PEBS | the same value |
//! | IA32_DEBUGCTL 1D9h | 0 | 0 only |
//! | IA32_TSC_DEADLINE 6E0h | as armed | arms the local APIC's timer |
//! | x2APIC registers 800h to 8FFh | by the rules of `skerry_devices::lapic`, or by the CPU | the same |
//! | EFER C0000080h | as written | by the rules of `control` |
//! | FS, GS, KERNEL_GS base, STAR, LSTAR, CSTAR, FMASK, SYSENTER, PAT, TSC_AUX, PKRS | by the CPU | by the CPU |
//! | AMD's performance event selects and counters C0010000h to C0010007h, which no CPUID bit hides | 0: they stand still | 0 only |
//! | AMD's interrupt-pending message C0010055h | 0: no message is sent in C1E | `#GP` |
//! | everything else | `#GP` | `#GP` |
//!
//! Those "by the CPU" cost no exit: ring 0 keeps one copy a vCPU. Every refusal is counted.
//! `[SDM 4, "Architectural MSRs", ed. 085]`

use core::ops::DerefMut;
use skerry_devices::lapic::{Action, Mode};
use skerry_verdict::{Fault, Registers};
use skerry_words::{ApicPage, Gpr, GuestState, MsrIndex, StateGroups, Tsc, Vector};

use crate::control::checked_efer;
use crate::cpu::Cpu;

const TIME_STAMP_COUNTER: u32 = 0x10;
const PLATFORM_ID: u32 = 0x17;
const APIC_BASE: u32 = 0x1b;
const FEATURE_CONTROL: u32 = 0x3a;
const TSC_ADJUST: u32 = 0x3b;
const BIOS_SIGN_ID: u32 = 0x8b;
const MISC_ENABLE: u32 = 0x1a0;
const DEBUGCTL: u32 = 0x1d9;
const TSC_DEADLINE: u32 = 0x6e0;
const X2APIC_END: u32 = 0x80b;
const X2APIC_SELF_IPI: u32 = 0x83f;
const EFER: u32 = 0xc000_0080;
const COUNTERS: u32 = 0xc001_0000;
const LAST_COUNTER: u32 = 0xc001_0007;
const INTERRUPT_PENDING: u32 = 0xc001_0055;

/// Fast strings on (bit 0); branch trace and precise event sampling unavailable (11, 12).
const MISC_ENABLE_VALUE: u64 = (1 << 0) | (1 << 11) | (1 << 12);
const FEATURE_CONTROL_LOCKED: u64 = 1;
const REFUSED: Fault = Fault::GeneralProtection(0);

/// Answers RDMSR.
pub(crate) fn read<P>(state: &mut GuestState, cpu: &mut Cpu<P>, now: Tsc) -> Result<(), Fault>
where
    P: DerefMut<Target = ApicPage>,
{
    let index = MsrIndex(state.get(Gpr::Rcx) as u32);
    let value = match index.0 {
        TIME_STAMP_COUNTER => now.0.wrapping_add(cpu.tsc_offset),
        PLATFORM_ID | BIOS_SIGN_ID | DEBUGCTL | INTERRUPT_PENDING | COUNTERS..=LAST_COUNTER => 0,
        APIC_BASE => cpu.apic.base(),
        FEATURE_CONTROL => FEATURE_CONTROL_LOCKED,
        TSC_ADJUST => cpu.tsc_adjust,
        MISC_ENABLE => MISC_ENABLE_VALUE,
        TSC_DEADLINE => cpu.apic.tsc_deadline(now),
        0x800..=0x8ff => cpu.apic.msr_read(index, now).map_err(|_| REFUSED)?,
        EFER => state.efer,
        _ => return Err(REFUSED),
    };
    state.set(Gpr::Rax, value & 0xffff_ffff);
    state.set(Gpr::Rdx, value >> 32);
    state.advance();
    Ok(())
}

/// A WRMSR that a system executes at each interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frequent {
    /// It arms the timer for this value, or disarms it.
    Deadline(u64),
    /// It is the end of an interrupt, in x2APIC mode.
    EndOfInterrupt,
    /// It is an interrupt to itself, in x2APIC mode.
    SelfIpi(Vector),
}

/// Which of the frequent ones the guest's WRMSR is, if it is one, with a value that may be written.
#[inline(always)]
pub(crate) fn frequent<P>(state: &GuestState, cpu: &Cpu<P>) -> Option<Frequent>
where
    P: DerefMut<Target = ApicPage>,
{
    let value = value(state);
    match state.get(Gpr::Rcx) as u32 {
        X2APIC_SELF_IPI if value <= 0xff && cpu.apic.mode() == Mode::X2apic => {
            Some(Frequent::SelfIpi(Vector(value as u8)))
        }
        X2APIC_END if value == 0 && cpu.apic.mode() == Mode::X2apic => {
            Some(Frequent::EndOfInterrupt)
        }
        TSC_DEADLINE => Some(Frequent::Deadline(value)),
        _ => None,
    }
}

/// What WRMSR writes.
#[inline(always)]
fn value(state: &GuestState) -> u64 {
    (state.get(Gpr::Rax) & 0xffff_ffff) | (state.get(Gpr::Rdx) << 32)
}

/// Whether it is IA32_APIC_BASE that is accessed: then the APIC may have moved.
pub(crate) fn places_apic(state: &GuestState) -> bool {
    state.get(Gpr::Rcx) as u32 == APIC_BASE
}

/// Answers WRMSR. What a local APIC wants done besides is the result.
#[inline]
pub(crate) fn write<P>(state: &mut GuestState, cpu: &mut Cpu<P>, now: Tsc) -> Result<Action, Fault>
where
    P: DerefMut<Target = ApicPage>,
{
    let value = value(state);
    let index = MsrIndex(state.get(Gpr::Rcx) as u32);
    let action = match index.0 {
        0x800..=0x8ff => cpu.apic.msr_write(index, value, now).map_err(|_| REFUSED)?,
        _ => {
            write_rare(index, value, state, cpu, now)?;
            Action::Setting
        }
    };
    state.advance();
    Ok(action)
}

#[inline(never)]
fn write_rare<P>(
    index: MsrIndex,
    value: u64,
    state: &mut GuestState,
    cpu: &mut Cpu<P>,
    now: Tsc,
) -> Result<(), Fault>
where
    P: DerefMut<Target = ApicPage>,
{
    match index.0 {
        TIME_STAMP_COUNTER => {
            let reads = now.0.wrapping_add(cpu.tsc_offset);
            move_counter(state, cpu, value.wrapping_sub(reads), now);
        }
        TSC_ADJUST => move_counter(state, cpu, value.wrapping_sub(cpu.tsc_adjust), now),
        APIC_BASE => cpu.apic.set_base(value).map_err(|_| REFUSED)?,
        TSC_DEADLINE => arm(cpu, value, now),
        BIOS_SIGN_ID | DEBUGCTL | COUNTERS..=LAST_COUNTER if value == 0 => {}
        MISC_ENABLE if value == MISC_ENABLE_VALUE => {}
        EFER => {
            state.efer = checked_efer(value, state)?;
            state.dirty |= StateGroups::CONTROL;
        }
        _ => return Err(REFUSED),
    }
    Ok(())
}

/// Moves the guest's counter by `distance`, and what waits for a value of it
/// `[SDM 3B, "Time-Stamp Counter Adjustment", ed. 085]`.
fn move_counter<P>(state: &mut GuestState, cpu: &mut Cpu<P>, distance: u64, now: Tsc)
where
    P: DerefMut<Target = ApicPage>,
{
    cpu.tsc_offset = cpu.tsc_offset.wrapping_add(distance);
    cpu.tsc_adjust = cpu.tsc_adjust.wrapping_add(distance);
    state.tsc_offset = cpu.tsc_offset;
    state.dirty |= StateGroups::TSC;
    let armed = cpu.apic.tsc_deadline(now);
    if armed != 0 {
        arm(cpu, armed, now);
    }
}

/// Arms the timer for when the guest's counter reads `value`.
#[inline]
pub(crate) fn arm<P>(cpu: &mut Cpu<P>, value: u64, now: Tsc)
where
    P: DerefMut<Target = ApicPage>,
{
    let reads = now.0.wrapping_add(cpu.tsc_offset);
    let due = now.after(value.saturating_sub(reads));
    cpu.apic.set_tsc_deadline(value, due, now);
}

#[cfg(test)]
mod tests;
