//! MOV of MMX and vector registers to and from what is no memory.
//!
//! Owns the order of things, which is that of `mmio.rs`: what forbids the instruction, its
//! alignment, every byte's place, and only then the access; an operand of 16 or 32 bytes is
//! one of several places of 8. Does not own the encodings (`vector/decode.rs`) nor where a
//! register is (`vector/registers.rs`). Called by the VMM, after [`crate::mmio()`] has come to
//! [`EmulateError::Vector`]: only then it has the registers fetched.

pub(crate) mod decode;
pub(crate) mod registers;

use crate::decode::DecodeError;
use crate::fetch::{Bytes, fetch, fetch_from};
use crate::mmio::{Machine, finish, unknown};
use crate::place::{Place, Translations};
use crate::{EmulateError, MmioTarget, mode, segment};
use decode::{Alignment, Part, RegisterFile, VectorInstruction, VectorMove, decode_vector};
use registers::{Upper, VectorRegisters};
use skerry_verdict::{Fault, GuestMemory};
use skerry_words::{Access, Gpa, GuestState, Gva, Width};

/// SSE and AVX state in XCR0: VEX needs both.
const SSE_AND_AVX: u64 = 0b110;

/// Executes the vector move at RIP, which exited for an access to `page`, with `target` in place
/// of memory. If it does not touch that page at all, nothing is done and the guest executes it
/// again.
///
/// # Errors
/// As those of [`crate::mmio()`]; never [`EmulateError::Vector`].
#[cold]
pub fn vector_mmio(
    state: &mut GuestState,
    memory: &mut impl GuestMemory,
    page: Gpa,
    target: &mut impl MmioTarget,
    registers: &mut VectorRegisters<'_>,
) -> Result<(), EmulateError> {
    let bytes = fetch(state, memory)?;
    let instruction = match decode_vector(&bytes, mode::code_width(state)) {
        Ok(VectorInstruction::Move(instruction)) => instruction,
        Ok(VectorInstruction::Undefined) => return Err(Fault::UndefinedInstruction.into()),
        Err(DecodeError::Unknown) => return Err(unknown(state, bytes)),
        Err(DecodeError::Truncated) => return Err(missing(state, memory, bytes)),
    };
    check(state, &instruction, registers)?;
    let mut machine = Machine {
        translations: Translations::new(),
        device_page: page,
        state,
        memory,
        target,
    };
    let places = machine.vector_places(&instruction)?;
    if !places.touch(page) {
        return Ok(());
    }
    machine.move_vector(&instruction, &places, registers);
    finish(state, instruction.length);
    Ok(())
}

/// The fault of the byte that the instruction wants next.
#[cold]
fn missing(state: &GuestState, memory: &mut impl GuestMemory, bytes: Bytes) -> EmulateError {
    match fetch_from(state, memory, bytes.as_slice().len() as u64) {
        Err(fault) => fault.into(),
        Ok(_) => unknown(state, bytes),
    }
}

/// What the operating system has not enabled `[SDM 3A, "Providing Operating System Support for
/// SSE Extensions" and "MMX Technology System Programming"; 2A, "Instruction Exception
/// Specification"; ed. 085]`.
fn check(
    state: &GuestState,
    instruction: &VectorMove,
    registers: &VectorRegisters<'_>,
) -> Result<(), Fault> {
    let emulated = state.cr0 & mode::CR0_EM != 0;
    let enabled = match instruction.file {
        RegisterFile::Mmx => !emulated,
        RegisterFile::Sse => !emulated && state.cr4 & mode::CR4_OSFXSR != 0,
        RegisterFile::Vex => {
            mode::checks_segment_types(state)
                && state.cr4 & mode::CR4_OSXSAVE != 0
                && registers.xcr0() & SSE_AND_AVX == SSE_AND_AVX
        }
    };
    if !enabled {
        return Err(Fault::UndefinedInstruction);
    }
    if state.cr0 & mode::CR0_TS != 0 {
        return Err(Fault::DeviceNotAvailable);
    }
    if instruction.file == RegisterFile::Mmx && registers.has_failed_x87() {
        return Err(Fault::FloatingPoint);
    }
    Ok(())
}

