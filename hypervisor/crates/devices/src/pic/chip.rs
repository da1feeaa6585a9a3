//! One 8259A programmable interrupt controller.
//!
//! Owns its registers, initialization sequence, priorities, and modes, after
//! `[Intel 8259A data sheet, order 231468-003]`. Does not own the cascade: [`super::Pic`]
//! joins two of them. Not modelled: 8080/8085 mode and buffered mode, which PCs lack.

use crate::line::Level;
use skerry_words::Vector;

/// The level a chip answers with when nothing requests.
pub(super) const DEFAULT_LEVEL: u8 = 7;

/// Which of the chip's two registers an access means (the A0 pin).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Register {
    /// A0 = 0: ICW1, OCW2, OCW3; reads IRR or ISR.
    Command,
    /// A0 = 1: ICW2 to ICW4, OCW1; reads the mask.
    Data,
}

/// What an acknowledge cycle found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Acknowledged {
    /// This level is served now.
    Level(u8),
    /// No request.
    Nothing,
}

/// How far the initialization sequence is, and what ICW1 said about the rest of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sequence {
    Ready,
    Icw2(Icw1),
    Icw3(Icw1),
    Icw4,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Icw1(u8);

impl Icw1 {
    const ICW4_NEEDED: u8 = 1 << 0;
    const SINGLE: u8 = 1 << 1;

    fn after_icw2(self) -> Sequence {
        if self.0 & Self::SINGLE == 0 {
            Sequence::Icw3(self)
        } else {
            self.after_icw3()
        }
    }

    fn after_icw3(self) -> Sequence {
        if self.0 & Self::ICW4_NEEDED != 0 {
            Sequence::Icw4
        } else {
            Sequence::Ready
        }
    }
}

/// One chip.
#[derive(Clone, Debug)]
pub(super) struct Chip {
    /// The vector of level 0; the low three bits are 0.
    base: u8,
    /// Inputs that are high.
    lines: u8,
    /// Edges that wait.
    edges: u8,
    /// The mask (IMR).
    mask: u8,
    /// Levels in service (ISR).
    service: u8,
    /// Inputs whose level requests, by 4D0h and 4D1h.
    pub(super) level_triggered: u8,
    /// Inputs that carry another chip's requests.
    cascade: u8,
    /// The level of highest priority.
    top: u8,
    sequence: Sequence,
    reads_service: bool,
    poll: bool,
    special_mask: bool,
    auto_end: bool,
    rotate_on_auto_end: bool,
    special_fully_nested: bool,
}

impl Chip {
    pub(super) fn new(base: u8, cascade: u8) -> Self {
        Self {
            base,
            lines: 0,
            edges: 0,
            mask: 0xff,
            service: 0,
            level_triggered: 0,
            cascade,
            top: 0,
            sequence: Sequence::Ready,
            reads_service: false,
            poll: false,
            special_mask: false,
            auto_end: false,
            rotate_on_auto_end: false,
            special_fully_nested: false,
        }
    }

    /// Moves one input; whether that changed anything. An edge-triggered input that goes
    /// low takes its request back, as the chip demands it stay high until INTA
    /// `["Edge and Level Triggered Modes"]`.
    #[inline]
    pub(super) fn set_line(&mut self, bit: u8, level: Level) -> bool {
        let was_high = self.lines & bit != 0;
        match level {
            Level::High if !was_high => {
                self.lines |= bit;
                self.edges |= bit;
            }
            Level::Low if was_high => {
                self.lines &= !bit;
                self.edges &= !bit;
            }
            Level::High | Level::Low => return false,
        }
        true
    }

    /// An edge that waits although its line is low again.
    pub(super) fn pulse(&mut self, bit: u8) {
        self.edges |= bit;
    }

    /// Whether an edge on this input would be news.
    #[inline]
    pub(super) fn listens(&self, bit: u8) -> bool {
        (self.mask | self.edges) & bit == 0
    }

    /// The interrupt request register. The cascade input follows the slave's output, so
    /// that a second request behind a served one is not lost for want of an edge.
    fn requests(&self) -> u8 {
        let level = self.level_triggered | self.cascade;
        (self.lines & level) | (self.edges & !level)
    }

    /// How far `bits`' most urgent level is from the top; 8 for none.
    fn rank(&self, bits: u8) -> u32 {
        let rotated = bits.rotate_right(u32::from(self.top));
        rotated.trailing_zeros()
    }

    fn level_of_rank(&self, rank: u32) -> u8 {
        (rank as u8).wrapping_add(self.top) & 7
    }

    /// The level that would be served next: unmasked, and more urgent than all in service.
    #[inline]
    pub(super) fn request(&self) -> Option<u8> {
        let wanted = self.requests() & !self.mask;
        if wanted == 0 {
            return None;
        }
        let rank = self.rank(wanted);
        let level = self.level_of_rank(rank);
        let served = self.rank(self.blocking());
        let nested = self.special_fully_nested && self.cascade & bit(level) != 0 && rank == served;
        (rank < served || nested).then_some(level)
    }

