//! The registers one by one, and the timer against exact arithmetic.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

use super::*;
use proptest::prelude::*;

const TSC_HZ: u64 = 50_000_000;

fn byte(pm: &Pm, offset: u16) -> u8 {
    pm.read(offset, Tsc(0)).unwrap()
}

#[test]
fn acpi_mode_is_on_and_cannot_be_left() {
    let mut pm = Pm::new(TSC_HZ, Tsc(0));
    assert_eq!(byte(&pm, 4), 1);
    assert_eq!(pm.write(4, 0), Written::Quiet);
    assert_eq!(byte(&pm, 4), 1);
}

#[test]
fn the_machine_goes_off_by_type_5_with_sleep_enable() {
    let mut pm = Pm::new(TSC_HZ, Tsc(0));
    assert_eq!(pm.write(5, 0x14), Written::Quiet, "the type alone");
    assert_eq!(byte(&pm, 5), 0x14);
    assert_eq!(pm.write(5, 0x34), Written::SoftOff);
    assert_eq!(byte(&pm, 5), 0x14, "sleep enable reads as 0");
}

#[test]
fn no_other_type_is_a_sleep_state() {
    let mut pm = Pm::new(TSC_HZ, Tsc(0));
    for kind in [0, 1, 2, 3, 4, 6, 7] {
        assert_eq!(pm.write(5, kind << 2 | 0x20), Written::Nothing);
    }
}

#[test]
fn events_that_never_come_cannot_be_enabled() {
    let mut pm = Pm::new(TSC_HZ, Tsc(0));
    for offset in 0..4 {
        assert_eq!(pm.write(offset, 0xff), Written::Quiet);
    }
    assert_eq!([0, 1, 2, 3].map(|at| byte(&pm, at)), [0, 0, 0x20, 0]);
}

#[test]
fn the_gaps_of_the_block_are_nobodys() {
    let mut pm = Pm::new(TSC_HZ, Tsc(0));
    for offset in [6, 7, 12, 13, 14, 15] {
        assert_eq!(pm.read(offset, Tsc(0)), None);
        assert_eq!(pm.write(offset, 0), Written::Nothing);
    }
}

#[test]
fn a_year_of_the_timer_is_a_year() {
    let start = Tsc(12_345);
    let pm = Pm::new(TSC_HZ, start);
    assert_eq!(pm.timer(start), 0);
    assert_eq!(pm.timer(start.after(TSC_HZ)), 3_579_545);
    let year = 365 * 86_400;
    // 31,536,000 s * 3.579545 MHz = 112,884,531,120,000 ticks = 26,282 * 2^32 + 4,200,646,528.
    let reading = pm.timer(start.after(TSC_HZ * year));
    assert!(reading.wrapping_sub(4_200_646_528) <= 1, "{reading}");
}

proptest! {
    #[test]
    fn the_timer_never_goes_back_and_its_bytes_are_of_one_moment(
        tsc_hz in 4_000_000u64..10_000_000_000,
        from in 0u64..1 << 60,
        elapsed in 0u64..1 << 30,
    ) {
        let pm = Pm::new(tsc_hz, Tsc(0));
        let (first, last) = (Tsc(from), Tsc(from + elapsed));
        let passed = u64::from(pm.timer(last).wrapping_sub(pm.timer(first)));
        let exact = u128::from(elapsed) * 3_579_545 / u128::from(tsc_hz);
        prop_assert!(passed.abs_diff(exact as u64 & 0xffff_ffff) <= 1);
        let bytes = [8, 9, 10, 11].map(|at| pm.read(at, last).unwrap());
        prop_assert_eq!(u32::from_le_bytes(bytes), pm.timer(last));
    }
}
