//! What the I/O APIC sends to local APICs: one interrupt each.
//!
//! Owns the words of such a message, as the redirection table has them. Does not own who it
//! reaches: the VMM takes messages from [`crate::Platform`] and hands them to the local APICs
//! of the vCPUs they are meant for.

use skerry_words::Vector;

use crate::lapic::{Destination, Ipi, IpiMode, Recipients};
pub use crate::lapic::{DestinationMode, Trigger};

/// An interrupt on its way to one or more local APICs
/// `[Intel 82093AA (IOAPIC), "I/O Redirection Table Registers", order 290566-001]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// The vector, any of 0 to 255: those below 16 are the local APIC's to refuse.
    pub vector: Vector,
    /// What the receivers do with it.
    pub mode: DeliveryMode,
    /// The receivers: an APIC ID or a set of logical ones.
    pub destination: u8,
    /// How `destination` is meant.
    pub destination_mode: DestinationMode,
    /// How it was triggered. A level-triggered interrupt's end must be told to
    /// [`crate::Platform::end_of_interrupt`].
    pub trigger: Trigger,
}

/// What a local APIC does with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveryMode {
    /// Every receiver takes the vector.
    Fixed,
    /// The receiver of the lowest priority takes the vector.
    LowestPriority,
    /// A system-management interrupt.
    Smi,
    /// A non-maskable interrupt.
    Nmi,
    /// INIT.
    Init,
    /// The vector comes from the 8259 pair.
    ExtInt,
}

impl Message {
    /// The same as a local APIC sends it; `None` for the 8259 pair's, which has a wire of its own.
    #[must_use]
    pub fn ipi(self) -> Option<Ipi> {
        let mode = match self.mode {
            DeliveryMode::Fixed => IpiMode::Fixed(self.vector),
            DeliveryMode::LowestPriority => IpiMode::LowestPriority(self.vector),
            DeliveryMode::Smi => IpiMode::Smi,
            DeliveryMode::Nmi => IpiMode::Nmi,
            DeliveryMode::Init => IpiMode::Init,
            DeliveryMode::ExtInt => return None,
        };
        let to = Destination::from_byte(self.destination_mode, self.destination);
        Some(Ipi {
            mode,
            to: Recipients::Addressed(to),
        })
    }
}
