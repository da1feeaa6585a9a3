//! The model-specific registers a guest sees, in one table.
//!
//! | register | read | write |
//! |---|---|---|
//! | IA32_TIME_STAMP_COUNTER 10h | by the CPU, or as ring 0 tells it | moves this VM's offset |
//! | IA32_PLATFORM_ID 17h, IA32_BIOS_SIGN_ID 8Bh | 0 | 0 only (8Bh) |
//! | IA32_FEATURE_CONTROL 3Ah | 1: locked, nothing on | `#GP` |
//! | IA32_MISC_ENABLE 1A0h | fast strings, no BTS, no PEBS | the same value |
//! | IA32_DEBUGCTL 1D9h | 0 | 0 only |
//! | EFER C0000080h | as written | by the rules of `control` |
//! | FS, GS, KERNEL_GS base, STAR, LSTAR, CSTAR, FMASK, SYSENTER, PAT, TSC_AUX | by the CPU | by the CPU |
//! | AMD's interrupt-pending message C0010055h | 0: no message is sent in C1E | `#GP` |
//! | everything else | `#GP` | `#GP` |
//!
//! Those "by the CPU" cost no exit: ring 0 keeps one copy a VM. Every refusal is counted.
//! `[SDM 4, "Architectural MSRs", ed. 085]`

use skerry_verdict::{Fault, Registers};
use skerry_words::{Gpr, GuestState, MsrIndex, StateGroups, Tsc};

use crate::control::checked_efer;

const TIME_STAMP_COUNTER: u32 = 0x10;
const PLATFORM_ID: u32 = 0x17;
const FEATURE_CONTROL: u32 = 0x3a;
const BIOS_SIGN_ID: u32 = 0x8b;
const MISC_ENABLE: u32 = 0x1a0;
const DEBUGCTL: u32 = 0x1d9;
const EFER: u32 = 0xc000_0080;
const INTERRUPT_PENDING: u32 = 0xc001_0055;

/// Fast strings on (bit 0); branch trace and precise event sampling unavailable (11, 12).
const MISC_ENABLE_VALUE: u64 = (1 << 0) | (1 << 11) | (1 << 12);
const FEATURE_CONTROL_LOCKED: u64 = 1;
const REFUSED: Fault = Fault::GeneralProtection(0);

/// Answers RDMSR.
pub(crate) fn read(state: &mut GuestState, now: Tsc) -> Result<(), Fault> {
    let value = match MsrIndex(state.get(Gpr::Rcx) as u32).0 {
        TIME_STAMP_COUNTER => now.0.wrapping_add(state.tsc_offset),
        PLATFORM_ID | BIOS_SIGN_ID | DEBUGCTL | INTERRUPT_PENDING => 0,
        FEATURE_CONTROL => FEATURE_CONTROL_LOCKED,
        MISC_ENABLE => MISC_ENABLE_VALUE,
        EFER => state.efer,
        _ => return Err(REFUSED),
    };
    state.set(Gpr::Rax, value & 0xffff_ffff);
    state.set(Gpr::Rdx, value >> 32);
    state.advance();
    Ok(())
}

/// Answers WRMSR.
pub(crate) fn write(state: &mut GuestState, now: Tsc) -> Result<(), Fault> {
    let value = (state.get(Gpr::Rax) & 0xffff_ffff) | (state.get(Gpr::Rdx) << 32);
    match MsrIndex(state.get(Gpr::Rcx) as u32).0 {
        TIME_STAMP_COUNTER => {
            state.tsc_offset = value.wrapping_sub(now.0);
            state.dirty |= StateGroups::TSC;
        }
        BIOS_SIGN_ID | DEBUGCTL if value == 0 => {}
        MISC_ENABLE if value == MISC_ENABLE_VALUE => {}
        EFER => {
            state.efer = checked_efer(value, state)?;
            state.dirty |= StateGroups::CONTROL;
        }
        _ => return Err(REFUSED),
    }
    state.advance();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Tsc = Tsc(77);

    fn at(index: u32, value: u64) -> GuestState {
        let mut state = GuestState::at_reset();
        state.dirty = StateGroups::empty();
        state.instruction_bytes = 2;
        state.set(Gpr::Rcx, u64::from(index));
        state.set(Gpr::Rax, value & 0xffff_ffff);
        state.set(Gpr::Rdx, value >> 32);
        state
    }

    #[test]
    fn an_unknown_register_faults_both_ways_and_leaves_the_state_alone() {
        for index in [
            0x0,
            0x1b,
            0xce,
            0xfe,
            0x345,
            0x480,
            0x8000_0000,
            0xc001_0015,
        ] {
            let mut state = at(index, 5);
            assert_eq!(read(&mut state, NOW), Err(REFUSED), "{index:#x}");
            assert_eq!(write(&mut state, NOW), Err(REFUSED), "{index:#x}");
            assert_eq!((state.rip, state.get(Gpr::Rax)), (0xfff0, 5));
        }
    }

    #[test]
    fn feature_control_reads_locked_and_cannot_be_written() {
        let mut state = at(0x3a, 5);
        assert_eq!(write(&mut state, NOW), Err(REFUSED));
        assert_eq!(read(&mut state, NOW), Ok(()));
        assert_eq!(
            (state.get(Gpr::Rax), state.get(Gpr::Rdx), state.rip),
            (1, 0, 0xfff2)
        );
    }

    #[test]
    fn writing_the_counter_asks_ring_0_to_move_the_offset() {
        let mut state = at(0x10, 0x1_0000_0002);
        assert_eq!(write(&mut state, NOW), Ok(()));
        assert_eq!(state.tsc_offset, 0x1_0000_0002 - NOW.0);
        assert!(state.dirty.contains(StateGroups::TSC));
    }

    #[test]
    fn what_can_only_stay_as_it_is_refuses_to_change() {
        assert_eq!(write(&mut at(0x1a0, MISC_ENABLE_VALUE), NOW), Ok(()));
        assert_eq!(write(&mut at(0x1a0, 0), NOW), Err(REFUSED));
        assert_eq!(
            write(&mut at(0x1d9, 1), NOW),
            Err(REFUSED),
            "last-branch records"
        );
    }
}
