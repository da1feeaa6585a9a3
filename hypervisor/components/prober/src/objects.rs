//! One object of every kind, and one that has ended.

use skerry_abi::{GuestRange, Handle, ObjectKind, Refused, layout, own};
use skerry_component::calls;
use skerry_words::Port;

use crate::desk;

/// Every kind.
pub const KINDS: [ObjectKind; 9] = [
    ObjectKind::Memory,
    ObjectKind::Guest,
    ObjectKind::Vcpu,
    ObjectKind::Component,
    ObjectKind::Notification,
    ObjectKind::Ports,
    ObjectKind::Line,
    ObjectKind::Log,
    ObjectKind::Machine,
];

/// The first of four ports that do nothing: diagnostic cards listen there.
pub const FIRST_PORT: u16 = 0x80;
/// A line that no device of this machine has: the second printer's.
const LINE: u32 = 5;

/// Objects of those kinds that can end.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    memory: Handle,
    guest: Handle,
    vcpu: Handle,
    /// The vCPU's.
    runner: Handle,
    /// One without a vCPU.
    component: Handle,
    notification: Handle,
    ports: Handle,
    line: Handle,
}

/// What is probed with: handles with all rights.
#[derive(Clone, Copy, Debug)]
pub struct Objects {
    alive: Set,
    ended: Set,
    /// A handle's number that names something in the component's table, and nothing here.
    pub foreign: Handle,
}

impl Objects {
    /// Makes them.
    ///
    /// # Errors
    /// A call that has to work does not.
    pub fn make() -> Result<Self, Refused> {
        let (alive, ended) = (Set::make()?, Set::make()?);
        ended.end()?;
        // Others take the places of those that have ended, which must not come back by that.
        let _ = Set::make()?;
        let foreign = fill(alive.component)?;
        Ok(Self {
            alive,
            ended,
            foreign,
        })
    }

    /// The living object of this kind.
    pub fn of(&self, kind: ObjectKind) -> Handle {
        match kind {
            ObjectKind::Log => own::LOG,
            ObjectKind::Machine => own::MACHINE,
            other => self.alive.of(other).unwrap_or(layout::MYSELF),
        }
    }

    /// The component that the living vCPU is for.
    pub fn runner(&self) -> Handle {
        self.alive.runner
    }

    /// An object of this kind that has ended; two kinds never do.
    pub fn ended(&self, kind: ObjectKind) -> Option<Handle> {
        self.ended.of(kind)
    }
}

impl Set {
    /// Makes one of each.
    ///
    /// # Errors
    /// As [`Objects::make`].
    pub fn make() -> Result<Self, Refused> {
        let machine = own::MACHINE;
        let runner = calls::component_create(machine, 100)?;
        let [start, end] = desk::GUEST_WORDS;
        let guest = calls::guest_create(machine, &[GuestRange { start, end }], 4096)?;
        Ok(Self {
            memory: calls::memory_create(machine, 4)?,
            guest,
            vcpu: calls::vcpu_create(machine, guest, runner)?,
            runner,
            component: calls::component_create(machine, 100)?,
            notification: calls::notification_create(layout::MYSELF, 1)?,
            ports: calls::ports_create(machine, Port(FIRST_PORT), 4)?,
            line: calls::line_create(machine, LINE)?,
        })
    }

    fn end(&self) -> Result<(), Refused> {
        let components = [self.runner, self.component];
        components.into_iter().try_for_each(calls::component_end)?;
        // The guest takes its vCPU with it.
        let others = [
            self.memory,
            self.guest,
            self.notification,
            self.ports,
            self.line,
        ];
        let mut all = others.into_iter().chain(components);
        all.try_for_each(calls::object_end)
    }

    fn of(&self, kind: ObjectKind) -> Option<Handle> {
        Some(match kind {
            ObjectKind::Memory => self.memory,
            ObjectKind::Guest => self.guest,
            ObjectKind::Vcpu => self.vcpu,
            ObjectKind::Component => self.component,
            ObjectKind::Notification => self.notification,
            ObjectKind::Ports => self.ports,
            ObjectKind::Line => self.line,
            ObjectKind::Log | ObjectKind::Machine => return None,
        })
    }
}

/// Gives a component more handles than we have. Gives the last one's number.
fn fill(component: Handle) -> Result<Handle, Refused> {
    let mut last = Handle(0);
    while last.0 < 100 {
        let rights = skerry_abi::Rights::all();
        last = calls::component_grant(component, own::MACHINE, rights)?;
    }
    Ok(last)
}
