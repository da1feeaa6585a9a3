//! The loop: run the guest, answer its exit, run it again.
//!
//! Owns the walk of an exit in ring 3, which is short on purpose: nothing in it allocates,
//! formats or divides. What is rare (sleeping, typed bytes, old output) is on cold paths.
//! Does not own the answers ([`Vmm`]) or the slices and budgets, which are ring 0's.

use crate::console::Console;
use core::ops::DerefMut;
use core::sync::atomic::Ordering;
use skerry_pages::VmPage;
use skerry_verdict::{GuestMemory, ReadExit, Resume, StopReason};
use skerry_vmm::{Switched, Vmm};
use skerry_words::{ApicPage, ExitKind, ExitWords, GuestState, Tsc, VmExit};

/// How a run of the guest ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Run {
    /// With an exit, which the state page tells.
    Exit,
    /// With notification bits.
    Notified(u64),
}

/// What the loop needs of ring 0. Nothing here can be refused to a VMM that was made well.
pub trait Ring0 {
    /// The present time.
    fn now(&self) -> Tsc;
    /// Runs the guest until its VMM is needed.
    fn run(&mut self) -> Run;
    /// The state page.
    fn state(&mut self) -> &mut GuestState;
    /// Makes another vCPU's the state page, and the one that runs; nothing if there is none.
    fn select(&mut self, index: usize);
    /// Has ring 0 take the whole state page as after a reset.
    fn reset(&mut self);
    /// Sleeps until a notification bit is set, or the deadline has passed. Gives the bits.
    fn wait(&mut self, deadline: Tsc) -> u64;
    /// Gives the rest of the time slice to others.
    fn yield_now(&mut self);
    /// Tells the console that its ring has changed.
    fn announce(&mut self);
}

/// The monitor of one VM with all it works on.
pub struct Monitor<R, M, P> {
    ring0: R,
    memory: M,
    vmm: Vmm<P>,
    console: Console,
    page: &'static VmPage,
}

impl<R: Ring0, M: GuestMemory, P: DerefMut<Target = ApicPage>> Monitor<R, M, P> {
    /// A monitor for a guest that is loaded and ready for its first entry.
    pub fn new(ring0: R, memory: M, vmm: Vmm<P>, console: Console, page: &'static VmPage) -> Self {
        Self {
            ring0,
            memory,
            vmm,
            console,
            page,
        }
    }

    /// Runs the guest to its end.
    pub fn run(&mut self) -> StopReason {
        let mut resume = Resume::Enter;
        let reason = loop {
            resume = match resume {
                Resume::Enter => self.enter_often(),
                Resume::Halt => self.sleep(),
                Resume::Yield => self.give_way(),
                Resume::Reset => break StopReason::ResetAsked,
                Resume::Stop(reason) => break reason,
            };
        };
        self.console.announce_rest(&mut self.ring0);
        self.publish();
        reason
    }

    /// Runs the guest as long as nothing else is to be done.
    #[inline(always)]
    fn enter_often(&mut self) -> Resume {
        loop {
            if let Some(resume) = self.enter() {
                return resume;
            }
        }
    }

    /// Runs the guest once; what to do next, if not to run it again.
    #[inline(always)]
    fn enter(&mut self) -> Option<Resume> {
        match self.ring0.run() {
            Run::Exit => self.answer_exit(),
            Run::Notified(bits) => {
                self.notified(bits);
                None
            }
        }
    }

    /// The most frequent exits have the whole walk to themselves, so that nothing on it asks
    /// again which exit it is.
    #[inline(always)]
    fn answer_exit(&mut self) -> Option<Resume> {
        let words = self.ring0.state().exit;
        if let Some(access) = words.port_access() {
            self.answer(&VmExit::Port(access))
        } else if words.is(ExitKind::Cpuid) {
            self.answer(&VmExit::Cpuid)
        } else if words.is(ExitKind::Hypercall) {
            self.answer(&VmExit::Hypercall)
        } else if let Some(access) = words.memory_access() {
            self.answer(&VmExit::Memory(access))
        } else if words.is(ExitKind::Wrmsr) {
            self.answer(&VmExit::Wrmsr)
        } else {
            self.answer_other(words)
        }
    }

    /// The next frequent ones, then all the others.
    #[inline(never)]
    fn answer_other(&mut self, words: ExitWords) -> Option<Resume> {
        if words.is(ExitKind::Hlt) {
            self.answer(&VmExit::Hlt)
        } else if words.is(ExitKind::InterruptWindow) {
            self.answer(&VmExit::InterruptWindow)
        } else if words.is(ExitKind::Timer) {
            self.answer(&VmExit::Timer)
        } else {
            self.answer_rare(words)
        }
    }

    #[inline(never)]
    fn answer_rare(&mut self, words: ExitWords) -> Option<Resume> {
        self.answer(&words.decode())
    }

