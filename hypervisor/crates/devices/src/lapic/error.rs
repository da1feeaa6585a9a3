//! The error status register and the error interrupt.
//!
//! Owns the errors seen since the guest last wrote the register, which is what makes them
//! visible in it `[SDM 3A, "Error Handling", ed. 085]`. Does not own their causes.

use core::ops::DerefMut;

use skerry_words::{ApicPage, Vector};

use super::lvt::MASKED;
use super::register::{ERROR_STATUS, LVT_ERROR};
use super::{LocalApic, Trigger};

/// A command or a self IPI named a vector below 16.
pub(super) const SENT_ILLEGAL_VECTOR: u32 = 1 << 5;
/// An interrupt arrived with a vector below 16.
pub(super) const RECEIVED_ILLEGAL_VECTOR: u32 = 1 << 6;
/// xAPIC mode has no register there.
pub(super) const ILLEGAL_REGISTER: u32 = 1 << 7;

impl<P: DerefMut<Target = ApicPage>> LocalApic<P> {
    /// Notes an error. The first one since the register was written raises the error
    /// interrupt; writing the register arms it again.
    #[inline(never)]
    pub(super) fn detect(&mut self, error: u32) {
        let first = self.errors == 0;
        self.errors |= error;
        let lvt = self.page.get(LVT_ERROR);
        if first && lvt & MASKED == 0 {
            self.accept(Vector(lvt as u8), Trigger::Edge);
        }
    }

    /// A write to the register, whatever the value: the errors so far become readable.
    pub(super) fn latch_errors(&mut self) {
        self.page.set(ERROR_STATUS, self.errors);
        self.errors = 0;
    }
}
