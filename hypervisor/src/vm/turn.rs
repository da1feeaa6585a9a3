//! One VM's turn on the CPU: the walk of an exit.
//!
//! Enter, exit, decode (in `virt`); what is the host's is settled here (interrupts, the
//! time slice, memory on first touch); everything else the VMM answers; enter again. The
//! turn ends when the slice is over or the guest has nothing to do.

use super::Vm;
use super::ram::NotBacked;
use crate::{console, cpu};
use skerry_words::{Gpa, Resume, StopReason, Tsc, VmExit};

/// A guest runs at least this long per entry, in ticks, whatever its timers say: one that
/// arms them in the past still makes progress.
const LEAST_RUN_TSC: u64 = 1000;
/// How long typed bytes wait for room in the UART before they are offered again, in ticks.
const RETRY_INPUT_TSC: u64 = 100_000;

/// How a turn ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// The slice is over, or somebody else has become due.
    Preempted,
    /// The guest waits for an interrupt.
    Asleep,
    /// The guest gave the rest of its slice away.
    Yielded,
    /// The guest asked for a reset.
    Reset,
    /// The VM has ended.
    Ended(StopReason),
}

/// What the loop does after one exit.
enum Step {
    Enter,
    Leave(Turn),
}

impl Vm {
    /// Runs the guest until `slice_end` at the latest. Its vCPU must be loaded.
    pub fn turn(&mut self, vm: usize, slice_end: Tsc) -> Turn {
        self.meter.start(cpu::tsc::now());
        let mut step = self.begin(vm);
        let turn = loop {
            match step {
                Step::Enter => step = self.run_once(vm, slice_end),
                Step::Leave(turn) => break turn,
            }
        };
        self.meter.stop(cpu::tsc::now());
        turn
    }

    /// Before the first entry: typed bytes go in, and a sleeper looks whether to wake.
    fn begin(&mut self, vm: usize) -> Step {
        let typed = !self.typed.is_empty();
        while let Some(byte) = self.typed.front().copied() {
            if self.vmm.input(&[byte]) == 0 {
                break;
            }
            self.typed.pop_front();
        }
        let woken = core::mem::take(&mut self.woken);
        if typed || woken {
            return self.ask(vm, &VmExit::Timer, cpu::tsc::now());
        }
        Step::Enter
    }

    #[inline(always)]
    fn run_once(&mut self, vm: usize, slice_end: Tsc) -> Step {
        let entered = cpu::tsc::now();
        if entered >= slice_end {
            return Step::Leave(Turn::Preempted);
        }
        let limit = self.limit(slice_end, entered);
        let exit = self.vcpu.enter(entered, limit);
        let now = cpu::tsc::now();
        self.meter.exit(exit.kind(), entered, now);
        match exit {
            VmExit::HostInterrupt(vector) => {
                if let Some(vector) = vector {
                    cpu::interrupt::dispatch(vector);
                }
                self.interrupted(vm, slice_end, limit, now)
            }
            VmExit::Timer => self.time_is_up(vm, slice_end, now),
            VmExit::Memory(access) => self.touch(vm, &exit, access.gpa, now),
            _ => self.ask(vm, &exit, now),
        }
    }

    /// When the guest must exit at the latest: at the end of its slice or at its own next
    /// deadline, but not before it could do anything.
    #[inline(always)]
    fn limit(&mut self, slice_end: Tsc, now: Tsc) -> Tsc {
        let mut own = self.vcpu.state().deadline;
        if !self.typed.is_empty() {
            own = own.min(now.after(RETRY_INPUT_TSC));
        }
        own.max(Tsc(now.0.wrapping_add(LEAST_RUN_TSC)))
            .min(slice_end)
    }

    /// The VMM answers.
    #[inline(always)]
    fn ask(&mut self, vm: usize, exit: &VmExit, now: Tsc) -> Step {
        let resume = self.vmm.answer(exit, self.vcpu.state(), &mut self.ram, now);
        if !self.vmm.console().is_empty() {
            console::output(vm, self.vmm.console());
            self.vmm.clear_console();
        }
        match resume {
            Resume::Enter => Step::Enter,
            Resume::Halt => {
                self.asleep = true;
                Step::Leave(Turn::Asleep)
            }
            Resume::Yield => Step::Leave(Turn::Yielded),
            Resume::Reset => Step::Leave(Turn::Reset),
            Resume::Stop(reason) => Step::Leave(Turn::Ended(reason)),
        }
    }

    /// After a host interrupt, which may have been the one that ends the guest's time.
    fn interrupted(&mut self, vm: usize, slice_end: Tsc, limit: Tsc, now: Tsc) -> Step {
        if console::has_input() {
            return Step::Leave(Turn::Preempted);
        }
        if now >= limit {
            self.time_is_up(vm, slice_end, now)
        } else {
            Step::Enter
        }
    }

    fn time_is_up(&mut self, vm: usize, slice_end: Tsc, now: Tsc) -> Step {
        if now >= slice_end || !self.typed.is_empty() {
            return Step::Leave(Turn::Preempted);
        }
        self.ask(vm, &VmExit::Timer, now)
    }

    /// RAM that was never touched is backed now; the rest is the VMM's.
    #[inline(always)]
    fn touch(&mut self, vm: usize, exit: &VmExit, gpa: Gpa, now: Tsc) -> Step {
        match self.ram.back(gpa) {
            Ok(()) => Step::Enter,
            Err(NotBacked::OutOfMemory) => Step::Leave(Turn::Ended(StopReason::OutOfMemory)),
            Err(NotBacked::NotRam) => {
                self.vcpu.complete();
                self.ask(vm, exit, now)
            }
        }
    }
}
