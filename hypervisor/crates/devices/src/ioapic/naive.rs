//! The I/O APIC pin by pin, as its data sheet tells it: the model to compare with.
//!
//! Every pin keeps its whole 64-bit entry as the guest would read it and a few flags; every
//! question is answered by looking at all pins. Used by the tests only.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::line::Level;
use std::vec::Vec;

/// One pin.
#[derive(Clone, Copy, Default)]
struct Pin {
    /// The entry, remote IRR (bit 14) included, delivery status (bit 12) not.
    entry: u64,
    line_high: bool,
    edge_waits: bool,
}

impl Pin {
    fn field(&self, bit: u32, width: u32) -> u64 {
        self.entry >> bit & ((1 << width) - 1)
    }

    fn can_send(&self) -> bool {
        self.field(16, 1) == 0 && ![3, 6].contains(&self.field(8, 3))
    }

    fn is_level(&self) -> bool {
        self.field(15, 1) == 1 && self.field(8, 3) <= 1
    }

    fn active(&self) -> bool {
        self.line_high == (self.field(13, 1) == 0)
    }

    fn waits(&self) -> bool {
        let by_level = self.is_level() && self.active() && self.field(14, 1) == 0;
        self.can_send() && (self.edge_waits || by_level)
    }
}

/// The whole chip.
pub(super) struct Naive {
    pins: Vec<Pin>,
    select: u8,
    id: u32,
}

/// A message as the bits of its entry that matter, with the pin.
#[derive(PartialEq, Debug)]
pub(super) struct Sent {
    pub(super) pin: u8,
    pub(super) vector: u8,
    pub(super) mode: u8,
    pub(super) logical: bool,
    pub(super) level: bool,
    pub(super) destination: u8,
}

impl Naive {
    pub(super) fn new() -> Self {
        let masked = Pin {
            entry: 1 << 16,
            ..Pin::default()
        };
        Self {
            pins: std::vec![masked; 24],
            select: 0,
            id: 0,
        }
    }

    pub(super) fn set_line(&mut self, pin: u8, level: Level) {
        let pin = &mut self.pins[usize::from(pin)];
        let was_active = pin.active();
        pin.line_high = level == Level::High;
        if !was_active && pin.active() && pin.can_send() && !pin.is_level() {
            pin.edge_waits = true;
        }
    }

    pub(super) fn pulse(&mut self, pin: u8) {
        let pin = &mut self.pins[usize::from(pin)];
        if pin.can_send() && pin.field(14, 1) == 0 {
            pin.edge_waits = true;
        }
    }

    pub(super) fn has_messages(&self) -> bool {
        self.pins.iter().any(Pin::waits)
    }

    pub(super) fn take(&mut self) -> Option<Sent> {
        let number = self.pins.iter().position(Pin::waits)?;
        let pin = &mut self.pins[number];
        pin.edge_waits = false;
        if pin.is_level() {
            pin.entry |= 1 << 14;
        }
        Some(Sent {
            pin: number as u8,
            vector: pin.field(0, 8) as u8,
            mode: pin.field(8, 3) as u8,
            logical: pin.field(11, 1) == 1,
            level: pin.is_level(),
            destination: pin.field(56, 8) as u8,
        })
    }

    pub(super) fn end_of_interrupt(&mut self, vector: u8) {
        for pin in &mut self.pins {
            if pin.field(0, 8) == u64::from(vector) {
                pin.entry &= !(1 << 14);
            }
        }
    }

    pub(super) fn select(&mut self, index: u8) {
        self.select = index;
    }

    pub(super) fn read(&self) -> u32 {
        match self.select {
            0 | 2 => self.id,
            1 => 0x0017_0020,
            select @ 0x10..0x40 => {
                let pin = self.pins[usize::from(select - 0x10) / 2];
                let whole = pin.entry | u64::from(pin.waits()) << 12;
                (whole >> (32 * (select & 1))) as u32
            }
            _ => 0,
        }
    }

    pub(super) fn write(&mut self, value: u32) {
        match self.select {
            0 => self.id = value & 0x0f00_0000,
            select @ 0x10..0x40 => {
                let pin = &mut self.pins[usize::from(select - 0x10) / 2];
                let was_level = pin.is_level();
                let (shift, writable) = if select & 1 == 0 {
                    (0, 0x0001_afff)
                } else {
                    (32, 0xff00_0000)
                };
                pin.entry &= !(u64::from(writable) << shift);
                pin.entry |= u64::from(value & writable) << shift;
                if !pin.is_level() {
                    pin.entry &= !(1 << 14);
                }
                if !pin.can_send() || was_level != pin.is_level() {
                    pin.edge_waits = false;
                }
            }
            _ => {}
        }
    }

    pub(super) fn is_level_vector(&self, vector: u8) -> bool {
        let mut level = self.pins.iter().filter(|pin| pin.is_level());
        level.any(|pin| pin.field(0, 8) == u64::from(vector))
    }
}
