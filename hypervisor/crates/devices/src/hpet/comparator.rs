//! One comparator of the HPET.
//!
//! Owns its two registers and when the counter passes its value. Does not own the counter.

use super::COUNTER_HZ;

/// Bits of the register that configures it `["Timer N Configuration and Capabilities
/// Register"]`.
mod bit {
    pub(super) const LEVEL: u32 = 1 << 1;
    pub(super) const INTERRUPT: u32 = 1 << 2;
    pub(super) const PERIODIC: u32 = 1 << 3;
    pub(super) const CAN_BE_PERIODIC: u32 = 1 << 4;
    pub(super) const CAN_BE_64_BIT: u32 = 1 << 5;
    pub(super) const SET_VALUE: u32 = 1 << 6;
    pub(super) const IS_32_BIT: u32 = 1 << 8;
}

const ROUTE_SHIFT: u32 = 9;
const ROUTE: u32 = 0x1f << ROUTE_SHIFT;
/// The pins of the I/O APIC it can be wired to: the last four, which no other device has.
const PINS: u32 = 0x00f0_0000;
const FIRST_PIN: u32 = 20;
/// A periodic one interrupts no more often than this, in ticks: each interrupt costs an exit.
const LEAST_PERIOD: u64 = COUNTER_HZ / 100_000;

/// A comparator.
#[derive(Clone, Debug)]
pub(super) struct Comparator {
    abilities: u32,
    settings: u32,
    value: u64,
    period: u64,
}

impl Comparator {
    /// One that interrupts once, as after reset.
    pub(super) const SINGLE: Self = Self {
        abilities: bit::CAN_BE_64_BIT,
        settings: FIRST_PIN << ROUTE_SHIFT,
        value: u64::MAX,
        period: 0,
    };
    /// One that can also do so periodically.
    pub(super) const PERIODIC: Self = Self {
        abilities: bit::CAN_BE_64_BIT | bit::CAN_BE_PERIODIC,
        ..Self::SINGLE
    };

    /// The register that configures it.
    pub(super) fn settings(&self) -> u64 {
        let low = self.settings & !bit::SET_VALUE | self.abilities;
        u64::from(PINS) << 32 | u64::from(low)
    }

    /// Writes it. A pin it cannot be wired to leaves it where it is.
    pub(super) fn set(&mut self, settings: u64) {
        let new = settings as u32;
        let mut kept = bit::LEVEL | bit::INTERRUPT | bit::IS_32_BIT;
        if self.abilities & bit::CAN_BE_PERIODIC != 0 {
            kept |= bit::PERIODIC | bit::SET_VALUE;
        }
        let wanted = (new & ROUTE) >> ROUTE_SHIFT;
        let route = if PINS & (1 << wanted) != 0 {
            new & ROUTE
        } else {
            self.settings & ROUTE
        };
        self.settings = new & kept | route;
    }

    /// The value it compares with.
    pub(super) fn value(&self) -> u64 {
        self.value & self.width()
    }

    /// Writes the value. A periodic one takes what is written for its period, and for its next
    /// value only if it has been told so.
    pub(super) fn set_value(&mut self, value: u64) {
        if !self.is_periodic() || self.settings & bit::SET_VALUE != 0 {
            self.value = value;
        }
        if self.is_periodic() {
            self.period = value & self.width();
            self.settings &= !bit::SET_VALUE;
        }
    }

    /// Whether it is to interrupt.
    pub(super) fn interrupts(&self) -> bool {
        self.settings & bit::INTERRUPT != 0
    }

    /// Whether its interrupt is a level, not an edge.
    pub(super) fn is_level(&self) -> bool {
        self.settings & bit::LEVEL != 0
    }

    /// The pin it is wired to, as a bit.
    pub(super) fn pin_bit(&self) -> u32 {
        1 << ((self.settings & ROUTE) >> ROUTE_SHIFT)
    }

    /// How many ticks behind `count` it fires next.
    pub(super) fn distance(&self, count: u64) -> u64 {
        match self.value.wrapping_sub(count) & self.width() {
            0 => self.width().saturating_add(1),
            ticks => ticks,
        }
    }

    /// The counter has moved on: whether it has come past the value. A periodic one's next value
    /// is then behind it.
    pub(super) fn passes(&mut self, from: u64, to: u64) -> bool {
        let moved = to.wrapping_sub(from);
        let distance = self.distance(from);
        if distance > moved {
            return false;
        }
        if self.is_periodic() {
            let period = self.period.max(LEAST_PERIOD);
            let late = moved.wrapping_sub(distance);
            let missed = late.checked_div(period).unwrap_or(0);
            let on = missed.saturating_add(1).wrapping_mul(period);
            self.value = self.value.wrapping_add(on);
        }
        true
    }

    fn is_periodic(&self) -> bool {
        self.settings & bit::PERIODIC != 0
    }

    fn width(&self) -> u64 {
        if self.settings & bit::IS_32_BIT != 0 {
            u64::from(u32::MAX)
        } else {
            u64::MAX
        }
    }
}
