//! What a counter shows: its count, OUT and status, now or latched.
//!
//! Owns the read side of [`Channel`]; the write side is in the parent.

use super::{Channel, Mode, Run};

/// One more than the largest BCD count.
const BCD_RANGE: u64 = 10_000;

impl Channel {
    /// A read of the counter's port: latched status first, then the latched or live count,
    /// low byte first if both are programmed `["Read-Back Command"]`.
    pub(crate) fn read(&mut self, tick: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        self.sync(tick);
        let count = self.latched_count.unwrap_or_else(|| self.counted(tick));
        let [low, high] = count.to_le_bytes();
        let (byte, last) = match self.control & Self::ACCESS {
            Self::ACCESS_LOW => (low, true),
            Self::ACCESS_HIGH => (high, true),
            _ if self.high_byte_next => (high, true),
            _ => (low, false),
        };
        self.high_byte_next = !last;
        if last {
            self.latched_count = None;
        }
        byte
    }

    /// Latches the count until it is read; a second latch changes nothing.
    pub(crate) fn latch_count(&mut self, tick: u64) {
        self.sync(tick);
        if self.latched_count.is_none() {
            self.latched_count = Some(self.counted(tick));
        }
    }

    /// Latches the status until it is read; a second latch changes nothing.
    pub(crate) fn latch_status(&mut self, tick: u64) {
        self.sync(tick);
        if self.latched_status.is_none() {
            let out = u8::from(self.out(tick)) << 7;
            let null = u8::from(!self.loaded(tick)) << 6;
            self.latched_status = Some(out | null | self.control);
        }
    }

    /// Whether OUT is high.
    pub(crate) fn out(&self, tick: u64) -> bool {
        let Some(elapsed) = self.elapsed(tick) else {
            return self.mode != Mode::TerminalCount;
        };
        let count = u64::from(self.count.get());
        match self.mode {
            Mode::TerminalCount | Mode::OneShot => elapsed >= count,
            Mode::SoftwareStrobe | Mode::HardwareStrobe => elapsed != count,
            // A low gate sets OUT high at once.
            Mode::RateGenerator | Mode::SquareWave if matches!(self.run, Run::Held { .. }) => true,
            Mode::RateGenerator => self.count.remainder(elapsed) != count.wrapping_sub(1),
            Mode::SquareWave => self.count.remainder(elapsed) < self.high_half(),
        }
    }

    /// Ticks since the count was loaded; `None` if it has not been.
    fn elapsed(&self, tick: u64) -> Option<u64> {
        match self.run {
            Run::Unset | Run::Armed => None,
            Run::Counting { start } => tick.checked_sub(start),
            Run::Held { start, elapsed } => (tick >= start).then_some(elapsed),
        }
    }

    /// Whether the last count written is in the counting element (NULL COUNT is 0).
    fn loaded(&self, tick: u64) -> bool {
        self.elapsed(tick).is_some() && self.successor.is_none()
    }

    /// Ticks of the high half of a square wave: the longer one if the count is odd.
    fn high_half(&self) -> u64 {
        u64::from(self.count.get().wrapping_add(1) >> 1)
    }

    /// The count as the data bus shows it.
    fn counted(&self, tick: u64) -> u16 {
        let elapsed = self.elapsed(tick).unwrap_or(0);
        let count = u64::from(self.count.get());
        match self.mode {
            Mode::TerminalCount | Mode::OneShot | Mode::SoftwareStrobe | Mode::HardwareStrobe => {
                self.encode_difference(count, elapsed)
            }
            Mode::RateGenerator => self.encode(count.wrapping_sub(self.count.remainder(elapsed))),
            Mode::SquareWave => self.encode(self.square_count(self.count.remainder(elapsed))),
        }
    }

    /// Mode 3 counts down by two in each half, from the count made even.
    fn square_count(&self, into_period: u64) -> u64 {
        let into_half = into_period
            .checked_sub(self.high_half())
            .unwrap_or(into_period);
        u64::from(self.count.get() & !1).wrapping_sub(into_half.wrapping_mul(2))
    }

    /// `count - elapsed`, wrapping as the counter does: 0 is followed by FFFF or 9999.
    fn encode_difference(&self, count: u64, elapsed: u64) -> u16 {
        if self.control & Self::BCD == 0 {
            return count.wrapping_sub(elapsed) as u16;
        }
        let passed = elapsed % BCD_RANGE;
        self.encode(count.wrapping_add(BCD_RANGE).wrapping_sub(passed))
    }

    /// A count as its 16 bits; the largest one (2^16 or 10^4) shows as 0.
    fn encode(&self, value: u64) -> u16 {
        if self.control & Self::BCD == 0 {
            return value as u16;
        }
        let value = value % BCD_RANGE;
        let digits = [value / 1000, value / 100 % 10, value / 10 % 10, value % 10];
        digits
            .iter()
            .fold(0, |word: u16, &digit| (word << 4) | digit as u16)
    }

    /// The count that 16 bits mean, 1 to 65536; 0 is the largest. BCD digits above 9 count
    /// as they stand.
    pub(super) fn decode(&self, raw: u16) -> u32 {
        if self.control & Self::BCD == 0 {
            return if raw == 0 { 0x1_0000 } else { u32::from(raw) };
        }
        let [high, low] = raw.to_be_bytes();
        let digits = [high >> 4, high & 0xf, low >> 4, low & 0xf];
        let count = digits.iter().fold(0_u32, |sum, &digit| {
            sum.wrapping_mul(10).wrapping_add(u32::from(digit))
        });
        if count == 0 { BCD_RANGE as u32 } else { count }
    }
}
