//! The registers, and what the comparators do as the counter goes on.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

use super::*;
use proptest::prelude::*;

const TSC_HZ: u64 = 50_000_000;
/// TSC ticks a tick of the counter.
const TICK: u64 = TSC_HZ / COUNTER_HZ;

const SETTINGS: u16 = 0x100;
const VALUE: u16 = 0x108;
const LEVEL: u64 = 1 << 1;
const INTERRUPT: u64 = 1 << 2;
const PERIODIC: u64 = 1 << 3;
const SET_VALUE: u64 = 1 << 6;
const PIN_21: u64 = 21 << 9;

fn block() -> Hpet {
    Hpet::new(TSC_HZ, Tsc(0))
}

fn set(hpet: &mut Hpet, at: u16, value: u64, now: Tsc) {
    assert_eq!(
        hpet.write(at, Width::Qword, value, now),
        Some(Moves::default())
    );
}

fn get(hpet: &Hpet, at: u16, now: Tsc) -> u64 {
    hpet.read(at, Width::Qword, now).unwrap()
}

/// The time the counter shows `count`, started at 0.
fn at(count: u64) -> Tsc {
    Tsc(count * TICK + 2)
}

fn pulsed(moves: Moves) -> std::vec::Vec<u8> {
    moves.pulses().map(|pin| pin.0).collect()
}

#[test]
fn the_capabilities_name_ten_megahertz_and_three_comparators_without_legacy_routes() {
    let hpet = block();
    assert_eq!(get(&hpet, 0, Tsc(0)), 0x05f5_e100_8086_2201);
    assert_eq!(hpet.read(4, Width::Dword, Tsc(0)), Some(100_000_000));
    assert_eq!(
        get(&hpet, SETTINGS, Tsc(0)) >> 32,
        0xf0_0000,
        "pins 20 to 23"
    );
    let periodic = |index: u16| get(&hpet, SETTINGS + 0x20 * index, Tsc(0)) >> 4 & 1;
    assert_eq!([periodic(0), periodic(1), periodic(2)], [1, 0, 0]);
}

#[test]
fn what_is_not_four_or_eight_aligned_bytes_meets_nothing() {
    let mut hpet = block();
    for (at, width) in [
        (0, Width::Byte),
        (0, Width::Word),
        (2, Width::Dword),
        (0xf4, Width::Qword),
        (0x8, Width::Qword),
        (0x160, Width::Qword),
        (0x110, Width::Dword),
    ] {
        assert_eq!(hpet.read(at, width, Tsc(0)), None, "{at:#x}");
        assert_eq!(hpet.write(at, width, 1, Tsc(0)), None, "{at:#x}");
    }
}

#[test]
fn the_counter_runs_while_it_is_enabled_and_can_be_set() {
    let mut hpet = block();
    assert_eq!(get(&hpet, 0xf0, at(1000)), 0);
    set(&mut hpet, 0x10, 1, at(1000));
    assert_eq!(get(&hpet, 0xf0, at(1600)), 600);
    set(&mut hpet, 0x10, 0, at(2000));
    assert_eq!(get(&hpet, 0xf0, at(9000)), 1000);
    let high = hpet.write(0xf4, Width::Dword, 7, at(9000));
    assert_eq!(high, Some(Moves::default()));
    assert_eq!(get(&hpet, 0xf0, at(9999)), 7 << 32 | 1000);
    set(&mut hpet, 0x10, 1, at(10_000));
    assert_eq!(hpet.read(0xf0, Width::Dword, at(10_001)), Some(1001));
}

#[test]
fn one_shot_is_one_edge_at_its_time() {
    let mut hpet = block();
    set(&mut hpet, SETTINGS, INTERRUPT | PIN_21, Tsc(0));
    set(&mut hpet, VALUE, 500, Tsc(0));
    assert_eq!(hpet.deadline(), Tsc::NEVER, "the counter stands");
    set(&mut hpet, 0x10, 1, Tsc(0));
    let due = hpet.deadline();
    assert!(due > at(499) && due <= at(500), "{due:?}");
    assert_eq!(pulsed(hpet.advance(at(499))), []);
    assert_eq!(pulsed(hpet.advance(at(500))), [21]);
    assert_eq!(pulsed(hpet.advance(at(1_000_000))), []);
    assert_eq!(hpet.deadline(), Tsc::NEVER);
}

