//! INS and OUTS: a port on one side, the guest's memory on the other.
//!
//! Owns their faults, which a CPU raises only after the exit for the port
//! `[SDM 3C, "Relative Priority of Faults and VM Exits", ed. 085]`, so they are ours to
//! raise. A destination is checked before its port is read, since reading may change the
//! device. Where there is no memory, the bus answers.

use crate::iteration::Iteration;
use crate::place::{Place, Translations};
use crate::{MmioTarget, PortTarget, Progress, register, segment};
use skerry_verdict::{Fault, GuestMemory, Registers};
use skerry_words::{Access, Direction, Gpa, Gpr, GuestState, PortAccess, Segment, StringIo, Width};

/// Executes the INS or OUTS that exited for `access`, at most `budget` elements of it, with
/// `target` for the port and for what is no memory.
///
/// # Errors
/// The guest's fault at the element the registers say; `#UD` if `access.string` is
/// `None`, which no string instruction has.
pub fn string_io(
    state: &mut GuestState,
    memory: &mut impl GuestMemory,
    access: PortAccess,
    target: &mut (impl PortTarget + MmioTarget),
    budget: u32,
) -> Result<Progress, Fault> {
    let string = access.string.ok_or(Fault::UndefinedInstruction)?;
    let iteration = Iteration {
        address: address_width(string),
        bytes: access.width.bytes(),
        counted: string.repeat,
    };
    let mut translations = Translations::new();
    let mut left = budget;
    let mut more = !iteration.is_finished(state);
    while more {
        let Some(fewer) = left.checked_sub(1) else {
            return Ok(Progress::Interrupted);
        };
        left = fewer;
        let place = place(state, memory, &mut translations, access, iteration, string)?;
        match access.direction {
            Direction::In => {
                let value = PortTarget::read(target, access.port, access.width);
                store(memory, target, place, access.width, value);
                iteration.step(state, Gpr::Rdi);
            }
            Direction::Out => {
                let value = load(memory, target, place, access.width);
                PortTarget::write(target, access.port, access.width, value);
                iteration.step(state, Gpr::Rsi);
            }
        }
        more = iteration.count(state);
        if more && state.is_stepping() {
            state.trap_step();
            return Ok(Progress::Interrupted);
        }
    }
    state.advance();
    Ok(Progress::Finished)
}

fn address_width(string: StringIo) -> Width {
    match string.address_bytes {
        2 => Width::Word,
        4 => Width::Dword,
        _ => Width::Qword,
    }
}

/// Where the element's memory is: at ES:RDI for INS, which cannot be overridden.
fn place(
    state: &GuestState,
    memory: &mut impl GuestMemory,
    translations: &mut Translations,
    access: PortAccess,
    iteration: Iteration,
    string: StringIo,
) -> Result<Place, Fault> {
    let (pointer, segment, wanted) = match access.direction {
        Direction::In => (Gpr::Rdi, Segment::Es, Access::Write),
        Direction::Out => (Gpr::Rsi, string.segment, Access::Read),
    };
    let offset = register::get(state, pointer, iteration.address);
    let gva = segment::linear(state, segment, offset, iteration.bytes, wanted)?;
    translations.place(state, memory, gva, iteration.bytes, wanted)
}

/// A bus with nothing on it: it reads as all ones and drops what is written.
pub(crate) struct Floating;

impl MmioTarget for Floating {
    fn read(&mut self, _: Gpa, width: Width) -> u64 {
        width.mask()
    }

    fn write(&mut self, _: Gpa, _: Width, _: u64) {}
}

/// The bytes at `place`; those of `target` where there is no memory.
pub(crate) fn load(
    memory: &mut impl GuestMemory,
    target: &mut impl MmioTarget,
    place: Place,
    width: Width,
) -> u32 {
    let mut value = 0;
    for (at, width, shift) in place.parts(width) {
        let mut bytes = [0; 4];
        let wanted = bytes.get_mut(..width.bytes() as usize).unwrap_or(&mut []);
        let part = match memory.read(at, wanted) {
            Ok(()) => u32::from_le_bytes(bytes),
            Err(_) => (target.read(at, width) & width.mask()) as u32,
        };
        value |= part << (shift & 31);
    }
    value
}

fn store(
    memory: &mut impl GuestMemory,
    target: &mut impl MmioTarget,
    place: Place,
    width: Width,
    value: u32,
) {
    for (at, width, shift) in place.parts(width) {
        let part = value >> (shift & 31);
        let bytes = part.to_le_bytes();
        let wanted = bytes.get(..width.bytes() as usize).unwrap_or(&[]);
        if memory.write(at, wanted).is_err() {
            target.write(at, width, u64::from(part) & width.mask());
        }
    }
}
