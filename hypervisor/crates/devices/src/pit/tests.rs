//! The timer: sentences, and the counters against a clock-by-clock model.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

use super::channel::{Channel, Gate};
use super::naive::Counter;
use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const TSC_HZ: u64 = 50_000_000;

/// The time in TSC ticks at which PIT tick `tick` has surely begun.
fn at(tick: u64) -> Tsc {
    Tsc((tick * TSC_HZ).div_ceil(PIT_HZ) + 1)
}

fn read_word(pit: &mut Pit, register: Register, now: Tsc) -> u16 {
    u16::from_le_bytes([pit.read(register, now), pit.read(register, now)])
}

#[test]
fn mode_0_counts_down_from_the_clock_after_the_write_and_wraps() {
    let mut pit = Pit::new(TSC_HZ, Tsc(0));
    pit.write61(1, at(0));
    for (register, value) in [
        (Register::Control, 0xb0),
        (Register::Counter2, 0x10),
        (Register::Counter2, 0x00),
    ] {
        assert_eq!(pit.write(register, value, at(100)), Edge::None);
    }
    assert_eq!(read_word(&mut pit, Register::Counter2, at(101)), 0x10);
    assert_eq!(read_word(&mut pit, Register::Counter2, at(116)), 1);
    assert_eq!(pit.read61(at(116)) & 0x20, 0);
    assert_eq!(pit.read61(at(117)) & 0x20, 0x20);
    assert_eq!(read_word(&mut pit, Register::Counter2, at(118)), 0xffff);
}

#[test]
fn linux_calibrates_its_tsc_over_ten_milliseconds_of_counter_2() {
    // arch/x86/kernel/tsc.c, pit_calibrate_tsc with CAL_MS 10.
    let mut pit = Pit::new(TSC_HZ, Tsc(0));
    let start = Tsc(1_234_567);
    let port61 = pit.read61(start);
    pit.write61((port61 & !2) | 1, start);
    let latch = PIT_HZ / 100;
    let _ = pit.write(Register::Control, 0xb0, start);
    let _ = pit.write(Register::Counter2, latch as u8, start);
    let _ = pit.write(Register::Counter2, (latch >> 8) as u8, start);
    let mut now = start;
    while pit.read61(now) & 0x20 == 0 {
        now = now.after(500);
    }
    let measured_khz = now.since(start) / 10;
    assert!((49_990..50_060).contains(&measured_khz), "{measured_khz}");
}

#[test]
fn the_refresh_bit_toggles_every_15_microseconds() {
    let mut pit = Pit::new(TSC_HZ, Tsc(0));
    let toggles = (0..TSC_HZ / 1000)
        .map(|tick| pit.read61(Tsc(tick)) >> 4 & 1)
        .collect::<Vec<_>>()
        .windows(2)
        .filter(|pair| pair.first() != pair.last())
        .count();
    assert_eq!(toggles, 66);
}

#[test]
fn the_count_is_ready_at_power_on() {
    // Linux's KASLR reads counter 0 in a loop until NULL COUNT is clear.
    let mut pit = Pit::new(TSC_HZ, Tsc(0));
    let _ = pit.write(Register::Control, 0xc2, at(5));
    let status = pit.read(Register::Counter0, at(6));
    assert_eq!(status, 0xb4);
    assert_eq!(read_word(&mut pit, Register::Counter0, at(7)), 0xfffb);
}

#[test]
fn a_latched_count_stays_until_both_bytes_are_read() {
    let mut pit = Pit::new(TSC_HZ, Tsc(0));
    let _ = pit.write(Register::Control, 0x00, at(1));
    let _ = pit.write(Register::Control, 0x00, at(900));
    assert_eq!(read_word(&mut pit, Register::Counter0, at(1000)), 0xffff);
    assert_eq!(read_word(&mut pit, Register::Counter0, at(1000)), 0xfc18);
}

#[test]
fn a_bcd_counter_counts_in_decimal() {
    let mut pit = Pit::new(TSC_HZ, Tsc(0));
    let _ = pit.write(Register::Control, 0x31, at(9));
    let _ = pit.write(Register::Counter0, 0x00, at(9));
    let _ = pit.write(Register::Counter0, 0x10, at(9));
    assert_eq!(read_word(&mut pit, Register::Counter0, at(11)), 0x0999);
    assert_eq!(read_word(&mut pit, Register::Counter0, at(1011)), 0x9999);
}

#[test]
fn a_one_shot_in_mode_4_gives_one_edge_and_no_more() {
    let mut pit = Pit::new(TSC_HZ, Tsc(0));
    let _ = pit.write(Register::Control, 0x38, at(10));
    let _ = pit.write(Register::Counter0, 100, at(10));
    let _ = pit.write(Register::Counter0, 0, at(10));
    let due = pit.deadline();
    assert!(due <= at(112) && due > at(111), "{due:?}");
    assert_eq!(pit.advance(Tsc(due.0 - 1)), Edge::None);
    assert_eq!(pit.advance(due), Edge::Rise);
    assert_eq!(pit.deadline(), Tsc::NEVER);
}

