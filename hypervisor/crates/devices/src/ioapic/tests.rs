//! The life of one pin, told step by step, and any sequence against the naive model.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use super::naive::{Naive, Sent};
use super::*;
use crate::message::{DeliveryMode, DestinationMode};
use proptest::prelude::*;

const PIN: Pin = Pin(14);
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;
const REMOTE_IRR: u32 = 1 << 14;

fn write(ioapic: &mut Ioapic, index: u8, value: u32) {
    ioapic.select(index);
    ioapic.write(value);
}

fn read(ioapic: &mut Ioapic, index: u8) -> u32 {
    ioapic.select(index);
    ioapic.read()
}

/// A chip whose pin 14 has this lower word.
fn with(low: u32) -> Ioapic {
    let mut ioapic = Ioapic::new();
    program(&mut ioapic, low);
    ioapic
}

fn program(ioapic: &mut Ioapic, low: u32) {
    write(ioapic, 0x10 + 2 * PIN.0, low);
}

fn low(ioapic: &mut Ioapic) -> u32 {
    read(ioapic, 0x10 + 2 * PIN.0)
}

fn vector(ioapic: &mut Ioapic) -> Option<u8> {
    ioapic.take_message().map(|message| message.vector.0)
}

fn pull(ioapic: &mut Ioapic) {
    ioapic.set_line(PIN, Level::High);
    ioapic.set_line(PIN, Level::Low);
}

#[test]
fn software_finds_24_masked_pins_and_an_eoi_register() {
    let mut ioapic = Ioapic::new();
    assert_eq!(read(&mut ioapic, 1), 0x0017_0020);
    for index in (0x10..0x40).step_by(2) {
        assert_eq!(read(&mut ioapic, index), MASKED);
        assert_eq!(read(&mut ioapic, index + 1), 0);
    }
    write(&mut ioapic, 0x40, u32::MAX);
    assert_eq!(read(&mut ioapic, 0x40), 0);
}

#[test]
fn the_id_has_four_bits_and_the_arbitration_id_follows_it() {
    let mut ioapic = Ioapic::new();
    write(&mut ioapic, 0, u32::MAX);
    assert_eq!(read(&mut ioapic, 0), 0x0f00_0000);
    write(&mut ioapic, 2, 0);
    assert_eq!(read(&mut ioapic, 2), 0x0f00_0000);
    write(&mut ioapic, 1, 0);
    assert_eq!(read(&mut ioapic, 1), 0x0017_0020);
}

#[test]
fn a_message_carries_its_whole_entry() {
    let mut ioapic = with(0x0976);
    write(&mut ioapic, 0x11 + 2 * PIN.0, 0xa5ff_ffff);
    assert_eq!(read(&mut ioapic, 0x11 + 2 * PIN.0), 0xa500_0000);
    pull(&mut ioapic);
    assert_eq!(
        ioapic.take_message(),
        Some(Message {
            vector: Vector(0x76),
            mode: DeliveryMode::LowestPriority,
            destination: 0xa5,
            destination_mode: DestinationMode::Logical,
            trigger: Trigger::Edge,
        })
    );
    assert!(!ioapic.has_messages());
}

#[test]
fn edges_that_nobody_took_are_one_message() {
    let mut ioapic = with(0x76);
    pull(&mut ioapic);
    pull(&mut ioapic);
    assert_eq!(low(&mut ioapic), 0x76 | 1 << 12, "delivery status");
    assert_eq!(vector(&mut ioapic), Some(0x76));
    assert_eq!(vector(&mut ioapic), None);
    assert_eq!(low(&mut ioapic), 0x76);
}

#[test]
fn an_edge_that_waits_is_withdrawn_by_masking_or_a_new_trigger() {
    for now in [0x76 | MASKED, 0x76 | LEVEL] {
        let mut ioapic = with(0x76);
        pull(&mut ioapic);
        assert!(ioapic.has_messages());
        program(&mut ioapic, now);
        assert!(!ioapic.has_messages());
    }
}

#[test]
fn an_edge_on_a_masked_pin_is_lost() {
    let mut ioapic = with(0x81 | MASKED);
    ioapic.set_line(PIN, Level::High);
    program(&mut ioapic, 0x81);
    assert!(!ioapic.has_messages());
    ioapic.set_line(PIN, Level::Low);
    ioapic.set_line(PIN, Level::High);
    assert_eq!(vector(&mut ioapic), Some(0x81));
}

