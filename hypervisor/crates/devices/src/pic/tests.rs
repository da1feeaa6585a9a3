//! The interrupt controllers: sentences, and one chip against a naive priority list.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]

use super::chip::{Acknowledged, Chip};
use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const KEYBOARD: IrqLine = IrqLine(1);
const COM1: IrqLine = IrqLine(4);
const LPT: IrqLine = IrqLine(7);
const RTC: IrqLine = IrqLine(8);
const DISK: IrqLine = IrqLine(14);

/// A pair set up as Linux does it: vectors 30h and 38h, everything unmasked.
fn linux_pair() -> Pic {
    let mut pic = Pic::new();
    for (which, base, wiring) in [(Which::Master, 0x30, 4), (Which::Slave, 0x38, 2)] {
        pic.write(which, Register::Command, 0x11);
        for word in [base, wiring, 0x01, 0x00] {
            pic.write(which, Register::Data, word);
        }
    }
    pic
}

fn raise(pic: &mut Pic, line: IrqLine) {
    pic.set_line(line, Level::Low);
    pic.set_line(line, Level::High);
}

fn end(pic: &mut Pic, which: Which) {
    pic.write(which, Register::Command, 0x20);
}

#[test]
fn the_lower_line_comes_first_and_holds_the_higher_back_until_its_end() {
    let mut pic = linux_pair();
    raise(&mut pic, COM1);
    raise(&mut pic, KEYBOARD);
    assert_eq!(pic.acknowledge(), Vector(0x31));
    assert!(!pic.pending());
    end(&mut pic, Which::Master);
    assert!(pic.pending());
    assert_eq!(pic.acknowledge(), Vector(0x34));
}

#[test]
fn the_slave_comes_through_the_master_and_needs_two_ends() {
    let mut pic = linux_pair();
    raise(&mut pic, DISK);
    raise(&mut pic, COM1);
    assert_eq!(pic.acknowledge(), Vector(0x3e));
    assert!(!pic.pending());
    raise(&mut pic, RTC);
    end(&mut pic, Which::Slave);
    assert!(!pic.pending(), "the master still serves its cascade");
    end(&mut pic, Which::Master);
    assert_eq!(pic.acknowledge(), Vector(0x38));
}

#[test]
fn an_edge_counts_once_and_a_level_as_long_as_it_lasts() {
    let mut pic = linux_pair();
    pic.write_edge_level(Which::Master, 0xff);
    assert_eq!(pic.read_edge_level(Which::Master), 0xf8);
    raise(&mut pic, COM1);
    raise(&mut pic, KEYBOARD);
    for vector in [0x31, 0x34, 0x34] {
        assert_eq!(pic.acknowledge(), Vector(vector));
        end(&mut pic, Which::Master);
    }
    pic.set_line(COM1, Level::Low);
    assert!(!pic.pending());
}

#[test]
fn a_request_taken_back_before_its_acknowledge_is_gone() {
    let mut pic = linux_pair();
    raise(&mut pic, COM1);
    assert!(pic.pending());
    pic.set_line(COM1, Level::Low);
    assert!(!pic.pending());
    assert_eq!(pic.acknowledge(), Vector(0x37), "the spurious interrupt");
    pic.write(Which::Master, Register::Command, 0x0b);
    assert_eq!(
        pic.read(Which::Master, Register::Command),
        0,
        "is not in service"
    );
}

#[test]
fn a_pulse_waits_even_though_its_line_is_low_again() {
    let mut pic = linux_pair();
    pic.write(Which::Master, Register::Data, 0xff);
    pic.pulse(IrqLine::TIMER);
    pic.pulse(IrqLine::TIMER);
    assert!(!pic.pending());
    assert!(!pic.listens(IrqLine::TIMER));
    pic.write(Which::Master, Register::Data, 0);
    assert_eq!(pic.acknowledge(), Vector(0x30));
    end(&mut pic, Which::Master);
    assert!(!pic.pending(), "two pulses are one request");
}

