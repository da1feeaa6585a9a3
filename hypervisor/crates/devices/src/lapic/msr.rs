//! The registers as MSRs 800h to 8FFh, in x2APIC mode.
//!
//! Owns which MSRs exist, and every rule whose breach is #GP
//! `[SDM 3A, "x2APIC Register Address Space" and "Reserved Bit Checking", ed. 085]`. Does not
//! own what a register does.

use core::ops::DerefMut;

use skerry_words::{ApicPage, MsrIndex, Tsc};

use super::base::Refused;
use super::register::{COMMAND, COMMAND_WIDE, CURRENT_COUNT, X2APIC_READ, X2APIC_WRITTEN, defined};
use super::{Action, LocalApic};

/// The register of an MSR; an offset that has none for every other MSR.
#[inline]
fn offset_of(msr: MsrIndex) -> u16 {
    let index = msr.0.wrapping_sub(0x800);
    u16::try_from(index).map_or(u16::MAX, |index| index.saturating_mul(16))
}

/// Whether RDMSR of this MSR in x2APIC mode gives just what is in the page at its register's
/// offset, so that the CPU may do it alone: all that can be read but the timer's current count.
#[must_use]
pub fn reads_from_page(msr: MsrIndex) -> bool {
    let offset = offset_of(msr);
    offset != CURRENT_COUNT && X2APIC_READ.has(offset)
}

impl<P: DerefMut<Target = ApicPage>> LocalApic<P> {
    /// RDMSR of 800h to 8FFh.
    ///
    /// # Errors
    ///
    /// [`Refused::Absent`] outside of x2APIC mode, and where nothing can be read.
    #[inline]
    pub fn msr_read(&mut self, msr: MsrIndex, now: Tsc) -> Result<u64, Refused> {
        let offset = offset_of(msr);
        if !self.is_x2apic() || !X2APIC_READ.has(offset) {
            return Err(Refused::Absent);
        }
        if offset == CURRENT_COUNT {
            return Ok(u64::from(self.current_count(now)));
        }
        // Behind every other register than the command register is 0.
        let high = u64::from(self.page.get(offset | 4)) << 32;
        Ok(high | u64::from(self.page.get(offset)))
    }

    /// WRMSR of 800h to 8FFh.
    ///
    /// # Errors
    ///
    /// [`Refused::Absent`] outside of x2APIC mode, and where nothing can be written;
    /// [`Refused::Reserved`] for a bit that must be 0, which for EOI and error status is any.
    /// Nothing has changed then.
    #[inline]
    pub fn msr_write(&mut self, msr: MsrIndex, value: u64, now: Tsc) -> Result<Action, Refused> {
        if self.is_x2apic() {
            self.msr_store(offset_of(msr), value, now)
        } else {
            Err(Refused::Absent)
        }
    }

    #[inline(never)]
    fn msr_store(&mut self, offset: u16, value: u64, now: Tsc) -> Result<Action, Refused> {
        if !X2APIC_WRITTEN.has(offset) {
            return Err(Refused::Absent);
        }
        let low = value as u32;
        let high = (value >> 32) as u32;
        if low & !defined(offset) != 0 {
            return Err(Refused::Reserved);
        }
        if offset == COMMAND {
            self.page.set(COMMAND_WIDE, high);
        } else if high != 0 {
            return Err(Refused::Reserved);
        }
        Ok(self.store(offset, low, now))
    }
}
