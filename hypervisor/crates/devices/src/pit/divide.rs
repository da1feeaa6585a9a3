//! Remainders by a count that changes rarely, without dividing.
//!
//! Owns a divisor with its reciprocal. The counters of the PIT use it on every read.

/// A divisor from 1 to 2^17, and 2^64 divided by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Divisor {
    value: u32,
    reciprocal: u64,
}

impl Divisor {
    /// `value`, or 1 for 0. The only place that divides.
    pub(super) fn new(value: u32) -> Self {
        let value = value.max(1);
        Self {
            value,
            reciprocal: u64::MAX.checked_div(u64::from(value)).unwrap_or(u64::MAX),
        }
    }

    /// The divisor itself.
    #[inline]
    pub(super) fn get(self) -> u32 {
        self.value
    }

    /// `number` modulo the divisor. The product with the reciprocal is short of the
    /// quotient by one at most, which one subtraction mends.
    #[inline]
    pub(super) fn remainder(self, number: u64) -> u64 {
        let product = u128::from(number).wrapping_mul(u128::from(self.reciprocal));
        let quotient = (product >> u64::BITS) as u64;
        let value = u64::from(self.value);
        let remainder = number.wrapping_sub(quotient.wrapping_mul(value));
        if remainder >= value {
            remainder.wrapping_sub(value)
        } else {
            remainder
        }
    }

    /// The first multiple above `number`.
    #[inline]
    pub(super) fn round_up_past(self, number: u64) -> u64 {
        number
            .wrapping_sub(self.remainder(number))
            .saturating_add(u64::from(self.value))
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_remainder_is_the_remainder(number: u64, value in 1u32..=1 << 17) {
            prop_assert_eq!(Divisor::new(value).remainder(number), number % u64::from(value));
        }

        #[test]
        fn near_multiples_are_exact(times: u32, value in 1u32..=1 << 17, off in 0u64..3) {
            let number = u64::from(times) * u64::from(value) + off;
            prop_assert_eq!(Divisor::new(value).remainder(number), number % u64::from(value));
        }
    }
}
