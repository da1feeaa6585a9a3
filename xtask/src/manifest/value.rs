//! Values that TOML has no type for: sizes with a unit, and a clock's start.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::NaiveDateTime;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use toml::value::Datetime;

/// The bytes that a size stands for: a number, with K, M, G or T for powers of 1024.
///
/// # Errors
/// A sentence with the way out.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = &text[digits.len()..];
    let shift = match unit.strip_suffix("iB").unwrap_or(unit) {
        "" if unit.is_empty() => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => return Err(no_size(text)),
    };
    let number: u64 = digits.parse().map_err(|_| no_size(text))?;
    number.checked_mul(1 << shift).ok_or_else(|| no_size(text))
}

fn no_size(text: &str) -> String {
    format!("\"{text}\" is no size; write bytes, or a number with K, M, G or T like \"256M\"")
}

/// A size in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub(super) u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a size in bytes, or one like \"256M\"")
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
        u64::try_from(bytes)
            .map(Size)
            .map_err(|_| E::custom(no_size(&bytes.to_string())))
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
        parse_size(text).map(Size).map_err(E::custom)
    }
}

/// A clock's start, in seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(pub(super) u64);

impl<'de> Deserialize<'de> for Clock {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // TOML has dates of its own; people may write them with or without quotes.
        let text = match toml::Value::deserialize(from)? {
            toml::Value::String(text) => text,
            toml::Value::Datetime(date) => date.to_string(),
            other => return Err(D::Error::custom(no_clock(&other.to_string()))),
        };
        clock_seconds(&text).map(Self).map_err(D::Error::custom)
    }
}

fn clock_seconds(text: &str) -> Result<u64, String> {
    if text == "host" {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        return since
            .map(|since| since.as_secs())
            .map_err(|error| error.to_string());
    }
    let known = text.parse::<Datetime>().is_ok();
    let local = text.strip_suffix('Z').unwrap_or(text).replace(' ', "T");
    let date = NaiveDateTime::parse_from_str(&local, "%Y-%m-%dT%H:%M:%S");
    let seconds = date
        .ok()
        .filter(|_| known)
        .map(|date| date.and_utc().timestamp());
    seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .ok_or_else(|| no_clock(text))
}

fn no_clock(text: &str) -> String {
    format!(
        "\"{text}\" is no start for a clock; write a time from 1970 on like \
         \"2000-01-01T00:00:00\" (in UTC), or \"host\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_powers_of_1024() {
        assert_eq!(parse_size("65536"), Ok(65536));
        assert_eq!(parse_size("64K"), Ok(65536));
        assert_eq!(parse_size("256M"), Ok(0x1000_0000));
        assert_eq!(parse_size("256MiB"), Ok(0x1000_0000));
        assert_eq!(parse_size("1g"), Ok(0x4000_0000));
        assert_eq!(parse_size("0"), Ok(0));
    }

    #[test]
    fn everything_else_is_no_size() {
        for text in [
            "",
            "M",
            "iB",
            "1iB",
            "-1",
            "1.5G",
            "256 M",
            "256MB",
            "1X",
            "99999999T",
            "é",
        ] {
            assert_eq!(parse_size(text), Err(no_size(text)), "{text}");
        }
    }

    #[test]
    fn clocks_start_at_utc_times_from_1970_on() {
        assert_eq!(clock_seconds("1970-01-01T00:00:00"), Ok(0));
        assert_eq!(clock_seconds("2000-01-01T00:00:00"), Ok(946_684_800));
        assert_eq!(clock_seconds("2024-02-29T23:59:59Z"), Ok(1_709_251_199));
        assert_eq!(clock_seconds("2024-02-29 23:59:59"), Ok(1_709_251_199));
    }

    #[test]
    fn everything_else_starts_no_clock() {
        for text in [
            "",
            "now",
            "2000-01-01",
            "2023-02-29T00:00:00",
            "1969-12-31T23:59:59",
        ] {
            assert_eq!(clock_seconds(text), Err(no_clock(text)), "{text}");
        }
    }

    #[test]
    fn the_hosts_clock_is_past_the_year_2020() {
        assert!(clock_seconds("host").unwrap() > 1_577_836_800);
    }
}
