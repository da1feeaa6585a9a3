//! The 8254 programmable interval timer and the PC's port 61h.
//!
//! Owns the three counters, their ports, the gate of counter 2, and the time of counter 0's
//! next edge, cached as the timer's deadline. Periods that nobody saw collapse into one
//! edge. Does not own the interrupt line: [`crate::Platform`] pulses it.
//!
//! After `[Intel 8254 data sheet, order 231164-005]` and
//! `[Intel 82371AB (PIIX4), "NMI Status and Control", order 290562-001]`.

mod channel;
mod divide;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;

use skerry_words::Tsc;

use crate::timebase::Timebase;
use channel::{Channel, Gate};

/// The PC's timer clock.
const PIT_HZ: u64 = 1_193_182;
/// Counter 1 requests a memory refresh every 15 microseconds: 18 ticks.
const REFRESH_TICKS: u64 = 18;

/// One of the timer's ports, 40h to 43h.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Register {
    Counter0,
    Counter1,
    Counter2,
    Control,
}

/// What happened on OUT of counter 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Edge {
    None,
    /// It rose, once or more often.
    Rise,
}

impl From<bool> for Edge {
    fn from(rose: bool) -> Self {
        if rose { Self::Rise } else { Self::None }
    }
}

/// The timer.
#[derive(Clone, Debug)]
pub(crate) struct Pit {
    clock: Timebase,
    counter0: Channel,
    counter1: Channel,
    counter2: Channel,
    /// Bits 3 to 0 of port 61h: NMI masks, speaker data, gate of counter 2.
    control61: u8,
    /// The tick at which counter 0's OUT next rises, `u64::MAX` for never.
    next_rise: u64,
    /// The same in host time.
    deadline: Tsc,
}

impl Pit {
    /// As firmware leaves it: counter 0 runs freely at 18.2 Hz, counter 1 refreshes.
    pub(crate) fn new(tsc_hz: u64, now: Tsc) -> Self {
        let mut pit = Self {
            clock: Timebase::new(PIT_HZ, tsc_hz, now),
            counter0: Channel::running(Gate::High, 0x1_0000),
            counter1: Channel::running(Gate::High, REFRESH_TICKS as u32),
            counter2: Channel::running(Gate::Low, 0x1_0000),
            control61: 0,
            next_rise: u64::MAX,
            deadline: Tsc::NEVER,
        };
        pit.plan(0);
        pit
    }

    /// When counter 0's OUT next rises.
    #[inline]
    pub(crate) fn deadline(&self) -> Tsc {
        self.deadline
    }

    /// Lets time pass up to `now`.
    #[inline]
    pub(crate) fn advance(&mut self, now: Tsc) -> Edge {
        if now < self.deadline {
            return Edge::None;
        }
        self.pass(self.clock.ticks(now))
    }

    fn pass(&mut self, tick: u64) -> Edge {
        if tick < self.next_rise {
            return Edge::None;
        }
        self.counter0.sync(tick);
        self.plan(tick);
        Edge::Rise
    }

    fn plan(&mut self, tick: u64) {
        self.next_rise = self.counter0.next_rise(tick).unwrap_or(u64::MAX);
        self.deadline = match self.next_rise {
            u64::MAX => Tsc::NEVER,
            rise => self.clock.when(rise),
        };
    }

    /// A read of ports 40h to 43h; the control word cannot be read and gives ones.
    #[inline]
    pub(crate) fn read(&mut self, register: Register, now: Tsc) -> u8 {
        let tick = self.clock.ticks(now);
        match register {
            Register::Counter0 => self.counter0.read(tick),
            Register::Counter1 => self.counter1.read(tick),
            Register::Counter2 => self.counter2.read(tick),
            Register::Control => 0xff,
        }
    }

    /// A write to ports 40h to 43h.
    pub(crate) fn write(&mut self, register: Register, value: u8, now: Tsc) -> Edge {
        let tick = self.clock.ticks(now);
        let passed = self.pass(tick);
        let was_high = self.counter0.out(tick);
        match register {
            Register::Counter0 => self.counter0.write(value, tick),
            Register::Counter1 => self.counter1.write(value, tick),
            Register::Counter2 => self.counter2.write(value, tick),
            Register::Control => self.command(value, tick),
        }
        self.plan(tick);
        let rose = !was_high && self.counter0.out(tick);
        if rose { Edge::Rise } else { passed }
    }

    /// A control word, counter latch or read-back command.
    fn command(&mut self, value: u8, tick: u64) {
        let counter = match value >> 6 {
            0 => &mut self.counter0,
            1 => &mut self.counter1,
            2 => &mut self.counter2,
            _ => return self.read_back(value, tick),
        };
        if value & 0x30 == 0 {
            counter.latch_count(tick);
        } else {
            counter.write_control(value);
        }
    }

    /// Read-back: bits 5 and 4 (low) latch count and status of the counters in bits 3 to 1.
    fn read_back(&mut self, value: u8, tick: u64) {
        let counters = [
            (0x02, &mut self.counter0),
            (0x04, &mut self.counter1),
            (0x08, &mut self.counter2),
        ];
        for (select, counter) in counters {
            if value & select == 0 {
                continue;
            }
            if value & 0x20 == 0 {
                counter.latch_count(tick);
            }
            if value & 0x10 == 0 {
                counter.latch_status(tick);
            }
        }
    }

    /// Port 61h: control bits, refresh toggle (bit 4), OUT of counter 2 (bit 5).
    pub(crate) fn read61(&mut self, now: Tsc) -> u8 {
        let tick = self.clock.ticks(now);
        self.counter2.sync(tick);
        let refresh = (tick / REFRESH_TICKS) as u8 & 1;
        let out = u8::from(self.counter2.out(tick));
        self.control61 | (refresh << 4) | (out << 5)
    }

    /// Port 61h: bit 0 is the gate of counter 2; the other bits are kept.
    pub(crate) fn write61(&mut self, value: u8, now: Tsc) {
        self.control61 = value & 0x0f;
        let gate = if value & 1 == 0 {
            Gate::Low
        } else {
            Gate::High
        };
        self.counter2.set_gate(gate, self.clock.ticks(now));
    }
}