#[test]
fn a_level_is_sent_once_until_its_end_and_again_if_it_stays() {
    let mut ioapic = with(0x9a | LEVEL);
    ioapic.set_line(PIN, Level::High);
    assert_eq!(vector(&mut ioapic), Some(0x9a));
    assert_eq!(low(&mut ioapic), 0x9a | LEVEL | REMOTE_IRR);
    pull(&mut ioapic);
    ioapic.set_line(PIN, Level::High);
    assert!(!ioapic.has_messages(), "it has not ended");
    ioapic.end_of_interrupt(Vector(0x9b));
    assert!(!ioapic.has_messages(), "that was another one");
    ioapic.end_of_interrupt(Vector(0x9a));
    assert_eq!(vector(&mut ioapic), Some(0x9a));
    ioapic.set_line(PIN, Level::Low);
    ioapic.end_of_interrupt(Vector(0x9a));
    assert!(!ioapic.has_messages());
    assert_eq!(low(&mut ioapic), 0x9a | LEVEL);
}

#[test]
fn a_level_that_goes_before_it_is_sent_is_withdrawn() {
    let mut ioapic = with(0x9a | LEVEL);
    pull(&mut ioapic);
    assert_eq!(vector(&mut ioapic), None);
}

#[test]
fn a_pin_masked_in_its_handler_ends_silently_and_sends_when_unmasked() {
    let mut ioapic = with(0x83 | LEVEL);
    ioapic.set_line(PIN, Level::High);
    assert_eq!(vector(&mut ioapic), Some(0x83));
    program(&mut ioapic, 0x83 | LEVEL | MASKED);
    assert_ne!(low(&mut ioapic) & REMOTE_IRR, 0);
    assert_eq!(ioapic.level_vectors(), [0, 0, 8, 0]);
    ioapic.end_of_interrupt(Vector(0x83));
    assert!(!ioapic.has_messages());
    program(&mut ioapic, 0x83 | LEVEL);
    assert_eq!(vector(&mut ioapic), Some(0x83));
}

#[test]
fn a_moment_as_edge_clears_remote_irr() {
    let mut ioapic = with(0x83 | LEVEL);
    ioapic.set_line(PIN, Level::High);
    assert_eq!(vector(&mut ioapic), Some(0x83));
    program(&mut ioapic, 0x83 | MASKED);
    program(&mut ioapic, 0x83 | LEVEL);
    assert_eq!(vector(&mut ioapic), Some(0x83));
}

#[test]
fn a_low_active_line_is_the_other_way_round() {
    let mut ioapic = with(0x50 | 1 << 13);
    ioapic.set_line(PIN, Level::High);
    assert!(!ioapic.has_messages());
    ioapic.set_line(PIN, Level::Low);
    assert_eq!(vector(&mut ioapic), Some(0x50));
    program(&mut ioapic, 0x50 | 1 << 13 | LEVEL);
    assert_eq!(vector(&mut ioapic), Some(0x50));
    ioapic.set_line(PIN, Level::High);
    ioapic.end_of_interrupt(Vector(0x50));
    assert!(!ioapic.has_messages());
}

#[test]
fn an_nmi_is_an_edge_whatever_its_entry_says() {
    let mut ioapic = with(0x400 | LEVEL);
    ioapic.set_line(PIN, Level::High);
    let message = ioapic.take_message().unwrap();
    assert_eq!(
        (message.mode, message.trigger),
        (DeliveryMode::Nmi, Trigger::Edge)
    );
    assert_eq!(low(&mut ioapic), 0x400 | LEVEL);
    assert_eq!(ioapic.level_vectors(), [0; 4]);
}

#[test]
fn reserved_delivery_modes_send_nothing() {
    for mode in [0x300, 0x600] {
        let mut ioapic = with(0x40 | mode);
        pull(&mut ioapic);
        assert!(!ioapic.has_messages());
    }
}

#[test]
fn the_set_of_level_vectors_has_a_new_version_when_it_changes_and_only_then() {
    let mut ioapic = Ioapic::new();
    assert_eq!(ioapic.level_vectors_version(), 0);
    program(&mut ioapic, 0x45);
    assert_eq!(ioapic.level_vectors_version(), 0);
    program(&mut ioapic, 0x45 | LEVEL);
    let version = ioapic.level_vectors_version();
    assert_eq!(ioapic.level_vectors(), [0, 0x20, 0, 0]);
    assert_ne!(version, 0);
    program(&mut ioapic, 0x45 | LEVEL | MASKED);
    assert_eq!(ioapic.level_vectors_version(), version);
    program(&mut ioapic, 0xff | LEVEL);
    assert_eq!(ioapic.level_vectors(), [0, 0, 0, 1 << 63]);
    assert_ne!(ioapic.level_vectors_version(), version);
}

