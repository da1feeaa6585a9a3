//! One VM's monitor: an exit in, an answer out.
//!
//! Every exit has a decided answer in one `match`. After it, pending interrupts are
//! settled and the next deadline is told, so ring 0 needs no other question.

use core::ops::DerefMut;
use skerry_devices::Platform;
use skerry_emulate::EmulateError;
use skerry_verdict::{Fault, GuestMemory, Registers, Resume, StopReason};
use skerry_words::{
    ApicPage, CrAccess, CrOperation, EventWord, GuestState, MemoryAccess, PortAccess, Tsc,
    Undefined, VmExit,
};

use crate::apic::{ApicBus, Often};
use crate::control::{self, ControlRules};
use crate::cpu::{Activity, Cpu};
use crate::cpuid::View;
use crate::fault::inject;
use crate::hypercall::Statistics;
use crate::io::{Bus, answer_memory};
use crate::vmm::{Refusals, Vmm};
use crate::{hypercall, msr};

/// What the statistics hypercall counts, summed up only when it is asked for.
struct Counts<'a> {
    counts: [u64; 2],
    refusals: &'a Refusals,
    platform: &'a Platform,
}

impl Statistics for Counts<'_> {
    fn count(&self, index: u64) -> Option<u64> {
        let [answered, interrupts] = self.counts;
        match index {
            0 => Some(answered),
            1 => Some(self.platform.absent_accesses()),
            2 => Some(self.refusals.msrs.wrapping_add(self.refusals.instructions)),
            3 => Some(interrupts),
            _ => None,
        }
    }
}

impl<P: DerefMut<Target = ApicPage>> Vmm<P> {
    /// Answers one exit. `state` holds the groups the exit needs; on return its dirty
    /// groups, event, windows and deadline say how to enter again.
    #[inline(always)]
    pub fn answer(
        &mut self,
        exit: &VmExit,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
        now: Tsc,
    ) -> Resume {
        self.answered = self.answered.wrapping_add(1);
        if state.instruction_bytes == 0 && skerry_emulate::is_measurable(exit) {
            match skerry_emulate::plain_length(exit, state, memory, &mut self.glance) {
                Some(bytes) => state.instruction_bytes = bytes,
                None => return self.answer_untold(*exit, state, memory, now),
            }
        }
        self.answer_told(exit, state, memory, now)
    }

    /// An exit of an instruction the CPU says too little of, or of none at all.
    #[cold]
    fn answer_untold(
        &mut self,
        exit: VmExit,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
        now: Tsc,
    ) -> Resume {
        match skerry_emulate::measure(&exit, state, memory) {
            Ok(Some(whole)) => {
                state.instruction_bytes = whole.bytes;
                self.answer_told(&whole.exit, state, memory, now)
            }
            // Another instruction by now: the guest executes that.
            Ok(None) => self.settle(state, now),
            Err(fault) => {
                state.inject_fault(fault);
                self.settle(state, now)
            }
        }
    }

    /// An exit with nothing left to find out.
    #[inline(always)]
    fn answer_told(
        &mut self,
        exit: &VmExit,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
        now: Tsc,
    ) -> Resume {
        let resume = match exit {
            VmExit::Cpuid => {
                if !self.config.cpuid.answer_plain(state) {
                    self.answer_cpuid(state);
                }
                Resume::Enter
            }
            VmExit::Port(access) => self.answer_port(*access, state, memory, now),
            VmExit::Hypercall => self.answer_hypercall(state, memory),
            VmExit::Memory(access) => self.answer_access(*access, state, memory, now),
            VmExit::Wrmsr => match self.write_often(state, now) {
                Often::Answered => return self.settle(state, now),
                Often::Left => self.write_msr(state, now),
            },
            VmExit::Hlt => self.halt(state),
            VmExit::InterruptWindow => self.window_is_open(),
            VmExit::Rdmsr
            | VmExit::Cr(_)
            | VmExit::Dr
            | VmExit::Xsetbv
            | VmExit::Pause
            | VmExit::CacheFlush
            | VmExit::Invlpg(_)
            | VmExit::Undefined(_)
            | VmExit::Exception(_)
            | VmExit::TaskSwitch(_)
            | VmExit::NmiWindow
            | VmExit::HostInterrupt(_)
            | VmExit::HostNmi
            | VmExit::Timer
            | VmExit::TripleFault
            | VmExit::Init
            | VmExit::EntryFailed(_)
            | VmExit::Unknown(_)
            | VmExit::ApicWrite(_)
            | VmExit::ApicEnd(_) => self.answer_rare(*exit, state, memory, now),
        };
        match resume {
            Resume::Enter => self.settle(state, now),
            Resume::Yield => {
                self.settle(state, now);
                Resume::Yield
            }
            Resume::Halt | Resume::Reset | Resume::Stop(_) => resume,
        }
    }

    /// Without an exit: lets the timers run up to `now`, and delivers what waits.
    pub fn look(&mut self, state: &mut GuestState, now: Tsc) -> Resume {
        self.expire(now);
        self.settle_rarely(state, now)
    }

