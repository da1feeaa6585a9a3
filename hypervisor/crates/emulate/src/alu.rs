//! Integer arithmetic with the flags a CPU leaves.
//!
//! Owns results and RFLAGS of the arithmetic and bit instructions `[SDM 2, "Instruction
//! Set Reference", ed. 085]`. Flags the architecture leaves undefined are cleared (AF of
//! logical operations) or kept (all but CF of bit tests), as Intel's CPUs do.

use skerry_words::Width;

pub(crate) const CARRY: u64 = 1 << 0;
pub(crate) const PARITY: u64 = 1 << 2;
const ADJUST: u64 = 1 << 4;
pub(crate) const ZERO: u64 = 1 << 6;
pub(crate) const SIGN: u64 = 1 << 7;
pub(crate) const OVERFLOW: u64 = 1 << 11;
const STATUS: u64 = CARRY | PARITY | ADJUST | ZERO | SIGN | OVERFLOW;

/// The eight operations of the classic arithmetic opcodes, in the order of their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the architecture's names
pub enum Alu {
    Add,
    Or,
    AddWithCarry,
    SubtractWithBorrow,
    And,
    Subtract,
    Xor,
    Compare,
}

impl Alu {
    pub(crate) const BY_NUMBER: [Self; 8] = [
        Self::Add,
        Self::Or,
        Self::AddWithCarry,
        Self::SubtractWithBorrow,
        Self::And,
        Self::Subtract,
        Self::Xor,
        Self::Compare,
    ];

    /// The result of `left op right`, and RFLAGS after it.
    pub(crate) fn compute(self, left: u64, right: u64, width: Width, flags: u64) -> (u64, u64) {
        let carry = flags & CARRY;
        match self {
            Self::Add => add(left, right, 0, width, flags),
            Self::AddWithCarry => add(left, right, carry, width, flags),
            Self::Subtract | Self::Compare => subtract(left, right, 0, width, flags),
            Self::SubtractWithBorrow => subtract(left, right, carry, width, flags),
            Self::Or => logical(left | right, width, flags),
            Self::And => logical(left & right, width, flags),
            Self::Xor => logical(left ^ right, width, flags),
        }
    }
}

/// Operations on one operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the architecture's names
pub enum Unary {
    Not,
    Negate,
    Increment,
    Decrement,
}

impl Unary {
    /// The result and RFLAGS after it. INC and DEC keep the carry, NOT keeps all.
    pub(crate) fn compute(self, value: u64, width: Width, flags: u64) -> (u64, u64) {
        let keep_carry = |(result, new): (u64, u64)| (result, (new & !CARRY) | (flags & CARRY));
        match self {
            Self::Not => (!value & width.mask(), flags),
            Self::Negate => subtract(0, value, 0, width, flags),
            Self::Increment => keep_carry(add(value, 1, 0, width, flags)),
            Self::Decrement => keep_carry(subtract(value, 1, 0, width, flags)),
        }
    }
}

/// What a bit instruction leaves in the bit it tested.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the architecture's names
pub enum BitTest {
    Test,
    Set,
    Reset,
    Complement,
}

impl BitTest {
    pub(crate) const BY_NUMBER: [Self; 4] = [Self::Test, Self::Set, Self::Reset, Self::Complement];

    /// `value` with bit `offset` (modulo the width) changed, and RFLAGS with that bit as
    /// it was in CF.
    pub(crate) fn compute(self, value: u64, offset: u64, width: Width, flags: u64) -> (u64, u64) {
        let bit = 1u64 << (offset & bits(width).wrapping_sub(1));
        let result = match self {
            Self::Test => value,
            Self::Set => value | bit,
            Self::Reset => value & !bit,
            Self::Complement => value ^ bit,
        };
        let carry = if value & bit != 0 { CARRY } else { 0 };
        (result, (flags & !CARRY) | carry)
    }
}

/// Searches for a bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BitScan {
    /// BSF: the lowest.
    Forward,
    /// BSR: the highest.
    Reverse,
}

impl BitScan {
    /// The number of the bit found, if there is one, and RFLAGS after it: ZF says that there
    /// is none, the others are kept.
    pub(crate) fn compute(self, value: u64, flags: u64) -> (Option<u64>, u64) {
        let found = match self {
            Self::Forward => value.trailing_zeros(),
            Self::Reverse => 63u32.wrapping_sub(value.leading_zeros()),
        };
        if value == 0 {
            (None, flags | ZERO)
        } else {
            (Some(u64::from(found)), flags & !ZERO)
        }
    }
}

/// RFLAGS after a logical operation with this result: TEST as well as AND, OR, XOR.
pub(crate) fn logical(result: u64, width: Width, flags: u64) -> (u64, u64) {
    (result, (flags & !STATUS) | of_result(result, width))
}

pub(crate) fn add(left: u64, right: u64, carry: u64, width: Width, flags: u64) -> (u64, u64) {
    let (left, right) = (left & width.mask(), right & width.mask());
    let sum = left.wrapping_add(right).wrapping_add(carry) & width.mask();
    let carries = (left & right) | ((left | right) & !sum);
    let overflows = (left ^ sum) & (right ^ sum);
    let new = from_top_bits(carries, overflows, width)
        | ((left ^ right ^ sum) & ADJUST)
        | of_result(sum, width);
    (sum, (flags & !STATUS) | new)
}

fn subtract(left: u64, right: u64, borrow: u64, width: Width, flags: u64) -> (u64, u64) {
    let (left, right) = (left & width.mask(), right & width.mask());
    let difference = left.wrapping_sub(right).wrapping_sub(borrow) & width.mask();
    let borrows = (!left & right) | ((!left | right) & difference);
    let overflows = (left ^ right) & (left ^ difference);
    let new = from_top_bits(borrows, overflows, width)
        | ((left ^ right ^ difference) & ADJUST)
        | of_result(difference, width);
    (difference, (flags & !STATUS) | new)
}

/// CF and OF from the top bits of the words of carries and of overflows.
fn from_top_bits(carries: u64, overflows: u64, width: Width) -> u64 {
    let top = bits(width).wrapping_sub(1);
    ((carries >> top) & 1) | (((overflows >> top) & 1) << 11)
}

/// ZF, SF and PF.
pub(crate) fn of_result(result: u64, width: Width) -> u64 {
    let zero = if result & width.mask() == 0 { ZERO } else { 0 };
    let sign = ((result >> bits(width).wrapping_sub(1)) & 1) << 7;
    let parity = if (result as u8).count_ones() & 1 == 0 {
        PARITY
    } else {
        0
    };
    zero | sign | parity
}

/// The bits of a value of this width.
#[inline]
pub(crate) const fn bits(width: Width) -> u64 {
    match width {
        Width::Byte => 8,
        Width::Word => 16,
        Width::Dword => 32,
        Width::Qword => 64,
    }
}
