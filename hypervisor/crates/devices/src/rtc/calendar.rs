//! Date and time as the clock's registers hold them.
//!
//! Owns the two encodings (BCD or binary, 12 or 24 hours) and the way between registers and
//! seconds since 1970; the calendar's arithmetic is the `datealgo` crate's. Guest values may
//! be nonsense: each part is brought into its range before it counts.

/// The registers that hold time: seconds, minutes, hours, day of the week, day, month, year
/// and, in the place PCs agreed on, century.
pub(super) const TIME_REGISTERS: [u8; 8] =
    [SECOND, MINUTE, HOUR, WEEKDAY, DAY, MONTH, YEAR, CENTURY];

const SECOND: u8 = 0x00;
const MINUTE: u8 = 0x02;
const HOUR: u8 = 0x04;
const WEEKDAY: u8 = 0x06;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const CENTURY: u8 = 0x32;

/// The first and the last second of the years 0 to 9999.
const FIRST_SECOND: i64 = -62_167_219_200;
const LAST_SECOND: i64 = 253_402_300_799;

/// Whether `index` is one of [`TIME_REGISTERS`].
pub(super) fn is_time(index: u8) -> bool {
    matches!(
        index,
        SECOND | MINUTE | HOUR | WEEKDAY | DAY | MONTH | YEAR | CENTURY
    )
}

/// `seconds`, brought into the years 0 to 9999 that the registers can show.
pub(super) fn clamp(seconds: i64) -> i64 {
    seconds.clamp(FIRST_SECOND, LAST_SECOND)
}

/// How register B says numbers are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Encoding {
    binary: bool,
    hours_24: bool,
}

impl Encoding {
    const BINARY: u8 = 1 << 2;
    const HOURS_24: u8 = 1 << 1;
    /// The afternoon bit of a 12-hour hour.
    const AFTERNOON: u8 = 1 << 7;

    /// From register B.
    pub(super) fn of(status_b: u8) -> Self {
        Self {
            binary: status_b & Self::BINARY != 0,
            hours_24: status_b & Self::HOURS_24 != 0,
        }
    }

    /// A number below 100.
    fn encode(self, number: u32) -> u8 {
        if self.binary {
            number as u8
        } else {
            ((number / 10) << 4 | (number % 10)) as u8
        }
    }

    pub(super) fn decode(self, byte: u8) -> u32 {
        let byte = u32::from(byte);
        if self.binary {
            byte
        } else {
            (byte >> 4).wrapping_mul(10).wrapping_add(byte & 0xf)
        }
    }

    /// An hour below 24; in 12-hour mode 12, 1, ... 11.
    fn encode_hour(self, hour: u32) -> u8 {
        if self.hours_24 {
            return self.encode(hour);
        }
        let afternoon = if hour >= 12 { Self::AFTERNOON } else { 0 };
        let hour = match hour % 12 {
            0 => 12,
            hour => hour,
        };
        self.encode(hour) | afternoon
    }

    pub(super) fn decode_hour(self, byte: u8) -> u32 {
        if self.hours_24 {
            return self.decode(byte);
        }
        let hour = match self.decode(byte & !Self::AFTERNOON) {
            12 => 0,
            hour => hour,
        };
        if byte & Self::AFTERNOON != 0 {
            hour.wrapping_add(12)
        } else {
            hour
        }
    }
}

/// A point in time, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Moment {
    year: u32,
    month: u32,
    day: u32,
    /// 1 is Sunday.
    weekday: u32,
    hour: u32,
    minute: u32,
    second: u32,
}

impl Moment {
    /// The moment `unix_seconds` after 1970 began, kept in the years 0 to 9999.
    pub(super) fn at(unix_seconds: i64) -> Self {
        let unix_seconds = clamp(unix_seconds);
        let (year, month, day, hour, minute, second) = datealgo::secs_to_datetime(unix_seconds);
        Self {
            year: u32::try_from(year).unwrap_or(0),
            month: u32::from(month),
            day: u32::from(day),
            weekday: u32::from(datealgo::date_to_weekday((year, month, day)) % 7).wrapping_add(1),
            hour: u32::from(hour),
            minute: u32::from(minute),
            second: u32::from(second),
        }
    }

    /// The moment in the time registers.
    pub(super) fn from_registers(read: impl Fn(u8) -> u8, encoding: Encoding) -> Self {
        let number = |index| encoding.decode(read(index));
        let century = number(CENTURY).min(99).wrapping_mul(100);
        Self {
            year: century.wrapping_add(number(YEAR).min(99)),
            month: number(MONTH).clamp(1, 12),
            day: number(DAY).clamp(1, 31),
            weekday: 1,
            hour: encoding.decode_hour(read(HOUR)).min(23),
            minute: number(MINUTE).min(59),
            second: number(SECOND).min(59),
        }
    }

    /// Seconds since 1970; a day past the month's end counts as its last.
    pub(super) fn unix_seconds(&self) -> i64 {
        let (year, month) = (self.year as i32, self.month as u8);
        let day = (self.day as u8).min(datealgo::days_in_month(year, month));
        let time = (self.hour as u8, self.minute as u8, self.second as u8);
        datealgo::datetime_to_secs((year, month, day, time.0, time.1, time.2))
    }

    /// Seconds since midnight.
    pub(super) fn second_of_day(&self) -> u32 {
        self.hour
            .wrapping_mul(60)
            .wrapping_add(self.minute)
            .wrapping_mul(60)
            .wrapping_add(self.second)
    }

    /// What a time register shows.
    pub(super) fn register(&self, index: u8, encoding: Encoding) -> u8 {
        match index {
            SECOND => encoding.encode(self.second),
            MINUTE => encoding.encode(self.minute),
            HOUR => encoding.encode_hour(self.hour),
            WEEKDAY => encoding.encode(self.weekday),
            DAY => encoding.encode(self.day),
            MONTH => encoding.encode(self.month),
            YEAR => encoding.encode(self.year % 100),
            _ => encoding.encode(self.year / 100),
        }
    }
}
