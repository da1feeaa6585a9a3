//! The conditions of SETcc and CMOVcc.
//!
//! Owns what each of the sixteen numbers asks of RFLAGS `[SDM 1, "EFLAGS Condition Codes",
//! ed. 085]`. Called by the execution of those two.

use crate::alu::{CARRY, OVERFLOW, PARITY, SIGN, ZERO};

/// A condition, by its number in the opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Condition(u8);

impl Condition {
    /// The condition in bits 3:0 of `opcode`.
    #[must_use]
    pub const fn of(opcode: u8) -> Self {
        Self(opcode & 0xf)
    }

    /// Whether it holds; odd numbers ask for the opposite of the even ones before them.
    #[must_use]
    pub const fn holds(self, flags: u64) -> bool {
        let less = (flags & SIGN != 0) != (flags & OVERFLOW != 0);
        let even = match self.0 >> 1 {
            0 => flags & OVERFLOW != 0,
            1 => flags & CARRY != 0,
            2 => flags & ZERO != 0,
            3 => flags & (CARRY | ZERO) != 0,
            4 => flags & SIGN != 0,
            5 => flags & PARITY != 0,
            6 => less,
            _ => less || flags & ZERO != 0,
        };
        even != (self.0 & 1 != 0)
    }
}
