//! The opcodes of instructions with a memory operand.
//!
//! Owns the maps from opcode (and ModRM.reg, the "digit") to what follows it and what it
//! does `[SDM 2D, "Opcode Map", ed. 085]`. What is not here is not emulated. Called by
//! `decode.rs` only.

use crate::alu::{Alu, BitTest, Unary};
use crate::instruction::{Extension, Operation, Repeat, StackOperation, StringOperation};
use crate::prefix::Prefixes;
use skerry_words::{Segment, Width};

/// The other operand, as the encoding has it.
#[derive(Clone, Copy)]
pub(crate) enum Encoded {
    /// ModRM.reg.
    Register,
    /// The accumulator.
    Accumulator,
    /// A sign-extended byte.
    Byte,
    /// A constant of the operand's width, at most 32 bits, sign-extended.
    Full,
}

/// How the memory operand is encoded.
#[derive(Clone, Copy)]
pub(crate) enum Layout {
    /// ModRM.
    ModRm,
    /// An offset after the opcode.
    Offset,
    /// RSI, RDI.
    Implied,
}

/// What an opcode stands for.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) operation: Operation,
    pub(crate) width: Width,
    pub(crate) other: Encoded,
    pub(crate) layout: Layout,
}

impl Shape {
    #[inline]
    const fn new(operation: Operation, width: Width, other: Encoded) -> Self {
        Self {
            operation,
            width,
            other,
            layout: Layout::ModRm,
        }
    }

    const fn laid_out(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }
}

/// The one-byte opcodes. `digit` is bits 5:3 of the byte after the opcode.
#[inline]
pub(crate) fn one_byte(opcode: u8, digit: u8, prefixes: &Prefixes) -> Option<Shape> {
    let width = byte_or(opcode, prefixes.operand_width());
    let register = |operation| Some(Shape::new(operation, width, Encoded::Register));
    match opcode {
        0x88 | 0x89 => register(Operation::Store),
        0x8a | 0x8b => register(Operation::Load),
        0x84 | 0x85 => register(Operation::Test),
        0x86 | 0x87 => register(Operation::Exchange),
        0xc6 | 0xc7 if digit == 0 => Some(Shape::new(Operation::Store, width, Encoded::Full)),
        0x00..=0x3b if opcode & 7 < 4 => {
            let alu = numbered(opcode >> 3);
            let to_register = opcode & 2 != 0;
            register(if to_register {
                Operation::AluToRegister(alu)
            } else {
                Operation::Alu(alu)
            })
        }
        0x80..=0x83 => immediate_group(opcode, digit, width, prefixes),
        0xa0..=0xaf => moffs_or_string(opcode, width),
        _ => one_byte_rare(opcode, digit, width, prefixes),
    }
}

fn one_byte_rare(opcode: u8, digit: u8, width: Width, prefixes: &Prefixes) -> Option<Shape> {
    let none = |operation, width| Some(Shape::new(operation, width, Encoded::Register));
    match (opcode, digit) {
        (0x63, _) if prefixes.code == Width::Qword => {
            let from = if width == Width::Word {
                Width::Word
            } else {
                Width::Dword
            };
            let to = prefixes.operand_width();
            none(Operation::LoadExtended(Extension::Sign, to), from)
        }
        (0x8c, _) => none(Operation::StoreSelector(selector(digit)?), Width::Word),
        (0x8f, 0) => none(
            Operation::Stack(StackOperation::Pop),
            prefixes.stack_width(),
        ),
        (0xf6 | 0xf7, 0 | 1) => Some(Shape::new(Operation::Test, width, Encoded::Full)),
        (0xf6 | 0xf7, 2) => none(Operation::Unary(Unary::Not), width),
        (0xf6 | 0xf7, 3) => none(Operation::Unary(Unary::Negate), width),
        (0xfe | 0xff, 0) => none(Operation::Unary(Unary::Increment), width),
        (0xfe | 0xff, 1) => none(Operation::Unary(Unary::Decrement), width),
        (0xff, 2) => none(
            Operation::Stack(StackOperation::Call),
            prefixes.branch_width(),
        ),
        (0xff, 4) => none(
            Operation::Stack(StackOperation::Jump),
            prefixes.branch_width(),
        ),
        (0xff, 6) => none(
            Operation::Stack(StackOperation::Push),
            prefixes.stack_width(),
        ),
        _ => None,
    }
}