#[test]
fn request_and_service_registers_read_as_linux_checks_for_spurious_interrupts() {
    let mut pic = linux_pair();
    raise(&mut pic, LPT);
    assert_eq!(pic.read(Which::Master, Register::Command), 0x80);
    assert_eq!(pic.acknowledge(), Vector(0x37));
    pic.write(Which::Master, Register::Command, 0x0b);
    assert_eq!(pic.read(Which::Master, Register::Command), 0x80);
    pic.write(Which::Master, Register::Command, 0x0a);
    assert_eq!(pic.read(Which::Master, Register::Command), 0x00);
}

#[test]
fn linux_finds_the_controller_by_its_mask() {
    // arch/x86/kernel/i8259.c, probe_8259A.
    let mut pic = Pic::new();
    pic.write(Which::Slave, Register::Data, 0xff);
    pic.write(Which::Master, Register::Data, !4);
    assert_eq!(pic.read(Which::Master, Register::Data), !4);
}

#[test]
fn polling_takes_the_request_without_the_cpu() {
    let mut pic = linux_pair();
    raise(&mut pic, COM1);
    pic.write(Which::Master, Register::Command, 0x0c);
    assert_eq!(pic.read(Which::Master, Register::Command), 0x84);
    assert!(!pic.pending());
    pic.write(Which::Master, Register::Command, 0x0c);
    assert_eq!(pic.read(Which::Master, Register::Command), 0x00);
}

#[test]
fn automatic_end_leaves_nothing_in_service() {
    let mut pic = linux_pair();
    pic.write(Which::Master, Register::Command, 0x11);
    for word in [0x40, 4, 0x03, 0] {
        pic.write(Which::Master, Register::Data, word);
    }
    for _ in 0..3 {
        raise(&mut pic, COM1);
        assert_eq!(pic.acknowledge(), Vector(0x44));
    }
}

#[test]
fn special_fully_nested_mode_lets_a_better_slave_request_through() {
    let mut pic = linux_pair();
    pic.write(Which::Master, Register::Command, 0x11);
    for word in [0x30, 4, 0x11, 0] {
        pic.write(Which::Master, Register::Data, word);
    }
    raise(&mut pic, DISK);
    assert_eq!(pic.acknowledge(), Vector(0x3e));
    raise(&mut pic, COM1);
    assert!(!pic.pending());
    raise(&mut pic, RTC);
    assert_eq!(pic.acknowledge(), Vector(0x38));
}

#[test]
fn a_single_chip_is_initialized_by_two_words() {
    let mut chip = Chip::new(8, 0);
    chip.write(Register::Command, 0x12);
    chip.write(Register::Data, 0x57);
    chip.write(Register::Data, 0xaa);
    assert_eq!(chip.read(Register::Data), 0xaa);
    assert_eq!(chip.vector(3), Vector(0x53));
}

/// A chip as the data sheet's prose tells it.
struct Naive {
    high: [bool; 8],
    edge: [bool; 8],
    masked: [bool; 8],
    served: [bool; 8],
    level: u8,
    /// Most urgent first.
    order: Vec<usize>,
    special: bool,
    automatic: bool,
    rotates: bool,
}

impl Naive {
    fn new() -> Self {
        Self {
            high: [false; 8],
            edge: [false; 8],
            masked: [true; 8],
            served: [false; 8],
            level: 0,
            order: (0..8).collect(),
            special: false,
            automatic: false,
            rotates: false,
        }
    }

    fn requests(&self, line: usize) -> bool {
        if self.level >> line & 1 == 1 {
            self.high[line]
        } else {
            self.edge[line]
        }
    }

    fn holds_back(&self, line: usize) -> bool {
        self.served[line] && !(self.special && self.masked[line])
    }

    fn best(&self) -> Option<usize> {
        for &line in &self.order {
            if self.holds_back(line) {
                return None;
            }
            if self.requests(line) && !self.masked[line] {
                return Some(line);
            }
        }
        None
    }

    fn make_last(&mut self, line: usize) {
        while self.order.last() != Some(&line) {
            self.order.rotate_left(1);
        }
    }

