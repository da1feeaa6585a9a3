//! The clock: sentences, and the alarm's search against stepping through seconds.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

use super::*;
use proptest::prelude::*;

const TSC_HZ: u64 = 50_000_000;
const MEMORY: u64 = 256 << 20;
/// 2024-02-29 23:59:58 UTC, a Thursday.
const LEAP_EVENING: u64 = 1_709_251_198;

fn clock(unix_seconds: u64) -> Rtc {
    Rtc::new(TSC_HZ, unix_seconds, MEMORY, Tsc(0))
}

fn seconds(count: u64) -> Tsc {
    Tsc(count * TSC_HZ + 100)
}

fn read(rtc: &mut Rtc, index: u8, now: Tsc) -> u8 {
    rtc.select(index);
    rtc.read(now)
}

fn write(rtc: &mut Rtc, index: u8, value: u8, now: Tsc) {
    rtc.select(index);
    rtc.write(value, now);
}

fn shown(rtc: &mut Rtc, now: Tsc) -> [u8; 8] {
    [0x32, 0x09, 0x08, 0x07, 0x06, 0x04, 0x02, 0x00].map(|index| read(rtc, index, now))
}

#[test]
fn the_date_reads_in_bcd_and_turns_at_midnight() {
    let mut rtc = clock(LEAP_EVENING);
    let evening = [0x20, 0x24, 0x02, 0x29, 5, 0x23, 0x59, 0x58];
    assert_eq!(shown(&mut rtc, seconds(0)), evening);
    let morning = [0x20, 0x24, 0x03, 0x01, 6, 0x00, 0x00, 0x01];
    assert_eq!(shown(&mut rtc, seconds(3)), morning);
}

#[test]
fn binary_and_twelve_hour_modes_show_the_same_time() {
    let mut rtc = clock(LEAP_EVENING);
    write(&mut rtc, register::B, 0x04, seconds(0));
    assert_eq!(
        shown(&mut rtc, seconds(0)),
        [20, 24, 2, 29, 5, 0x80 | 11, 59, 58]
    );
    assert_eq!(read(&mut rtc, 0x04, seconds(3)), 12, "midnight is 12 a.m.");
}

#[test]
fn update_in_progress_shows_for_the_last_244_microseconds_of_a_second() {
    let mut rtc = clock(LEAP_EVENING);
    let before = TSC_HZ - TSC_HZ / 1_000_000 * 245;
    assert_eq!(read(&mut rtc, register::A, Tsc(before)), 0x26);
    assert_eq!(
        read(&mut rtc, register::A, Tsc(before + TSC_HZ / 500_000)),
        0xa6
    );
    assert_eq!(read(&mut rtc, register::A, seconds(1)), 0x26);
}

#[test]
fn a_guest_that_sets_the_clock_reads_its_own_time_from_then_on() {
    let mut rtc = clock(LEAP_EVENING);
    let now = seconds(10);
    write(&mut rtc, register::B, 0x82, now);
    for (index, value) in [
        (0x32, 0x19),
        (9, 0x99),
        (8, 0x12),
        (7, 0x31),
        (4, 0x23),
        (2, 0x59),
    ] {
        write(&mut rtc, index, value, now);
    }
    write(&mut rtc, 0, 0x59, now);
    assert_eq!(read(&mut rtc, 0, seconds(15)), 0x59, "the clock is stopped");
    write(&mut rtc, register::B, 0x02, seconds(20));
    let later = [0x20, 0x00, 0x01, 0x01, 7, 0x00, 0x00, 0x04];
    assert_eq!(shown(&mut rtc, seconds(25)), later);
}

#[test]
fn a_running_clock_takes_a_single_register() {
    let mut rtc = clock(LEAP_EVENING);
    write(&mut rtc, 0x04, 0x07, seconds(1));
    let expected = [0x20, 0x24, 0x02, 0x29, 5, 0x07, 0x59, 0x59];
    assert_eq!(shown(&mut rtc, seconds(1)), expected);
}

#[test]
fn the_periodic_interrupt_comes_1024_times_a_second() {
    let mut rtc = clock(LEAP_EVENING);
    write(&mut rtc, register::B, 0x42, Tsc(0));
    let mut interrupts = 0;
    while rtc.deadline() <= Tsc(TSC_HZ) {
        rtc.advance(rtc.deadline());
        assert_eq!(rtc.interrupt(), Level::High);
        let due = Tsc(interrupts * TSC_HZ / 1024 + TSC_HZ / 1024 + 10);
        assert_eq!(read(&mut rtc, register::C, due) & 0xc0, 0xc0);
        assert_eq!(rtc.interrupt(), Level::Low);
        interrupts += 1;
    }
    assert_eq!(interrupts, 1023, "and the 1024th just after the second");
}