    #[inline(always)]
    fn answer(&mut self, exit: &VmExit) -> Option<Resume> {
        let state = self.ring0.state();
        let now = state.exit_tsc;
        let resume = self.vmm.answer(exit, state, &mut self.memory, now);
        if resume != Resume::Enter {
            return self.leave(resume, now);
        }
        if may_print(exit) && !self.vmm.console().is_empty() {
            self.pass_output(now);
        }
        let attend_at = self.console.attend_at();
        if now >= attend_at {
            return not_enter(self.attend(Resume::Enter, now));
        }
        let state = self.ring0.state();
        state.deadline = state.deadline.min(attend_at);
        None
    }

    /// The guest is not to be run at once. Apart, so that the frequent answer is no value that
    /// would have to be carried around.
    #[cold]
    #[inline(never)]
    fn leave(&mut self, resume: Resume, now: Tsc) -> Option<Resume> {
        if !self.vmm.console().is_empty() {
            self.pass_output(now);
        }
        if now >= self.console.attend_at() {
            return not_enter(self.attend(resume, now));
        }
        not_enter(resume)
    }

    #[inline(never)]
    fn pass_output(&mut self, now: Tsc) {
        self.console.write(self.vmm.console(), &mut self.ring0, now);
        self.vmm.clear_console();
    }

    /// The console wants something. A guest that has been given bytes looks for interrupts
    /// once more.
    #[cold]
    fn attend(&mut self, resume: Resume, now: Tsc) -> Resume {
        let given = self.console.attend(&mut self.vmm, &mut self.ring0, now);
        self.publish();
        match resume {
            Resume::Enter | Resume::Halt | Resume::Yield if given => self.look(now),
            Resume::Enter | Resume::Halt | Resume::Yield | Resume::Reset | Resume::Stop(_) => {
                self.bound_deadline();
                resume
            }
        }
    }

    /// Lets the devices catch up with the time, and delivers what they want delivered.
    fn look(&mut self, now: Tsc) -> Resume {
        let resume = self.vmm.look(self.ring0.state(), now);
        self.bound_deadline();
        resume
    }

    fn bound_deadline(&mut self) {
        let attend_at = self.console.attend_at();
        let state = self.ring0.state();
        state.deadline = state.deadline.min(attend_at);
    }

    /// Somebody has set bits for this VMM while the guest ran. It may have moved on from what
    /// the state page says, so nothing is delivered here and now.
    #[cold]
    fn notified(&mut self, bits: u64) {
        self.take_bits(bits);
        self.vmm.await_exit(self.ring0.state());
        self.bound_deadline();
    }

    fn take_bits(&mut self, bits: u64) -> Tsc {
        self.console.notified(bits);
        let now = self.ring0.now();
        self.console.attend(&mut self.vmm, &mut self.ring0, now);
        now
    }

    /// The current vCPU has nothing to do: another one's turn comes, or, if they all sleep, the
    /// VMM does, until a deadline or a notification. Typed bytes the guest has no room for wait with
    /// it: it makes none while it sleeps.
    #[inline(never)]
    fn sleep(&mut self) -> Resume {
        if let Some(next) = self.vmm.next_to_run() {
            return self.turn_to(next);
        }
        self.console.announce_rest(&mut self.ring0);
        self.publish();
        let bits = self.ring0.wait(self.vmm.next_deadline());
        let now = self.take_bits(bits);
        self.look(now)
    }

    /// Another vCPU's turn, or, if none wants one, others' who are not of this VM.
    #[inline(never)]
    fn give_way(&mut self) -> Resume {
        match self.vmm.next_to_run() {
            Some(next) if next != self.vmm.index() => self.turn_to(next),
            Some(_) | None => {
                self.ring0.yield_now();
                self.bound_deadline();
                Resume::Enter
            }
        }
    }

    fn turn_to(&mut self, next: usize) -> Resume {
        let now = self.ring0.now();
        self.ring0.select(next);
        match self.vmm.switch_to(next, self.ring0.state(), now) {
            Switched::Starts => self.ring0.reset(),
            Switched::GoesOn => {}
        }
        self.look(now)
    }

    /// What it was refused so far, for who reads it after the end, whatever the end is.
    fn publish(&self) {
        let refusals = self.vmm.refusals();
        let page = self.page;
        page.refused_msrs.store(refusals.msrs, Ordering::Relaxed);
        page.refused_instructions
            .store(refusals.instructions, Ordering::Relaxed);
        page.absent_accesses
            .store(refusals.absent, Ordering::Relaxed);
    }
}

/// Whether the answer to an exit can be a byte on a console: those that come often and cannot.
#[inline(always)]
const fn may_print(exit: &VmExit) -> bool {
    !matches!(exit, VmExit::Cpuid | VmExit::Rdmsr | VmExit::Wrmsr)
}

/// What to do next, if not to run the guest again.
#[inline(always)]
fn not_enter(resume: Resume) -> Option<Resume> {
    match resume {
        Resume::Enter => None,
        Resume::Halt | Resume::Yield | Resume::Reset | Resume::Stop(_) => Some(resume),
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests;
