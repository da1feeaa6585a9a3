//! The system calls: from the registers of ring 3 to the objects, every argument checked.
//!
//! Owns the way of a call and the look-up of handles. One file per family: `run` (what a VMM
//! does all the time), `io` (log, ports, lines), `make` (objects), `component`, `machine`.
//! What each call is for stands at `skerry_abi::Call`. Called by a thread's turn.

mod component;
mod io;
mod machine;
mod make;
mod run;

use crate::cpu::ring3::UserFrame;
use crate::machine::{Machine, Step, Turn};
use crate::object::Target;
use crate::object::component::Component;
use crate::{cpu, mem};
use skerry_abi::{Call, Handle, Refused, Rights, layout};
use skerry_rights::Id;

/// What a call leads to.
enum Outcome {
    /// A result in RAX.
    Answer(u64),
    /// Results in RAX and RDX.
    Both(u64, u64),
    /// The answer comes later, or never.
    Leave(Turn),
}

/// The caller and its arguments.
struct Caller {
    id: Id<Component>,
    arguments: [u64; 6],
}

impl Caller {
    fn argument(&self, place: usize) -> u64 {
        self.arguments[place]
    }

    fn handle(&self, place: usize) -> Handle {
        Handle::from_word(self.arguments[place])
    }
}

impl Machine {
    /// Carries a call out.
    pub fn call(&mut self, id: Id<Component>) -> Step {
        const VCPU_RUN: u64 = Call::VcpuRun as u64;
        let Some(component) = self.components.get_mut(id) else {
            return Step::Leave(Turn::Ended);
        };
        if component.thread.frame.number() == VCPU_RUN {
            // Every exit of the guest notes the time.
            component.thread.busy_tsc = 0;
            return self.vcpu_run(id);
        }
        self.other_call(id)
    }

    #[inline(never)]
    fn other_call(&mut self, id: Id<Component>) -> Step {
        let Some(component) = self.components.get_mut(id) else {
            return Step::Leave(Turn::Ended);
        };
        component.thread.has_called(cpu::tsc::now());
        let frame = &component.thread.frame;
        let number = frame.number();
        let caller = Caller {
            id,
            arguments: frame.arguments(),
        };
        let outcome = match Call::from_word(number) {
            Some(call) => self.carry_out(call, &caller),
            None => Err(Refused::NoSuchCall),
        };
        if let Ok(Outcome::Leave(turn)) = outcome {
            return Step::Leave(turn);
        }
        if let Some(component) = self.components.get_mut(id) {
            answer(&mut component.thread.frame, outcome);
        }
        Step::Go
    }

    fn carry_out(&mut self, call: Call, caller: &Caller) -> Result<Outcome, Refused> {
        match call {
            // `call` has taken it: a guest that wakes waits for a short way back.
            Call::VcpuRun => Err(Refused::NoSuchCall),
            Call::Version => Ok(Outcome::Answer(skerry_abi::VERSION)),
            Call::Wait => self.wait(caller),
            Call::Notify => self.notify_call(caller),
            Call::Yield => self.yield_call(caller),
            Call::End => self.end_call(caller),
            Call::VcpuReset => self.vcpu_reset(caller),
            Call::VcpuPermit => self.vcpu_permit(caller),
            Call::VcpuSave => self.vcpu_save(caller),
            Call::VcpuRestore => self.vcpu_restore(caller),
            Call::LogWrite => self.log_write(caller),
            Call::LogRead => self.log_read(caller),
            Call::PortRead => self.port_read(caller),
            Call::PortWrite => self.port_write(caller),
            Call::PortWriteBytes => self.port_write_bytes(caller),
            Call::LineWait => self.line_wait(caller),
            Call::MemoryCreate => self.memory_create(caller),
            Call::MemoryOfBundle => self.memory_of_bundle(caller),
            Call::ComponentCreate => self.component_create(caller),
            Call::ComponentMap => self.component_map(caller),
            Call::ComponentGrant => self.component_grant(caller),
            Call::ComponentStart => self.component_start(caller),
            Call::ComponentEnd => self.component_end(caller),
            Call::ComponentRead => self.component_read(caller),
            Call::NotificationCreate => self.notification_create(caller),
            Call::GuestCreate => self.guest_create(caller),
            Call::VcpuCreate => self.vcpu_create(caller),
            Call::VcpuRead => self.vcpu_read(caller),
            Call::PortsCreate => self.ports_create(caller),
            Call::LineCreate => self.line_create(caller),
            Call::MachineRead => self.machine_read(caller),
            Call::MachineOffBy => self.machine_off_by(caller),
            Call::MachineOff => self.machine_off(caller),
            Call::HandleClose => self.handle_close(caller),
            Call::ObjectEnd => self.object_end(caller),
            Call::VcpuFields => self.vcpu_fields(caller),
        }
    }

    /// What a handle of the caller's is to, with these rights. What has ended is refused by
    /// whoever looks for the object.
    fn look_up(&self, caller: &Caller, place: usize, rights: Rights) -> Result<Target, Refused> {
        let component = self.components.get(caller.id).ok_or(Refused::Revoked)?;
        component.table.with(caller.handle(place), rights)
    }

    /// A handle to a kind, by `pick`; the kind is checked before the rights.
    fn find<T>(
        &self,
        caller: &Caller,
        place: usize,
        rights: Rights,
        pick: impl FnOnce(Target) -> Option<T>,
    ) -> Result<T, Refused> {
        let component = self.components.get(caller.id).ok_or(Refused::Revoked)?;
        let (target, held) = component.table.look_up(caller.handle(place))?;
        let found = pick(target).ok_or(Refused::WrongKind)?;
        if held.contains(rights) {
            Ok(found)
        } else {
            Err(Refused::NotPermitted)
        }
    }

