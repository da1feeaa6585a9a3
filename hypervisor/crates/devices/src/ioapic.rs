//! The I/O APIC: 24 pins, each turned into messages by its entry of the redirection table.
//!
//! Owns the registers, the levels of the pins, and which pins have a message to send; a pin
//! has one at most, so nothing queues. Does not own the lines (`platform.rs` wires them), nor
//! where a message goes.
//!
//! After `[Intel 82093AA (IOAPIC), order 290566-001]`, with the EOI register of its
//! successors `[Intel 82801DB (ICH4), "EOIR-EOI Register", order 290744-001]`. As there:
//! an edge on a masked pin is lost; a level is looked at again when its pin is unmasked and
//! at each end of interrupt. Remote IRR is set when a message is taken, whether or not a
//! local APIC accepts it, and also cleared by programming the pin as edge-triggered.
//! Not modelled: the serial APIC bus, whose arbitration ID just follows the ID.

mod entry;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;

use skerry_words::Vector;

use crate::line::Level;
use crate::message::{Message, Trigger};
use entry::{Entry, low};

/// Pins 0 to 23.
pub(crate) const PINS: usize = 24;

/// Version 20h: there is an EOI register. The highest entry is number 23.
const VERSION: u32 = 0x0017_0020;
const ID_SHIFT: u32 = 24;
const ID_MASK: u8 = 0xf;

/// Indirect registers, by what IOREGSEL holds; the table starts at 10h.
mod index {
    pub(super) const ID: u8 = 0x00;
    pub(super) const VERSION: u8 = 0x01;
    pub(super) const ARBITRATION: u8 = 0x02;
    pub(super) const TABLE: u8 = 0x10;
}

/// A pin, 0 to 23. Higher numbers are no pin: nothing comes of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pin(pub(crate) u8);

impl Pin {
    #[inline]
    fn bit(self) -> u32 {
        1_u32.unbounded_shl(u32::from(self.0)) & ALL
    }
}

/// A bit for each pin.
const ALL: u32 = 0x00ff_ffff;

/// Half of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Half {
    Low,
    High,
}

/// The chip. Each `u32` below has a bit for each pin.
#[derive(Clone, Debug)]
pub(crate) struct Ioapic {
    /// Lines that are high.
    high: u32,
    /// Edges that wait to be sent.
    edges: u32,
    /// Level-triggered pins that wait for their end of interrupt.
    remote_irr: u32,
    /// Pins that may send: neither masked nor of a reserved delivery mode.
    enabled: u32,
    /// Pins that are level-triggered.
    level: u32,
    /// Pins that are active when low.
    active_low: u32,
    select: u8,
    id: u8,
    table: [Entry; PINS],
    level_vectors: [u64; 4],
    /// Counts the changes of `level_vectors`.
    level_vectors_version: u32,
}

impl Ioapic {
    /// As after reset: every pin masked.
    pub(crate) fn new() -> Self {
        Self {
            high: 0,
            edges: 0,
            remote_irr: 0,
            enabled: 0,
            level: 0,
            active_low: 0,
            select: 0,
            id: 0,
            table: [Entry::new(); PINS],
            level_vectors: [0; 4],
            level_vectors_version: 0,
        }
    }

    /// Pins with a message to send.
    #[inline]
    fn waiting(&self) -> u32 {
        let active = self.high ^ self.active_low;
        self.edges | (active & self.level & self.enabled & !self.remote_irr)
    }

    /// Whether a message waits.
    #[inline]
    pub(crate) fn has_messages(&self) -> bool {
        self.waiting() != 0
    }

    /// Whether a pulse on `pin` would make a message that does not wait already.
    #[inline]
    pub(crate) fn listens(&self, pin: Pin) -> bool {
        self.enabled & !self.remote_irr & !self.waiting() & pin.bit() != 0
    }

    /// Moves a line.
    #[inline]
    pub(crate) fn set_line(&mut self, pin: Pin, level: Level) {
        let bit = pin.bit();
        let high = match level {
            Level::Low => self.high & !bit,
            Level::High => self.high | bit,
        };
        let moved = self.high ^ high;
        self.high = high;
        let active = high ^ self.active_low;
        self.edges |= moved & active & self.enabled & !self.level;
    }

    /// A short pulse on a line, for edges whose wire is low again before anybody looks.
    pub(crate) fn pulse(&mut self, pin: Pin) {
        self.edges |= pin.bit() & self.enabled & !self.remote_irr;
    }

    /// Takes the message of the lowest pin that has one.
    pub(crate) fn take_message(&mut self) -> Option<Message> {
        let pin = Pin(self.waiting().trailing_zeros() as u8);
        let message = self.table.get(usize::from(pin.0))?.message()?;
        self.edges &= !pin.bit();
        match message.trigger {
            Trigger::Edge => {}
            Trigger::Level => self.remote_irr |= pin.bit(),
        }
        Some(message)
    }

