//! 256 vectors in eight registers of the page, and a summary of which are not empty.
//!
//! Owns finding, setting and clearing a vector in one of the three banks (in service, trigger
//! mode, request). Does not own what a vector's place there means. `priority` calls it.

use skerry_words::ApicPage;

/// Which of a bank's eight registers have a bit set, bit 0 for vectors 0 to 31.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Summary(u8);

impl Summary {
    /// Nothing is set.
    pub(super) const EMPTY: Self = Self(0);

    /// What the bank at `bank` holds.
    pub(super) fn scan(page: &ApicPage, bank: u16) -> Self {
        Self((0..8_u16).fold(0, |bits, register| {
            let bit = u8::from(page.get(bank | register << 4) != 0);
            bits | bit.unbounded_shl(u32::from(register))
        }))
    }

    #[inline]
    fn register(vector: u8) -> u8 {
        1_u8.unbounded_shl(u32::from(vector >> 5))
    }

    /// Sets `vector` in the bank.
    #[inline]
    pub(super) fn set(&mut self, page: &mut ApicPage, bank: u16, vector: u8) {
        self.0 |= Self::register(vector);
        let (at, bit) = place(bank, vector);
        page.set(at, page.get(at) | bit);
    }

    /// Clears `vector` in the bank.
    #[inline]
    pub(super) fn clear(&mut self, page: &mut ApicPage, bank: u16, vector: u8) {
        let (at, bit) = place(bank, vector);
        let left = page.get(at) & !bit;
        page.set(at, left);
        if left == 0 {
            self.0 &= !Self::register(vector);
        }
    }

    /// The highest vector set in the bank; 0 if none is, as no bank ever holds vector 0.
    #[inline]
    pub(super) fn highest(self, page: &ApicPage, bank: u16) -> u8 {
        let Some(register) = self.0.checked_ilog2() else {
            return 0;
        };
        // A bit more at the low end, so that there is one: it never changes the highest.
        let word = page.get(bank | (register as u16) << 4) | 1;
        (register << 5 | word.ilog2()) as u8
    }
}

/// The register and the bit of a vector.
#[inline]
fn place(bank: u16, vector: u8) -> (u16, u32) {
    let bit = 1_u32.unbounded_shl(u32::from(vector & 31));
    (bank | u16::from(vector >> 5) << 4, bit)
}

/// Whether `vector` is set in the bank.
#[inline]
pub(super) fn has(page: &ApicPage, bank: u16, vector: u8) -> bool {
    let (at, bit) = place(bank, vector);
    page.get(at) & bit != 0
}

/// Turns `vector` over in the bank.
pub(super) fn toggle(page: &mut ApicPage, bank: u16, vector: u8) {
    let (at, bit) = place(bank, vector);
    page.set(at, page.get(at) ^ bit);
}
