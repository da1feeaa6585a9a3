//! A decoded instruction, as plain data.
//!
//! Owns the words between decoding and execution; no behaviour but what follows from the
//! operation alone.

use crate::address::MemoryOperand;
use crate::alu::{Alu, BitScan, BitTest, Unary};
use crate::condition::Condition;
use crate::multiply::Accumulation;
use crate::register::Register;
use crate::shift::{DoubleShift, Shift};
use skerry_words::{Access, Segment, Width};

/// How a shorter value fills a longer register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extension {
    /// With zeros.
    Zero,
    /// With its sign.
    Sign,
}

/// The prefix that repeats a string instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeat {
    /// None.
    No,
    /// F3h: REP, REPE.
    WhileEqual,
    /// F2h: REPNE; the same as F3h where nothing is compared.
    WhileNotEqual,
}

/// The string instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // named as MOVS, STOS, LODS, CMPS and SCAS
pub enum StringOperation {
    Move,
    Store,
    Load,
    Compare,
    Scan,
}

/// The stack and branch instructions; branches are near ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StackOperation {
    /// PUSH of memory.
    Push,
    /// POP to memory.
    Pop,
    /// CALL through memory.
    Call,
    /// JMP through memory.
    Jump,
    /// PUSH of a register or a constant.
    PushSource,
    /// POP to a register.
    PopRegister,
    /// CALL by a displacement, which is the source.
    CallRelative,
    /// RET, releasing as many bytes as the source says.
    Return,
    /// ENTER without nesting, reserving as many bytes as the source says.
    Enter,
    /// LEAVE.
    Leave,
}

/// The operand beside the memory operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A register.
    Register(Register),
    /// A constant, sign-extended to 64 bits.
    Immediate(u64),
}

/// Where the count of a double shift is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// In [`Instruction::constant`].
    Constant,
    /// In CL.
    Register,
}

/// What an instruction does with its memory operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// MOV, MOVNTI to memory.
    Store,
    /// MOV from a segment register to memory.
    StoreSelector(Segment),
    /// MOVBE to memory.
    StoreSwapped,
    /// MOV from memory.
    Load,
    /// MOVZX, MOVSX, MOVSXD to a register of this width.
    LoadExtended(Extension, Width),
    /// MOVBE from memory.
    LoadSwapped,
    /// XCHG.
    Exchange,
    /// Arithmetic, the result in memory.
    Alu(Alu),
    /// Arithmetic, the result in the register.
    AluToRegister(Alu),
    /// TEST.
    Test,
    /// NOT, NEG, INC, DEC.
    Unary(Unary),
    /// BT, BTS, BTR, BTC.
    BitTest(BitTest),
    /// XADD.
    ExchangeAdd,
    /// CMPXCHG.
    CompareExchange,
    /// CMPXCHG8B and CMPXCHG16B; the width is that of one half.
    CompareExchangePair,
    /// SETcc.
    Set(Condition),
    /// CMOVcc.
    MoveIf(Condition),
    /// BSF, BSR.
    BitScan(BitScan),
    /// IMUL of a register.
    Multiply,
    /// IMUL of memory by [`Instruction::constant`], to a register.
    MultiplyConstant,
    /// MUL, IMUL, DIV, IDIV of the accumulator.
    Accumulate(Accumulation),
    /// Shifts and rotations of memory; the source counts.
    Shift(Shift),
    /// SHLD, SHRD; the source is shifted in.
    ShiftDouble(DoubleShift, Count),
    /// SMSW to memory.
    StoreStatusWord,
    /// LMSW from memory.
    LoadStatusWord,
    /// MOVS and its family.
    String(StringOperation),
    /// PUSH of memory and its family.
    Stack(StackOperation),
}

impl Operation {
    /// The access its memory operand needs; an operand that is read and written is
    /// checked for the write.
    #[inline]
    pub(crate) fn access(self) -> Access {
        match self {
            Self::Load | Self::LoadExtended(..) | Self::LoadSwapped => Access::Read,
            Self::AluToRegister(_) | Self::Test => Access::Read,
            Self::Alu(Alu::Compare) | Self::BitTest(BitTest::Test) => Access::Read,
            Self::Store | Self::StoreSelector(_) | Self::StoreSwapped => Access::Write,
            Self::Exchange | Self::Alu(_) | Self::Unary(_) | Self::BitTest(_) => Access::Write,
            Self::ExchangeAdd | Self::CompareExchange => Access::Write,
            Self::CompareExchangePair | Self::Set(_) | Self::StoreStatusWord => Access::Write,
            Self::Shift(_) | Self::ShiftDouble(..) => Access::Write,
            Self::MoveIf(_) | Self::BitScan(_) | Self::LoadStatusWord => Access::Read,
            Self::Multiply | Self::MultiplyConstant | Self::Accumulate(_) => Access::Read,
            Self::String(StringOperation::Move | StringOperation::Store) => Access::Write,
            Self::String(_) => Access::Read,
            Self::Stack(StackOperation::Pop) => Access::Write,
            Self::Stack(_) => Access::Read,
        }
    }

    /// Whether it reads and writes memory in one, so that LOCK is allowed.
    pub(crate) fn is_lockable(self) -> bool {
        match self {
            Self::Exchange | Self::Unary(_) | Self::ExchangeAdd | Self::CompareExchange => true,
            Self::CompareExchangePair => true,
            Self::Alu(alu) => alu != Alu::Compare,
            Self::BitTest(test) => test != BitTest::Test,
            Self::Store | Self::StoreSelector(_) | Self::StoreSwapped | Self::Load => false,
            Self::LoadExtended(..) | Self::LoadSwapped | Self::AluToRegister(_) => false,
            Self::Test | Self::String(_) | Self::Stack(_) => false,
            Self::Set(_) | Self::MoveIf(_) | Self::BitScan(_) | Self::Multiply => false,
            Self::MultiplyConstant | Self::Accumulate(_) | Self::Shift(_) => false,
            Self::ShiftDouble(..) | Self::StoreStatusWord | Self::LoadStatusWord => false,
        }
    }
}

/// An instruction that accesses memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instruction {
    /// Its length in bytes, 1 to 15.
    pub length: u8,
    /// What it does.
    pub operation: Operation,
    /// The width of its memory operand.
    pub width: Width,
    /// The other operand.
    pub source: Source,
    /// A constant besides the source, sign-extended to 64 bits; 0 for nearly all.
    pub constant: u64,
    /// The memory operand; of string instructions the one at RSI, of stack instructions
    /// without one the top of the stack.
    pub memory: MemoryOperand,
    /// How a string instruction repeats.
    pub repeat: Repeat,
}