    #[inline(always)]
    fn answer_hypercall(
        &mut self,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
    ) -> Resume {
        let counts = Counts {
            counts: [self.answered, self.interrupts],
            refusals: &self.refusals,
            platform: &self.platform,
        };
        hypercall::answer(state, memory, &mut self.console, counts)
    }

    #[inline(always)]
    fn answer_port(
        &mut self,
        access: PortAccess,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
        now: Tsc,
    ) -> Resume {
        let mut bus = Bus::new(&mut self.platform, &mut self.console, now);
        let resume = match bus.port(access, state, memory) {
            Ok(()) => bus.end.unwrap_or(Resume::Enter),
            Err(fault) => inject(fault, state),
        };
        self.after_platform(state);
        resume
    }

    /// An access to memory that is no RAM.
    #[inline(always)]
    fn answer_access(
        &mut self,
        access: MemoryAccess,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
        now: Tsc,
    ) -> Resume {
        if access.gpa.page_start() == self.apic_page {
            self.answer_apic(access, state, memory, now)
        } else {
            self.answer_memory(access, state, memory, now)
        }
    }

    /// One to the devices that all vCPUs share.
    #[inline(never)]
    fn answer_memory(
        &mut self,
        access: MemoryAccess,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
        now: Tsc,
    ) -> Resume {
        let mut bus = Bus::new(&mut self.platform, &mut self.console, now);
        let answer = answer_memory(&mut bus, &mut self.emulator, access, state, memory);
        let end = bus.end;
        self.after_platform(state);
        match answer {
            Ok(()) => end.unwrap_or(Resume::Enter),
            Err(error) => self.emulation_failed(error, state, memory),
        }
    }

    /// One to the page of the current vCPU's local APIC. An instruction with an operand
    /// there and one at another device finds the other absent.
    #[inline(never)]
    fn answer_apic(
        &mut self,
        access: MemoryAccess,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
        now: Tsc,
    ) -> Resume {
        let mut bus = ApicBus::new(
            self.cpus.current_mut(),
            &mut self.apic_actions,
            self.apic_page,
            now,
        );
        let answer = answer_memory(&mut bus, &mut self.emulator, access, state, memory);
        let last = bus.last;
        self.act_on_writes(last, state, now);
        match answer {
            Ok(()) => Resume::Enter,
            Err(error) => self.emulation_failed(error, state, memory),
        }
    }

    #[cold]
    fn emulation_failed(
        &mut self,
        error: EmulateError,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
    ) -> Resume {
        match error {
            EmulateError::Fault(fault) => inject(fault, state),
            EmulateError::StatusWord(word) => {
                let access = CrAccess {
                    register: 0,
                    operation: CrOperation::Lmsw(word),
                };
                let answer = self.answer_control(access, state, memory);
                self.instruction_answered(answer, state)
            }
            EmulateError::Vector(page) => match self.move_vector(page, state, memory) {
                Ok(resume) => resume,
                Err(EmulateError::Fault(fault)) => inject(fault, state),
                Err(_) => Resume::Stop(StopReason::Emulation(state.rip)),
            },
            EmulateError::Unknown { .. } => Resume::Stop(StopReason::Emulation(state.rip)),
        }
    }

    /// The exits that are not on the hot path.
    #[inline(never)]
    fn answer_rare(
        &mut self,
        exit: VmExit,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
        now: Tsc,
    ) -> Resume {
        match exit {
            VmExit::Cpuid
            | VmExit::Port(_)
            | VmExit::Hypercall
            | VmExit::Memory(_)
            | VmExit::Wrmsr
            | VmExit::Hlt
            | VmExit::InterruptWindow => Resume::Enter,
            VmExit::Rdmsr => {
                let answer = msr::read(state, self.cpus.current_mut(), now);
                self.msr_answered(answer, state)
            }
            VmExit::Cr(access) => {
                let answer = self.answer_control(access, state, memory);
                self.instruction_answered(answer, state)
            }
            VmExit::Xsetbv => {
                let answer = control::set_xcr0(state, self.config.cpuid.xstate());
                self.instruction_answered(answer, state)
            }
            VmExit::Pause => {
                state.advance();
                self.spins()
            }
            // Guest memory is write-back and coherent: there is nothing to flush.
            VmExit::CacheFlush => {
                state.advance();
                Resume::Enter
            }
            VmExit::Undefined(Undefined::Rdpmc) => {
                self.instruction_answered(Err(Fault::GeneralProtection(0)), state)
            }
            VmExit::Undefined(_) => {
                self.instruction_answered(Err(Fault::UndefinedInstruction), state)
            }
            VmExit::TaskSwitch(switch) => {
                let code = u32::from(switch.selector & !3);
                self.instruction_answered(Err(Fault::GeneralProtection(code)), state)
            }
            VmExit::Exception(event) => {
                state.inject = EventWord::encode(event);
                Resume::Enter
            }
            VmExit::Timer => {
                self.expire(now);
                Resume::Enter
            }
            VmExit::ApicWrite(offset) => {
                self.apic_written(offset, state, now);
                Resume::Enter
            }
            VmExit::ApicEnd(vector) => {
                self.apic_ended(vector, state, now);
                Resume::Enter
            }
            VmExit::NmiWindow => self.window_is_open(),
            VmExit::HostInterrupt(_) | VmExit::HostNmi | VmExit::Init => Resume::Enter,
            VmExit::TripleFault => Resume::Stop(StopReason::TripleFault),
            VmExit::EntryFailed(code) => Resume::Stop(StopReason::EntryFailed(code)),
            // Ring 0 asks for neither; if the CPU exits all the same, nobody has an answer.
            VmExit::Dr | VmExit::Invlpg(_) => {
                Resume::Stop(StopReason::UnknownExit(exit.kind() as u32))
            }
            VmExit::Unknown(reason) => Resume::Stop(StopReason::UnknownExit(reason)),
        }
    }