#[test]
fn a_short_comparator_wraps_with_32_bits() {
    const SHORT: u64 = 1 << 8;
    let mut hpet = block();
    set(&mut hpet, SETTINGS, INTERRUPT | SHORT, Tsc(0));
    set(&mut hpet, VALUE, 5, Tsc(0));
    set(&mut hpet, 0xf0, 0xffff_fff0, Tsc(0));
    set(&mut hpet, 0x10, 1, Tsc(0));
    assert_eq!(pulsed(hpet.advance(at(20))), []);
    assert_eq!(pulsed(hpet.advance(at(21))), [20]);
}

#[test]
fn a_period_begins_where_it_is_told_to() {
    let mut hpet = block();
    let settings = INTERRUPT | PERIODIC | SET_VALUE;
    set(&mut hpet, SETTINGS, settings, Tsc(0));
    assert_eq!(get(&hpet, SETTINGS, Tsc(0)) & SET_VALUE, 0);
    set(&mut hpet, VALUE, 1000, Tsc(0));
    set(&mut hpet, VALUE, 200, Tsc(0));
    set(&mut hpet, 0x10, 1, Tsc(0));
    let edges = (0..2000).filter(|count| !pulsed(hpet.advance(at(*count))).is_empty());
    let edges: std::vec::Vec<u64> = edges.collect();
    assert_eq!(edges, [1000, 1200, 1400, 1600, 1800]);
}

#[test]
fn a_level_stays_until_its_status_is_cleared() {
    let mut hpet = block();
    set(&mut hpet, SETTINGS + 0x20, INTERRUPT | LEVEL, Tsc(0));
    set(&mut hpet, VALUE + 0x20, 10, Tsc(0));
    set(&mut hpet, 0x10, 1, Tsc(0));
    let levels = |moves: Moves| -> std::vec::Vec<_> {
        moves.levels().map(|(pin, level)| (pin.0, level)).collect()
    };
    assert_eq!(levels(hpet.advance(at(10))), [(20, Level::High)]);
    assert_eq!(get(&hpet, 0x20, at(11)), 0b10);
    assert_eq!(levels(hpet.advance(at(12))), []);
    let cleared = hpet.write(0x20, Width::Qword, 0b10, at(13)).unwrap();
    assert_eq!(levels(cleared), [(20, Level::Low)]);
    assert_eq!(get(&hpet, 0x20, at(14)), 0);
}

#[test]
fn a_pin_of_another_device_is_not_taken() {
    let mut hpet = block();
    set(&mut hpet, SETTINGS, PIN_21, Tsc(0));
    set(&mut hpet, SETTINGS, 2 << 9, Tsc(0));
    assert_eq!(get(&hpet, SETTINGS, Tsc(0)) as u32 & 0x3e00, 21 << 9);
}

proptest! {
    /// Whoever looks seldom finds the same block as who looks often.
    #[test]
    fn looking_on_the_way_changes_nothing(
        writes in prop::collection::vec((0u16..14, any::<u64>(), 0u64..100_000), 0..20),
        stops in prop::collection::vec(0u64..1_000_000, 0..10),
    ) {
        let mut hpet = block();
        let mut now = Tsc(0);
        set(&mut hpet, 0x10, 1, now);
        for (register, value, later) in writes {
            now = now.after(later);
            let at = [0x10, 0x20, 0xf0, 0x100, 0x108, 0x120, 0x128][usize::from(register % 7)];
            let _ = hpet.write(at, Width::Qword, value % 100_000, now);
        }
        let mut often = hpet.clone();
        let mut stops = stops;
        stops.sort_unstable();
        for stop in &stops {
            let _ = often.advance(now.after(*stop));
        }
        let end = now.after(1_000_001);
        let _ = (often.advance(end), hpet.advance(end));
        prop_assert_eq!(std::format!("{often:?}"), std::format!("{hpet:?}"));
    }

    /// Between two looks that find nothing due, nothing happens before the deadline.
    #[test]
    fn the_deadline_is_not_late(value in 1u64..100_000, early in 1u64..1000) {
        let mut hpet = block();
        set(&mut hpet, SETTINGS, INTERRUPT, Tsc(0));
        set(&mut hpet, VALUE, value, Tsc(0));
        set(&mut hpet, 0x10, 1, Tsc(0));
        let due = hpet.deadline();
        let mut other = hpet.clone();
        prop_assert_eq!(pulsed(other.advance(Tsc(due.0.saturating_sub(early * TICK)))), []);
        prop_assert_eq!(pulsed(hpet.advance(due)), [20]);
    }
}
