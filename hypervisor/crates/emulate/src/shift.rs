//! Shifts and rotations with the flags a CPU leaves.
//!
//! Owns results and RFLAGS of ROL, ROR, RCL, RCR, SHL, SHR, SAR, SHLD and SHRD `[SDM 2B,
//! "RCL/RCR/ROL/ROR—Rotate", "SAL/SAR/SHL/SHR—Shift", ed. 085]`. Flags the architecture leaves
//! undefined are kept (AF) or computed as for a count of one (OF), as Intel's CPUs do.

use crate::alu::{self, CARRY, OVERFLOW, bits};
use skerry_words::Width;

/// The flags of a shift that are those of its result: PF, ZF, SF.
const RESULT: u64 = alu::PARITY | alu::ZERO | alu::SIGN;

/// The operations of the shift opcodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // named as ROL, ROR, RCL, RCR, SHL, SHR and SAR
pub enum Shift {
    RotateLeft,
    RotateRight,
    RotateCarryLeft,
    RotateCarryRight,
    Left,
    Right,
    ArithmeticRight,
}

/// A value and CF, and how far a step takes them.
#[derive(Clone, Copy)]
struct Stepped {
    value: u64,
    carry: u64,
}

impl Shift {
    /// In the order of their numbers; 6 is another name of 4.
    pub(crate) const BY_NUMBER: [Self; 8] = [
        Self::RotateLeft,
        Self::RotateRight,
        Self::RotateCarryLeft,
        Self::RotateCarryRight,
        Self::Left,
        Self::Right,
        Self::Left,
        Self::ArithmeticRight,
    ];

    /// `value` moved by `count` (modulo 32, or 64 for 64 bits), and RFLAGS after it; a count of
    /// 0 keeps both.
    pub(crate) fn compute(self, value: u64, count: u64, width: Width, flags: u64) -> (u64, u64) {
        let count = masked(count, width);
        if count == 0 {
            return (value & width.mask(), flags);
        }
        let mut at = Stepped {
            value: value & width.mask(),
            carry: flags & CARRY,
        };
        let mut before = at.value;
        // At most 63 steps, each what a shift by one does.
        for _ in 0..count {
            before = at.value;
            at = self.step(at, width);
        }
        let top = 1u64 << bits(width).wrapping_sub(1);
        let overflows = match self {
            Self::RotateLeft | Self::RotateCarryLeft | Self::Left => {
                (at.value & top != 0) != (at.carry != 0)
            }
            Self::RotateRight | Self::RotateCarryRight | Self::Right | Self::ArithmeticRight => {
                (before ^ at.value) & top != 0
            }
        };
        let overflow = if overflows { OVERFLOW } else { 0 };
        let new = (flags & !(CARRY | OVERFLOW)) | at.carry | overflow;
        (at.value, self.with_result(at.value, width, new))
    }

    /// Rotations leave PF, ZF and SF alone.
    fn with_result(self, value: u64, width: Width, flags: u64) -> u64 {
        match self {
            Self::RotateLeft | Self::RotateRight => flags,
            Self::RotateCarryLeft | Self::RotateCarryRight => flags,
            Self::Left | Self::Right | Self::ArithmeticRight => {
                (flags & !RESULT) | alu::of_result(value, width)
            }
        }
    }

    fn step(self, from: Stepped, width: Width) -> Stepped {
        let highest = bits(width).wrapping_sub(1);
        let (low, high) = (from.value & 1, (from.value >> highest) & 1);
        let left = (from.value << 1) & width.mask();
        let right = from.value >> 1;
        let (value, carry) = match self {
            Self::RotateLeft => (left | high, high),
            Self::RotateRight => (right | (low << highest), low),
            Self::RotateCarryLeft => (left | from.carry, high),
            Self::RotateCarryRight => (right | (from.carry << highest), low),
            Self::Left => (left, high),
            Self::Right => (right, low),
            Self::ArithmeticRight => (right | (high << highest), low),
        };
        Stepped { value, carry }
    }
}

/// The shifts that take in bits of another operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // named as SHLD and SHRD
pub enum DoubleShift {
    Left,
    Right,
}

impl DoubleShift {
    /// `value` moved by `count` (modulo 32, or 64 for 64 bits) with the bits of `from` behind it,
    /// and RFLAGS after it; a count of 0 keeps both. More than 16 bits of a word are undefined:
    /// here the value itself comes in behind `from`.
    pub(crate) fn compute(
        self,
        (value, from): (u64, u64),
        count: u64,
        width: Width,
        flags: u64,
    ) -> (u64, u64) {
        let count = masked(count, width);
        let value = value & width.mask();
        if count == 0 {
            return (value, flags);
        }
        let highest = bits(width).wrapping_sub(1);
        let (mut at, mut before, mut carry) = (value, value, 0);
        for step in 0..count {
            before = at;
            let taken = incoming((value, from), step, width);
            let place = step & highest;
            if self == Self::Left {
                let bit = (taken >> highest.wrapping_sub(place)) & 1;
                carry = (at >> highest) & 1;
                at = ((at << 1) & width.mask()) | bit;
            } else {
                let bit = (taken >> place) & 1;
                carry = at & 1;
                at = (at >> 1) | (bit << highest);
            }
        }
        let overflows = ((before ^ at) >> highest) & 1 != 0;
        let overflow = if overflows { OVERFLOW } else { 0 };
        let kept = flags & !(RESULT | CARRY | OVERFLOW);
        (at, kept | alu::of_result(at, width) | carry | overflow)
    }
}

/// The operand whose bit comes in at this step.
fn incoming((value, from): (u64, u64), step: u64, width: Width) -> u64 {
    if step < bits(width) { from } else { value }
}

fn masked(count: u64, width: Width) -> u64 {
    match width {
        Width::Byte | Width::Word | Width::Dword => count & 0x1f,
        Width::Qword => count & 0x3f,
    }
}
