//! What a VMM does to a vCPU's registers.

use crate::Fault;
use skerry_words::{Event, EventKind, EventWord, Gpr, GuestState, Shadow, StateGroups};

/// Changes of a [`GuestState`] that say so in `dirty`.
pub trait Registers {
    /// Sets one general-purpose register.
    fn set(&mut self, register: Gpr, value: u64);

    /// Sets the general-purpose register with this number, 0 to 15; of others nothing.
    fn set_number(&mut self, number: u8, value: u64);

    /// Steps over the instruction that exited, and out of its STI or MOV-SS shadow; to a debug
    /// exception if the guest single-steps.
    fn advance(&mut self);

    /// Delivers the debug exception of a single step on the next entry. RIP is where the guest
    /// goes on: for a repeated instruction, at it.
    fn trap_step(&mut self);

    /// Whether the guest single-steps: RFLAGS.TF.
    #[must_use]
    fn is_stepping(&self) -> bool;

    /// Delivers `fault` on the next entry, at the instruction that exited.
    fn inject_fault(&mut self, fault: Fault);

    /// Whether a maskable interrupt could be delivered on the next entry.
    #[must_use]
    fn takes_interrupts(&self) -> bool;
}

impl Registers for GuestState {
    #[inline]
    fn set(&mut self, register: Gpr, value: u64) {
        self.set_number(register as u8, value);
    }

    #[inline]
    fn set_number(&mut self, number: u8, value: u64) {
        if let Some(slot) = self.gpr.get_mut(usize::from(number)) {
            *slot = value;
        }
        if number == Gpr::Rsp as u8 {
            self.dirty = self.dirty.union(StateGroups::STACK);
        }
    }

    #[inline]
    fn advance(&mut self) {
        self.rip = self.rip.wrapping_add(u64::from(self.instruction_bytes));
        self.dirty = self.dirty.union(StateGroups::INSTRUCTION);
        if self.shadow.intersects(Shadow::STI.union(Shadow::MOV_SS)) {
            self.shadow = self.shadow.difference(Shadow::STI.union(Shadow::MOV_SS));
            self.dirty = self.dirty.union(StateGroups::FLAGS);
        }
        if self.is_stepping() {
            self.trap_step();
        }
    }

    /// A trap of the instruction before, so it is of a higher priority than interrupts, which
    /// wait while there is an event to inject `[SDM 3A, "Priority Among Concurrent Events", ed.
    /// 085]`.
    #[cold]
    #[inline(never)]
    fn trap_step(&mut self) {
        self.debug_status = GuestState::SINGLE_STEP;
        self.dirty = self.dirty.union(StateGroups::DEBUG_STATUS);
        self.inject_fault(Fault::Debug);
    }

    #[inline(always)]
    fn is_stepping(&self) -> bool {
        self.rflags & GuestState::TRAP_FLAG != 0
    }

    fn inject_fault(&mut self, fault: Fault) {
        let (vector, error_code) = fault.vector();
        if let Fault::Page(address, _) = fault {
            self.cr2 = address;
            self.dirty = self.dirty.union(StateGroups::CR2);
        }
        self.inject = EventWord::encode(Event {
            kind: EventKind::Exception,
            vector,
            error_code,
        });
    }

    #[inline]
    fn takes_interrupts(&self) -> bool {
        self.rflags & GuestState::INTERRUPT_FLAG != 0
            && !self.shadow.intersects(Shadow::STI.union(Shadow::MOV_SS))
            && !self.inject.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advancing_leaves_the_sti_shadow_but_not_the_nmi_one() {
        let mut state = GuestState::at_reset();
        state.dirty = StateGroups::empty();
        state.shadow = Shadow::STI | Shadow::NMI;
        state.instruction_bytes = 2;
        state.advance();
        assert_eq!(state.rip, 0xfff2);
        assert_eq!(state.shadow, Shadow::NMI);
        assert_eq!(state.dirty, StateGroups::INSTRUCTION | StateGroups::FLAGS);
    }

    #[test]
    fn a_single_step_over_an_instruction_ends_in_a_debug_exception_before_any_interrupt() {
        let mut state = GuestState::at_reset();
        state.dirty = StateGroups::empty();
        state.rflags |= GuestState::TRAP_FLAG | GuestState::INTERRUPT_FLAG;
        state.shadow = Shadow::STI;
        state.instruction_bytes = 3;
        state.advance();
        assert_eq!((state.rip, state.inject.0), (0xfff3, 0x8000_0301));
        assert_eq!(state.debug_status, 0x4000);
        let groups = StateGroups::INSTRUCTION | StateGroups::FLAGS | StateGroups::DEBUG_STATUS;
        assert_eq!(state.dirty, groups);
        assert!(!state.takes_interrupts());
    }

    #[test]
    fn a_page_fault_sets_cr2_and_a_pending_event_blocks_interrupts() {
        let mut state = GuestState::at_reset();
        state.rflags |= GuestState::INTERRUPT_FLAG;
        assert!(state.takes_interrupts());
        state.inject_fault(Fault::Page(0xdead_0000, 2));
        assert_eq!(state.cr2, 0xdead_0000);
        assert_eq!(state.inject.0, 0x2_8000_0b0e);
        assert!(!state.takes_interrupts());
    }
}
