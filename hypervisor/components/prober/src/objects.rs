//! One object of every kind, and one that has ended.

use skerry_abi::{GuestRange, Handle, ObjectKind, Refused, Rights, layout, own};
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

/// What is probed with: handles with all rights.
#[derive(Clone, Copy, Debug)]
pub struct Objects {
    memory: Handle,
    guest: Handle,
    vcpu: Handle,
    runner: Handle,
    component: Handle,
    notification: Handle,
    ports: Handle,
    line: Handle,
    ended: Ended,
    /// A handle's number that names something in the component's table, and nothing here.
    pub foreign: Handle,
}

/// Handles to what has ended. Ports and lines never do, nor do the log and the machine.
#[derive(Clone, Copy, Debug)]
struct Ended {
    memory: Handle,
    guest: Handle,
    vcpu: Handle,
    component: Handle,
    notification: Handle,
}

impl Objects {
    /// Makes them.
    ///
    /// # Errors
    /// A call that has to work does not.
    pub fn make() -> Result<Self, Refused> {
        let machine = own::MACHINE;
        // These come later, and take the places in ring 0 of those that have ended.
        let ended = Ended::make()?;
        let (guest, vcpu, runner) = running()?;
        let component = calls::component_create(machine, 100)?;
        Ok(Self {
            memory: calls::memory_create(machine, 4)?,
            guest,
            vcpu,
            runner,
            component,
            notification: calls::notification_create(layout::MYSELF, 1)?,
            ports: calls::ports_create(machine, Port(FIRST_PORT), 4)?,
            line: calls::line_create(machine, LINE)?,
            ended,
            foreign: fill(component)?,
        })
    }

    /// The living object of this kind.
    pub fn of(&self, kind: ObjectKind) -> Handle {
        match kind {
            ObjectKind::Memory => self.memory,
            ObjectKind::Guest => self.guest,
            ObjectKind::Vcpu => self.vcpu,
            ObjectKind::Component => self.component,
            ObjectKind::Notification => self.notification,
            ObjectKind::Ports => self.ports,
            ObjectKind::Line => self.line,
            ObjectKind::Log => own::LOG,
            ObjectKind::Machine => own::MACHINE,
        }
    }

    /// The component that the living vCPU is for.
    pub fn runner(&self) -> Handle {
        self.runner
    }

    /// An object of this kind that has ended, if one can.
    pub fn ended(&self, kind: ObjectKind) -> Option<Handle> {
        let Ended {
            memory,
            guest,
            vcpu,
            component,
            notification,
        } = self.ended;
        match kind {
            ObjectKind::Memory => Some(memory),
            ObjectKind::Guest => Some(guest),
            ObjectKind::Vcpu => Some(vcpu),
            ObjectKind::Component => Some(component),
            ObjectKind::Notification => Some(notification),
            ObjectKind::Ports | ObjectKind::Line | ObjectKind::Log | ObjectKind::Machine => None,
        }
    }
}

impl Ended {
    fn make() -> Result<Self, Refused> {
        let memory = calls::memory_create(own::MACHINE, 4)?;
        calls::object_end(memory)?;
        let (guest, vcpu, runner) = running()?;
        let notification = calls::notification_create(runner, 1)?;
        let component = calls::component_grant(layout::MYSELF, runner, Rights::all())?;
        calls::component_end(runner)?;
        calls::object_end(guest)?;
        // The record goes with its maker's handle; the copy is to nothing from then on.
        calls::handle_close(runner)?;
        Ok(Self {
            memory,
            guest,
            vcpu,
            component,
            notification,
        })
    }
}

/// A guest, its vCPU, and the component that this is for.
fn running() -> Result<(Handle, Handle, Handle), Refused> {
    let component = calls::component_create(own::MACHINE, 100)?;
    let [start, end] = desk::GUEST_WORDS;
    let guest = calls::guest_create(own::MACHINE, &[GuestRange { start, end }], 4096)?;
    let vcpu = calls::vcpu_create(own::MACHINE, guest, component, 0)?;
    Ok((guest, vcpu, component))
}

/// Gives a component more handles than we have. Gives the last one's number.
fn fill(component: Handle) -> Result<Handle, Refused> {
    let mut last = Handle(0);
    while last.0 < 100 {
        last = calls::component_grant(component, own::MACHINE, Rights::all())?;
    }
    Ok(last)
}
