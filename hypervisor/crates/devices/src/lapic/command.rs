//! The interrupt command register: what a vCPU sends to others and to itself.
//!
//! Owns the decoding of a command into an [`Ipi`] `[SDM 3A, "Interrupt Command Register
//! (ICR)" and "Self IPI Register", ed. 085]`. Does not own who is meant ([`super::route`])
//! nor what the receiver does. A command is always sent at once, so its delivery status is
//! always idle.

use core::ops::DerefMut;

use skerry_words::{ApicPage, Vector};

use super::register::{self, COMMAND, COMMAND_HIGH, COMMAND_WIDE};
use super::{Action, Destination, DestinationMode, LocalApic, Trigger, error};

const LOGICAL: u32 = 1 << 11;
const ASSERT: u32 = 1 << 14;
const LEVEL_TRIGGERED: u32 = 1 << 15;

/// What a message does to its receivers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IpiMode {
    /// Interrupts each with this vector, 16 to 255: [`LocalApic::accept`].
    Fixed(Vector),
    /// Interrupts the least busy of them with this vector, 16 to 255.
    LowestPriority(Vector),
    /// A system-management interrupt.
    Smi,
    /// A non-maskable interrupt.
    Nmi,
    /// INIT.
    Init,
    /// Starts those that wait for it in real mode at this page number, 0 to 255.
    StartUp(Vector),
}

/// Whom a message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recipients {
    /// Whoever feels addressed: [`LocalApic::is_addressed`].
    Addressed(Destination),
    /// The sender.
    Sender,
    /// Every APIC, the sender's too.
    All,
    /// Every APIC but the sender's.
    Others,
}

/// A message from one APIC to some; those of an I/O APIC and of MSIs have the same form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipi {
    /// What it does.
    pub mode: IpiMode,
    /// Whom it is for.
    pub to: Recipients,
}

impl<P: DerefMut<Target = ApicPage>> LocalApic<P> {
    /// A write to the low half of the command register: sends it, with the high half as it
    /// stands.
    ///
    /// INIT level de-assert has no effect, as on every CPU since the Pentium 4, and reserved
    /// delivery modes have none. To oneself everything can be sent, not only what the manual
    /// calls valid; a fixed interrupt arrives at once.
    pub(super) fn send(&mut self, command: u32) -> Action {
        let command = command & register::kept(COMMAND);
        self.page.set(COMMAND, command);
        let Some(mode) = mode_of(command) else {
            return Action::None;
        };
        let to = match command >> 18 & 3 {
            0 => Recipients::Addressed(self.destination(command)),
            1 => Recipients::Sender,
            2 => Recipients::All,
            _ => Recipients::Others,
        };
        match (mode, to) {
            (IpiMode::Fixed(Vector(0..=15)) | IpiMode::LowestPriority(Vector(0..=15)), _) => {
                self.detect(error::SENT_ILLEGAL_VECTOR);
                Action::None
            }
            (IpiMode::Fixed(vector), Recipients::Sender) => {
                self.accept(vector, Trigger::Edge);
                Action::None
            }
            _ => Action::Ipi(Ipi { mode, to }),
        }
    }

    /// The high half of the command register, in either mode's form.
    fn destination(&self, command: u32) -> Destination {
        let mode = if command & LOGICAL == 0 {
            DestinationMode::Physical
        } else {
            DestinationMode::Logical
        };
        if self.is_x2apic() {
            let id = self.page.get(COMMAND_WIDE);
            Destination { mode, id }
        } else {
            Destination::from_byte(mode, (self.page.get(COMMAND_HIGH) >> 24) as u8)
        }
    }

    /// A write to the self IPI register.
    #[inline]
    pub fn send_self(&mut self, vector: Vector) {
        if vector.0 < 16 {
            self.detect(error::SENT_ILLEGAL_VECTOR);
        } else {
            self.accept(vector, Trigger::Edge);
        }
    }
}

fn mode_of(command: u32) -> Option<IpiMode> {
    let vector = Vector(command as u8);
    match command >> 8 & 7 {
        0 => Some(IpiMode::Fixed(vector)),
        1 => Some(IpiMode::LowestPriority(vector)),
        2 => Some(IpiMode::Smi),
        4 => Some(IpiMode::Nmi),
        5 if command & (LEVEL_TRIGGERED | ASSERT) == LEVEL_TRIGGERED => None,
        5 => Some(IpiMode::Init),
        6 => Some(IpiMode::StartUp(vector)),
        _ => None,
    }
}
