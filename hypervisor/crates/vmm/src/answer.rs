//! One VM's monitor: an exit in, an answer out.
//!
//! Every exit has a decided answer in one `match`. After it, pending interrupts are
//! settled and the next deadline is told, so ring 0 needs no other question.

use alloc::vec::Vec;
use skerry_devices::{Platform, PlatformConfig};
use skerry_emulate::{EmulateError, Emulator, Glance};
use skerry_verdict::{Fault, GuestMemory, Registers, Resume, StopReason};
use skerry_words::{Event, EventKind, EventWord, GuestState, MemoryAccess, Tsc, Undefined, VmExit};

use crate::control::{self, ControlRules, permitted_cr4};
use crate::cpuid::CpuidTable;
use crate::fault::inject;
use crate::hypercall::Statistics;
use crate::io::Bus;
use crate::{hypercall, msr};

/// What a VM's monitor is made from.
#[derive(Clone, Debug)]
pub struct VmmConfig {
    /// The CPUID leaves the guest sees.
    pub cpuid: CpuidTable,
    /// The devices on its bus.
    pub platform: PlatformConfig,
}

/// What a VM was refused, by kind; the summary prints it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Refusals {
    /// Reads and writes of MSRs this virtual CPU does not have.
    pub msrs: u64,
    /// Instructions it does not have, control-register values it forbids, task switches.
    pub instructions: u64,
    /// Port and memory accesses that no device answered.
    pub absent: u64,
}

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

/// The monitor of one VM.
pub struct Vmm {
    config: VmmConfig,
    platform: Platform,
    permitted_cr4: u64,
    cr8: u64,
    halted: bool,
    console: Vec<u8>,
    emulator: Emulator,
    glance: Glance,
    refusals: Refusals,
    answered: u64,
    interrupts: u64,
}

impl Vmm {
    /// A monitor with its devices as at power-on.
    #[must_use]
    pub fn new(config: VmmConfig, now: Tsc) -> Self {
        Self {
            platform: Platform::new(&config.platform, now),
            permitted_cr4: permitted_cr4(&config.cpuid),
            config,
            cr8: 0,
            halted: false,
            console: Vec::new(),
            emulator: Emulator::default(),
            glance: Glance::default(),
            refusals: Refusals::default(),
            answered: 0,
            interrupts: 0,
        }
    }

    /// Devices and CPU-side state as at power-on; the counters go on.
    pub fn reset(&mut self, now: Tsc) {
        self.platform = Platform::new(&self.config.platform, now);
        self.cr8 = 0;
        self.halted = false;
    }

    /// The CR4 bits the guest may change; ring 0 lets those through without an exit.
    #[must_use]
    pub fn permitted_cr4(&self) -> u64 {
        self.permitted_cr4
    }

    /// What the guest has written to its consoles since [`Vmm::clear_console`].
    #[inline]
    #[must_use]
    pub fn console(&self) -> &[u8] {
        &self.console
    }

    /// Forgets the console output that has been passed on.
    pub fn clear_console(&mut self) {
        self.console.clear();
    }

    /// Types `bytes` on the guest's console; how many its UART had room for.
    pub fn input(&mut self, bytes: &[u8]) -> usize {
        self.platform.input(bytes)
    }

    /// When a device next has something to do though the guest does nothing.
    #[must_use]
    pub fn next_deadline(&self) -> Tsc {
        self.platform.next_deadline()
    }

    /// Between exits, where the guest may have moved on from what `state` says of it: a
    /// pending interrupt asks for a window.
    pub fn await_window(&self, state: &mut GuestState) {
        if self.platform.interrupt_pending() {
            state.interrupt_window = 1;
        }
    }

