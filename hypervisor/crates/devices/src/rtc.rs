//! The real-time clock and its battery-backed memory (CMOS).
//!
//! Owns the index and data ports' registers, the running time, and the periodic, alarm and
//! update-ended interrupts, after `[Motorola MC146818A data sheet, 1984]`. Time advances on
//! a 32.768 kHz oscillator derived from the host's counter; nothing runs between accesses,
//! and interrupts that nobody took collapse into one.
//!
//! Does not own the interrupt line. Not modelled: the divider reset of register A (the time
//! base keeps its phase), daylight saving (its bit reads 0), a day of the week that
//! disagrees with the date, and the square-wave pin.

mod alarm;
mod calendar;
mod cmos;
#[cfg(test)]
mod tests;

use skerry_words::Tsc;

use crate::line::Level;
use crate::timebase::Timebase;
use alarm::Alarm;
use calendar::{Encoding, Moment};
use cmos::Cmos;

const OSCILLATOR_HZ: u64 = 32_768;
/// Oscillator ticks of one second, as a shift.
const SECOND_SHIFT: u32 = 15;
const SECOND_MASK: u64 = 0x7fff;
/// Update in progress shows 244 microseconds ahead of the update: 8 oscillator ticks.
const UPDATE_SOON: u64 = SECOND_MASK - 7;

/// Registers of the chip, by their index.
mod register {
    pub(super) const SECONDS_ALARM: u8 = 0x01;
    pub(super) const MINUTES_ALARM: u8 = 0x03;
    pub(super) const HOURS_ALARM: u8 = 0x05;
    pub(super) const A: u8 = 0x0a;
    pub(super) const B: u8 = 0x0b;
    pub(super) const C: u8 = 0x0c;
    pub(super) const D: u8 = 0x0d;
}

mod a {
    pub(super) const UPDATE_IN_PROGRESS: u8 = 1 << 7;
    pub(super) const RATE: u8 = 0x0f;
    /// 32.768 kHz time base, 1024 Hz: what PC firmware sets.
    pub(super) const FIRMWARE: u8 = 0x26;
}

mod b {
    pub(super) const SET: u8 = 1 << 7;
    pub(super) const PERIODIC: u8 = 1 << 6;
    pub(super) const ALARM: u8 = 1 << 5;
    pub(super) const UPDATE: u8 = 1 << 4;
    pub(super) const DAYLIGHT_SAVING: u8 = 1 << 0;
    /// 24 hours, BCD: what PC firmware sets.
    pub(super) const FIRMWARE: u8 = 0x02;
}

mod c {
    pub(super) const REQUEST: u8 = 1 << 7;
    pub(super) const PERIODIC: u8 = 1 << 6;
    pub(super) const ALARM: u8 = 1 << 5;
    pub(super) const UPDATE: u8 = 1 << 4;
}

mod d {
    pub(super) const VALID: u8 = 1 << 7;
}

/// The clock.
#[derive(Clone, Debug)]
pub(crate) struct Rtc {
    clock: Timebase,
    index: u8,
    cmos: Cmos,
    status_a: u8,
    status_b: u8,
    /// Flags of register C, without the request bit.
    flags: u8,
    /// The oscillator tick up to which `flags` is right.
    seen: u64,
    /// Seconds since 1970 at tick 0, were the clock never stopped.
    origin_seconds: i64,
    deadline: Tsc,
}

impl Rtc {
    /// A clock that shows `unix_seconds` now, in a machine with `memory_bytes` of RAM.
    pub(crate) fn new(tsc_hz: u64, unix_seconds: u64, memory_bytes: u64, now: Tsc) -> Self {
        Self {
            clock: Timebase::new(OSCILLATOR_HZ, tsc_hz, now),
            index: 0,
            cmos: Cmos::new(memory_bytes),
            status_a: a::FIRMWARE,
            status_b: b::FIRMWARE,
            flags: 0,
            seen: 0,
            origin_seconds: calendar::clamp(i64::try_from(unix_seconds).unwrap_or(i64::MAX)),
            deadline: Tsc::NEVER,
        }
    }

    /// When an enabled interrupt is next due.
    #[inline]
    pub(crate) fn deadline(&self) -> Tsc {
        self.deadline
    }

    /// The level of the interrupt line: high from a flag's rise until C is read.
    pub(crate) fn interrupt(&self) -> Level {
        Level::from(self.requested() != 0)
    }

    /// The flags whose interrupt is enabled; B and C have them at the same bits.
    fn requested(&self) -> u8 {
        self.flags & self.status_b & (c::PERIODIC | c::ALARM | c::UPDATE)
    }

    /// Lets time pass up to `now`.
    pub(crate) fn advance(&mut self, now: Tsc) {
        if now >= self.deadline {
            self.pass(self.clock.ticks(now));
            self.plan();
        }
    }

    /// The index port, 70h. Bit 7 masks NMI on PCs; there is no NMI source to mask.
    pub(crate) fn select(&mut self, value: u8) {
        self.index = value & 0x7f;
    }

    /// A read of the data port, 71h.
    pub(crate) fn read(&mut self, now: Tsc) -> u8 {
        let tick = self.clock.ticks(now);
        match self.index {
            register::A => self.status_a | self.update_bit(tick),
            register::B => self.status_b,
            register::C => self.read_flags(tick),
            register::D => d::VALID,
            index if calendar::is_time(index) && !self.is_set() => {
                self.moment(tick).register(index, self.encoding())
            }
            index => self.cmos.get(index),
        }
    }

