//! Virtual time: ticks divided by weight, without a division when it counts.
//!
//! Owns the arithmetic of one vCPU's share. Called by the scheduler only.

use crate::DEFAULT_WEIGHT;

/// A charge or a slice of more ticks counts as this many (a day at 3 GHz is 2^48): a
/// virtual time then never jumps by half the counter, and comparisons stay right.
pub(crate) const MOST_TICKS: u64 = 1 << 48;

/// Bits after the binary point of the inverse weight.
const FRACTION_BITS: u32 = 32;

/// A point in virtual time, in ticks of a vCPU with the default weight. It wraps; two of
/// them are compared by their distance, which is always less than half the counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct VirtualTime(pub(crate) u64);

impl VirtualTime {
    #[inline]
    pub(crate) const fn is_before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i64) < 0
    }

    #[inline]
    pub(crate) const fn later(self, other: Self) -> Self {
        if self.is_before(other) { other } else { self }
    }

    /// The smallest step on.
    #[inline]
    pub(crate) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    pub(crate) const fn back(self, ticks: u64) -> Self {
        Self(self.0.wrapping_sub(ticks))
    }
}

/// One vCPU's weight and what it has used.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    /// Its virtual time.
    pub(crate) at: VirtualTime,
    /// The part of `at` behind the binary point, so that many small charges cost as much
    /// as a large one.
    fraction: u32,
    /// Virtual ticks per tick, with [`FRACTION_BITS`] behind the point.
    inverse_weight: u64,
    turn_ticks: u64,
}

impl Share {
    pub(crate) fn new(weight: u32, slice_tsc: u64, at: VirtualTime) -> Self {
        let weight = u128::from(weight.max(1));
        let unit = u128::from(DEFAULT_WEIGHT) << FRACTION_BITS;
        let scaled = u128::from(slice_tsc).saturating_mul(weight);
        let turn = scaled
            .checked_div(u128::from(DEFAULT_WEIGHT))
            .unwrap_or(scaled);
        Self {
            at,
            fraction: 0,
            inverse_weight: unit.checked_div(weight).unwrap_or(unit) as u64,
            turn_ticks: turn.clamp(1, u128::from(MOST_TICKS)) as u64,
        }
    }

    /// The ticks of one turn: one time slice of virtual time.
    #[inline]
    pub(crate) const fn turn_ticks(&self) -> u64 {
        self.turn_ticks
    }

    /// Moves on by `ticks`: a multiplication and a shift.
    #[inline]
    pub(crate) fn charge(&mut self, ticks: u64) {
        let ticks = u128::from(ticks.min(MOST_TICKS));
        let used = ticks
            .wrapping_mul(u128::from(self.inverse_weight))
            .wrapping_add(u128::from(self.fraction));
        self.fraction = used as u32;
        self.at = VirtualTime(self.at.0.wrapping_add((used >> FRACTION_BITS) as u64));
    }
}
