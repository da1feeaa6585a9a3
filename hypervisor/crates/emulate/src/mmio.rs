//! One instruction whose memory operand is no memory.
//!
//! Owns the order of things: fetch, decode, find every byte the instruction touches (all
//! faults happen here), then read, compute and write (nothing can fail). Plain moves take
//! the short way of `plain.rs`. Whether a byte
//! is RAM or a device's is asked of [`GuestMemory`] page by page, so an instruction may
//! have one operand of each.

use crate::decode::{DecodeError, decode};
use crate::fetch::{Bytes, fetch_from, joined, words_again};
use crate::glance::Glance;
use crate::instruction::{Instruction, Operation};
use crate::place::{Place, Translations};
use crate::vector::decode::decode_vector;
use crate::{EmulateError, MmioTarget, mode, plain, segment};
use skerry_verdict::{Fault, GuestMemory, Registers};
use skerry_words::{Access, Gpa, GuestState, Gva, MemoryAccess, Segment, StateGroups, Width};

/// How an instruction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// RIP goes on behind it.
    Finished,
    /// It has set RIP itself.
    Branched,
    /// It is LMSW, and has read this word: the rest is the VMM's.
    StatusWord(u16),
    /// The guest shall execute it again, with the registers as they are now.
    Again,
}

/// Executes the instruction at RIP, which exited for `access`, with `target` in place of
/// memory.
///
/// If the instruction does not touch the page of `access.gpa` at all (the guest's tables
/// have changed since the exit, say) nothing is done and the guest executes it again. A
/// repeated string instruction stops after 256 elements or where it leaves the device,
/// its registers saying what remains.
///
/// # Errors
/// [`EmulateError::Fault`] for the guest: nothing was changed, but that elements of a
/// string done before stay done. [`EmulateError::StatusWord`] for LMSW, which the VMM
/// completes. [`EmulateError::Vector`] for a move of a vector register: see
/// [`crate::vector_mmio`]. [`EmulateError::Unknown`] for an instruction not known here.
pub fn mmio(
    state: &mut GuestState,
    memory: &mut impl GuestMemory,
    access: MemoryAccess,
    target: &mut impl MmioTarget,
) -> Result<(), EmulateError> {
    Emulator::default().mmio(state, memory, access, target)
}

/// An emulator that remembers what it recognised last, since a driver's loop comes back to
/// one instruction. What it remembers is a pure function of the bytes, so it is never stale; of the
/// page it was on, it remembers how it got there, and looks whether that still holds.
#[derive(Clone, Debug, Default)]
pub struct Emulator {
    last: plain::Last,
    page: Glance,
}

impl Emulator {
    /// [`mmio`], faster for the instruction it has seen last.
    ///
    /// # Errors
    /// Those of [`mmio`].
    #[inline]
    pub fn mmio(
        &mut self,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
        access: MemoryAccess,
        target: &mut impl MmioTarget,
    ) -> Result<(), EmulateError> {
        let Some(words) = words_again(state, memory, &mut self.page) else {
            let bytes = fetch_from(state, memory, 0)?;
            return generally(state, memory, bytes, access, target);
        };
        if let Some(plain) = self.last.recognise(words)
            && plain.execute(state, access, target)
        {
            return Ok(());
        }
        generally(state, memory, Bytes::of_words(words), access, target)
    }
}

/// The way of all instructions.
#[inline(never)]
fn generally(
    state: &mut GuestState,
    memory: &mut impl GuestMemory,
    bytes: Bytes,
    access: MemoryAccess,
    target: &mut impl MmioTarget,
) -> Result<(), EmulateError> {
    let page = access.gpa.page_start();
    let instruction = decoded(state, memory, bytes, page)?;
    if needs_segments(&instruction) && !state.valid.contains(StateGroups::SEGMENTS) {
        return Err(unknown(state, bytes));
    }
    let outcome = Machine {
        translations: Translations::of_exit(&access),
        device_page: page,
        state,
        memory,
        target,
    }
    .execute(&instruction)?;
    match outcome {
        Outcome::Again => {}
        Outcome::StatusWord(word) => {
            state.instruction_bytes = u32::from(instruction.length);
            return Err(EmulateError::StatusWord(word));
        }
        Outcome::Finished => finish(state, instruction.length),
        Outcome::Branched => {
            let target = state.rip;
            state.instruction_bytes = 0;
            state.advance();
            state.rip = target;
        }
    }
    Ok(())
}

/// Goes on behind an instruction of this length.
#[inline]
pub(crate) fn finish(state: &mut GuestState, length: u8) {
    state.instruction_bytes = u32::from(length);
    state.advance();
    wrap_rip(state);
}

/// Whether it stores a selector: in 64-bit code nothing else needs those, so they may not
/// be at hand.
fn needs_segments(instruction: &Instruction) -> bool {
    matches!(instruction.operation, Operation::StoreSelector(_))
}

#[inline]
fn decoded(
    state: &GuestState,
    memory: &mut impl GuestMemory,
    bytes: Bytes,
    page: Gpa,
) -> Result<Instruction, EmulateError> {
    match decode(&bytes, mode::code_width(state)) {
        Ok(instruction) => Ok(instruction),
        Err(DecodeError::Unknown) => Err(vector_or_unknown(state, bytes, page)),
        Err(DecodeError::Truncated) => decode_across_pages(state, memory, bytes, page),
    }
}

#[cold]
fn decode_across_pages(
    state: &GuestState,
    memory: &mut impl GuestMemory,
    first: Bytes,
    page: Gpa,
) -> Result<Instruction, EmulateError> {
    let rest = fetch_from(state, memory, first.as_slice().len() as u64)?;
    let whole = joined(first, rest);
    decode(&whole, mode::code_width(state)).map_err(|_| vector_or_unknown(state, whole, page))
}

