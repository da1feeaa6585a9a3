//! Calls on a component: its memory, its rights, its life.

use super::{Caller, Outcome, check_heap};
use crate::machine::Machine;
use crate::object::Target;
use crate::object::component::Region;
use crate::object::memory::Memory;
use skerry_abi::{ComponentState, EndCause, MapRequest, Refused, Rights, layout};
use skerry_words::PAGE_BYTES;

impl Machine {
    pub(super) fn component_map(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        check_heap()?;
        let id = self.find_component(caller, 0, Rights::WRITE)?;
        let memory = self.find(caller, 1, Rights::empty(), |target| match target {
            Target::Memory(memory) => Some(memory),
            _ => None,
        })?;
        let request: MapRequest = self.ask(caller, caller.argument(2))?;
        let rights = checked_rights(&request)?;
        self.look_up(caller, 1, rights)?;
        let object = self.memories.get(memory).ok_or(Refused::Revoked)?;
        check_range(&request, object)?;
        if !object.rights().contains(rights) {
            return Err(Refused::NotPermitted);
        }
        if self.components.get(id).is_some_and(|c| c.has_ended()) {
            return Err(Refused::WrongState);
        }
        self.add_region(id, Region { memory, request })?;
        Ok(Outcome::Answer(0))
    }

    pub(super) fn component_grant(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        check_heap()?;
        let id = self.find_component(caller, 0, Rights::WRITE)?;
        let granter = self.components.get(caller.id).ok_or(Refused::Revoked)?;
        let (target, held) = granter.table.look_up(caller.handle(1))?;
        if !held.contains(Rights::GRANT) {
            return Err(Refused::NotPermitted);
        }
        let wanted = u32::try_from(caller.argument(2)).ok();
        let wanted = wanted.and_then(Rights::from_bits);
        let rights = wanted.ok_or(Refused::BadArgument)?;
        if !held.contains(rights) {
            return Err(Refused::NotPermitted);
        }
        self.check_alive(target)?;
        let receiver = self.components.get_mut(id).ok_or(Refused::Revoked)?;
        if receiver.has_ended() {
            return Err(Refused::WrongState);
        }
        let handle = receiver.table.grant(target, rights)?;
        Ok(Outcome::Answer(handle.word()))
    }

    pub(super) fn component_start(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let id = self.find_component(caller, 0, Rights::RUN)?;
        let [_, rip, rsp, argument, ..] = caller.arguments;
        // Ring 0 returns to RIP and never behind the last page: it has to be canonical.
        if rip >= layout::USER_END || rsp > layout::USER_END {
            return Err(Refused::BadArgument);
        }
        self.start_thread(id, rip, rsp, argument)?;
        Ok(Outcome::Answer(0))
    }

    pub(super) fn component_end(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let id = self.find_component(caller, 0, Rights::RUN)?;
        if id == caller.id {
            return Err(Refused::BadArgument);
        }
        self.end_component(id, EndCause::Killed, 0, 0);
        Ok(Outcome::Answer(0))
    }

    pub(super) fn component_read(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let id = self.find_component(caller, 0, Rights::READ)?;
        let own_bytes = self.own_bytes(id);
        let component = self.components.get(id).ok_or(Refused::Revoked)?;
        let mut record = component.record;
        if record.state != ComponentState::Ended as u32 {
            record.own_bytes = own_bytes;
        }
        self.tell(caller, caller.argument(1), &record)
    }
}

/// Reading, and writing or execution but not both.
fn checked_rights(request: &MapRequest) -> Result<Rights, Refused> {
    let rights = Rights::from_bits(request.rights).ok_or(Refused::BadArgument)?;
    let known = [
        Rights::READ,
        Rights::READ.union(Rights::WRITE),
        Rights::READ.union(Rights::RUN),
    ];
    if known.contains(&rights) && request.reserved == 0 {
        Ok(rights)
    } else {
        Err(Refused::BadArgument)
    }
}

/// Pages that the memory has, in the lower half, neither its first page nor its last.
fn check_range(request: &MapRequest, memory: &Memory) -> Result<(), Refused> {
    let MapRequest {
        at,
        first_page,
        pages,
        ..
    } = *request;
    let in_memory = first_page
        .checked_add(pages)
        .is_some_and(|end| end <= memory.pages());
    let end = pages
        .checked_mul(PAGE_BYTES)
        .and_then(|bytes| at.checked_add(bytes));
    let in_space = end.is_some_and(|end| end <= layout::USER_END - PAGE_BYTES);
    let aligned = at % PAGE_BYTES == 0 && at >= PAGE_BYTES;
    if pages > 0 && in_memory && in_space && aligned {
        Ok(())
    } else {
        Err(Refused::BadArgument)
    }
}
