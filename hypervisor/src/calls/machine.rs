//! Calls about vCPUs and the machine as a whole: what they are, what they cost, the end.

use super::{Caller, Outcome, nth};
use crate::machine::Machine;
use crate::object::Target;
use crate::object::vcpu::Vcpu;
use crate::power;
use skerry_abi::{FieldValue, OffWrite, Refused, Rights};
use skerry_rights::Id;

impl Machine {
    pub(super) fn vcpu_read(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let id = self.vcpu_to_read(caller, Rights::READ)?;
        let vcpu = self.vcpus.get(id).ok_or(Refused::Revoked)?;
        let guest = self.guests.get(vcpu.guest).ok_or(Refused::Revoked)?;
        let component = self.components.get(vcpu.component);
        let run_tsc = component.map_or(0, |component| component.record.run_tsc);
        let record = vcpu.record(guest, run_tsc);
        self.tell(caller, caller.argument(1), &record)
    }

    pub(super) fn vcpu_fields(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        const MOST: u64 = 256;
        let id = self.vcpu_to_read(caller, Rights::READ | Rights::GRANT)?;
        let [_, at, count, ..] = caller.arguments;
        if count > MOST {
            return Err(Refused::BadArgument);
        }
        let before = self.take_vcpu_off();
        let found = self.fill_fields(caller, id, (at, count));
        if let Some(before) = before {
            self.put_vcpu_on(before);
        }
        found
    }

    /// Fills the fields in, with no vCPU on the CPU: this one's VMCS has to be the current one.
    fn fill_fields(
        &mut self,
        caller: &Caller,
        id: Id<Vcpu>,
        (at, count): (u64, u64),
    ) -> Result<Outcome, Refused> {
        let mut found = 0;
        for index in 0..count {
            let at = nth::<FieldValue>(at, index)?;
            let mut field: FieldValue = self.ask(caller, at)?;
            let vcpu = self.vcpus.get_mut(id).ok_or(Refused::Revoked)?;
            let value = vcpu.hardware.field(field.name);
            found += u64::from(value.is_some());
            field.value = value.unwrap_or(0);
            self.tell(caller, at, &field)?;
        }
        Ok(Outcome::Answer(found))
    }

    fn vcpu_to_read(&self, caller: &Caller, rights: Rights) -> Result<Id<Vcpu>, Refused> {
        let id = self.find(caller, 0, rights, Target::vcpu)?;
        self.vcpus.get(id).ok_or(Refused::Revoked)?;
        Ok(id)
    }

    pub(super) fn machine_read(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        self.check_machine(caller, Rights::READ)?;
        let record = self.record();
        self.tell(caller, caller.argument(1), &record)
    }

    pub(super) fn machine_off_by(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        self.check_machine(caller, Rights::WRITE)?;
        let [_, at, count, ..] = caller.arguments;
        if count > power::MOST_WRITES as u64 {
            return Err(Refused::BadArgument);
        }
        let mut writes = [OffWrite::default(); power::MOST_WRITES];
        let count = count as usize;
        for (index, write) in (0..).zip(&mut writes[..count]) {
            *write = self.ask_nth(caller, at, index)?;
            if !matches!(write.width_bytes, 1 | 2 | 4) {
                return Err(Refused::BadArgument);
            }
        }
        power::install(&writes[..count]);
        Ok(Outcome::Answer(0))
    }

    pub(super) fn machine_off(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        self.check_machine(caller, Rights::WRITE)?;
        power::off()
    }
}
