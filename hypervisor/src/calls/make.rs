//! Calls that make objects, and that end them.

use super::{Caller, Outcome};
use crate::machine::Machine;
use crate::object::component::Component;
use crate::object::guest::Guest;
use crate::object::memory::Memory;
use crate::object::vcpu::Apic;
use crate::object::{Ports, Target};
use skerry_abi::{GuestRange, Refused, Rights, layout};
use skerry_words::{Hpa, PAGE_BYTES};

/// The most ranges of a guest's memory.
const MOST_RANGES: usize = 8;
/// The heaviest component.
const MOST_WEIGHT: u64 = 1000;

impl Machine {
    pub(super) fn memory_create(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        self.check_maker(caller)?;
        let id = self.new_memory(Memory::own(caller.argument(1))?)?;
        self.grant(caller, Target::Memory(id), Rights::all())
    }

    pub(super) fn memory_of_bundle(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        self.check_maker(caller)?;
        let [_, first, bytes, ..] = caller.arguments;
        let end = first.checked_add(bytes).ok_or(Refused::BadArgument)?;
        if first % PAGE_BYTES != 0 || bytes == 0 || end > self.bundle.bytes() {
            return Err(Refused::BadArgument);
        }
        let start = Hpa(self.bundle.start.0 + first);
        let memory = Memory::of_bundle(start, bytes.div_ceil(PAGE_BYTES));
        let rights = memory.rights();
        let id = self.new_memory(memory)?;
        self.grant(caller, Target::Memory(id), rights | Rights::WRITE)
    }

    pub(super) fn component_create(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        self.check_maker(caller)?;
        let weight = caller.argument(1);
        if !(1..=MOST_WEIGHT).contains(&weight) {
            return Err(Refused::BadArgument);
        }
        let component = Component::new(Some(caller.id), weight as u32);
        let component = component.map_err(|_| Refused::Exhausted)?;
        let id = self.components.insert(component);
        let id = id.ok_or(Refused::Exhausted)?;
        self.grant(caller, Target::Component(id), Rights::all())
    }

    pub(super) fn notification_create(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let id = self.find_component(caller, 0, Rights::WRITE)?;
        self.check_room(caller)?;
        match caller.argument(1) {
            0 => Err(Refused::BadArgument),
            bits => self.grant(caller, Target::Notification(id, bits), Rights::all()),
        }
    }

    pub(super) fn guest_create(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        self.check_maker(caller)?;
        let [_, at, count, largest_bytes, ..] = caller.arguments;
        let mut ranges = [GuestRange::default(); MOST_RANGES];
        let count = usize::try_from(count).ok();
        let wanted = count.and_then(|count| ranges.get_mut(..count));
        let wanted = wanted.ok_or(Refused::BadArgument)?;
        for (index, range) in (0..).zip(&mut *wanted) {
            *range = self.ask_nth(caller, at, index)?;
        }
        let guest = Guest::new(&self.backend, wanted, largest_bytes)?;
        let id = self.guests.insert(guest).ok_or(Refused::Exhausted)?;
        self.grant(caller, Target::Guest(id), Rights::all())
    }

    pub(super) fn vcpu_create(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        self.check_maker(caller)?;
        let guest = self.find(caller, 1, Rights::WRITE, |target| match target {
            Target::Guest(id) => Some(id),
            _ => None,
        })?;
        let component = self.find_component(caller, 2, Rights::WRITE)?;
        let apic = match caller.argument(3) {
            0 => Apic::Software,
            layout::VCPU_APIC => Apic::Hardware,
            _ => return Err(Refused::BadArgument),
        };
        let vcpu = self.new_vcpu(guest, component, apic)?;
        self.grant(caller, Target::Vcpu(vcpu), Rights::all())
    }

    pub(super) fn ports_create(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        self.check_maker(caller)?;
        let [_, first, count, ..] = caller.arguments;
        let end = first.checked_add(count).ok_or(Refused::BadArgument)?;
        if count == 0 || end > 1 << 16 {
            return Err(Refused::BadArgument);
        }
        let ports = Ports {
            first: first as u16,
            count: count as u32,
        };
        self.grant(caller, Target::Ports(ports), Rights::all())
    }

    pub(super) fn line_create(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        self.check_maker(caller)?;
        match caller.argument(1) {
            line @ 0..=15 => self.grant(caller, Target::Line(line as u8), Rights::all()),
            _ => Err(Refused::BadArgument),
        }
    }

    pub(super) fn handle_close(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let component = self.components.get_mut(caller.id).ok_or(Refused::Revoked)?;
        let handle = caller.handle(0);
        let (target, _) = component.table.look_up(handle)?;
        component.table.close(handle)?;
        if let Target::Component(id) = target {
            self.forget_component(id, caller.id);
        }
        Ok(Outcome::Answer(0))
    }

    pub(super) fn object_end(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        match self.look_up(caller, 0, Rights::WRITE | Rights::GRANT)? {
            Target::Memory(id) => self.end_memory(id)?,
            Target::Guest(id) => self.end_guest(id)?,
            Target::Vcpu(_)
            | Target::Component(_)
            | Target::Notification(..)
            | Target::Ports(_)
            | Target::Line(_)
            | Target::Log
            | Target::Machine => return Err(Refused::WrongKind),
        }
        Ok(Outcome::Answer(0))
    }
}