    /// A write to the data port. C and D ignore it.
    pub(crate) fn write(&mut self, value: u8, now: Tsc) {
        let tick = self.clock.ticks(now);
        self.pass(tick);
        match self.index {
            register::A => self.status_a = value & !a::UPDATE_IN_PROGRESS,
            register::B => self.write_b(value & !b::DAYLIGHT_SAVING, tick),
            register::C | register::D => {}
            index if calendar::is_time(index) && !self.is_set() => {
                self.stop(tick);
                self.cmos.set(index, value);
                self.go(tick);
            }
            index => self.cmos.set(index, value),
        }
        self.plan();
    }

    /// SET stops the registers at the time shown, and clears the update interrupt's enable.
    fn write_b(&mut self, value: u8, tick: u64) {
        let was_set = self.is_set();
        let set = value & b::SET != 0;
        if set && !was_set {
            self.stop(tick);
        }
        self.status_b = if set { value & !b::UPDATE } else { value };
        if was_set && !set {
            self.go(tick);
        }
    }

    fn is_set(&self) -> bool {
        self.status_b & b::SET != 0
    }

    fn encoding(&self) -> Encoding {
        Encoding::of(self.status_b)
    }

    /// Copies the running time into the registers.
    fn stop(&mut self, tick: u64) {
        let moment = self.moment(tick);
        for index in calendar::TIME_REGISTERS {
            self.cmos
                .set(index, moment.register(index, self.encoding()));
        }
    }

    /// Runs on from the time in the registers.
    fn go(&mut self, tick: u64) {
        let moment = Moment::from_registers(|index| self.cmos.get(index), self.encoding());
        self.origin_seconds = moment
            .unix_seconds()
            .saturating_sub_unsigned(tick >> SECOND_SHIFT);
    }

    fn unix_seconds(&self, tick: u64) -> i64 {
        self.origin_seconds
            .saturating_add_unsigned(tick >> SECOND_SHIFT)
    }

    fn moment(&self, tick: u64) -> Moment {
        Moment::at(self.unix_seconds(tick))
    }

    fn update_bit(&self, tick: u64) -> u8 {
        if !self.is_set() && tick & SECOND_MASK >= UPDATE_SOON {
            a::UPDATE_IN_PROGRESS
        } else {
            0
        }
    }

    /// Reading C clears its flags and takes the request back.
    fn read_flags(&mut self, tick: u64) -> u8 {
        self.pass(tick);
        let request = if self.requested() != 0 { c::REQUEST } else { 0 };
        let flags = core::mem::take(&mut self.flags) | request;
        self.plan();
        flags
    }

    /// Raises the flags of what happened since `seen`.
    fn pass(&mut self, tick: u64) {
        if tick <= self.seen {
            return;
        }
        let seen = core::mem::replace(&mut self.seen, tick);
        if let Some(shift) = self.period_shift()
            && tick >> shift != seen >> shift
        {
            self.flags |= c::PERIODIC;
        }
        if !self.is_set() && tick >> SECOND_SHIFT != seen >> SECOND_SHIFT {
            self.flags |= c::UPDATE;
            if self.next_alarm(seen).is_some_and(|alarm| alarm <= tick) {
                self.flags |= c::ALARM;
            }
        }
    }

    /// The periodic rate as a power of two of oscillator ticks `["Periodic Interrupt Rate
    /// and Square Wave Output Frequency"]`: rates 1 and 2 are 256 Hz and 128 Hz, like 8, 9.
    fn period_shift(&self) -> Option<u32> {
        match u32::from(self.status_a & a::RATE) {
            0 => None,
            rate @ (1 | 2) => Some(rate.wrapping_add(6)),
            rate => Some(rate.wrapping_sub(1)),
        }
    }

    /// The tick of the first alarm after `tick`.
    fn next_alarm(&self, tick: u64) -> Option<u64> {
        let alarm = Alarm::decode(
            [
                self.cmos.get(register::HOURS_ALARM),
                self.cmos.get(register::MINUTES_ALARM),
                self.cmos.get(register::SECONDS_ALARM),
            ],
            self.encoding(),
        );
        let wait = alarm.seconds_until(self.moment(tick).second_of_day())?;
        let second = (tick >> SECOND_SHIFT).saturating_add(u64::from(wait));
        Some(second.wrapping_shl(SECOND_SHIFT))
    }

    /// Sets the deadline: the first enabled event, unless the line is up already.
    fn plan(&mut self) {
        self.deadline = if self.requested() != 0 {
            Tsc::NEVER
        } else {
            self.next_event()
                .map_or(Tsc::NEVER, |tick| self.clock.when(tick))
        };
    }

    fn next_event(&self) -> Option<u64> {
        let tick = self.seen;
        let enabled = |bit| self.status_b & bit != 0;
        let next = |shift: u32| (tick >> shift).saturating_add(1).wrapping_shl(shift);
        let period = self.period_shift().filter(|_| enabled(b::PERIODIC));
        let alarm_on = enabled(b::ALARM) && !self.is_set();
        [
            period.map(next),
            enabled(b::UPDATE).then(|| next(SECOND_SHIFT)),
            if alarm_on {
                self.next_alarm(tick)
            } else {
                None
            },
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
