//! From bytes to an [`Instruction`].
//!
//! Owns the order of the parts: prefixes, opcode, ModRM, SIB, displacement, constant. Why
//! a decoder of our own and no crate: it knows only instructions that access memory, so
//! it needs no tables, no heap and a third of the instructions the general decoders need
//! per exit; `iced-x86` checks it in the tests over all opcodes and modes.

use crate::address::MemoryOperand;
use crate::cursor::Cursor;
use crate::fetch::Bytes;
use crate::instruction::{Instruction, Operation, Source};
use crate::opcode::{self, Encoded, Layout, Shape};
use crate::prefix::Prefixes;
use crate::register::Register;
use skerry_words::{Gpr, Width};

/// Why bytes were not decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// They end before the instruction does.
    Truncated,
    /// No instruction with a memory operand that is known here.
    Unknown,
}

/// Decodes the first instruction of `bytes` as code of size `code`.
///
/// # Errors
/// [`DecodeError`].
#[inline]
pub fn decode(bytes: &Bytes, code: Width) -> Result<Instruction, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let (prefixes, first) = Prefixes::take(&mut cursor, code)?;
    let shape = shape(&mut cursor, &prefixes, first)?.ok_or(DecodeError::Unknown)?;
    if prefixes.lock && !shape.operation.is_lockable() {
        return Err(DecodeError::Unknown);
    }
    let (memory, register) = operands(&mut cursor, &prefixes, shape)?;
    let source = match shape.other {
        Encoded::Register => Source::Register(named(register, shape, &prefixes)),
        Encoded::Accumulator => Source::Register(Register::ACCUMULATOR),
        Encoded::Byte => Source::Immediate(cursor.next_i8()?),
        Encoded::Full => Source::Immediate(constant(&mut cursor, shape.width)?),
    };
    Ok(Instruction {
        length: cursor.taken(),
        operation: shape.operation,
        width: shape.width,
        source,
        memory,
        repeat: prefixes.repeat,
    })
}

/// Takes the rest of the opcode and looks it up.
#[inline]
fn shape(
    cursor: &mut Cursor<'_>,
    prefixes: &Prefixes,
    first: u8,
) -> Result<Option<Shape>, DecodeError> {
    if first != 0x0f {
        return with_digit(cursor, |digit| opcode::one_byte(first, digit, prefixes));
    }
    let second = cursor.next()?;
    if second != 0x38 {
        return with_digit(cursor, |digit| opcode::two_byte(second, digit, prefixes));
    }
    let third = cursor.next()?;
    Ok(opcode::three_byte(third, prefixes))
}

/// Looks an opcode up with bits 5:3 of the byte after it. Where that byte is missing, it
/// is asked for only if an instruction could come of it.
#[inline]
fn with_digit(
    cursor: &Cursor<'_>,
    look_up: impl Fn(u8) -> Option<Shape>,
) -> Result<Option<Shape>, DecodeError> {
    match cursor.peek() {
        Ok(byte) => Ok(look_up((byte >> 3) & 7)),
        Err(ended) => without_digit(ended, look_up),
    }
}

#[cold]
fn without_digit(
    ended: DecodeError,
    look_up: impl Fn(u8) -> Option<Shape>,
) -> Result<Option<Shape>, DecodeError> {
    let found = (0..8).find_map(look_up);
    let needs_no_more = found.is_none_or(|shape| matches!(shape.layout, Layout::Implied));
    if needs_no_more { Ok(found) } else { Err(ended) }
}

/// The memory operand, and ModRM.reg extended by REX.
#[inline]
fn operands(
    cursor: &mut Cursor<'_>,
    prefixes: &Prefixes,
    shape: Shape,
) -> Result<(MemoryOperand, u8), DecodeError> {
    match shape.layout {
        Layout::ModRm => {
            let modrm = cursor.next()?;
            if modrm >> 6 == 3 {
                return Err(DecodeError::Unknown);
            }
            let register = prefixes.extend_register((modrm >> 3) & 7);
            Ok((MemoryOperand::take(cursor, prefixes, modrm)?, register))
        }
        Layout::Offset => Ok((MemoryOperand::take_offset(cursor, prefixes)?, 0)),
        Layout::Implied => Ok((MemoryOperand::implied(prefixes, Gpr::Rsi as u8), 0)),
    }
}

/// Without REX, byte registers 4 to 7 are AH to BH.
#[inline]
fn named(number: u8, shape: Shape, prefixes: &Prefixes) -> Register {
    let width = if let Operation::LoadExtended(_, to) = shape.operation {
        to
    } else {
        shape.width
    };
    if width == Width::Byte && prefixes.rex == 0 && number >= 4 {
        Register {
            number: number & 3,
            shift: 8,
        }
    } else {
        Register::new(number)
    }
}

#[inline]
fn constant(cursor: &mut Cursor<'_>, width: Width) -> Result<u64, DecodeError> {
    match width {
        Width::Byte => cursor.next_i8(),
        Width::Word => cursor.next_i16(),
        Width::Dword | Width::Qword => cursor.next_i32(),
    }
}