/// An operand of 4 or 8 bytes at one place, or one of 16 or 32 at several of 8.
struct Places {
    places: [Option<Place>; 4],
    /// The width at each.
    width: Width,
}

impl Places {
    fn touch(&self, page: Gpa) -> bool {
        self.iter().any(|(_, place)| place.touches(page))
    }

    fn iter(&self) -> impl Iterator<Item = (usize, Place)> {
        let numbered = self.places.iter().copied().enumerate();
        numbered.filter_map(|(number, place)| Some((number, place?)))
    }
}

impl<M: GuestMemory, T: MmioTarget> Machine<'_, M, T> {
    /// All places of the operand, with all faults.
    fn vector_places(&mut self, instruction: &VectorMove) -> Result<Places, Fault> {
        let VectorMove { access, bytes, .. } = *instruction;
        let next_rip = self.state.rip.wrapping_add(u64::from(instruction.length));
        let offset = instruction.memory.offset(self.state, next_rip, 0);
        let segment = instruction.memory.segment;
        let gva = segment::linear(self.state, segment, offset, bytes, access)?;
        let inside = gva.0 & bytes.wrapping_sub(1);
        if instruction.alignment == Alignment::Natural && inside != 0 {
            return Err(Fault::GeneralProtection(0));
        }
        let width = if bytes == 4 {
            Width::Dword
        } else {
            Width::Qword
        };
        let mut places = [None; 4];
        for (first, place) in (0..bytes).step_by(8).zip(&mut places) {
            let at = self.linear_behind(gva, first);
            let found =
                self.translations
                    .place(self.state, self.memory, at, width.bytes(), access)?;
            *place = Some(found);
        }
        Ok(Places { places, width })
    }

    /// `bytes` behind a linear address, which has 32 bits outside of 64-bit code.
    fn linear_behind(&self, gva: Gva, bytes: u64) -> Gva {
        let sum = gva.0.wrapping_add(bytes);
        if mode::is_64_bit(self.state) {
            Gva(sum)
        } else {
            Gva(sum & 0xffff_ffff)
        }
    }

    /// The access itself, where nothing can fail.
    fn move_vector(
        &mut self,
        instruction: &VectorMove,
        places: &Places,
        registers: &mut VectorRegisters<'_>,
    ) {
        if instruction.file == RegisterFile::Mmx {
            registers.begin_mmx();
        }
        match instruction.access {
            Access::Write => {
                let value = source(instruction, registers);
                for (number, place) in places.iter() {
                    let word = value.get(number).copied().unwrap_or(0);
                    self.write(place, places.width, word);
                }
            }
            Access::Read | Access::Execute => {
                let mut value = [0; 4];
                for (number, place) in places.iter() {
                    let word = self.read(place, places.width);
                    value.get_mut(number).into_iter().for_each(|to| *to = word);
                }
                load(instruction, value, registers);
            }
        }
    }
}

/// What is stored.
fn source(instruction: &VectorMove, registers: &VectorRegisters<'_>) -> [u64; 4] {
    if instruction.file == RegisterFile::Mmx {
        return [registers.mmx(instruction.register), 0, 0, 0];
    }
    let whole = registers.vector(instruction.register);
    match instruction.part {
        Part::Whole | Part::Low => whole,
        Part::High => [whole[1], 0, 0, 0],
    }
}

/// Loads a register. Without VEX what is above bit 127 is kept, with VEX it is cleared up to the
/// longest vector there is `[SDM 2A, "Vector Length Transition and Programming Considerations",
/// ed. 085]`.
fn load(instruction: &VectorMove, value: [u64; 4], registers: &mut VectorRegisters<'_>) {
    let to = instruction.register;
    let upper = match instruction.file {
        RegisterFile::Mmx => return registers.set_mmx(to, value[0]),
        RegisterFile::Sse => Upper::Kept,
        RegisterFile::Vex => Upper::Cleared,
    };
    let [kept_low, kept_high, ..] = registers.vector(instruction.merged);
    let value = match instruction.part {
        Part::Whole => value,
        Part::Low => [value[0], kept_high, 0, 0],
        Part::High => [kept_low, value[0], 0, 0],
    };
    registers.set_vector(to, value, upper);
}
