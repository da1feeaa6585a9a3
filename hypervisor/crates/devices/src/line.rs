//! Interrupt lines between a device and the interrupt controllers.
//!
//! Owns the names of the lines as PCs wire them, and the two levels of a wire.

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
}
