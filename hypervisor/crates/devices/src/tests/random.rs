//! Any sequence of accesses: answered within its width, and the same at any pace.
#![allow(clippy::arithmetic_side_effects)]

use super::{CONFIG, UART_AT};
use crate::{Effect, Message, Platform, PlatformConfig, TestDevices};
use proptest::prelude::*;
use skerry_words::{Gpa, Port, Tsc, Vector, Width};
use std::vec::Vec;

#[derive(Clone, Debug)]
enum Step {
    In(u16, Width),
    Out(u16, Width, u32),
    Load(u64, Width),
    Store(u64, Width, u64),
    Input(Vec<u8>),
    Acknowledge,
    /// Writes a register of the HPET.
    Hpet(u64, u64),
    /// Programs the lower word of an I/O APIC pin.
    Route(u8, u32),
    Take,
    End(u8),
    Wait(u64),
}

/// What a step answered.
#[derive(PartialEq, Debug)]
enum Answer {
    Value(u64),
    Effect(Effect),
    Vector(Option<Vector>),
    Message(Option<Message>),
}

const IOAPIC: u64 = 0xfec0_0000;
const HPET: u64 = 0xfed0_0000;
/// Its configuration, status, counter, and two comparators.
const HPET_REGISTERS: [u64; 7] = [0x10, 0x20, 0xf0, 0x100, 0x108, 0x120, 0x128];

fn width() -> impl Strategy<Value = Width> {
    prop_oneof![4 => Just(Width::Byte), 1 => Just(Width::Word), 1 => Just(Width::Dword)]
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![
        6 => prop::sample::select([
            0x20u16, 0x21, 0xa0, 0xa1, 0x40, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x3f8,
            0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x4d0, 0x4d1, 0x510, 0x511, 0x604, 0x608,
            0x2002, 0x2004, 0x2008, 0x2010,
        ].as_slice()),
        1 => 0u16..0x100,
        1 => any::<u16>(),
    ]
}

fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (0u64..10).prop_map(|offset| UART_AT.0 + offset),
        2 => (0u64..0x44).prop_map(|offset| IOAPIC + offset),
        1 => 0xff00_0000u64..0xff01_0000,
        1 => (0u64..0x160).prop_map(|offset| HPET + offset),
        1 => any::<u64>(),
    ]
}

/// Pins that something moves, a few vectors, and no bit but trigger, polarity and mask.
fn route() -> impl Strategy<Value = Step> {
    let pin = prop::sample::select([1u8, 2, 3, 4, 8, 16, 20, 21].as_slice());
    let bits = prop::sample::select([0u32, 0, 0x8000, 0x2000, 0xa000, 0x1_0000].as_slice());
    (pin, 0x30u32..0x33, bits).prop_map(|(pin, vector, bits)| Step::Route(pin, vector | bits))
}

/// Comparators that interrupt soon, by edge or level, at pins 20 and 21.
fn hpet() -> impl Strategy<Value = Step> {
    let register = prop::sample::select(HPET_REGISTERS.as_slice());
    let value = prop_oneof![0u64..0x80, 0x2800u64..0x2b80, 0u64..50_000];
    (register, value).prop_map(|(register, value)| Step::Hpet(register, value))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (port(), width()).prop_map(|(port, width)| Step::In(port, width)),
        10 => (port(), width(), any::<u32>()).prop_map(|(p, w, v)| Step::Out(p, w, v)),
        1 => (address(), width()).prop_map(|(at, width)| Step::Load(at, width)),
        1 => (address(), width(), any::<u64>()).prop_map(|(at, w, v)| Step::Store(at, w, v)),
        1 => proptest::collection::vec(any::<u8>(), 0..20).prop_map(Step::Input),
        4 => Just(Step::Acknowledge),
        8 => prop_oneof![route(), hpet()],
        4 => Just(Step::Take),
        2 => (0x30u8..0x33).prop_map(Step::End),
        4 => prop_oneof![0u64..2000, 0u64..5_000_000, 0u64..1 << 36].prop_map(Step::Wait),
    ]
}

fn run(platform: &mut Platform, step: &Step, now: Tsc) -> Answer {
    match *step {
        Step::In(port, width) => {
            let value = platform.port_read(Port(port), width, now);
            assert!(u64::from(value) <= width.mask());
            Answer::Value(u64::from(value))
        }
        Step::Out(port, width, value) => {
            Answer::Effect(platform.port_write(Port(port), width, value, now))
        }
        Step::Load(at, width) => {
            let value = platform.memory_read(Gpa(at), width, now);
            assert!(value <= width.mask());
            Answer::Value(value)
        }
        Step::Store(at, width, value) => {
            Answer::Effect(platform.memory_write(Gpa(at), width, value, now))
        }
        Step::Input(ref bytes) => Answer::Value(platform.input(bytes) as u64),
        Step::Acknowledge => {
            let pending = platform.interrupt_pending();
            let vector = platform.acknowledge(now);
            assert_eq!(vector.is_some(), pending);
            Answer::Vector(vector)
        }
        Step::Route(pin, low) => {
            let select = 0x10 + 2 * u64::from(pin);
            let _ = platform.memory_write(Gpa(IOAPIC), Width::Dword, select, now);
            let window = Gpa(IOAPIC + 0x10);
            Answer::Effect(platform.memory_write(window, Width::Dword, low.into(), now))
        }
        Step::Hpet(register, value) => {
            let at = Gpa(HPET + register);
            Answer::Effect(platform.memory_write(at, Width::Qword, value, now))
        }
        Step::Take => {
            let waits = platform.has_messages();
            let message = platform.take_message(now);
            assert_eq!(message.is_some(), waits);
            Answer::Message(message)
        }
        Step::End(vector) => {
            platform.end_of_interrupt(Vector(vector), now);
            Answer::Value(0)
        }
        Step::Wait(_) => Answer::Value(0),
    }
}

/// Lets a platform's timers run in many small steps, deadlines among them.
fn creep(platform: &mut Platform, from: Tsc, to: Tsc) {
    for part in 1..8 {
        platform.expire(Tsc(from.0 + to.since(from) / 8 * part));
    }
    for _ in 0..8 {
        let due = platform.next_deadline();
        if due <= to {
            platform.expire(due);
        }
    }
    platform.expire(to);
}

proptest! {
    #[test]
    fn time_in_one_jump_or_in_small_steps_gives_the_same_answers(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let config = PlatformConfig { test_devices: TestDevices::Present, ..CONFIG };
        let mut jumping = Platform::new(&config, Tsc(0));
        let mut creeping = jumping.clone();
        let mut now = Tsc(0);
        for step in steps {
            if let Step::Wait(ticks) = step {
                let later = now.after(ticks);
                creep(&mut creeping, now, later);
                jumping.expire(later);
                now = later;
            }
            prop_assert_eq!(run(&mut jumping, &step, now), run(&mut creeping, &step, now));
            prop_assert_eq!(jumping.interrupt_pending(), creeping.interrupt_pending());
            prop_assert_eq!(jumping.has_messages(), creeping.has_messages());
            prop_assert!(jumping.next_deadline() > now, "a deadline never lies in the past");
            prop_assert_eq!(jumping.absent_accesses(), creeping.absent_accesses());
        }
    }
}
