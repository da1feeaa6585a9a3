//! The opcodes of instructions with a memory operand.
//!
//! Owns the maps from opcode (and ModRM.reg, the "digit") to what follows it and what it
//! does `[SDM 2D, "Opcode Map", ed. 085]`. What is not here is not emulated. Called by
//! `decode.rs` only.

use crate::alu::{Alu, BitScan, BitTest, Unary};
use crate::condition::Condition;
use crate::instruction::{Count, Extension, Operation, Repeat, StackOperation, StringOperation};
use crate::multiply::Accumulation;
use crate::prefix::Prefixes;
use crate::shift::{DoubleShift, Shift};
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
    /// ModRM.reg, and a byte besides.
    RegisterAndByte,
    /// ModRM.reg, and a constant of the operand's width besides.
    RegisterAndFull,
    /// The constant 1.
    One,
    /// CL.
    Counter,
    /// The register with this number, extended by REX.B.
    Numbered(u8),
    /// A constant of 16 bits, zero-extended.
    Unsigned,
    /// The same, followed by a byte that must be 0.
    Frame,
    /// None: the constant 0.
    Nothing,
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
    /// RSP.
    Stack,
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
        (0x69, _) => Some(Shape::new(
            Operation::MultiplyConstant,
            prefixes.operand_width(),
            Encoded::RegisterAndFull,
        )),
        (0x6b, _) => Some(Shape::new(
            Operation::MultiplyConstant,
            prefixes.operand_width(),
            Encoded::RegisterAndByte,
        )),
        (0x8f, 0) => none(
            Operation::Stack(StackOperation::Pop),
            prefixes.stack_width(),
        ),
        (0xf6 | 0xf7, 0 | 1) => Some(Shape::new(Operation::Test, width, Encoded::Full)),
        (0xf6 | 0xf7, 2) => none(Operation::Unary(Unary::Not), width),
        (0xf6 | 0xf7, 3) => none(Operation::Unary(Unary::Negate), width),
        (0xf6 | 0xf7, 4..) => none(Operation::Accumulate(accumulation(digit)), width),
        (0xc0 | 0xc1, _) => shift(digit, width, Encoded::Byte),
        (0xd0 | 0xd1, _) => shift(digit, width, Encoded::One),
        (0xd2 | 0xd3, _) => shift(digit, width, Encoded::Counter),
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
        _ => on_stack(opcode, prefixes),
    }
}

fn shift(digit: u8, width: Width, count: Encoded) -> Option<Shape> {
    let shift = Shift::BY_NUMBER.get(usize::from(digit))?;
    Some(Shape::new(Operation::Shift(*shift), width, count))
}

/// The stack instructions without another operand in memory.
fn on_stack(opcode: u8, prefixes: &Prefixes) -> Option<Shape> {
    let (operation, other) = match opcode {
        0x50..=0x57 => (StackOperation::PushSource, Encoded::Numbered(opcode & 7)),
        0x58..=0x5f => (StackOperation::PopRegister, Encoded::Numbered(opcode & 7)),
        0x68 => (StackOperation::PushSource, Encoded::Full),
        0x6a => (StackOperation::PushSource, Encoded::Byte),
        0xc2 => (StackOperation::Return, Encoded::Unsigned),
        0xc3 => (StackOperation::Return, Encoded::Nothing),
        0xc8 => (StackOperation::Enter, Encoded::Frame),
        0xc9 => (StackOperation::Leave, Encoded::Nothing),
        0xe8 => (StackOperation::CallRelative, Encoded::Full),
        _ => return None,
    };
    let branches = matches!(opcode, 0xc2 | 0xc3 | 0xe8);
    let width = if branches {
        prefixes.branch_width()
    } else {
        prefixes.stack_width()
    };
    Some(Shape::new(Operation::Stack(operation), width, other).laid_out(Layout::Stack))
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
        0x40..=0x4f => register(Operation::MoveIf(Condition::of(opcode)), operand),
        0x90..=0x9f => register(Operation::Set(Condition::of(opcode)), Width::Byte),
        0xaf => register(Operation::Multiply, operand),
        _ => two_byte_rare(opcode, digit, prefixes),
    }
}

fn two_byte_rare(opcode: u8, digit: u8, prefixes: &Prefixes) -> Option<Shape> {
    let operand = prefixes.operand_width();
    let shape = |operation, width, other| Some(Shape::new(operation, width, other));
    let double = |shift, count| Operation::ShiftDouble(shift, count);
    match (opcode, digit) {
        (0xa4, _) => shape(
            double(DoubleShift::Left, Count::Constant),
            operand,
            Encoded::RegisterAndByte,
        ),
        (0xa5, _) => shape(
            double(DoubleShift::Left, Count::Register),
            operand,
            Encoded::Register,
        ),
        (0xac, _) => shape(
            double(DoubleShift::Right, Count::Constant),
            operand,
            Encoded::RegisterAndByte,
        ),
        (0xad, _) => shape(
            double(DoubleShift::Right, Count::Register),
            operand,
            Encoded::Register,
        ),
        // With F3h they are TZCNT and LZCNT, which not every CPU has.
        (0xbc | 0xbd, _) if prefixes.repeat != Repeat::WhileEqual => {
            let scan = if opcode == 0xbc {
                BitScan::Forward
            } else {
                BitScan::Reverse
            };
            shape(Operation::BitScan(scan), operand, Encoded::Register)
        }
        (0xc7, 1) => {
            let half = if operand == Width::Qword {
                Width::Qword
            } else {
                Width::Dword
            };
            shape(Operation::CompareExchangePair, half, Encoded::Nothing)
        }
        (0x01, 4) => shape(Operation::StoreStatusWord, Width::Word, Encoded::Nothing),
        (0x01, 6) => shape(Operation::LoadStatusWord, Width::Word, Encoded::Nothing),
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

/// Of the numbers 4 to 7.
fn accumulation(number: u8) -> Accumulation {
    Accumulation::BY_NUMBER
        .get(usize::from(number & 3))
        .copied()
        .unwrap_or(Accumulation::Multiply)
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
