//! MUL, IMUL, DIV and IDIV with the flags a CPU leaves.
//!
//! Owns products and quotients of the accumulator, and when a division has none `[SDM 2A,
//! "DIV—Unsigned Divide", "IMUL—Signed Multiply"; 2B, "MUL—Unsigned Multiply"; ed. 085]`. Flags
//! the architecture leaves undefined are kept.

use crate::alu::{CARRY, OVERFLOW, bits};
use crate::register::Register;
use skerry_verdict::Fault;
use skerry_words::{Gpr, GuestState, Width};

/// The operations that have the accumulator and its extension as the other operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // named as MUL, IMUL, DIV and IDIV
pub enum Accumulation {
    Multiply,
    MultiplySigned,
    Divide,
    DivideSigned,
}

impl Accumulation {
    /// In the order of their numbers, which start with 4.
    pub(crate) const BY_NUMBER: [Self; 4] = [
        Self::Multiply,
        Self::MultiplySigned,
        Self::Divide,
        Self::DivideSigned,
    ];

    /// Computes with `operand`, and sets the accumulator, its extension and RFLAGS. The caller
    /// says that the flags are changed.
    ///
    /// # Errors
    /// [`Fault::DivideError`] where there is no quotient, or too long a one; nothing is changed.
    pub(crate) fn execute(
        self,
        state: &mut GuestState,
        operand: u64,
        width: Width,
    ) -> Result<(), Fault> {
        let accumulator = Register::ACCUMULATOR.read(state, width);
        match self {
            Self::Multiply => {
                let product = u128::from(accumulator).wrapping_mul(u128::from(operand));
                let upper = match product >> bits(width) {
                    0 => Upper::Empty,
                    _ => Upper::Used,
                };
                set_pair(state, product, width);
                state.rflags = upper.flags(state.rflags);
            }
            Self::MultiplySigned => {
                let (product, upper) = signed_product(accumulator, operand, width);
                set_pair(state, product, width);
                state.rflags = upper.flags(state.rflags);
            }
            Self::Divide => {
                let (quotient, rest) = divided(pair(state, width), operand, width)?;
                set_both(state, quotient, rest, width);
            }
            Self::DivideSigned => {
                let (quotient, rest) = divided_signed(pair(state, width), operand, width)?;
                set_both(state, quotient, rest, width);
            }
        }
        Ok(())
    }
}

/// What the upper half of a product is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upper {
    /// Nothing but zeros, or but the sign.
    Empty,
    /// A part of the number.
    Used,
}

impl Upper {
    /// CF and OF tell of it.
    pub(crate) fn flags(self, flags: u64) -> u64 {
        match self {
            Self::Empty => flags & !(CARRY | OVERFLOW),
            Self::Used => flags | CARRY | OVERFLOW,
        }
    }
}

/// The signed product, twice as wide.
pub(crate) fn signed_product(left: u64, right: u64, width: Width) -> (u128, Upper) {
    let product = signed(left, width).wrapping_mul(signed(right, width));
    let upper = if signed(product as u64, width) == product {
        Upper::Empty
    } else {
        Upper::Used
    };
    (product as u128, upper)
}

fn divided(dividend: u128, divisor: u64, width: Width) -> Result<(u64, u64), Fault> {
    let divisor = u128::from(divisor);
    let quotient = dividend.checked_div(divisor).ok_or(Fault::DivideError)?;
    let rest = dividend.checked_rem(divisor).ok_or(Fault::DivideError)?;
    if quotient > u128::from(width.mask()) {
        return Err(Fault::DivideError);
    }
    Ok((quotient as u64, rest as u64))
}

fn divided_signed(dividend: u128, divisor: u64, width: Width) -> Result<(u64, u64), Fault> {
    // The sign of the pair, which is twice as wide as `width`.
    let unused = 128u64.wrapping_sub(bits(width).wrapping_mul(2));
    let dividend = ((dividend << unused) as i128) >> unused;
    let divisor = signed(divisor, width);
    let quotient = dividend.checked_div(divisor).ok_or(Fault::DivideError)?;
    let rest = dividend.checked_rem(divisor).ok_or(Fault::DivideError)?;
    if signed(quotient as u64, width) != quotient {
        return Err(Fault::DivideError);
    }
    Ok((quotient as u64, rest as u64))
}

fn signed(value: u64, width: Width) -> i128 {
    let unused = 64u64.wrapping_sub(bits(width));
    i128::from(((value << unused) as i64) >> unused)
}

/// AX, DX:AX, EDX:EAX or RDX:RAX.
fn pair(state: &GuestState, width: Width) -> u128 {
    if width == Width::Byte {
        return u128::from(Register::ACCUMULATOR.read(state, Width::Word));
    }
    let low = Register::ACCUMULATOR.read(state, width);
    let high = Register::new(Gpr::Rdx as u8).read(state, width);
    u128::from(high) << bits(width) | u128::from(low)
}

fn set_pair(state: &mut GuestState, value: u128, width: Width) {
    set_both(state, value as u64, (value >> bits(width)) as u64, width);
}

/// Sets the lower half (a quotient) and the upper one (a remainder).
fn set_both(state: &mut GuestState, low: u64, high: u64, width: Width) {
    const AH: Register = Register {
        number: 0,
        shift: 8,
    };
    let upper = match width {
        Width::Byte => AH,
        Width::Word | Width::Dword | Width::Qword => Register::new(Gpr::Rdx as u8),
    };
    Register::ACCUMULATOR.write(state, width, low);
    upper.write(state, width, high);
}