    /// A vCPU waits in a loop: for another one, which then gets its turn, or for the time, and then
    /// it goes on.
    fn spins(&self) -> Resume {
        match self.next_to_run() {
            Some(next) if next != self.index() => Resume::Yield,
            Some(_) | None => Resume::Enter,
        }
    }

    /// What waits for it is delivered before the next entry.
    #[inline(always)]
    fn window_is_open(&mut self) -> Resume {
        self.attention = true;
        Resume::Enter
    }

    fn msr_answered(&mut self, answer: Result<(), Fault>, state: &mut GuestState) -> Resume {
        match answer {
            Ok(()) => Resume::Enter,
            Err(fault) => {
                self.refusals.msrs = self.refusals.msrs.wrapping_add(1);
                inject(fault, state)
            }
        }
    }

    fn instruction_answered(
        &mut self,
        answer: Result<(), Fault>,
        state: &mut GuestState,
    ) -> Resume {
        match answer {
            Ok(()) => Resume::Enter,
            Err(fault) => {
                self.refusals.instructions = self.refusals.instructions.wrapping_add(1);
                inject(fault, state)
            }
        }
    }

    /// HLT: sleeps until an interrupt. With interrupts off and nothing that could send an
    /// NMI, it would sleep for ever: when all vCPUs do, that is an end, and said so.
    fn halt(&mut self, state: &mut GuestState) -> Resume {
        if state.is_stepping() {
            // The debug exception behind it wakes it at once.
            state.advance();
            return Resume::Enter;
        }
        if state.rflags & GuestState::INTERRUPT_FLAG == 0 {
            self.cpus.current_mut().activity = Activity::Dead;
            if self.cpus.iter().all(Cpu::sleeps_for_ever) {
                return Resume::Stop(StopReason::Halted);
            }
        } else {
            self.cpus.current_mut().activity = Activity::Halted;
        }
        state.advance();
        self.attention = true;
        let external = self.external_for(self.cpus.index());
        if self.platform.has_messages() || self.cpus.current().is_runnable(external) {
            // What waits is delivered before it has slept.
            return Resume::Enter;
        }
        Resume::Halt
    }

    #[inline(never)]
    fn write_msr(&mut self, state: &mut GuestState, now: Tsc) -> Resume {
        match msr::write(state, self.cpus.current_mut(), now) {
            Ok(action) => {
                self.act(action, state, now);
                if msr::places_apic(state) {
                    self.find_apic(state);
                }
                Resume::Enter
            }
            Err(fault) => self.msr_answered(Err(fault), state),
        }
    }

    fn answer_control(
        &mut self,
        access: CrAccess,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
    ) -> Result<(), Fault> {
        let apic = &mut self.cpus.current_mut().apic;
        let mut cr8 = u64::from(apic.tpr());
        let mut rules = ControlRules {
            cr4: self.permitted_cr4,
            cr8: &mut cr8,
        };
        let answer = rules.answer(access, state, memory);
        if access.register == 8 {
            apic.set_tpr(cr8 as u8);
            self.attention = true;
        }
        answer
    }

    #[inline(never)]
    fn answer_cpuid(&self, state: &mut GuestState) {
        let cpu = self.cpus.current();
        let view = View {
            cr4: state.cr4,
            xcr0: state.xcr0,
            apic_id: self.cpus.index() as u32,
            apic_base: cpu.apic.base(),
        };
        self.config.cpuid.answer(state, view);
    }

    /// After an access to the platform, which may have moved a timer or raised a line. While the
    /// first vCPU, to which the 8259 pair is wired, has asked for a window, what waits is looked at
    /// when it opens.
    #[inline(always)]
    pub(crate) fn after_platform(&mut self, state: &GuestState) {
        self.deadline = self.platform.next_deadline().min(self.apic_deadline);
        let asked = state.interrupt_window != 0 && self.cpus.index() == 0;
        let interrupts = self.platform.interrupt_pending() && !asked;
        self.attention |= self.platform.has_messages() | interrupts;
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests;
