//! The clock's alarm: a time of day in which any part may be "every".
//!
//! Owns its decoding and the search for the next match, without stepping through seconds.

use super::calendar::Encoding;

/// Alarm bytes from here up mean "every" `["Time, Calendar and Alarm Bytes"]`.
const EVERY: u8 = 0xc0;

/// One part of the alarm time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Every,
    At(u32),
}

impl Part {
    fn decode(byte: u8, decode: impl Fn(u8) -> u32) -> Self {
        if byte >= EVERY {
            Self::Every
        } else {
            Self::At(decode(byte))
        }
    }

    /// Steps from `now` to the next match in a ring of `range`.
    fn steps_from(self, now: u32, range: u32) -> u32 {
        match self {
            Self::Every => 0,
            Self::At(at) if at >= now => at.wrapping_sub(now),
            Self::At(at) => at.wrapping_add(range).wrapping_sub(now),
        }
    }

    /// The smallest value that matches.
    fn first(self) -> u32 {
        match self {
            Self::Every => 0,
            Self::At(at) => at,
        }
    }

    fn is_below(self, range: u32) -> bool {
        self.first() < range
    }
}

/// An alarm time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Alarm {
    hour: Part,
    minute: Part,
    second: Part,
}

impl Alarm {
    /// From the registers for hours, minutes and seconds.
    pub(super) fn decode([hour, minute, second]: [u8; 3], encoding: Encoding) -> Self {
        Self {
            hour: Part::decode(hour, |byte| encoding.decode_hour(byte)),
            minute: Part::decode(minute, |byte| encoding.decode(byte)),
            second: Part::decode(second, |byte| encoding.decode(byte)),
        }
    }

    /// Seconds from `second_of_day` (below 86400) to the next match after it, 1 to 86400;
    /// `None` if no time of day matches.
    pub(super) fn seconds_until(&self, second_of_day: u32) -> Option<u32> {
        if !(self.hour.is_below(24) && self.minute.is_below(60) && self.second.is_below(60)) {
            return None;
        }
        let start = second_of_day.wrapping_add(1);
        let mut time = start.wrapping_add(self.second.steps_from(start % 60, 60));
        let minutes = self.minute.steps_from(time / 60 % 60, 60);
        if minutes > 0 {
            time = (time / 60).wrapping_add(minutes).wrapping_mul(60);
            time = time.wrapping_add(self.second.first());
        }
        let hours = self.hour.steps_from(time / 3600 % 24, 24);
        if hours > 0 {
            let within = self.minute.first().wrapping_mul(60);
            time = (time / 3600).wrapping_add(hours).wrapping_mul(3600);
            time = time.wrapping_add(within).wrapping_add(self.second.first());
        }
        Some(time.wrapping_sub(second_of_day))
    }
}
