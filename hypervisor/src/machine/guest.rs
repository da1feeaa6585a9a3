//! The walk of an exit.
//!
//! Enter, exit, decode (in `virt`); what is the host's is settled here (interrupts, the time
//! slice, memory on first touch); everything else is handed to the VMM in ring 3, which has it
//! as the answer to its call.

use super::Machine;
use super::turn::{Step, Turn};
use crate::cpu;
use crate::object::component::{Component, Mode, Thread};
use crate::object::guest::{Guest, NotBacked};
use crate::object::vcpu::Vcpu;
use crate::virt::Exit;
use skerry_abi::{CALL_VECTOR, EndCause, RunEnd};
use skerry_rights::Id;
use skerry_words::{ExitKind, Tsc, VmExit};

/// A guest runs at least this long per entry, in ticks, whatever its timers say: one that
/// arms them in the past still makes progress.
const LEAST_RUN_TSC: u64 = 1000;

/// What an exit leads to.
enum After {
    /// The guest goes on.
    Enter,
    /// The VMM answers.
    Hand,
    /// The slice is over.
    Preempt,
    /// The host has no frame for the guest.
    OutOfMemory,
}

/// How a run between a guest and its VMM came to its end.
enum Left {
    /// The VMM did something else than to run its guest again.
    Ring3(u64),
    /// The slice was over while the guest ran.
    Preempted,
    /// As in [`After`].
    OutOfMemory,
}

impl Machine {
    /// Runs a component's guest, which `handle` stands for, and its VMM in turn, until that does
    /// something else or the slice is over.
    pub fn run_guest(
        &mut self,
        id: Id<Component>,
        (vcpu_id, handle): (Id<Vcpu>, u64),
        slice_end: Tsc,
    ) -> Step {
        self.put_vcpu_on(vcpu_id);
        let (Some(component), Some(vcpu)) =
            (self.components.get_mut(id), self.vcpus.get_mut(vcpu_id))
        else {
            return Step::Leave(Turn::Ended);
        };
        let Some(guest) = self.guests.get_mut(vcpu.guest) else {
            return Step::Leave(Turn::Ended);
        };
        component.vcpu = Some(vcpu_id);
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
        match alternate(&mut component.thread, vcpu, guest, handle, slice_end) {
            Left::Ring3(vector) => {
                component.thread.mode = Mode::Ring3;
                self.after_ring3(id, vector, slice_end)
            }
            Left::Preempted => {
                component.thread.mode = Mode::Guest(vcpu_id, handle);
                Step::Leave(Turn::Preempted)
            }
            Left::OutOfMemory => {
                self.end_component(id, EndCause::OutOfMemory, 0, 0);
                Step::Leave(Turn::Ended)
            }
        }
    }
}

/// Guest, VMM, guest, VMM: as long as the VMM's next call is the same again, nothing that was
/// checked for the first one can have changed. Throughout, the timer is armed for the end of the
/// slice at the latest. A function of its own, so that all it needs fits into registers.
#[inline(never)]
fn alternate(
    thread: &mut Thread,
    vcpu: &mut Vcpu,
    guest: &mut Guest,
    handle: u64,
    slice_end: Tsc,
) -> Left {
    const CALL: u64 = CALL_VECTOR as u64;
    cpu::apic::interrupt_by(slice_end);
    loop {
        match enter_once(thread, vcpu, guest, slice_end) {
            After::Enter => {}
            After::Preempt => return Left::Preempted,
            After::OutOfMemory => return Left::OutOfMemory,
            After::Hand => {
                thread.frame.answer(RunEnd::Exit as u64);
                let vector = thread.frame.enter();
                if vector != CALL || !thread.frame.is_run_of(handle) {
                    return Left::Ring3(vector);
                }
            }
        }
    }
}

/// One entry and its exit.
#[inline(always)]
fn enter_once(thread: &mut Thread, vcpu: &mut Vcpu, guest: &mut Guest, slice_end: Tsc) -> After {
    let entered = cpu::tsc::now();
    if entered >= slice_end {
        return After::Preempt;
    }
    let limit = limit(vcpu, slice_end, entered);
    let exit = vcpu.hardware.enter(entered, limit);
    let now = cpu::tsc::now();
    thread.has_called(now);
    match exit {
        Exit::Told(kind) => {
            vcpu.meter.exit(kind, entered, now);
            vcpu.told_at(now);
            After::Hand
        }
        Exit::Memory(access) => {
            vcpu.meter.exit(ExitKind::Memory, entered, now);
            match guest.back(access.gpa) {
                Ok(()) => After::Enter,
                Err(NotBacked::OutOfMemory) => After::OutOfMemory,
                Err(NotBacked::NotRam) => {
                    vcpu.hardware.complete();
                    vcpu.tell(&VmExit::Memory(access), now);
                    After::Hand
                }
            }
        }
        Exit::Other(exit) => {
            vcpu.meter.exit(exit.kind(), entered, now);
            after_other(vcpu, &exit, now, (slice_end, limit))
        }
    }
}

/// An exit that is none of the frequent ones: the host's own are settled here.
#[inline(always)]
fn after_other(vcpu: &mut Vcpu, exit: &VmExit, now: Tsc, (slice_end, limit): (Tsc, Tsc)) -> After {
    match exit {
        VmExit::HostInterrupt(vector) => {
            if let Some(vector) = vector {
                cpu::interrupt::dispatch(*vector);
                // It may have been the timer's.
                cpu::apic::interrupt_by(slice_end);
            }
            if now >= slice_end || cpu::interrupt::lines_wait() {
                return After::Preempt;
            }
            if now < limit {
                return After::Enter;
            }
            vcpu.tell(&VmExit::Timer, now);
            return After::Hand;
        }
        VmExit::Timer if now >= slice_end => return After::Preempt,
        VmExit::HostNmi => {
            cpu::interrupt::note_nmi();
            return After::Enter;
        }
        VmExit::Init => return After::Enter,
        _ => {}
    }
    vcpu.tell(exit, now);
    After::Hand
}

/// When the guest must exit at the latest: at the end of its slice or at its own next
/// deadline, but not before it could do anything.
#[inline(always)]
fn limit(vcpu: &Vcpu, slice_end: Tsc, now: Tsc) -> Tsc {
    vcpu.deadline()
        .max(Tsc(now.0.wrapping_add(LEAST_RUN_TSC)))
        .min(slice_end)
}