fn immediate_group(opcode: u8, digit: u8, width: Width, prefixes: &Prefixes) -> Option<Shape> {
    let other = match opcode {
        // An alias of 80h that 64-bit code does not have.
        0x82 if prefixes.code == Width::Qword => return None,
        0x81 => Encoded::Full,
        _ => Encoded::Byte,
    };
    Some(Shape::new(Operation::Alu(numbered(digit)), width, other))
}

fn moffs_or_string(opcode: u8, width: Width) -> Option<Shape> {
    let offset = |operation| {
        Some(Shape::new(operation, width, Encoded::Accumulator).laid_out(Layout::Offset))
    };
    let string = |operation| {
        let operation = Operation::String(operation);
        Some(Shape::new(operation, width, Encoded::Accumulator).laid_out(Layout::Implied))
    };
    match opcode {
        0xa0 | 0xa1 => offset(Operation::Load),
        0xa2 | 0xa3 => offset(Operation::Store),
        0xa4 | 0xa5 => string(StringOperation::Move),
        0xa6 | 0xa7 => string(StringOperation::Compare),
        0xaa | 0xab => string(StringOperation::Store),
        0xac | 0xad => string(StringOperation::Load),
        0xae | 0xaf => string(StringOperation::Scan),
        _ => None,
    }
}

/// The opcodes after 0Fh.
#[inline]
pub(crate) fn two_byte(opcode: u8, digit: u8, prefixes: &Prefixes) -> Option<Shape> {
    let operand = prefixes.operand_width();
    let from = if opcode & 1 == 0 {
        Width::Byte
    } else {
        Width::Word
    };
    let register = |operation, width| Some(Shape::new(operation, width, Encoded::Register));
    match opcode {
        0xb6 | 0xb7 => register(Operation::LoadExtended(Extension::Zero, operand), from),
        0xbe | 0xbf => register(Operation::LoadExtended(Extension::Sign, operand), from),
        0xa3 | 0xab | 0xb3 | 0xbb => register(Operation::BitTest(tested(opcode >> 3)), operand),
        0xba if digit >= 4 => Some(Shape::new(
            Operation::BitTest(tested(digit)),
            operand,
            Encoded::Byte,
        )),
        0xb0 | 0xb1 => register(Operation::CompareExchange, byte_or(opcode, operand)),
        0xc0 | 0xc1 => register(Operation::ExchangeAdd, byte_or(opcode, operand)),
        0xc3 if is_plain(prefixes) => {
            let width = if operand == Width::Qword {
                operand
            } else {
                Width::Dword
            };
            register(Operation::Store, width)
        }
        _ => None,
    }
}

/// The opcodes after 0Fh 38h: MOVBE. With F2h they are others.
pub(crate) fn three_byte(opcode: u8, prefixes: &Prefixes) -> Option<Shape> {
    let operation = match opcode {
        0xf0 => Operation::LoadSwapped,
        0xf1 => Operation::StoreSwapped,
        _ => return None,
    };
    let shape = Shape::new(operation, prefixes.operand_width(), Encoded::Register);
    (prefixes.repeat == Repeat::No).then_some(shape)
}

/// Without the prefixes that choose another instruction.
fn is_plain(prefixes: &Prefixes) -> bool {
    !prefixes.operand_size && prefixes.repeat == Repeat::No
}

#[inline]
fn byte_or(opcode: u8, width: Width) -> Width {
    if opcode & 1 == 0 { Width::Byte } else { width }
}

#[inline]
fn numbered(number: u8) -> Alu {
    Alu::BY_NUMBER
        .get(usize::from(number & 7))
        .copied()
        .unwrap_or(Alu::Add)
}

fn tested(number: u8) -> BitTest {
    BitTest::BY_NUMBER
        .get(usize::from(number & 3))
        .copied()
        .unwrap_or(BitTest::Test)
}

fn selector(digit: u8) -> Option<Segment> {
    match digit {
        0 => Some(Segment::Es),
        1 => Some(Segment::Cs),
        2 => Some(Segment::Ss),
        3 => Some(Segment::Ds),
        4 => Some(Segment::Fs),
        5 => Some(Segment::Gs),
        _ => None,
    }
}
