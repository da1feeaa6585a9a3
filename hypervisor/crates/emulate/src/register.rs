//! General-purpose registers at any width.
//!
//! Owns the rules of partial registers: bytes and words keep the rest, doublewords clear
//! the upper half `[SDM 1, "General-Purpose Registers in 64-Bit Mode", ed. 085]`.

use skerry_verdict::Registers;
use skerry_words::{Gpr, GuestState, Width};

/// A register operand: a general-purpose register, or bits 15:8 of one (AH to BH).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Register {
    /// The register's number, 0 to 15.
    pub number: u8,
    /// 8 for AH, CH, DH and BH, else 0.
    pub shift: u8,
}

impl Register {
    /// The accumulator.
    pub const ACCUMULATOR: Self = Self {
        number: 0,
        shift: 0,
    };

    /// The whole register `number`.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self { number, shift: 0 }
    }

    #[inline]
    pub(crate) fn read(self, state: &GuestState, width: Width) -> u64 {
        (full(state, self.number) >> self.shift) & width.mask()
    }

    #[inline]
    pub(crate) fn write(self, state: &mut GuestState, width: Width, value: u64) {
        let number = self.number & 15;
        let whole = match width {
            Width::Byte | Width::Word => {
                let mask = width.mask() << self.shift;
                (full(state, number) & !mask) | ((value << self.shift) & mask)
            }
            Width::Dword | Width::Qword => value & width.mask(),
        };
        state.set_number(number, whole);
    }
}

/// All 64 bits of register `number`.
#[inline]
pub(crate) fn full(state: &GuestState, number: u8) -> u64 {
    state
        .gpr
        .get(usize::from(number & 15))
        .copied()
        .unwrap_or(0)
}

/// Sets the low `width` bits of `gpr` as an address or count register.
#[inline]
pub(crate) fn set(state: &mut GuestState, gpr: Gpr, width: Width, value: u64) {
    Register::new(gpr as u8).write(state, width, value);
}

/// The low `width` bits of `gpr`.
#[inline]
pub(crate) fn get(state: &GuestState, gpr: Gpr, width: Width) -> u64 {
    state.get(gpr) & width.mask()
}