#[test]
fn the_lowest_pin_goes_first_and_all_of_them_are_24() {
    let mut ioapic = Ioapic::new();
    for pin in (0..24).rev() {
        write(&mut ioapic, 0x10 + 2 * pin, u32::from(pin + 0x20) | LEVEL);
        ioapic.set_line(Pin(pin), Level::High);
    }
    for pin in 0..24 {
        assert_eq!(vector(&mut ioapic), Some(pin + 0x20));
    }
    assert!(!ioapic.has_messages());
}

#[derive(Clone, Debug)]
enum Step {
    Line(u8, Level),
    Pulse(u8),
    Select(u8),
    Write(u32),
    Take,
    End(u8),
}

/// Few pins and vectors, so that they meet.
fn step() -> impl Strategy<Value = Step> {
    let pin = prop_oneof![Just(0u8), Just(2), Just(14), Just(23)];
    let table = prop_oneof![
        pin.clone().prop_map(|pin| 0x10 + 2 * pin),
        pin.clone().prop_map(|pin| 0x11 + 2 * pin),
    ];
    let select = prop_oneof![8 => table, 1 => any::<u8>()];
    let vector = prop_oneof![Just(0x30u8), Just(0x31)];
    let entry = (vector.clone(), 0u32..8, any::<u32>()).prop_map(|(vector, mode, rest)| {
        let mode = if rest & 0x40 == 0 { mode } else { 0 };
        let masked = if rest & 0x80 == 0 { 0 } else { rest & MASKED };
        rest & !(0x1_07ff) | masked | mode << 8 | u32::from(vector)
    });
    prop_oneof![
        6 => (pin.clone(), any::<bool>()).prop_map(|(pin, high)| Step::Line(pin, high.into())),
        1 => pin.prop_map(Step::Pulse),
        3 => select.prop_map(Step::Select),
        3 => entry.prop_map(Step::Write),
        4 => Just(Step::Take),
        3 => vector.prop_map(Step::End),
    ]
}

/// What the naive model would say of a message.
fn in_bits(pin: u8, message: Message) -> Sent {
    let mode = match message.mode {
        DeliveryMode::Fixed => 0,
        DeliveryMode::LowestPriority => 1,
        DeliveryMode::Smi => 2,
        DeliveryMode::Nmi => 4,
        DeliveryMode::Init => 5,
        DeliveryMode::ExtInt => 7,
    };
    Sent {
        pin,
        vector: message.vector.0,
        mode,
        logical: message.destination_mode == DestinationMode::Logical,
        level: message.trigger == Trigger::Level,
        destination: message.destination,
    }
}

fn run(ioapic: &mut Ioapic, naive: &mut Naive, step: &Step) {
    match *step {
        Step::Line(pin, level) => {
            ioapic.set_line(Pin(pin), level);
            naive.set_line(pin, level);
        }
        Step::Pulse(pin) => {
            let listens = ioapic.listens(Pin(pin));
            let before = ioapic.waiting();
            ioapic.pulse(Pin(pin));
            assert_eq!(listens, ioapic.waiting() != before);
            naive.pulse(pin);
        }
        Step::Select(index) => {
            ioapic.select(index);
            naive.select(index);
        }
        Step::Write(value) => {
            ioapic.write(value);
            naive.write(value);
        }
        Step::Take => {
            let pin = ioapic.waiting().trailing_zeros() as u8;
            let sent = ioapic.take_message().map(|message| in_bits(pin, message));
            assert_eq!(sent, naive.take());
        }
        Step::End(vector) => {
            ioapic.end_of_interrupt(Vector(vector));
            naive.end_of_interrupt(vector);
        }
    }
}

proptest! {
    #[test]
    fn any_sequence_goes_as_the_naive_model_has_it(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let mut ioapic = Ioapic::new();
        let mut naive = Naive::new();
        for step in steps {
            run(&mut ioapic, &mut naive, &step);
            prop_assert_eq!(ioapic.has_messages(), naive.has_messages());
            prop_assert_eq!(ioapic.read(), naive.read());
            let level = ioapic.level_vectors();
            for vector in [0u8, 0x30, 0x31, 0xff] {
                let told = level[usize::from(vector / 64)] >> (vector % 64) & 1 == 1;
                prop_assert_eq!(told, naive.is_level_vector(vector));
            }
        }
    }
}