#[test]
fn an_interrupt_nobody_takes_asks_for_no_more_time() {
    let mut rtc = clock(LEAP_EVENING - 60);
    write(&mut rtc, register::B, 0x52, Tsc(0));
    rtc.advance(rtc.deadline());
    assert_eq!(rtc.deadline(), Tsc::NEVER);
    assert_eq!(read(&mut rtc, register::C, seconds(5)), 0xd0);
    assert!(rtc.deadline() > seconds(5));
    assert_eq!(read(&mut rtc, register::C, seconds(5)), 0x00);
}

#[test]
fn the_alarm_rings_at_its_time() {
    let mut rtc = clock(LEAP_EVENING);
    write(&mut rtc, register::HOURS_ALARM, 0x00, Tsc(0));
    write(&mut rtc, register::MINUTES_ALARM, 0x01, Tsc(0));
    write(&mut rtc, register::SECONDS_ALARM, 0xc0, Tsc(0));
    write(&mut rtc, register::B, 0x22, Tsc(0));
    assert!(rtc.deadline() > Tsc(62 * TSC_HZ) && rtc.deadline() < seconds(62));
    rtc.advance(seconds(62));
    assert_eq!(rtc.interrupt(), Level::High);
    assert_eq!(read(&mut rtc, register::C, seconds(62)) & 0xa0, 0xa0);
    assert!(rtc.deadline() < seconds(63), "every second of that minute");
}

#[test]
fn setting_the_clock_stops_updates_and_their_interrupt() {
    let mut rtc = clock(LEAP_EVENING);
    write(&mut rtc, register::B, 0x92, Tsc(0));
    assert_eq!(read(&mut rtc, register::B, Tsc(0)), 0x82);
    assert_eq!(read(&mut rtc, register::C, seconds(3)) & 0x10, 0);
    assert_eq!(rtc.deadline(), Tsc::NEVER);
}

#[test]
fn memory_sizes_are_where_firmware_puts_them() {
    let mut rtc = Rtc::new(TSC_HZ, 0, 4 << 30, Tsc(0));
    let mut word = |low| u16::from_le_bytes([low, low + 1].map(|i| read(&mut rtc, i, Tsc(0))));
    assert_eq!(word(0x15), 640);
    assert_eq!(word(0x17), 0xffff);
    assert_eq!(word(0x34), 0xbf00);
    assert_eq!(word(0x5b), 0x4000);
    assert_eq!(read(&mut rtc, register::D, Tsc(0)), 0x80);
}

fn alarm_byte(range: u8) -> impl Strategy<Value = u8> {
    prop_oneof![0..range, Just(0xc5u8)]
}

proptest! {
    #[test]
    fn the_next_alarm_is_the_first_second_that_matches(
        hour in alarm_byte(24),
        minute in alarm_byte(60),
        second in alarm_byte(60),
        now in 0u32..86_400,
    ) {
        let alarm = Alarm::decode([hour, minute, second], Encoding::of(0x06));
        let matches = |byte: u8, part: u32| byte >= 0xc0 || u32::from(byte) == part;
        let first = (1..=86_400).find(|wait| {
            let time = (now + wait) % 86_400;
            let clock = [(hour, time / 3600), (minute, time / 60 % 60), (second, time % 60)];
            clock.into_iter().all(|(byte, part)| matches(byte, part))
        });
        prop_assert_eq!(alarm.seconds_until(now), first);
    }

    #[test]
    fn whatever_a_guest_writes_the_clock_runs_on(
        writes in proptest::collection::vec((0u8..0x40, any::<u8>(), 0u64..1 << 40), 1..60),
    ) {
        let mut rtc = clock(LEAP_EVENING);
        let mut now = Tsc(0);
        for (index, value, wait) in writes {
            now = now.after(wait);
            rtc.advance(now);
            write(&mut rtc, index, value, now);
            for index in 0..0x40 {
                let _ = read(&mut rtc, index, now);
            }
            prop_assert!(rtc.deadline() > now);
        }
    }

    #[test]
    fn a_time_survives_its_way_through_the_registers(unix in 0i64..=253_402_300_799, b: u8) {
        let (moment, encoding) = (Moment::at(unix), Encoding::of(b));
        let back = Moment::from_registers(|index| moment.register(index, encoding), encoding);
        prop_assert_eq!(back.unix_seconds(), unix);
    }
}
