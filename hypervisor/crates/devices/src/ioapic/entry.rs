//! One entry of the redirection table.
//!
//! Owns the layout of its writable bits and what they mean. Remote IRR and delivery status
//! are state of the pin, not of the entry: [`super::Ioapic`] has them.

use skerry_words::Vector;

use crate::line::Level;
use crate::message::{DeliveryMode, DestinationMode, Message, Trigger};

/// Bits of the lower word `["I/O Redirection Table Registers"]`.
pub(super) mod low {
    pub(in crate::ioapic) const DELIVERY_STATUS: u32 = 1 << 12;
    pub(in crate::ioapic) const REMOTE_IRR: u32 = 1 << 14;
    pub(super) const VECTOR: u32 = 0xff;
    pub(super) const MODE_SHIFT: u32 = 8;
    pub(super) const LOGICAL: u32 = 1 << 11;
    pub(super) const ACTIVE_LOW: u32 = 1 << 13;
    pub(super) const LEVEL: u32 = 1 << 15;
    pub(super) const MASKED: u32 = 1 << 16;
    /// What software can write.
    pub(super) const WRITABLE: u32 = 0x0001_afff;
}

/// The destination's place in the upper word.
const DESTINATION_SHIFT: u32 = 24;

/// One entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    low: u32,
    destination: u8,
}

impl Entry {
    /// As after reset: masked.
    pub(super) const fn new() -> Self {
        Self {
            low: low::MASKED,
            destination: 0,
        }
    }

    /// The lower word without the state of the pin.
    pub(super) fn low(self) -> u32 {
        self.low
    }

    pub(super) fn set_low(&mut self, value: u32) {
        self.low = value & low::WRITABLE;
    }

    /// The upper word.
    pub(super) fn high(self) -> u32 {
        u32::from(self.destination) << DESTINATION_SHIFT
    }

    pub(super) fn set_high(&mut self, value: u32) {
        self.destination = (value >> DESTINATION_SHIFT) as u8;
    }

    pub(super) fn vector(self) -> Vector {
        Vector((self.low & low::VECTOR) as u8)
    }

    /// The level at which the line is active.
    pub(super) fn active(self) -> Level {
        Level::from(self.low & low::ACTIVE_LOW == 0)
    }

    /// The delivery mode, if it is one of those that exist.
    fn mode(self) -> Option<DeliveryMode> {
        match self.low >> low::MODE_SHIFT & 7 {
            0 => Some(DeliveryMode::Fixed),
            1 => Some(DeliveryMode::LowestPriority),
            2 => Some(DeliveryMode::Smi),
            4 => Some(DeliveryMode::Nmi),
            5 => Some(DeliveryMode::Init),
            7 => Some(DeliveryMode::ExtInt),
            _ => None,
        }
    }

    /// How the pin triggers. All but the two modes with a vector of their own are edges
    /// whatever the entry says `["Delivery Mode"]`.
    pub(super) fn trigger(self) -> Trigger {
        match self.mode() {
            Some(DeliveryMode::Fixed | DeliveryMode::LowestPriority)
                if self.low & low::LEVEL != 0 =>
            {
                Trigger::Level
            }
            _ => Trigger::Edge,
        }
    }

    /// The message of this pin; `None` if the pin is masked or its delivery mode reserved.
    pub(super) fn message(self) -> Option<Message> {
        if self.low & low::MASKED != 0 {
            return None;
        }
        Some(Message {
            vector: self.vector(),
            mode: self.mode()?,
            destination: self.destination,
            destination_mode: if self.low & low::LOGICAL == 0 {
                DestinationMode::Physical
            } else {
                DestinationMode::Logical
            },
            trigger: self.trigger(),
        })
    }
}