#[test]
fn linux_switches_the_timer_off_for_good() {
    // drivers/clocksource/i8253.c, pit_shutdown: mode 0, count 0: one edge at most.
    let mut pit = Pit::new(TSC_HZ, Tsc(0));
    let _ = pit.write(Register::Control, 0x30, at(1));
    let _ = pit.write(Register::Counter0, 0, at(1));
    let _ = pit.write(Register::Counter0, 0, at(1));
    assert_eq!(pit.advance(at(70_000)), Edge::Rise);
    assert_eq!(pit.deadline(), Tsc::NEVER);
}

#[test]
fn a_forbidden_period_of_one_makes_no_edges() {
    let mut pit = Pit::new(TSC_HZ, Tsc(0));
    for mode in [0x34, 0x36] {
        let _ = pit.write(Register::Control, mode, at(1));
        let _ = pit.write(Register::Counter0, 1, at(1));
        let _ = pit.write(Register::Counter0, 0, at(1));
        assert_eq!(pit.deadline(), Tsc::NEVER);
    }
}

/// What the guest does with one counter.
#[derive(Clone, Copy, Debug)]
enum Step {
    Control(u8, bool),
    Count(u16),
    Gate(bool),
    Wait(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0u8..6, any::<bool>()).prop_map(|(mode, bcd)| Step::Control(mode, bcd)),
        3 => prop_oneof![2u16..60, Just(0u16), 2u16..=u16::MAX].prop_map(Step::Count),
        2 => any::<bool>().prop_map(Step::Gate),
        5 => prop_oneof![30 => 1u32..200, 1 => 1u32..70_000].prop_map(Step::Wait),
    ]
}

fn decimal(raw: u16) -> u32 {
    [12, 8, 4, 0]
        .iter()
        .fold(0, |sum, shift| sum * 10 + u32::from(raw >> shift & 0xf))
}

/// A device's counter and the model, side by side.
struct Pair {
    device: Channel,
    naive: Counter,
    bcd: bool,
    tick: u64,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            device: Channel::running(Gate::High, 100),
            naive: Counter::new(true),
            bcd: false,
            tick: 1000,
        };
        pair.run(Step::Control(0, false));
        pair
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Control(mode, bcd) => {
                self.bcd = bcd;
                self.device.write_control(0x30 | mode << 1 | u8::from(bcd));
                self.naive
                    .control(mode, if bcd { 10_000 } else { 0x1_0000 });
            }
            Step::Count(raw) => {
                let raw = if self.bcd { valid_bcd(raw) } else { raw };
                let [low, high] = raw.to_le_bytes();
                self.device.write(low, self.tick);
                self.device.write(high, self.tick);
                self.naive.write(if self.bcd {
                    decimal(raw)
                } else {
                    u32::from(raw)
                });
            }
            Step::Gate(high) => {
                let gate = if high { Gate::High } else { Gate::Low };
                self.device.set_gate(gate, self.tick);
                self.naive.set_gate(high);
            }
            Step::Wait(ticks) => self.wait(u64::from(ticks)),
        }
    }

    /// Lets time pass at one stroke here and clock by clock there.
    fn wait(&mut self, ticks: u64) {
        self.device.sync(self.tick);
        let foreseen = self.device.next_rise(self.tick);
        let comparable = self.device.out(self.tick) == self.naive.out;
        let mut seen = None;
        for _ in 0..ticks {
            let before = self.naive.out;
            self.naive.clock();
            self.tick += 1;
            if !before && self.naive.out && seen.is_none() {
                seen = Some(self.tick);
            }
        }
        if comparable {
            assert_eq!(seen, foreseen.filter(|&rise| rise <= self.tick));
        }
        self.compare();
    }

    fn compare(&mut self) {
        self.device.sync(self.tick);
        assert_eq!(
            self.device.out(self.tick),
            self.naive.out,
            "OUT at {}",
            self.tick
        );
        if !self.naive.loaded {
            return;
        }
        self.device.latch_count(self.tick);
        let raw = u16::from_le_bytes([self.device.read(self.tick), self.device.read(self.tick)]);
        let count = if self.bcd {
            decimal(raw)
        } else {
            u32::from(raw)
        };
        assert_eq!(count, self.naive.count(), "count at {}", self.tick);
    }
}

/// Any word as valid BCD of at least 2, or 0.
fn valid_bcd(raw: u16) -> u16 {
    let digit = |shift: u32| (raw >> shift & 0xf) % 10;
    match digit(12) << 12 | digit(8) << 8 | digit(4) << 4 | digit(0) {
        1 => 2,
        bcd => bcd,
    }
}

proptest! {
    #[test]
    fn a_counter_agrees_with_one_simulated_clock_by_clock(
        steps in proptest::collection::vec(step(), 1..24),
    ) {
        let mut pair = Pair::new();
        for step in steps {
            pair.run(step);
        }
        pair.run(Step::Wait(1));
    }
}
