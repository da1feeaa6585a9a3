//! The receive side of a 16550A: one byte, or sixteen when the FIFOs are enabled.
//!
//! Owns the bytes and the FIFO control register. The transmit FIFO needs no model, as it is
//! always empty.

const CAPACITY: usize = 16;

mod fcr {
    pub(super) const ENABLE: u8 = 1 << 0;
    pub(super) const CLEAR_RECEIVED: u8 = 1 << 1;
    pub(super) const TRIGGER_SHIFT: u32 = 6;
}

/// The receiver's buffer.
#[derive(Clone, Debug)]
pub(super) struct Fifo {
    bytes: [u8; CAPACITY],
    first: usize,
    len: usize,
    /// 1, or 16 when enabled.
    capacity: usize,
    /// How many bytes raise the interrupt.
    trigger: usize,
    /// What reading an empty buffer gives: the byte read last.
    stale: u8,
}

impl Fifo {
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; CAPACITY],
            first: 0,
            len: 0,
            capacity: 1,
            trigger: 1,
            stale: 0,
        }
    }

    pub(super) fn enabled(&self) -> bool {
        self.capacity == CAPACITY
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn at_trigger(&self) -> bool {
        self.len >= self.trigger
    }

    /// A write to FCR. Turning the FIFOs on or off clears them; the other bits count only
    /// while bit 0 is set `["FIFO Control Register"]`.
    pub(super) fn control(&mut self, value: u8) {
        let enable = value & fcr::ENABLE != 0;
        if enable != self.enabled() || (enable && value & fcr::CLEAR_RECEIVED != 0) {
            self.len = 0;
        }
        self.capacity = if enable { CAPACITY } else { 1 };
        self.trigger = match (enable, value >> fcr::TRIGGER_SHIFT) {
            (false, _) | (true, 0) => 1,
            (true, 1) => 4,
            (true, 2) => 8,
            (true, _) => 14,
        };
    }

    /// Adds a byte; `false` if there is no room and it is lost.
    pub(super) fn push(&mut self, byte: u8) -> bool {
        if self.len >= self.capacity {
            return false;
        }
        let at = self.first.wrapping_add(self.len) & CAPACITY.wrapping_sub(1);
        if let Some(slot) = self.bytes.get_mut(at) {
            *slot = byte;
        }
        self.len = self.len.wrapping_add(1);
        true
    }

    /// A byte for which there was no room: without FIFOs it replaces the one that waits,
    /// with them it is lost `["Line Status Register", bit 1]`.
    pub(super) fn overrun(&mut self, byte: u8) {
        if !self.enabled()
            && let Some(slot) = self.bytes.get_mut(self.first)
        {
            *slot = byte;
        }
    }

    /// Takes the oldest byte.
    pub(super) fn pop(&mut self) -> u8 {
        if self.len > 0 {
            self.stale = self.bytes.get(self.first).copied().unwrap_or(0);
            self.first = self.first.wrapping_add(1) & CAPACITY.wrapping_sub(1);
            self.len = self.len.wrapping_sub(1);
        }
        self.stale
    }
}
