//! The calls of `root`: who holds the machine makes objects, and hands out rights to them.

use super::{call, fill, give, make, plain};
use core::convert::Infallible;
use skerry_abi::{
    Call, ComponentRecord, FieldValue, GuestRange, Handle, MachineRecord, MapRequest, OffWrite,
    Refused, Rights, VcpuRecord,
};
use skerry_words::Port;

/// Makes memory of so many pages.
///
/// # Errors
/// As [`Call::MemoryCreate`] says.
pub fn memory_create(machine: Handle, pages: u64) -> Result<Handle, Refused> {
    make(Call::MemoryCreate, [machine.word(), pages])
}

/// Makes memory of a part of the bundle.
///
/// # Errors
/// As [`Call::MemoryOfBundle`] says.
pub fn memory_of_bundle(machine: Handle, first_byte: u64, bytes: u64) -> Result<Handle, Refused> {
    make(Call::MemoryOfBundle, [machine.word(), first_byte, bytes])
}

/// Makes a component.
///
/// # Errors
/// As [`Call::ComponentCreate`] says.
pub fn component_create(machine: Handle, weight: u32) -> Result<Handle, Refused> {
    make(Call::ComponentCreate, [machine.word(), u64::from(weight)])
}

/// Maps pages of memory in a component. In the caller itself ([`skerry_abi::layout::MYSELF`])
/// too, where this is safe because nothing can be mapped over what is there.
///
/// # Errors
/// As [`Call::ComponentMap`] says.
pub fn component_map(
    component: Handle,
    memory: Handle,
    request: &MapRequest,
) -> Result<(), Refused> {
    let arguments = [component.word(), memory.word(), &raw const *request as u64];
    // SAFETY: ring 0 reads the request.
    unsafe { call(Call::ComponentMap, arguments) }.map(drop)
}

/// Gives a component a handle to an object of the caller's. Gives its number there.
///
/// # Errors
/// As [`Call::ComponentGrant`] says.
pub fn component_grant(
    component: Handle,
    object: Handle,
    rights: Rights,
) -> Result<Handle, Refused> {
    let rights = u64::from(rights.bits());
    make(
        Call::ComponentGrant,
        [component.word(), object.word(), rights],
    )
}

/// Starts a component's thread.
///
/// # Errors
/// As [`Call::ComponentStart`] says.
pub fn component_start(component: Handle, rip: u64, rsp: u64, rdi: u64) -> Result<(), Refused> {
    plain(Call::ComponentStart, [component.word(), rip, rsp, rdi]).map(drop)
}

/// Ends a component.
///
/// # Errors
/// As [`Call::ComponentEnd`] says.
pub fn component_end(component: Handle) -> Result<(), Refused> {
    plain(Call::ComponentEnd, [component.word()]).map(drop)
}

/// What there is to tell of a component.
///
/// # Errors
/// As [`Call::ComponentRead`] says.
pub fn component_read(component: Handle) -> Result<ComponentRecord, Refused> {
    fill(Call::ComponentRead, component)
}

/// Makes a notification of these bits of a component's.
///
/// # Errors
/// As [`Call::NotificationCreate`] says.
pub fn notification_create(component: Handle, bits: u64) -> Result<Handle, Refused> {
    make(Call::NotificationCreate, [component.word(), bits])
}

/// Makes a VM's memory.
///
/// # Errors
/// As [`Call::GuestCreate`] says.
pub fn guest_create(
    machine: Handle,
    ranges: &[GuestRange],
    largest_page_bytes: u64,
) -> Result<Handle, Refused> {
    give(Call::GuestCreate, machine, ranges, largest_page_bytes).map(Handle::from_word)
}

/// Makes a vCPU of a guest for a component.
///
/// # Errors
/// As [`Call::VcpuCreate`] says.
pub fn vcpu_create(
    machine: Handle,
    guest: Handle,
    component: Handle,
    flags: u64,
) -> Result<Handle, Refused> {
    let arguments = [machine.word(), guest.word(), component.word(), flags];
    make(Call::VcpuCreate, arguments)
}

/// What there is to tell of a vCPU and its guest.
///
/// # Errors
/// As [`Call::VcpuRead`] says.
pub fn vcpu_read(vcpu: Handle) -> Result<VcpuRecord, Refused> {
    fill(Call::VcpuRead, vcpu)
}

/// Fills in the values of a vCPU's fields. Gives how many there are.
///
/// # Errors
/// As [`Call::VcpuFields`] says.
pub fn vcpu_fields(vcpu: Handle, fields: &mut [FieldValue]) -> Result<u64, Refused> {
    let (at, count) = (fields.as_mut_ptr() as u64, fields.len() as u64);
    // SAFETY: ring 0 changes no more than the slice, and there only values, which are integers.
    unsafe { call(Call::VcpuFields, [vcpu.word(), at, count]) }.map(|(found, _)| found)
}

/// Makes a range of ports.
///
/// # Errors
/// As [`Call::PortsCreate`] says.
pub fn ports_create(machine: Handle, first: Port, count: u32) -> Result<Handle, Refused> {
    let arguments = [machine.word(), u64::from(first.0), u64::from(count)];
    make(Call::PortsCreate, arguments)
}

/// Makes an interrupt line, 0 to 15.
///
/// # Errors
/// As [`Call::LineCreate`] says.
pub fn line_create(machine: Handle, line: u32) -> Result<Handle, Refused> {
    make(Call::LineCreate, [machine.word(), u64::from(line)])
}

/// What there is to tell of the machine.
///
/// # Errors
/// As [`Call::MachineRead`] says.
pub fn machine_read(machine: Handle) -> Result<MachineRecord, Refused> {
    fill(Call::MachineRead, machine)
}

/// Keeps the port writes that switch this machine off.
///
/// # Errors
/// As [`Call::MachineOffBy`] says.
pub fn machine_off_by(machine: Handle, writes: &[OffWrite]) -> Result<(), Refused> {
    give(Call::MachineOffBy, machine, writes, 0).map(drop)
}

/// Switches the machine off. Comes back only if refused.
///
/// # Errors
/// As [`Call::MachineOff`] says.
pub fn machine_off(machine: Handle) -> Result<Infallible, Refused> {
    plain(Call::MachineOff, [machine.word()]).and(Err(Refused::WrongState))
}

/// Takes a handle out of the caller's table.
///
/// # Errors
/// As [`Call::HandleClose`] says.
pub fn handle_close(handle: Handle) -> Result<(), Refused> {
    plain(Call::HandleClose, [handle.word()]).map(drop)
}

/// Ends an object. Memory of it that the caller has mapped is gone: a reference to it must not
/// be used any more (a use ends the component).
///
/// # Errors
/// As [`Call::ObjectEnd`] says.
pub fn object_end(handle: Handle) -> Result<(), Refused> {
    plain(Call::ObjectEnd, [handle.word()]).map(drop)
}
