//! What every component does, and a VMM all the time: run, wait, tell, end.

use super::{Caller, Outcome};
use crate::cpu;
use crate::machine::{Machine, Step, Turn};
use crate::object::Target;
use crate::object::component::{Component, Mode};
use crate::object::vcpu::Vcpu;
use skerry_abi::{EndCause, Handle, Refused, Rights};
use skerry_rights::Id;
use skerry_words::{ExtendedState, Tsc};

impl Machine {
    /// Has the guest of the caller's vCPU run.
    pub(super) fn vcpu_run(&mut self, id: Id<Component>) -> Step {
        let Some(component) = self.components.get_mut(id) else {
            return Step::Leave(Turn::Ended);
        };
        let word = component.thread.frame.first();
        match self.runnable(id, Handle::from_word(word)) {
            Ok(vcpu) => {
                if let Some(component) = self.components.get_mut(id) {
                    component.thread.mode = Mode::Guest(vcpu, word);
                }
                Step::Go
            }
            Err(refusal) => {
                if let Some(component) = self.components.get_mut(id) {
                    component.thread.has_called(cpu::tsc::now());
                    component.thread.frame.answer(refusal.code());
                }
                Step::Go
            }
        }
    }

    /// The vCPU that the handle is to, if it is the caller's own and has a state.
    fn runnable(&self, id: Id<Component>, handle: Handle) -> Result<Id<Vcpu>, Refused> {
        let component = self.components.get(id).ok_or(Refused::Revoked)?;
        let (target, rights) = component.table.look_up(handle)?;
        let Target::Vcpu(vcpu) = target else {
            return Err(Refused::WrongKind);
        };
        let running = self.vcpus.get(vcpu).ok_or(Refused::Revoked)?;
        if !rights.contains(Rights::RUN) || running.component != id {
            return Err(Refused::NotPermitted);
        }
        if running.is_reset {
            Ok(vcpu)
        } else {
            Err(Refused::WrongState)
        }
    }

    /// A vCPU of the caller's own, by its first argument.
    fn own_vcpu(&mut self, caller: &Caller) -> Result<Id<Vcpu>, Refused> {
        let vcpu = self.find(caller, 0, Rights::RUN, Target::vcpu)?;
        let owner = self.vcpus.get(vcpu).ok_or(Refused::Revoked)?.component;
        if owner == caller.id {
            Ok(vcpu)
        } else {
            Err(Refused::NotPermitted)
        }
    }

    pub(super) fn vcpu_permit(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let vcpu = self.own_vcpu(caller)?;
        let vcpu = self.vcpus.get_mut(vcpu).ok_or(Refused::Revoked)?;
        if vcpu.is_reset {
            return Err(Refused::WrongState);
        }
        vcpu.hardware.permit(caller.argument(1), caller.argument(2));
        Ok(Outcome::Answer(0))
    }

    pub(super) fn vcpu_reset(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let id = self.own_vcpu(caller)?;
        self.take_vcpu_off();
        let vcpu = self.vcpus.get_mut(id).ok_or(Refused::Revoked)?;
        let guest = self.guests.get(vcpu.guest).ok_or(Refused::Revoked)?;
        vcpu.hardware.reset(guest.stage());
        vcpu.is_reset = true;
        self.put_vcpu_on(id);
        Ok(Outcome::Answer(0))
    }

    /// The pointer is judged before the vCPU, by a copy of nothing.
    pub(super) fn vcpu_save(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let (id, at) = (self.live_vcpu(caller)?, caller.argument(1));
        let mut area = ExtendedState::default();
        self.tell(caller, at, &area)?;
        let xcr0 = self.stopped_vcpu(caller, id)?.hardware.save(&mut area);
        self.tell(caller, at, &area)?;
        Ok(Outcome::Answer(xcr0))
    }

    pub(super) fn vcpu_restore(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let id = self.live_vcpu(caller)?;
        let area: ExtendedState = self.ask(caller, caller.argument(1))?;
        let vcpu = self.stopped_vcpu(caller, id)?;
        if vcpu.hardware.restore(&area) {
            Ok(Outcome::Answer(0))
        } else {
            Err(Refused::BadArgument)
        }
    }

    /// The vCPU of the first argument, whosever it is.
    fn live_vcpu(&self, caller: &Caller) -> Result<Id<Vcpu>, Refused> {
        let id = self.find(caller, 0, Rights::RUN, Target::vcpu)?;
        self.vcpus.get(id).ok_or(Refused::Revoked)?;
        Ok(id)
    }

    /// A vCPU of the caller's that has a state, taken off the CPU: its next run puts it on again.
    fn stopped_vcpu(&mut self, caller: &Caller, id: Id<Vcpu>) -> Result<&mut Vcpu, Refused> {
        let vcpu = self.vcpus.get(id).ok_or(Refused::Revoked)?;
        if vcpu.component != caller.id {
            return Err(Refused::NotPermitted);
        }
        if !vcpu.is_reset {
            return Err(Refused::WrongState);
        }
        self.take_vcpu_off();
        self.vcpus.get_mut(id).ok_or(Refused::Revoked)
    }

    pub(super) fn wait(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let deadline = Tsc(caller.argument(0));
        let component = self.components.get_mut(caller.id).ok_or(Refused::Revoked)?;
        let bits = component.thread.take_pending();
        if bits != 0 || deadline <= cpu::tsc::now() {
            return Ok(Outcome::Both(0, bits));
        }
        component.thread.sleeps_until = Some(deadline);
        self.next_wake = self.next_wake.min(deadline);
        Ok(Outcome::Leave(Turn::Asleep))
    }

    pub(super) fn notify_call(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let (target, bits) = self.find(caller, 0, Rights::SIGNAL, |target| match target {
            Target::Notification(id, bits) => Some((id, bits)),
            _ => None,
        })?;
        self.notify(target, bits)?;
        self.answer_now(caller, 0);
        Ok(Outcome::Leave(Turn::Preempted))
    }

    pub(super) fn yield_call(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        self.answer_now(caller, 0);
        Ok(Outcome::Leave(Turn::Yielded))
    }

    pub(super) fn end_call(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let [code, value, ..] = caller.arguments;
        self.end_component(caller.id, EndCause::Own, code, value);
        Ok(Outcome::Leave(Turn::Ended))
    }

    /// Sets the result of a call after which others may run first.
    fn answer_now(&mut self, caller: &Caller, rax: u64) {
        if let Some(component) = self.components.get_mut(caller.id) {
            component.thread.frame.answer(rax);
        }
    }
}
