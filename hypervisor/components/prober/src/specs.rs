//! Every call, with arguments that would do.
//!
//! Owns what each argument is, after [`Call`]'s own words. What is wrong with one of them
//! while all others are right is the probes'. Calls that take no handle and no address
//! (`Version`, `Wait`, `Yield`, `End`) have no wrong arguments.

use skerry_abi::{
    Call, ComponentRecord, FieldValue, Handle, MachineRecord, ObjectKind, Rights, VcpuRecord,
    layout,
};
use skerry_words::ExtendedState;

use crate::desk;
use crate::objects::{FIRST_PORT, Objects};

/// One argument that would do.
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    /// A number.
    Value(u64),
    /// A handle to an object of this kind, or of any, with these rights.
    Object(Option<ObjectKind>, Rights),
    /// The address of so many bytes that the call reads.
    Input(u64, u64),
    /// The address of so many bytes that the call writes.
    Output(u64),
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Which.
    pub call: Call,
    /// Its arguments in their order.
    pub arguments: &'static [Argument],
}

impl Spec {
    /// The arguments as registers.
    pub fn registers(&self, objects: &Objects) -> [u64; 6] {
        let mut registers = [0; 6];
        for (register, argument) in registers.iter_mut().zip(self.arguments) {
            *register = match *argument {
                Argument::Value(value) => value,
                Argument::Object(kind, _) => object(kind, objects).word(),
                Argument::Input(at, _) => at,
                Argument::Output(_) => desk::OUTPUT,
            };
        }
        registers
    }

    /// The same, but with `value` in one of them.
    pub fn registers_with(&self, objects: &Objects, place: usize, value: u64) -> [u64; 6] {
        let mut registers = self.registers(objects);
        if let Some(register) = registers.get_mut(place) {
            *register = value;
        }
        registers
    }
}

/// The object that stands for "any".
pub fn object(kind: Option<ObjectKind>, objects: &Objects) -> Handle {
    objects.of(kind.unwrap_or(ObjectKind::Memory))
}

const READ: Rights = Rights::READ;
const WRITE: Rights = Rights::WRITE;
const RUN: Rights = Rights::RUN;
const SIGNAL: Rights = Rights::SIGNAL;

const fn of(kind: ObjectKind, rights: Rights) -> Argument {
    Argument::Object(Some(kind), rights)
}

const fn any(rights: Rights) -> Argument {
    Argument::Object(None, rights)
}

const fn value(value: u64) -> Argument {
    Argument::Value(value)
}

const fn output<T>() -> Argument {
    Argument::Output(size_of::<T>() as u64)
}

const fn spec(call: Call, arguments: &'static [Argument]) -> Spec {
    Spec { call, arguments }
}

const MAKE: Argument = of(ObjectKind::Machine, WRITE);
const PORT: Argument = value(FIRST_PORT as u64);
const MAP: Argument = Argument::Input(desk::MAP_REQUEST, 32);
const GUEST: Argument = Argument::Input(desk::GUEST_RANGE, 16);
const OFF: Argument = Argument::Input(desk::OFF_WRITE, 8);
const TEXT: Argument = Argument::Input(desk::TEXT, 64);

/// Where a component would be started.
const RIP: Argument = value(layout::IMAGE);
const RSP: Argument = value(layout::FIRST_RSP);

/// The calls with something to refuse.
pub const SPECS: [Spec; 32] = [
    spec(Call::VcpuRun, &[of(ObjectKind::Vcpu, RUN)]),
    spec(Call::Notify, &[of(ObjectKind::Notification, SIGNAL)]),
    spec(Call::VcpuReset, &[of(ObjectKind::Vcpu, RUN)]),
    spec(
        Call::VcpuPermit,
        &[of(ObjectKind::Vcpu, RUN), value(0), value(0)],
    ),
    spec(
        Call::VcpuSave,
        &[of(ObjectKind::Vcpu, RUN), output::<ExtendedState>()],
    ),
    spec(
        Call::VcpuRestore,
        &[
            of(ObjectKind::Vcpu, RUN),
            Argument::Input(desk::INPUT, size_of::<ExtendedState>() as u64),
        ],
    ),
    spec(
        Call::LogWrite,
        &[of(ObjectKind::Log, WRITE), TEXT, value(64)],
    ),
    spec(
        Call::LogRead,
        &[of(ObjectKind::Log, READ), Argument::Output(64), value(64)],
    ),
    spec(
        Call::PortRead,
        &[of(ObjectKind::Ports, READ), PORT, value(1)],
    ),
    spec(
        Call::PortWrite,
        &[of(ObjectKind::Ports, WRITE), PORT, value(1), value(0)],
    ),
    spec(
        Call::PortWriteBytes,
        &[of(ObjectKind::Ports, WRITE), PORT, TEXT, value(64)],
    ),
    spec(Call::LineWait, &[of(ObjectKind::Line, SIGNAL), value(1)]),
    spec(Call::MemoryCreate, &[MAKE, value(1)]),
    spec(Call::MemoryOfBundle, &[MAKE, value(0), value(4096)]),
    spec(Call::ComponentCreate, &[MAKE, value(100)]),
    spec(
        Call::ComponentMap,
        &[
            of(ObjectKind::Component, WRITE),
            of(ObjectKind::Memory, READ),
            MAP,
        ],
    ),
    spec(
        Call::ComponentGrant,
        &[
            of(ObjectKind::Component, WRITE),
            any(Rights::GRANT),
            value(1),
        ],
    ),
    spec(
        Call::ComponentStart,
        &[of(ObjectKind::Component, RUN), RIP, RSP, value(0)],
    ),
    spec(Call::ComponentEnd, &[of(ObjectKind::Component, RUN)]),
    spec(
        Call::ComponentRead,
        &[of(ObjectKind::Component, READ), output::<ComponentRecord>()],
    ),
    spec(
        Call::NotificationCreate,
        &[of(ObjectKind::Component, WRITE), value(2)],
    ),
    spec(Call::GuestCreate, &[MAKE, GUEST, value(1), value(4096)]),
    spec(
        Call::VcpuCreate,
        &[
            MAKE,
            of(ObjectKind::Guest, WRITE),
            of(ObjectKind::Component, WRITE),
        ],
    ),
    spec(
        Call::VcpuRead,
        &[of(ObjectKind::Vcpu, READ), output::<VcpuRecord>()],
    ),
    spec(Call::PortsCreate, &[MAKE, PORT, value(4)]),
    spec(Call::LineCreate, &[MAKE, value(5)]),
    spec(
        Call::MachineRead,
        &[of(ObjectKind::Machine, READ), output::<MachineRecord>()],
    ),
    spec(Call::MachineOffBy, &[MAKE, OFF, value(1)]),
    spec(Call::MachineOff, &[MAKE]),
    spec(Call::HandleClose, &[any(Rights::empty())]),
    spec(
        Call::ObjectEnd,
        &[of(ObjectKind::Memory, WRITE.union(Rights::GRANT))],
    ),
    spec(
        Call::VcpuFields,
        &[
            of(ObjectKind::Vcpu, READ.union(Rights::GRANT)),
            output::<FieldValue>(),
            value(1),
        ],
    ),
];
