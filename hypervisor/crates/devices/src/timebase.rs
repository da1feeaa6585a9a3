//! Ticks of a slow oscillator, told by the host's time-stamp counter.
//!
//! Owns the conversion both ways by multiply and shift, without a division after set-up.
//! Does not own the present time: every caller brings it. The PIT (1.193182 MHz), the ACPI
//! timer (3.579545 MHz) and the real-time clock (32.768 kHz) hold one each.

use skerry_words::Tsc;

/// The slowest time-stamp counter the conversion is exact for.
pub(crate) const SLOWEST_TSC_HZ: u64 = 4_000_000;
/// The fastest one.
pub(crate) const FASTEST_TSC_HZ: u64 = 100_000_000_000;

/// Fraction bits of `tsc_per_tick`.
const FRACTION_BITS: u32 = 40;

/// An oscillator that started with tick 0 at `epoch`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timebase {
    epoch: Tsc,
    /// Ticks per TSC tick, times 2^64, rounded up.
    ticks_per_tsc: u64,
    /// TSC ticks per tick, times 2^40, rounded up.
    tsc_per_tick: u64,
}

impl Timebase {
    /// An oscillator of `hz` (below 4 MHz) seen by a counter of `tsc_hz`, which is brought
    /// into the range from [`SLOWEST_TSC_HZ`] to [`FASTEST_TSC_HZ`].
    pub(crate) fn new(hz: u64, tsc_hz: u64, epoch: Tsc) -> Self {
        let tsc_hz = tsc_hz.clamp(SLOWEST_TSC_HZ, FASTEST_TSC_HZ);
        Self {
            epoch,
            ticks_per_tsc: scaled_ratio(hz, tsc_hz, u64::BITS),
            tsc_per_tick: scaled_ratio(tsc_hz, hz, FRACTION_BITS),
        }
    }

    /// How many ticks have passed at `now`; 0 before the epoch.
    #[inline]
    pub(crate) fn ticks(&self, now: Tsc) -> u64 {
        let product =
            u128::from(now.since(self.epoch)).wrapping_mul(u128::from(self.ticks_per_tsc));
        (product >> u64::BITS) as u64
    }

    /// A time at which `tick` has been reached: never before it, and in the first ten days,
    /// below 2 MHz, later than its start by less than a thousandth of a tick (or two TSC
    /// ticks). Both ratios are rounded up, so that `ticks(when(tick)) >= tick` holds for good.
    #[inline]
    pub(crate) fn when(&self, tick: u64) -> Tsc {
        let product = u128::from(tick).wrapping_mul(u128::from(self.tsc_per_tick));
        match u64::try_from(product >> FRACTION_BITS) {
            Ok(ticks) => self.epoch.after(ticks.saturating_add(1)),
            Err(_) => Tsc::NEVER,
        }
    }
}

/// `numerator / denominator * 2^bits`, rounded up.
fn scaled_ratio(numerator: u64, denominator: u64, bits: u32) -> u64 {
    let scaled = u128::from(numerator).checked_shl(bits).unwrap_or(u128::MAX);
    let ratio = scaled.div_ceil(u128::from(denominator.max(1)));
    u64::try_from(ratio).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_second_of_tsc_is_a_second_of_ticks() {
        let base = Timebase::new(1_193_182, 50_000_000, Tsc(77));
        assert_eq!(base.ticks(Tsc(0)), 0);
        assert_eq!(base.ticks(Tsc(77 + 50_000_000)), 1_193_182);
        assert_eq!(
            base.ticks(Tsc(77 + 50_000_000 * 86_400)),
            1_193_182 * 86_400
        );
    }

    #[test]
    fn a_deadline_past_the_end_of_time_never_comes() {
        let base = Timebase::new(1_193_182, 3_000_000_000, Tsc(5));
        assert_eq!(base.when(u64::MAX), Tsc::NEVER);
    }

    proptest! {
        #[test]
        fn a_deadline_is_never_early_and_hardly_late(
            tsc_hz in SLOWEST_TSC_HZ..=10_000_000_000,
            tenth_days in 1u64..100,
            part: u32,
            hz in prop_oneof![Just(32_768u64), Just(1_193_182)],
        ) {
            let base = Timebase::new(hz, tsc_hz, Tsc(1000));
            let tick = hz * 8640 * tenth_days - u64::from(part) % (hz * 8640);
            let when = base.when(tick);
            prop_assert!(base.ticks(when) >= tick);
            let late = 3 + tsc_hz / hz / 1000;
            prop_assert!(base.ticks(Tsc(when.0 - late)) < tick);
        }

        #[test]
        fn ticks_agree_with_a_division(
            tsc_hz in SLOWEST_TSC_HZ..=10_000_000_000,
            elapsed in 0u64..1 << 55,
            hz in prop_oneof![Just(1_193_182u64), Just(3_579_545)],
        ) {
            let base = Timebase::new(hz, tsc_hz, Tsc(0));
            let exact = (u128::from(elapsed) * u128::from(hz) / u128::from(tsc_hz)) as u64;
            let ticks = base.ticks(Tsc(elapsed));
            prop_assert!(ticks == exact || ticks == exact + 1);
        }
    }
}
