//! The walk of an exit.
//!
//! Enter, exit, decode (in `virt`); what is the host's is settled here (interrupts, the time
//! slice, memory on first touch); everything else is handed to the VMM in ring 3, which has it
//! as the answer to its call.

use super::Machine;
use super::turn::{Step, Turn};
use crate::cpu;
use crate::object::component::{Component, Mode};
use crate::object::guest::NotBacked;
use crate::object::vcpu::Vcpu;
use skerry_abi::{EndCause, RunEnd};
use skerry_rights::Id;
use skerry_words::{ExitWords, Tsc, VmExit};

/// A guest runs at least this long per entry, in ticks, whatever its timers say: one that
/// arms them in the past still makes progress.
const LEAST_RUN_TSC: u64 = 1000;

/// What an exit leads to.
enum After {
    Enter,
    Hand(VmExit),
    Preempt,
    OutOfMemory,
}

impl Machine {
    /// Runs a component's guest until its VMM is needed, or the slice is over.
    #[inline(always)]
    pub fn run_guest(&mut self, id: Id<Component>, vcpu: Id<Vcpu>, slice_end: Tsc) -> Step {
        let (Some(component), Some(running)) =
            (self.components.get_mut(id), self.vcpus.get_mut(vcpu))
        else {
            return Step::Leave(Turn::Ended);
        };
        if component.thread.pending != 0 {
            let bits = component.thread.take_pending();
            let frame = &mut component.thread.frame;
            frame.answer_both(RunEnd::Notified as u64, bits);
            component.thread.mode = Mode::Ring3;
            return Step::Go;
        }
        if self.first_guest.is_none() {
            self.first_guest = Some(cpu::tsc::now());
        }
        let after = loop {
            let entered = cpu::tsc::now();
            if entered >= slice_end {
                break After::Preempt;
            }
            let limit = limit(running, slice_end, entered);
            let exit = running.hardware.enter(entered, limit);
            let now = cpu::tsc::now();
            running.meter.exit(exit.kind(), entered, now);
            let after = match exit {
                VmExit::Memory(access) => match self.guests.get_mut(running.guest) {
                    Some(guest) => match guest.back(access.gpa) {
                        Ok(()) => After::Enter,
                        Err(NotBacked::OutOfMemory) => After::OutOfMemory,
                        Err(NotBacked::NotRam) => {
                            running.hardware.complete();
                            After::Hand(exit)
                        }
                    },
                    None => After::Hand(exit),
                },
                VmExit::HostInterrupt(vector) => {
                    if let Some(vector) = vector {
                        cpu::interrupt::dispatch(vector);
                    }
                    interrupted(slice_end, limit, now)
                }
                VmExit::Timer if now >= slice_end => After::Preempt,
                _ => After::Hand(exit),
            };
            match after {
                After::Enter => {}
                other => {
                    component.thread.since = now;
                    break other;
                }
            }
        };
        match after {
            After::Hand(exit) => {
                running.hardware.state().exit = ExitWords::encode(&exit);
                component.thread.frame.answer(RunEnd::Exit as u64);
                component.thread.mode = Mode::Ring3;
                Step::Go
            }
            After::Preempt | After::Enter => {
                component.thread.mode = Mode::Guest(vcpu);
                Step::Leave(Turn::Preempted)
            }
            After::OutOfMemory => {
                self.end_component(id, EndCause::OutOfMemory, 0, 0);
                Step::Leave(Turn::Ended)
            }
        }
    }
}

/// When the guest must exit at the latest: at the end of its slice or at its own next
/// deadline, but not before it could do anything.
#[inline(always)]
fn limit(vcpu: &mut Vcpu, slice_end: Tsc, now: Tsc) -> Tsc {
    let own = vcpu.hardware.state().deadline;
    own.max(Tsc(now.0.wrapping_add(LEAST_RUN_TSC)))
        .min(slice_end)
}

/// After a host interrupt, which may have been the one that ends the guest's time.
fn interrupted(slice_end: Tsc, limit: Tsc, now: Tsc) -> After {
    if now >= slice_end || cpu::interrupt::lines_wait() {
        After::Preempt
    } else if now >= limit {
        After::Hand(VmExit::Timer)
    } else {
        After::Enter
    }
}
