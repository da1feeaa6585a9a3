//! Moves between vector registers and devices.
//!
//! Owns the order of such an answer: the registers are fetched, the instruction is executed, and
//! what has changed is put back. Whoever keeps the registers is behind [`VectorState`], since no
//! VMM may hold them while its guest does. Called where the emulator has met such an
//! instruction, which is rare.

use alloc::boxed::Box;
use core::ops::DerefMut;
use skerry_emulate::{EmulateError, VectorRegisters, vector_mmio};
use skerry_verdict::{GuestMemory, Resume};
use skerry_words::{ApicPage, ExtendedState, Gpa, GuestState};

use crate::apic::ApicBus;
use crate::io::Bus;
use crate::vmm::Vmm;

/// Who keeps the extended state of the vCPUs while they do not run.
pub trait VectorState {
    /// Fills `into` with that of the vCPU `index`; gives its XCR0, 0 where the CPU has no XSAVE.
    fn fetch(&self, index: usize, into: &mut ExtendedState) -> u64;
    /// Makes `from` that of the vCPU `index`.
    fn put_back(&self, index: usize, from: &ExtendedState);
}

impl<P: DerefMut<Target = ApicPage>> Vmm<P> {
    /// Executes the vector move that has exited for the page `page`.
    ///
    /// # Errors
    /// Those of [`vector_mmio`]; [`EmulateError::Vector`] if nobody has the registers.
    #[cold]
    #[inline(never)]
    pub(crate) fn move_vector(
        &mut self,
        page: Gpa,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
    ) -> Result<Resume, EmulateError> {
        let vectors = self.vectors.ok_or(EmulateError::Vector(page))?;
        let index = self.cpus.index();
        let mut area = Box::<ExtendedState>::default();
        let xcr0 = vectors.fetch(index, &mut area);
        let layout = self.config.cpuid.xstate().vectors();
        let mut registers = VectorRegisters::new(&mut area, xcr0, layout);
        let resume = self.access_by_vector(page, state, memory, &mut registers)?;
        if registers.is_changed() {
            vectors.put_back(index, &area);
        }
        Ok(resume)
    }

    fn access_by_vector(
        &mut self,
        page: Gpa,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
        registers: &mut VectorRegisters<'_>,
    ) -> Result<Resume, EmulateError> {
        // The time of the answer is that of its exit. It comes from the state, since who answers
        // all the others would have to carry it along.
        let now = state.exit_tsc;
        if page == self.apic_page {
            let (cpu, earlier) = (self.cpus.current_mut(), &mut self.apic_actions);
            let mut bus = ApicBus::new(cpu, earlier, page, now);
            let answer = vector_mmio(state, memory, page, &mut bus, registers);
            let last = bus.last;
            self.act_on_writes(last, state, now);
            return answer.map(|()| Resume::Enter);
        }
        let mut bus = Bus::new(&mut self.platform, &mut self.console, now);
        let answer = vector_mmio(state, memory, page, &mut bus, registers);
        let end = bus.end;
        self.after_platform(state);
        answer.map(|()| end.unwrap_or(Resume::Enter))
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests;
