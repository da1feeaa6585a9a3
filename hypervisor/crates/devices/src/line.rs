//! Interrupt lines between a device and the interrupt controllers.
//!
//! Owns the names of the lines as PCs wire them, and the two levels of a wire. Does not own
//! what moves them: [`crate::Platform`] does.

use crate::ioapic::Pin;

/// The level of a wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    Low,
    High,
}

impl From<bool> for Level {
    #[inline]
    fn from(high: bool) -> Self {
        if high { Self::High } else { Self::Low }
    }
}

/// An input of the pair of interrupt controllers, 0 to 15.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IrqLine(pub(crate) u8);

impl IrqLine {
    /// Channel 0 of the timer.
    pub(crate) const TIMER: Self = Self(0);
    /// The keyboard's output buffer.
    pub(crate) const KEYBOARD: Self = Self(1);
    /// The second serial port.
    pub(crate) const COM2: Self = Self(3);
    /// The first serial port.
    pub(crate) const COM1: Self = Self(4);
    /// The real-time clock.
    pub(crate) const RTC: Self = Self(8);
    /// The mouse's output buffer.
    pub(crate) const MOUSE: Self = Self(12);

    /// The I/O APIC's pin on the same wire. The timer's is pin 2, as PCs have it and the
    /// loader's MADT tells: IRQ2 is the cascade, which leaves that pin free.
    #[inline]
    pub(crate) fn pin(self) -> Pin {
        if self == Self::TIMER {
            Pin(2)
        } else {
            Pin(self.0)
        }
    }

    /// The line on the same wire as a pin of the I/O APIC. Pin 0 and those from 16 on have
    /// none.
    pub(crate) fn at(pin: Pin) -> Option<Self> {
        match pin.0 {
            2 => Some(Self::TIMER),
            1..=15 => Some(Self(pin.0)),
            _ => None,
        }
    }
}