/// What the bytes are, if no instruction of the general kind. Where they end, more of them may
/// make a vector move.
#[cold]
fn vector_or_unknown(state: &GuestState, bytes: Bytes, page: Gpa) -> EmulateError {
    match decode_vector(&bytes, mode::code_width(state)) {
        Ok(_) | Err(DecodeError::Truncated) => EmulateError::Vector(page),
        Err(DecodeError::Unknown) => unknown(state, bytes),
    }
}

#[cold]
pub(crate) fn unknown(state: &GuestState, bytes: Bytes) -> EmulateError {
    EmulateError::Unknown {
        rip: state.rip,
        bytes,
    }
}

/// Outside of 64-bit code the instruction pointer has 32 bits.
#[inline]
fn wrap_rip(state: &mut GuestState) {
    if !mode::is_64_bit(state) {
        state.rip &= 0xffff_ffff;
    }
}

/// The parts an instruction works on.
pub(crate) struct Machine<'a, M, T> {
    pub(crate) state: &'a mut GuestState,
    pub(crate) memory: &'a mut M,
    pub(crate) target: &'a mut T,
    pub(crate) translations: Translations,
    /// The page whose access exited: no memory.
    pub(crate) device_page: Gpa,
}

impl<M: GuestMemory, T: MmioTarget> Machine<'_, M, T> {
    #[inline]
    fn execute(&mut self, instruction: &Instruction) -> Result<Outcome, Fault> {
        if let Operation::String(operation) = instruction.operation {
            self.string(instruction, operation)
        } else if let Operation::Stack(operation) = instruction.operation {
            self.stack(instruction, operation)
        } else if instruction.operation == Operation::CompareExchangePair {
            self.compare_exchange_pair(instruction)
        } else if let Operation::StoreStatusWord | Operation::LoadStatusWord = instruction.operation
        {
            self.status_word(instruction)
        } else {
            self.simple(instruction)
        }
    }

    /// An instruction with one memory operand and no other way to memory.
    #[inline]
    fn simple(&mut self, instruction: &Instruction) -> Result<Outcome, Fault> {
        let place = self.operand(instruction, instruction.operation.access(), 0)?;
        if !place.touches(self.device_page) {
            return Ok(Outcome::Again);
        }
        if let Operation::Accumulate(accumulation) = instruction.operation {
            // Read before the fault is known: that is how a CPU finds it.
            let operand = self.read(place, instruction.width);
            accumulation.execute(self.state, operand, instruction.width)?;
            self.state.dirty |= StateGroups::FLAGS;
            return Ok(Outcome::Finished);
        }
        self.operate(instruction, place);
        Ok(Outcome::Finished)
    }

    /// The place of the ModRM operand, `shift` bytes on.
    #[inline]
    pub(crate) fn operand(
        &mut self,
        instruction: &Instruction,
        access: Access,
        shift: u64,
    ) -> Result<Place, Fault> {
        let next_rip = self.next_rip(instruction);
        let shift = shift.wrapping_add(self.bit_string_shift(instruction));
        let offset = instruction.memory.offset(self.state, next_rip, shift);
        self.place(
            instruction.memory.segment,
            offset,
            instruction.width,
            access,
        )
    }

    #[inline]
    pub(crate) fn next_rip(&self, instruction: &Instruction) -> u64 {
        self.state.rip.wrapping_add(u64::from(instruction.length))
    }

    /// The place of `width` bytes at `offset` in `segment`.
    #[inline]
    pub(crate) fn place(
        &mut self,
        segment: Segment,
        offset: u64,
        width: Width,
        access: Access,
    ) -> Result<Place, Fault> {
        let gva: Gva = segment::linear(self.state, segment, offset, width.bytes(), access)?;
        self.translations
            .place(self.state, self.memory, gva, width.bytes(), access)
    }

    #[inline]
    pub(crate) fn read(&mut self, place: Place, width: Width) -> u64 {
        if place.first_bytes >= width.bytes() {
            return self.read_part(place.first, width);
        }
        place.parts(width).fold(0, |value, (at, width, shift)| {
            value | (self.read_part(at, width) << shift)
        })
    }

    #[inline]
    pub(crate) fn write(&mut self, place: Place, width: Width, value: u64) {
        let value = value & width.mask();
        if place.first_bytes >= width.bytes() {
            return self.write_part(place.first, width, value);
        }
        for (at, width, shift) in place.parts(width) {
            self.write_part(at, width, (value >> shift) & width.mask());
        }
    }

    #[inline]
    fn read_part(&mut self, at: Gpa, width: Width) -> u64 {
        if at.page_start() != self.device_page {
            let mut bytes = [0; 8];
            let wanted = bytes.get_mut(..width.bytes() as usize).unwrap_or(&mut []);
            if self.memory.read(at, wanted).is_ok() {
                return u64::from_le_bytes(bytes);
            }
        }
        self.target.read(at, width) & width.mask()
    }

    #[inline]
    fn write_part(&mut self, at: Gpa, width: Width, value: u64) {
        if at.page_start() != self.device_page {
            let bytes = value.to_le_bytes();
            let wanted = bytes.get(..width.bytes() as usize).unwrap_or(&[]);
            if self.memory.write(at, wanted).is_ok() {
                return;
            }
        }
        self.target.write(at, width, value);
    }

    /// Replaces RFLAGS.
    #[inline]
    pub(crate) fn set_flags(&mut self, flags: u64) {
        self.state.rflags = flags;
        self.state.dirty |= StateGroups::FLAGS;
    }
}
