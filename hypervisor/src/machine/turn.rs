//! One thread's turn on the CPU, in ring 3 and in its guest.

use super::Machine;
use crate::cpu;
use crate::object::component::{Component, Mode};
use skerry_abi::{CALL_VECTOR, EndCause};
use skerry_rights::Id;
use skerry_words::{Tsc, Vector};

/// A component that computes for so many seconds without a call has hung.
const HUNG_SECONDS: u64 = 1;

/// How a turn ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// The slice is over, or somebody else has something to do.
    Preempted,
    /// It waits.
    Asleep,
    /// It gave the rest of its slice away.
    Yielded,
    /// It is no more.
    Ended,
}

/// What a turn does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Goes on.
    Go,
    /// Is over.
    Leave(Turn),
}

impl Machine {
    /// Runs a component from `began` until `slice_end` at the latest. It must be on the CPU.
    pub(super) fn turn(&mut self, id: Id<Component>, began: Tsc, slice_end: Tsc) -> Turn {
        if let Some(component) = self.components.get_mut(id) {
            component.thread.since = began;
        }
        loop {
            let Some(component) = self.components.get_mut(id) else {
                return Turn::Ended;
            };
            let step = match component.thread.mode {
                Mode::Ring3 => {
                    cpu::apic::interrupt_by(slice_end);
                    let vector = component.thread.frame.enter();
                    self.after_ring3(id, vector, slice_end)
                }
                Mode::Guest(vcpu, handle) => self.run_guest(id, (vcpu, handle), slice_end),
            };
            if let Step::Leave(turn) = step {
                return turn;
            }
        }
    }

    pub(super) fn after_ring3(&mut self, id: Id<Component>, vector: u64, slice_end: Tsc) -> Step {
        const CALL: u64 = CALL_VECTOR as u64;
        const EXCEPTIONS: u64 = 32;
        const PAGE_FAULT: u64 = 14;
        match vector {
            CALL => self.call(id),
            PAGE_FAULT => self.page_fault(id),
            0..EXCEPTIONS => self.exception(id, vector),
            _ => self.interrupted_in_ring3(id, vector, slice_end),
        }
    }

    fn interrupted_in_ring3(&mut self, id: Id<Component>, vector: u64, slice_end: Tsc) -> Step {
        cpu::interrupt::dispatch(Vector(vector as u8));
        let now = cpu::tsc::now();
        let limit_tsc = cpu::tsc::hz() * HUNG_SECONDS;
        if let Some(component) = self.components.get_mut(id) {
            let thread = &mut component.thread;
            thread.busy_tsc += now.since(thread.since);
            thread.since = now;
            if thread.busy_tsc > limit_tsc {
                self.end_component(id, EndCause::Hung, 0, limit_tsc);
                return Step::Leave(Turn::Ended);
            }
        }
        if now >= slice_end || cpu::interrupt::lines_wait() {
            Step::Leave(Turn::Preempted)
        } else {
            Step::Go
        }
    }

    fn exception(&mut self, id: Id<Component>, vector: u64) -> Step {
        let rip = self.components.get(id).map_or(0, |c| c.thread.frame.rip());
        self.end_component(id, EndCause::Exception, vector, rip);
        Step::Leave(Turn::Ended)
    }
}