    /// A local APIC, or a write to the EOI register, ends a level-triggered interrupt: every
    /// pin of that vector is looked at again.
    pub(crate) fn end_of_interrupt(&mut self, vector: Vector) {
        let mut rest = self.remote_irr;
        while rest != 0 {
            let pin = Pin(rest.trailing_zeros() as u8);
            rest &= !pin.bit();
            let entry = self.table.get(usize::from(pin.0));
            if entry.is_some_and(|entry| entry.vector() == vector) {
                self.remote_irr &= !pin.bit();
            }
        }
    }

    /// The vectors of level-triggered pins, bit 0 of the first word being vector 0. Masked
    /// pins count as well: a guest may mask a pin between an interrupt and its end.
    pub(crate) fn level_vectors(&self) -> [u64; 4] {
        self.level_vectors
    }

    /// Another number after each change of [`Self::level_vectors`].
    #[inline]
    pub(crate) fn level_vectors_version(&self) -> u32 {
        self.level_vectors_version
    }

    /// IOREGSEL.
    pub(crate) fn select(&mut self, index: u8) {
        self.select = index;
    }

    /// IOREGSEL.
    pub(crate) fn selected(&self) -> u8 {
        self.select
    }

    /// IOWIN: the selected register; those that do not exist give zeros.
    pub(crate) fn read(&self) -> u32 {
        match self.select {
            index::ID | index::ARBITRATION => u32::from(self.id) << ID_SHIFT,
            index::VERSION => VERSION,
            select => match Self::place(select) {
                Some((pin, half)) => self.read_entry(pin, half),
                None => 0,
            },
        }
    }

    /// IOWIN: the selected register; the version, the arbitration ID and registers that do
    /// not exist take nothing.
    pub(crate) fn write(&mut self, value: u32) {
        match self.select {
            index::ID => self.id = (value >> ID_SHIFT) as u8 & ID_MASK,
            index::VERSION | index::ARBITRATION => {}
            select => {
                if let Some((pin, half)) = Self::place(select) {
                    self.write_entry(pin, half, value);
                }
            }
        }
    }

    /// Which half of which pin's entry an index selects.
    fn place(select: u8) -> Option<(Pin, Half)> {
        let offset = select.checked_sub(index::TABLE)?;
        let half = if offset & 1 == 0 {
            Half::Low
        } else {
            Half::High
        };
        Some((Pin(offset >> 1), half))
    }

    fn read_entry(&self, pin: Pin, half: Half) -> u32 {
        let Some(entry) = self.table.get(usize::from(pin.0)) else {
            return 0;
        };
        let flag = |pins: u32, flag: u32| if pins & pin.bit() == 0 { 0 } else { flag };
        match half {
            Half::High => entry.high(),
            Half::Low => {
                entry.low()
                    | flag(self.waiting(), low::DELIVERY_STATUS)
                    | flag(self.remote_irr, low::REMOTE_IRR)
            }
        }
    }

    fn write_entry(&mut self, pin: Pin, half: Half, value: u32) {
        let Some(entry) = self.table.get_mut(usize::from(pin.0)) else {
            return;
        };
        match half {
            Half::High => entry.set_high(value),
            Half::Low => {
                entry.set_low(value);
                let entry = *entry;
                self.learn(pin, entry);
            }
        }
    }

    /// Takes what an entry's lower word says into the bits of its pin.
    fn learn(&mut self, pin: Pin, entry: Entry) {
        let put = |pins: &mut u32, set: bool| {
            *pins = if set {
                *pins | pin.bit()
            } else {
                *pins & !pin.bit()
            };
        };
        let level = self.level;
        put(&mut self.enabled, entry.message().is_some());
        put(&mut self.level, entry.trigger() == Trigger::Level);
        put(&mut self.active_low, entry.active() == Level::Low);
        // What waits is withdrawn where its pin is masked or its trigger changed.
        self.edges &= self.enabled & !(level ^ self.level);
        self.remote_irr &= self.level;
        self.refresh_level_vectors();
    }

    fn refresh_level_vectors(&mut self) {
        let mut vectors = [0; 4];
        for entry in &self.table {
            if entry.trigger() == Trigger::Level {
                let vector = entry.vector().0;
                if let Some(word) = vectors.get_mut(usize::from(vector >> 6)) {
                    *word |= 1_u64.unbounded_shl(u32::from(vector & 63));
                }
            }
        }
        if vectors != self.level_vectors {
            self.level_vectors = vectors;
            self.level_vectors_version = self.level_vectors_version.wrapping_add(1);
        }
    }
}