    /// Whether the caller may ask of the machine.
    fn check_machine(&self, caller: &Caller, rights: Rights) -> Result<(), Refused> {
        self.find(caller, 0, rights, |target| {
            (target == Target::Machine).then_some(())
        })
    }

    /// Whether the caller may make an object, and has room for its handle.
    fn check_maker(&self, caller: &Caller) -> Result<(), Refused> {
        self.check_machine(caller, Rights::WRITE)?;
        self.check_room(caller)
    }

    /// Whether the caller has room for one more handle, and ring 0 for what is behind it.
    fn check_room(&self, caller: &Caller) -> Result<(), Refused> {
        check_heap()?;
        let component = self.components.get(caller.id).ok_or(Refused::Revoked)?;
        component
            .table
            .has_room()
            .then_some(())
            .ok_or(Refused::Exhausted)
    }

    /// Whether what a handle is to has not ended.
    fn check_alive(&self, target: Target) -> Result<(), Refused> {
        let alive = match target {
            Target::Memory(id) => self.memories.get(id).is_some(),
            Target::Guest(id) => self.guests.get(id).is_some(),
            Target::Vcpu(id) => self.vcpus.get(id).is_some(),
            Target::Component(id) => self.components.get(id).is_some(),
            Target::Notification(id, _) => self.components.get(id).is_some_and(|c| !c.has_ended()),
            Target::Ports(_) | Target::Line(_) | Target::Log | Target::Machine => true,
        };
        alive.then_some(()).ok_or(Refused::Revoked)
    }

    /// A component that a handle names, or the caller itself.
    fn find_component(
        &self,
        caller: &Caller,
        place: usize,
        rights: Rights,
    ) -> Result<Id<Component>, Refused> {
        if caller.argument(place) == layout::MYSELF.word() {
            return Ok(caller.id);
        }
        let id = self.find(caller, place, rights, |target| match target {
            Target::Component(id) => Some(id),
            _ => None,
        })?;
        self.components.get(id).ok_or(Refused::Revoked)?;
        Ok(id)
    }

    /// Gives the caller a handle to something new.
    fn grant(
        &mut self,
        caller: &Caller,
        target: Target,
        rights: Rights,
    ) -> Result<Outcome, Refused> {
        let component = self.components.get_mut(caller.id).ok_or(Refused::Revoked)?;
        let handle = component.table.grant(target, rights)?;
        Ok(Outcome::Answer(handle.word()))
    }

    /// Copies a record of integers to the caller.
    fn tell<T: Plain>(&mut self, caller: &Caller, at: u64, record: &T) -> Result<Outcome, Refused> {
        self.copy_out(caller.id, at, record.bytes())?;
        Ok(Outcome::Answer(0))
    }

    /// Copies a record of integers from the caller.
    fn ask<T: Plain>(&mut self, caller: &Caller, at: u64) -> Result<T, Refused> {
        let mut record = T::default();
        self.copy_in(caller.id, at, record.bytes_mut())?;
        Ok(record)
    }

    /// The same, of the record with this index of those in a row from `at` on.
    fn ask_nth<T: Plain>(&mut self, caller: &Caller, at: u64, index: u64) -> Result<T, Refused> {
        self.ask(caller, nth::<T>(at, index)?)
    }
}

/// Writes a result to the caller's registers.
fn answer(frame: &mut UserFrame, outcome: Result<Outcome, Refused>) {
    match outcome {
        Ok(Outcome::Answer(rax)) => frame.answer(rax),
        Ok(Outcome::Both(rax, rdx)) => frame.answer_both(rax, rdx),
        Ok(Outcome::Leave(_)) => {}
        Err(refusal) => frame.answer(refusal.code()),
    }
}

/// Where the record with this index is, of those in a row from `at` on.
fn nth<T>(at: u64, index: u64) -> Result<u64, Refused> {
    let offset = index * size_of::<T>() as u64;
    at.checked_add(offset).ok_or(Refused::BadAddress)
}

/// Whether ring 0's heap has room: no call may make it fail.
fn check_heap() -> Result<(), Refused> {
    mem::heap_has_room().then_some(()).ok_or(Refused::Exhausted)
}

/// Records without padding, of which any bytes are valid.
///
/// # Safety
/// That is so.
unsafe trait Plain: Default + Sized {
    fn bytes(&self) -> &[u8] {
        let start = core::ptr::from_ref(self).cast();
        // SAFETY: by the trait's promise all bytes are initialised.
        unsafe { core::slice::from_raw_parts(start, size_of::<Self>()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let start = core::ptr::from_mut(self).cast();
        // SAFETY: by the trait's promise any bytes are valid.
        unsafe { core::slice::from_raw_parts_mut(start, size_of::<Self>()) }
    }
}

// SAFETY: `repr(C)`, integers only, padding spelt out; so are the others.
unsafe impl Plain for skerry_abi::ComponentRecord {}
// SAFETY: as above.
unsafe impl Plain for skerry_abi::VcpuRecord {}
// SAFETY: as above.
unsafe impl Plain for skerry_abi::MachineRecord {}
// SAFETY: as above.
unsafe impl Plain for skerry_abi::MapRequest {}
// SAFETY: as above.
unsafe impl Plain for skerry_abi::GuestRange {}
// SAFETY: as above.
unsafe impl Plain for skerry_abi::OffWrite {}
// SAFETY: as above.
unsafe impl Plain for skerry_abi::FieldValue {}
// SAFETY: bytes only; its alignment divides its size.
unsafe impl Plain for skerry_words::ExtendedState {}