    fn acknowledge(&mut self) -> Option<usize> {
        let line = self.best()?;
        self.edge[line] = false;
        self.served[line] = !self.automatic;
        if self.automatic && self.rotates {
            self.make_last(line);
        }
        Some(line)
    }

    fn end(&mut self) -> Option<usize> {
        let line = self
            .order
            .iter()
            .copied()
            .find(|&line| self.holds_back(line))?;
        self.served[line] = false;
        Some(line)
    }

    fn command(&mut self, operation: u8, line: usize) {
        match operation {
            0 => self.rotates = false,
            1 => drop(self.end()),
            3 => self.served[line] = false,
            4 => self.rotates = true,
            5 => {
                if let Some(line) = self.end() {
                    self.make_last(line);
                }
            }
            6 => self.make_last(line),
            7 => {
                self.served[line] = false;
                self.make_last(line);
            }
            _ => {}
        }
    }
}

fn bits(array: [bool; 8]) -> u8 {
    array
        .iter()
        .rev()
        .fold(0, |word, &bit| word << 1 | u8::from(bit))
}

#[derive(Clone, Copy, Debug)]
enum Step {
    High(u8),
    Low(u8),
    Mask(u8),
    Command(u8, u8),
    Special(bool),
    Initialize(bool),
    Levels(u8),
    Acknowledge,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..8).prop_map(Step::High),
        4 => (0u8..8).prop_map(Step::Low),
        2 => any::<u8>().prop_map(Step::Mask),
        4 => (0u8..8, 0u8..8).prop_map(|(operation, line)| Step::Command(operation, line)),
        1 => any::<bool>().prop_map(Step::Special),
        1 => any::<bool>().prop_map(Step::Initialize),
        1 => any::<u8>().prop_map(Step::Levels),
        5 => Just(Step::Acknowledge),
    ]
}

fn run(chip: &mut Chip, naive: &mut Naive, step: Step) {
    match step {
        Step::High(line) => {
            chip.set_line(1 << line, Level::High);
            naive.edge[usize::from(line)] |= !naive.high[usize::from(line)];
            naive.high[usize::from(line)] = true;
        }
        Step::Low(line) => {
            chip.set_line(1 << line, Level::Low);
            naive.edge[usize::from(line)] = false;
            naive.high[usize::from(line)] = false;
        }
        Step::Mask(mask) => {
            chip.write(Register::Data, mask);
            naive.masked = core::array::from_fn(|line| mask >> line & 1 == 1);
        }
        Step::Command(operation, line) => {
            chip.write(Register::Command, operation << 5 | line);
            naive.command(operation, usize::from(line));
        }
        Step::Special(on) => {
            chip.write(Register::Command, if on { 0x68 } else { 0x48 });
            naive.special = on;
        }
        Step::Initialize(automatic) => {
            chip.write(Register::Command, 0x11);
            for word in [0x20, 0, if automatic { 3 } else { 1 }] {
                chip.write(Register::Data, word);
            }
            let (high, level) = (naive.high, naive.level);
            *naive = Naive {
                high,
                level,
                automatic,
                masked: [false; 8],
                ..Naive::new()
            };
        }
        Step::Levels(level) => {
            chip.level_triggered = level;
            naive.level = level;
        }
        Step::Acknowledge => {
            let expected = naive.acknowledge().map(|line| line as u8);
            let found = match chip.acknowledge() {
                Acknowledged::Level(level) => Some(level),
                Acknowledged::Nothing => None,
            };
            assert_eq!(found, expected);
        }
    }
}

proptest! {
    #[test]
    fn a_chip_agrees_with_a_naive_priority_list(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let (mut chip, mut naive) = (Chip::new(0x20, 0), Naive::new());
        for step in steps {
            run(&mut chip, &mut naive, step);
            prop_assert_eq!(chip.request(), naive.best().map(|line| line as u8));
            chip.write(Register::Command, 0x0b);
            prop_assert_eq!(chip.read(Register::Command), bits(naive.served));
            chip.write(Register::Command, 0x0a);
            let requests = core::array::from_fn(|line| naive.requests(line));
            prop_assert_eq!(chip.read(Register::Command), bits(requests));
        }
    }
}