    /// What the guest was refused so far.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        Refusals {
            absent: self.platform.absent_accesses(),
            ..self.refusals
        }
    }

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
        // An access to memory is looked at by the emulator anyway.
        if state.instruction_bytes == 0 && !matches!(exit, VmExit::Memory(_)) {
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
                self.config.cpuid.answer(state);
                Resume::Enter
            }
            VmExit::Port(access) => {
                let mut bus = Bus::new(&mut self.platform, &mut self.console, now);
                match bus.port(*access, state, memory) {
                    Ok(()) => bus.end.unwrap_or(Resume::Enter),
                    Err(fault) => inject(fault, state),
                }
            }
            VmExit::Hypercall => {
                let counts = [self.answered, self.interrupts];
                let counts = Counts {
                    counts,
                    refusals: &self.refusals,
                    platform: &self.platform,
                };
                hypercall::answer(state, memory, &mut self.console, counts)
            }
            VmExit::Memory(access) => self.answer_memory(*access, state, memory, now),
            VmExit::Rdmsr
            | VmExit::Wrmsr
            | VmExit::Cr(_)
            | VmExit::Dr
            | VmExit::Xsetbv
            | VmExit::Hlt
            | VmExit::Pause
            | VmExit::CacheFlush
            | VmExit::Invlpg(_)
            | VmExit::Undefined(_)
            | VmExit::Exception(_)
            | VmExit::TaskSwitch(_)
            | VmExit::InterruptWindow
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
            Resume::Enter | Resume::Halt => self.settle(state, now),
            Resume::Yield => {
                self.settle(state, now);
                Resume::Yield
            }
            Resume::Reset | Resume::Stop(_) => resume,
        }
    }

    /// An access to memory that is no RAM.
    #[inline(never)]
    fn answer_memory(
        &mut self,
        access: MemoryAccess,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
        now: Tsc,
    ) -> Resume {
        let mut bus = Bus::new(&mut self.platform, &mut self.console, now);
        let answer = bus.memory(&mut self.emulator, access, state, memory);
        let end = bus.end;
        match answer {
            Ok(()) => end.unwrap_or(Resume::Enter),
            Err(error) => emulation_failed(error, state),
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
            VmExit::Cpuid | VmExit::Port(_) | VmExit::Hypercall | VmExit::Memory(_) => {
                Resume::Enter
            }
            VmExit::Rdmsr => self.msr_answered(msr::read(state, now), state),
            VmExit::Wrmsr => self.msr_answered(msr::write(state, now), state),
            VmExit::Cr(access) => {
                let mut rules = ControlRules {
                    cr4: self.permitted_cr4,
                    cr8: &mut self.cr8,
                };
                let answer = rules.answer(access, state, memory);
                self.instruction_answered(answer, state)
            }
            VmExit::Xsetbv => {
                let answer = control::set_xcr0(state, self.config.cpuid.xstate());
                self.instruction_answered(answer, state)
            }
            VmExit::Hlt => self.halt(state),
            VmExit::Pause => {
                state.advance();
                Resume::Yield
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
                self.platform.expire(now);
                Resume::Enter
            }
            VmExit::InterruptWindow
            | VmExit::NmiWindow
            | VmExit::HostInterrupt(_)
            | VmExit::HostNmi
            | VmExit::Init
            | VmExit::ApicWrite(_)
            | VmExit::ApicEnd(_) => Resume::Enter,
            VmExit::TripleFault => Resume::Stop(StopReason::TripleFault),
            VmExit::EntryFailed(code) => Resume::Stop(StopReason::EntryFailed(code)),
            // Ring 0 asks for neither; if the CPU exits all the same, nobody has an answer.
            VmExit::Dr | VmExit::Invlpg(_) => {
                Resume::Stop(StopReason::UnknownExit(exit.kind() as u32))
            }
            VmExit::Unknown(reason) => Resume::Stop(StopReason::UnknownExit(reason)),
        }
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
    /// NMI, it would sleep for ever: that is an end, and said so.
    fn halt(&mut self, state: &mut GuestState) -> Resume {
        if state.rflags & GuestState::INTERRUPT_FLAG == 0 {
            return Resume::Stop(StopReason::Halted);
        }
        state.advance();
        self.halted = true;
        Resume::Halt
    }

    /// Delivers a pending interrupt if the guest can take one, else asks for a window.
    #[inline]
    fn settle(&mut self, state: &mut GuestState, now: Tsc) -> Resume {
        state.interrupt_window = 0;
        if self.platform.interrupt_pending() {
            self.deliver(state, now);
        }
        state.deadline = self.platform.next_deadline();
        if self.halted {
            return still_halted();
        }
        Resume::Enter
    }

    #[inline(never)]
    fn deliver(&mut self, state: &mut GuestState, now: Tsc) {
        if !state.takes_interrupts() {
            state.interrupt_window = 1;
            return;
        }
        if let Some(vector) = self.platform.acknowledge(now) {
            self.interrupts = self.interrupts.wrapping_add(1);
            self.halted = false;
            let kind = EventKind::Interrupt;
            state.inject = EventWord::encode(Event {
                kind,
                vector,
                error_code: None,
            });
        }
        state.interrupt_window = u32::from(self.platform.interrupt_pending());
    }
}

/// Apart, so that the frequent answer is a constant.
#[cold]
#[inline(never)]
fn still_halted() -> Resume {
    Resume::Halt
}

fn emulation_failed(error: EmulateError, state: &mut GuestState) -> Resume {
    match error {
        EmulateError::Fault(fault) => inject(fault, state),
        EmulateError::Unknown { .. } => Resume::Stop(StopReason::Emulation(state.rip)),
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests;