    /// The levels in service that hold others back: in special mask mode not the masked
    /// ones `["Special Mask Mode"]`.
    fn blocking(&self) -> u8 {
        if self.special_mask {
            self.service & !self.mask
        } else {
            self.service
        }
    }

    /// An INTA cycle.
    pub(super) fn acknowledge(&mut self) -> Acknowledged {
        let Some(level) = self.request() else {
            return Acknowledged::Nothing;
        };
        self.edges &= !bit(level);
        if !self.auto_end {
            self.service |= bit(level);
        } else if self.rotate_on_auto_end {
            self.make_lowest(level);
        }
        Acknowledged::Level(level)
    }

    /// An INTA cycle whose vector this chip puts on the bus.
    pub(super) fn acknowledge_vector(&mut self) -> Vector {
        match self.acknowledge() {
            Acknowledged::Level(level) => self.vector(level),
            Acknowledged::Nothing => self.vector(DEFAULT_LEVEL),
        }
    }

    pub(super) fn vector(&self, level: u8) -> Vector {
        Vector(self.base | level)
    }

    /// Whether the next read takes a request instead of showing a register.
    pub(super) fn polls(&self) -> bool {
        self.poll
    }

    pub(super) fn read(&mut self, register: Register) -> u8 {
        if self.poll {
            self.poll = false;
            return match self.acknowledge() {
                Acknowledged::Level(level) => 0x80 | level,
                Acknowledged::Nothing => 0,
            };
        }
        match register {
            Register::Data => self.mask,
            Register::Command if self.reads_service => self.service,
            Register::Command => self.requests(),
        }
    }

    pub(super) fn write(&mut self, register: Register, value: u8) {
        match register {
            Register::Data => self.write_data(value),
            Register::Command if value & 0x10 != 0 => self.initialize(Icw1(value)),
            Register::Command if value & 0x08 != 0 => self.choose_mode(value),
            Register::Command => self.end_or_rotate(value),
        }
    }

    /// ICW1: edges are forgotten, the mask is cleared, IR7 gets the lowest priority, and
    /// all ICW4 functions are off `["Initialization Command Words 1 and 2"]`.
    fn initialize(&mut self, icw1: Icw1) {
        *self = Self {
            lines: self.lines,
            level_triggered: self.level_triggered,
            mask: 0,
            sequence: Sequence::Icw2(icw1),
            ..Self::new(self.base, self.cascade)
        };
    }

    fn write_data(&mut self, value: u8) {
        match self.sequence {
            Sequence::Ready => self.mask = value,
            Sequence::Icw2(icw1) => {
                self.base = value & 0xf8;
                self.sequence = icw1.after_icw2();
            }
            Sequence::Icw3(icw1) => self.sequence = icw1.after_icw3(),
            Sequence::Icw4 => {
                self.auto_end = value & 0x02 != 0;
                self.special_fully_nested = value & 0x10 != 0;
                self.sequence = Sequence::Ready;
            }
        }
    }

    /// OCW3: special mask mode, poll, and what a read gives.
    fn choose_mode(&mut self, value: u8) {
        self.poll = value & 0x04 != 0;
        match value & 0x03 {
            2 => self.reads_service = false,
            3 => self.reads_service = true,
            _ => {}
        }
        match value & 0x60 {
            0x40 => self.special_mask = false,
            0x60 => self.special_mask = true,
            _ => {}
        }
    }

    /// OCW2: end of interrupt and rotation, by R, SL and EOI in bits 7 to 5.
    fn end_or_rotate(&mut self, value: u8) {
        let level = value & 7;
        match value >> 5 {
            0 => self.rotate_on_auto_end = false,
            1 => {
                self.end_most_urgent();
            }
            3 => self.service &= !bit(level),
            4 => self.rotate_on_auto_end = true,
            5 => {
                if let Some(ended) = self.end_most_urgent() {
                    self.make_lowest(ended);
                }
            }
            6 => self.make_lowest(level),
            7 => {
                self.service &= !bit(level);
                self.make_lowest(level);
            }
            _ => {} // 2 is no operation
        }
    }

    /// A non-specific end of interrupt; it passes over masked levels in special mask mode
    /// `["End of Interrupt"]`.
    fn end_most_urgent(&mut self) -> Option<u8> {
        let served = self.blocking();
        if served == 0 {
            return None;
        }
        let level = self.level_of_rank(self.rank(served));
        self.service &= !bit(level);
        Some(level)
    }

    fn make_lowest(&mut self, level: u8) {
        self.top = level.wrapping_add(1) & 7;
    }
}

fn bit(level: u8) -> u8 {
    1_u8.unbounded_shl(u32::from(level))
}
