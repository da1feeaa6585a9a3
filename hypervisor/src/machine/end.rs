//! How components and objects cease, and give back what they had.

use super::Machine;
use crate::object::component::Component;
use crate::object::guest::Guest;
use crate::object::memory::Memory;
use crate::object::vcpu::Vcpu;
use crate::{mem, power};
use skerry_abi::{EndCause, Refused, layout};
use skerry_rights::Id;

impl Machine {
    /// Ends a component, which may be the one that runs; its maker is told. Without `root` the
    /// machine has no purpose: then it is switched off.
    pub fn end_component(&mut self, id: Id<Component>, cause: EndCause, code: u64, value: u64) {
        let own_bytes = self.own_bytes(id);
        let Some(component) = self.components.get_mut(id) else {
            return;
        };
        if component.has_ended() {
            return;
        }
        component.record.own_bytes = own_bytes;
        let maker = component.maker;
        if let Some(place) = component.thread.place.take() {
            self.scheduler.remove(place);
            self.places[place.0] = None;
        }
        for region in component.end(cause, code, value) {
            if let Some(memory) = self.memories.get_mut(region.memory) {
                memory.mappings -= 1;
            }
        }
        let loaded = self.loaded.and_then(|vcpu| self.vcpus.get(vcpu));
        if loaded.is_some_and(|vcpu| vcpu.component == id) {
            self.take_vcpu_off();
        }
        match maker {
            // Fails if the maker has ended too: then nobody asks.
            Some(maker) => drop(self.notify(maker, layout::ENDED_BIT)),
            None => {
                log::error!("root has ended: {cause:?}, code {code:#x}, value {value:#x}");
                crate::log::line(b"@skerry end {\"status\":1}");
                power::off()
            }
        }
    }

    /// Forgets the record of a component that has ended, for its maker.
    pub fn forget_component(&mut self, id: Id<Component>, maker: Id<Component>) {
        let component = self.components.get(id);
        if component.is_some_and(|c| c.has_ended() && c.maker == Some(maker)) {
            self.components.remove(id);
        }
    }

    /// What a component alone holds: its tables, and memory that is mapped nowhere else.
    pub fn own_bytes(&self, id: Id<Component>) -> u64 {
        let Some(component) = self.components.get(id) else {
            return 0;
        };
        let mapped = component.regions().iter();
        let memory: u64 = mapped
            .filter_map(|region| self.memories.get(region.memory))
            .filter(|memory| memory.mappings == 1)
            .map(Memory::resident_bytes)
            .sum();
        let tables = component.space.as_ref().map_or(0, mem::Space::bytes);
        memory + tables
    }

    /// Ends memory: it is unmapped everywhere and freed.
    ///
    /// # Errors
    /// [`Refused::Revoked`].
    pub fn end_memory(&mut self, id: Id<Memory>) -> Result<(), Refused> {
        let memory = self.memories.get(id).ok_or(Refused::Revoked)?;
        if memory.mappings > 0 {
            for (_, component) in self.components.iter_mut() {
                component.remove_memory(id);
            }
        }
        self.memories.remove(id);
        Ok(())
    }

    /// Ends a guest and its vCPUs.
    ///
    /// # Errors
    /// [`Refused::WrongState`] while its VMM has not ended; [`Refused::Revoked`].
    pub fn end_guest(&mut self, id: Id<Guest>) -> Result<(), Refused> {
        self.guests.get(id).ok_or(Refused::Revoked)?;
        while let Some(vcpu) = self.vcpu_of(id) {
            let vmm = self.vcpus.get(vcpu).map(|vcpu| vcpu.component);
            let vmm = vmm.and_then(|vmm| self.components.get(vmm));
            if vmm.is_some_and(|vmm| !vmm.has_ended()) {
                return Err(Refused::WrongState);
            }
            if self.loaded == Some(vcpu) {
                self.take_vcpu_off();
            }
            self.vcpus.remove(vcpu);
        }
        self.guests.remove(id);
        Ok(())
    }

    fn vcpu_of(&self, guest: Id<Guest>) -> Option<Id<Vcpu>> {
        let mut all = self.vcpus.iter();
        all.find(|(_, vcpu)| vcpu.guest == guest).map(|(id, _)| id)
    }
}
