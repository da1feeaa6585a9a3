//! What can be injected into a guest, as plain data.
//!
//! The encoding is the one both vendors share: vector in bits 7:0, type in bits 10:8,
//! error-code-valid in bit 11, valid in bit 31, error code in bits 63:32
//! `[APM 2, "Event Injection", rev. 3.42; SDM 3C, "VM-Entry Controls for Event Injection",
//! ed. 085]`.

use crate::Vector;

/// The kind of an event, with the vendors' common numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// A maskable interrupt from a device.
    Interrupt,
    /// A non-maskable interrupt.
    Nmi,
    /// A fault, trap or abort of the CPU.
    Exception,
    /// An `INT n` instruction.
    SoftwareInterrupt,
    /// `INT1` (ICEBP), VT-x only.
    PrivilegedSoftwareException,
    /// `INT3` or `INTO`, VT-x only.
    SoftwareException,
}

impl EventKind {
    const fn code(self) -> u64 {
        match self {
            Self::Interrupt => 0,
            Self::Nmi => 2,
            Self::Exception => 3,
            Self::SoftwareInterrupt => 4,
            Self::PrivilegedSoftwareException => 5,
            Self::SoftwareException => 6,
        }
    }

    const fn from_code(code: u64) -> Option<Self> {
        match code {
            0 => Some(Self::Interrupt),
            2 => Some(Self::Nmi),
            3 => Some(Self::Exception),
            4 => Some(Self::SoftwareInterrupt),
            5 => Some(Self::PrivilegedSoftwareException),
            6 => Some(Self::SoftwareException),
            _ => None,
        }
    }
}

/// One event to deliver to a guest, or one that was under way when it exited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// What kind it is.
    pub kind: EventKind,
    /// Its vector.
    pub vector: Vector,
    /// The error code pushed with it, for the exceptions that have one.
    pub error_code: Option<u32>,
}

/// An [`Event`], or none, in one word of the shared page.
///
/// A word and no enum, because whoever writes the page is not trusted by whoever reads
/// it: any 64 bits are a valid `EventWord`, and [`EventWord::decode`] judges them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct EventWord(pub u64);

impl EventWord {
    /// No event.
    pub const NONE: Self = Self(0);
    const VALID: u64 = 1 << 31;
    const ERROR_CODE: u64 = 1 << 11;

    /// The word for `event`.
    #[must_use]
    pub const fn encode(event: Event) -> Self {
        let base = event.vector.0 as u64 | (event.kind.code() << 8) | Self::VALID;
        match event.error_code {
            Some(code) => Self(base | Self::ERROR_CODE | ((code as u64) << 32)),
            None => Self(base),
        }
    }

    /// Whether the word holds an event.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.0 & Self::VALID != 0
    }

    /// The event, or `None` for no event or a reserved type.
    #[must_use]
    pub const fn decode(self) -> Option<Event> {
        if !self.is_some() {
            return None;
        }
        let Some(kind) = EventKind::from_code((self.0 >> 8) & 7) else {
            return None;
        };
        let error_code = if self.0 & Self::ERROR_CODE != 0 {
            Some((self.0 >> 32) as u32)
        } else {
            None
        };
        Some(Event {
            kind,
            vector: Vector(self.0 as u8),
            error_code,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_fault_with_error_code_has_the_architectural_encoding() {
        let fault = Event {
            kind: EventKind::Exception,
            vector: Vector(14),
            error_code: Some(0x1f),
        };
        assert_eq!(EventWord::encode(fault).0, 0x0000_001f_8000_0b0e);
        assert_eq!(EventWord::encode(fault).decode(), Some(fault));
    }

    #[test]
    fn the_zero_word_and_reserved_types_hold_no_event() {
        assert_eq!(EventWord::NONE.decode(), None);
        assert_eq!(EventWord(0x8000_0100).decode(), None);
        assert_eq!(EventWord(0x8000_0700).decode(), None);
    }
}
