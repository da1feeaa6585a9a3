//! From bytes to an [`Instruction`].
//!
//! Owns the order of the parts: prefixes, opcode, ModRM, SIB, displacement, constant. Why
//! a decoder of our own: it knows only instructions that access memory, so it has neither
//! the tables that `iced-x86` builds on the heap at first use (2,000 blocks, 107 KiB) nor
//! the code of `yaxpeax-x86` (110 KiB for each of three modes). `iced-x86` checks it in the
//! tests, over all opcodes and modes.

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
    let (prefixes, first) = Prefixes::take(&mut cursor, code);
    let shape = shape(&mut cursor, &prefixes, first)?;
    if prefixes.lock && !shape.operation.is_lockable() {
        // The operation may be another with the byte that is missing.
        return Err(if cursor.is_at_end() {
            cursor.ended()
        } else {
            DecodeError::Unknown
        });
    }
    let (memory, register) = operands(&mut cursor, &prefixes, shape)?;
    let source = source(&mut cursor, &prefixes, shape, register);
    let constant = constant(&mut cursor, shape)?;
    Ok(Instruction {
        length: cursor.taken()?,
        operation: shape.operation,
        width: shape.width,
        source,
        constant,
        memory,
        repeat: prefixes.repeat,
    })
}

/// Takes the rest of the opcode and looks it up, with bits 5:3 of the byte after it.
#[inline]
fn shape(cursor: &mut Cursor<'_>, prefixes: &Prefixes, first: u8) -> Result<Shape, DecodeError> {
    if first == 0x0f {
        return long_shape(cursor, prefixes);
    }
    let digit = (cursor.peek() >> 3) & 7;
    match opcode::one_byte(first, digit, prefixes) {
        Some(shape) => Ok(shape),
        None => Err(missing(cursor, |digit| {
            opcode::one_byte(first, digit, prefixes)
        })),
    }
}

fn long_shape(cursor: &mut Cursor<'_>, prefixes: &Prefixes) -> Result<Shape, DecodeError> {
    let second = cursor.next();
    if second == 0x38 {
        let third = cursor.next();
        cursor.taken()?;
        return opcode::three_byte(third, prefixes).ok_or(DecodeError::Unknown);
    }
    let digit = (cursor.peek() >> 3) & 7;
    opcode::two_byte(second, digit, prefixes)
        .ok_or_else(|| missing(cursor, |digit| opcode::two_byte(second, digit, prefixes)))
}

/// Why an opcode was not found. Where the byte after it is missing, more bytes are asked
/// for only if an instruction could come of them.
#[cold]
fn missing(cursor: &Cursor<'_>, look_up: impl Fn(u8) -> Option<Shape>) -> DecodeError {
    if let Err(ended) = cursor.taken() {
        return ended;
    }
    let undecided = cursor.is_at_end() && (0..8).any(|digit| look_up(digit).is_some());
    if undecided {
        cursor.ended()
    } else {
        DecodeError::Unknown
    }
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
            let modrm = cursor.next();
            if modrm >> 6 == 3 {
                return Err(DecodeError::Unknown);
            }
            let register = prefixes.extend_register((modrm >> 3) & 7);
            Ok((MemoryOperand::take(cursor, prefixes, modrm), register))
        }
        Layout::Offset => Ok((MemoryOperand::take_offset(cursor, prefixes), 0)),
        Layout::Implied => Ok((MemoryOperand::implied(prefixes, Gpr::Rsi as u8), 0)),
        Layout::Stack => Ok((MemoryOperand::on_stack(prefixes), 0)),
    }
}

/// Without REX, byte registers 4 to 7 are AH to BH.
#[inline]
fn named(number: u8, shape: Shape, prefixes: &Prefixes) -> Register {
    let is_byte =
        shape.width == Width::Byte && !matches!(shape.operation, Operation::LoadExtended(..));
    if is_byte && prefixes.rex == 0 && number >= 4 {
        Register {
            number: number & 3,
            shift: 8,
        }
    } else {
        Register::new(number)
    }
}

#[inline]
fn source(cursor: &mut Cursor<'_>, prefixes: &Prefixes, shape: Shape, register: u8) -> Source {
    match shape.other {
        Encoded::Register | Encoded::RegisterAndByte | Encoded::RegisterAndFull => {
            Source::Register(named(register, shape, prefixes))
        }
        Encoded::Accumulator => Source::Register(Register::ACCUMULATOR),
        Encoded::Counter => Source::Register(Register::new(Gpr::Rcx as u8)),
        Encoded::Numbered(number) => Source::Register(Register::new(prefixes.extend_base(number))),
        Encoded::Byte => Source::Immediate(cursor.next_i8()),
        Encoded::Full => Source::Immediate(full(cursor, shape.width)),
        Encoded::Unsigned | Encoded::Frame => Source::Immediate(cursor.next_i16() & 0xffff),
        Encoded::One => Source::Immediate(1),
        Encoded::Nothing => Source::Immediate(0),
    }
}

/// The constant besides the source.
#[inline]
fn constant(cursor: &mut Cursor<'_>, shape: Shape) -> Result<u64, DecodeError> {
    match shape.other {
        Encoded::RegisterAndByte => Ok(cursor.next_i8()),
        Encoded::RegisterAndFull => Ok(full(cursor, shape.width)),
        // Nesting frames are not known here.
        Encoded::Frame if cursor.next() != 0 => Err(DecodeError::Unknown),
        Encoded::Register | Encoded::Accumulator | Encoded::Counter | Encoded::Numbered(_) => Ok(0),
        Encoded::Byte | Encoded::Full | Encoded::Unsigned | Encoded::Frame => Ok(0),
        Encoded::One | Encoded::Nothing => Ok(0),
    }
}

fn full(cursor: &mut Cursor<'_>, width: Width) -> u64 {
    match width {
        Width::Byte => cursor.next_i8(),
        Width::Word => cursor.next_i16(),
        Width::Dword | Width::Qword => cursor.next_i32(),
    }
}
