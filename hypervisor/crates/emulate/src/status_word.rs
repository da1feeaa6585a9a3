//! SMSW and LMSW with an operand that is no memory.
//!
//! Owns who may execute them, and the access `[SDM 2B, "SMSW—Store Machine Status Word"; 2A,
//! "LMSW—Load Machine Status Word"; ed. 085]`. Does not own CR0: what LMSW has read goes to the
//! VMM.

use crate::instruction::{Instruction, Operation};
use crate::mmio::{Machine, Outcome};
use crate::{MmioTarget, mode};
use skerry_verdict::{Fault, GuestMemory};
use skerry_words::{GuestState, Width};

impl<M: GuestMemory, T: MmioTarget> Machine<'_, M, T> {
    pub(crate) fn status_word(&mut self, instruction: &Instruction) -> Result<Outcome, Fault> {
        let operation = instruction.operation;
        let loads = operation == Operation::LoadStatusWord;
        let restricted = loads || self.state.cr4 & mode::CR4_UMIP != 0;
        if restricted && privilege(self.state) != 0 {
            return Err(Fault::GeneralProtection(0));
        }
        let place = self.operand(instruction, operation.access(), 0)?;
        if !place.touches(self.device_page) {
            return Ok(Outcome::Again);
        }
        if loads {
            let word = self.read(place, Width::Word) as u16;
            return Ok(Outcome::StatusWord(word));
        }
        self.write(place, Width::Word, self.state.cr0);
        Ok(Outcome::Finished)
    }
}

/// The current privilege level; virtual-8086 mode counts as 3, real mode as 0.
fn privilege(state: &GuestState) -> u32 {
    if state.cr0 & mode::CR0_PE == 0 {
        0
    } else if state.rflags & mode::RFLAGS_VM != 0 {
        3
    } else {
        state.cpl
    }
}
