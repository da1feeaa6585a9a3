//! INS and OUTS: a port on one side, the guest's memory on the other.
//!
//! Owns their faults, which a CPU raises only after the exit for the port
//! `[SDM 3C, "Relative Priority of Faults and VM Exits", ed. 085]`, so they are ours to
//! raise. A destination is checked before its port is read, since reading may change the
//! device. Memory that is none floats: it reads as all ones and drops what is written.

use crate::iteration::Iteration;
use crate::place::{Place, Translations};
use crate::{PortTarget, Progress, register, segment};
use skerry_verdict::{Fault, GuestMemory, Registers};
use skerry_words::{Access, Direction, Gpr, GuestState, PortAccess, Segment, StringIo, Width};

/// Executes the INS or OUTS that exited for `access`, at most `budget` elements of it.
///
/// # Errors
/// The guest's fault at the element the registers say; `#UD` if `access.string` is
/// `None`, which no string instruction has.
pub fn string_io(
    state: &mut GuestState,
    memory: &mut impl GuestMemory,
    access: PortAccess,
    target: &mut impl PortTarget,
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
                let value = target.read(access.port, access.width);
                store(memory, place, access.width, value);
                iteration.step(state, Gpr::Rdi);
            }
            Direction::Out => {
                let value = load(memory, place, access.width);
                target.write(access.port, access.width, value);
                iteration.step(state, Gpr::Rsi);
            }
        }
        more = iteration.count(state);
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

/// The bytes at `place`; ones where there is no memory.
pub(crate) fn load(memory: &mut impl GuestMemory, place: Place, width: Width) -> u32 {
    place.parts(width).fold(0, |value, (at, width, shift)| {
        let mut bytes = [0; 4];
        let wanted = bytes.get_mut(..width.bytes() as usize).unwrap_or(&mut []);
        if memory.read(at, wanted).is_err() {
            wanted.fill(0xff);
        }
        value | (u32::from_le_bytes(bytes) << (shift & 31))
    })
}

fn store(memory: &mut impl GuestMemory, place: Place, width: Width, value: u32) {
    for (at, width, shift) in place.parts(width) {
        let bytes = (value >> (shift & 31)).to_le_bytes();
        let wanted = bytes.get(..width.bytes() as usize).unwrap_or(&[]);
        // Dropped where there is no memory, as on a bus that nobody answers.
        let _ = memory.write(at, wanted);
    }
}
