//! The loop of one physical CPU.
//!
//! Owns the order of things: interrupts that have come, sleepers that are due, the scheduler's
//! choice, one turn, its bookkeeping. Time comes from the time-stamp counter alone, so on a
//! deterministic engine a run repeats to the instruction.

use super::Machine;
use super::turn::Turn;
use crate::cpu;
use crate::object::component::Component;
use crate::object::vcpu::Vcpu;
use skerry_rights::Id;
use skerry_sched::VcpuId;

impl Machine {
    /// Runs everybody for ever; `root` switches the machine off.
    pub(super) fn run(&mut self) -> ! {
        loop {
            self.tell_of_interrupts();
            self.wake_due();
            match self.scheduler.pick() {
                Some(place) => self.give_turn(place),
                None => self.idle(),
            }
        }
    }

    /// One thread's turn, until its slice ends or a sleeper is due.
    fn give_turn(&mut self, place: VcpuId) {
        let Some(id) = self.places.get(place.0).copied().flatten() else {
            self.scheduler.remove(place);
            return;
        };
        self.put_on_cpu(id);
        let began = cpu::tsc::now();
        let slice_tsc = self.scheduler.slice(place).min(self.turn_tsc);
        let slice_end = began.after(slice_tsc).min(self.next_wake);
        let turn = self.turn(id, began, slice_end);
        let ran = cpu::tsc::now().since(began);
        self.scheduler.charge(place, ran);
        if let Some(component) = self.components.get_mut(id) {
            component.record.run_tsc += ran;
        }
        match turn {
            Turn::Preempted | Turn::Ended => {}
            Turn::Yielded => self.scheduler.yield_now(place),
            Turn::Asleep => self.scheduler.sleep(place),
        }
    }

    /// Makes a component the one whose memory and vCPU are on the CPU.
    fn put_on_cpu(&mut self, id: Id<Component>) {
        let Some(component) = self.components.get(id) else {
            return;
        };
        component.thread.frame.use_next();
        let vcpu = component.vcpu;
        if let Some(space) = &component.space {
            space.activate();
        }
        if let Some(vcpu) = vcpu {
            self.put_vcpu_on(vcpu);
        }
    }

    /// Puts a vCPU on the CPU, in the place of the one that is.
    #[inline(always)]
    pub fn put_vcpu_on(&mut self, id: Id<Vcpu>) {
        if self.loaded != Some(id) {
            self.change_vcpu(id);
        }
    }

    #[inline(never)]
    fn change_vcpu(&mut self, id: Id<Vcpu>) {
        self.take_vcpu_off();
        if let Some(vcpu) = self.vcpus.get_mut(id) {
            vcpu.hardware.load();
            self.loaded = Some(id);
        }
    }

    /// Takes the vCPU that is on the CPU off it; which that was.
    pub fn take_vcpu_off(&mut self) -> Option<Id<Vcpu>> {
        let before = self.loaded.take();
        if let Some(vcpu) = before.and_then(|id| self.vcpus.get_mut(id)) {
            vcpu.hardware.unload();
        }
        before
    }

    /// Nobody can run: the CPU sleeps until a deadline or an interrupt.
    fn idle(&mut self) {
        let began = cpu::tsc::now();
        cpu::idle::wait_until(self.next_wake, began);
        self.idle_tsc += cpu::tsc::now().since(began);
    }
}
