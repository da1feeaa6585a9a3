//! One VM's monitor: an exit in, an answer out.
//!
//! Every exit has a decided answer in one `match`. After it, pending interrupts are
//! settled and the next deadline is told, so ring 0 needs no other question.

use alloc::vec::Vec;
use core::ops::DerefMut;
use skerry_devices::lapic::{Config, Delivery, Role, X2apic};
use skerry_devices::{Platform, PlatformConfig};
use skerry_emulate::{Emulator, Glance};
use skerry_verdict::{Fault, GuestMemory, Registers, Resume, StopReason};
use skerry_words::{ApicPage, CrAccess, EventWord, GuestState, Tsc, Undefined, VmExit};

use crate::control::{self, ControlRules, permitted_cr4};
use crate::cpu::{Activity, Cpu};
use crate::cpuid::{CpuidTable, View};
use crate::fault::inject;
use crate::hypercall::Statistics;
use crate::io::Bus;
use crate::smp::Cpus;
use crate::{hypercall, msr};

/// What a VM's monitor is made from.
#[derive(Clone, Debug)]
pub struct VmmConfig {
    /// The CPUID leaves the guest sees.
    pub cpuid: CpuidTable,
    /// The devices on its bus.
    pub platform: PlatformConfig,
    /// What the CPU does about local APICs.
    pub apic: ApicAssistance,
}

/// Whether the CPU can look after a vCPU's APIC page while the guest runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ApicAssistance {
    /// Each access to a local APIC exits.
    #[default]
    Absent,
    /// It can, and delivers interrupts from there.
    There,
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

/// The monitor of one VM, whose vCPUs have their APIC pages by `P`.
pub struct Vmm<P> {
    pub(crate) config: VmmConfig,
    pub(crate) platform: Platform,
    pub(crate) cpus: Cpus<P>,
    /// Something waits that the frequent answers need not look for: an interrupt in a local APIC,
    /// a message of the I/O APIC, a sleep, a turn's end.
    pub(crate) attention: bool,
    /// The earliest of all timers and of the turn's end.
    pub(crate) deadline: Tsc,
    pub(crate) apic_deadline: Tsc,
    pub(crate) turn_ends: Tsc,
    pub(crate) turn_tsc: u64,
    pub(crate) interrupts: u64,
    permitted_cr4: u64,
    pub(crate) console: Vec<u8>,
    pub(crate) emulator: Emulator,
    glance: Glance,
    refusals: Refusals,
    answered: u64,
}

impl<P: DerefMut<Target = ApicPage>> Vmm<P> {
    /// A monitor with its devices and vCPUs as at power-on, which is `now`: their counters start
    /// at 0. The first vCPU has the page `first`, the others have `others`.
    #[must_use]
    pub fn new(config: VmmConfig, first: P, others: impl Iterator<Item = P>, now: Tsc) -> Self {
        let cpu = |page, id| Cpu::new(page, apic_config(&config, id), now.0.wrapping_neg());
        let others = others.zip(1..).map(|(page, id)| cpu(page, id)).collect();
        Self {
            platform: Platform::new(&config.platform, now),
            cpus: Cpus::new(cpu(first, 0), others),
            attention: true,
            deadline: Tsc::NEVER,
            apic_deadline: Tsc::NEVER,
            turn_ends: Tsc::NEVER,
            turn_tsc: Self::turn_tsc(config.platform.tsc_hz),
            permitted_cr4: permitted_cr4(&config.cpuid),
            config,
            console: Vec::new(),
            emulator: Emulator::default(),
            glance: Glance::default(),
            refusals: Refusals::default(),
            answered: 0,
            interrupts: 0,
        }
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
        self.deadline
    }

    /// Between exits, where the guest may have moved on from what `state` says of it: if something
    /// waits for it, it is delivered after the next exit, which shall come at once.
    pub fn await_exit(&mut self, state: &mut GuestState) {
        self.attention |= self.platform.has_messages();
        if self.attention || self.platform.interrupt_pending() {
            state.deadline = Tsc(0);
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
                if !self.config.cpuid.answer_plain(state) {
                    self.answer_cpuid(state);
                }
                Resume::Enter
            }
            VmExit::Port(access) if access.string.is_some() => {
                self.answer_string(*access, state, memory, now)
            }
            VmExit::Port(access) => {
                let mut bus = Bus::<P>::new(&mut self.platform, &mut self.console, now);
                bus.port(*access, state);
                let resume = bus.end.unwrap_or(Resume::Enter);
                self.after_platform();
                resume
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
            VmExit::Wrmsr => self.write_msr(state, now),
            VmExit::Rdmsr
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
            | VmExit::Wrmsr => Resume::Enter,
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
                self.expire(now);
                Resume::Enter
            }
            VmExit::ApicWrite(offset) => {
                self.apic_written(offset, now);
                Resume::Enter
            }
            VmExit::ApicEnd(vector) => {
                self.apic_ended(vector, now);
                Resume::Enter
            }
            VmExit::InterruptWindow | VmExit::NmiWindow => {
                self.attention = true;
                Resume::Enter
            }
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

    fn msr_answered(&mut self, answer: Result<(), Fault>, state: &mut GuestState) -> Resume {
        match answer {
            Ok(()) => Resume::Enter,
            Err(fault) => {
                self.refusals.msrs = self.refusals.msrs.wrapping_add(1);
                inject(fault, state)
            }
        }
    }

    pub(crate) fn instruction_answered(
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
        let wakes = state.rflags & GuestState::INTERRUPT_FLAG != 0;
        self.cpus.current_mut().activity = if wakes {
            Activity::Halted
        } else {
            Activity::Dead
        };
        let is_over = |cpu: &Cpu<P>| match cpu.activity {
            Activity::Dead => !cpu.is_runnable(crate::cpu::External::None),
            Activity::WaitsForStartUp => true,
            Activity::Running | Activity::Halted => false,
        };
        if self.cpus.iter().all(is_over) {
            return Resume::Stop(StopReason::Halted);
        }
        state.advance();
        self.attention = true;
        Resume::Halt
    }

    fn write_msr(&mut self, state: &mut GuestState, now: Tsc) -> Resume {
        match msr::write(state, self.cpus.current_mut(), now) {
            Ok(action) => {
                self.act(action, now);
                Resume::Enter
            }
            Err(fault) => self.msr_answered(Err(fault), state),
        }
    }

    pub(crate) fn answer_control(
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

    /// After an access to the platform, which may have moved a timer or raised a line.
    #[inline(always)]
    pub(crate) fn after_platform(&mut self) {
        self.deadline = self.platform.next_deadline().min(self.apic_deadline);
        self.attention |= self.platform.has_messages();
    }
}

/// What never changes in the local APIC of the vCPU with this number.
fn apic_config(config: &VmmConfig, id: u32) -> Config {
    Config {
        id,
        role: if id == 0 {
            Role::Boot
        } else {
            Role::Application
        },
        delivery: match config.apic {
            ApicAssistance::Absent => Delivery::Software,
            ApicAssistance::There => Delivery::Hardware,
        },
        x2apic: X2apic::Offered,
        physical_address_bits: config.cpuid.physical_address_bits(),
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests;
