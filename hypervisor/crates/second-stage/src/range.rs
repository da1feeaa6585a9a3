//! Mapping a contiguous range with the largest pages that fit.
//!
//! Owns the choice of page sizes. Called when a VM's memory is given at once, and by the
//! first-touch path to learn which page to back.

use crate::{Format, Leaf, MapError, MemoryType, PageSize, Rights, SecondStage, TableMemory};
use skerry_words::{Gpa, Hpa, PAGE_BYTES};

/// Guest addresses `gpa .. gpa + bytes` on host addresses `hpa ..`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// First guest byte, a multiple of 4096.
    pub gpa: Gpa,
    /// First host byte, a multiple of 4096.
    pub hpa: Hpa,
    /// Length, a multiple of 4096.
    pub bytes: u64,
    /// What the guest may do.
    pub rights: Rights,
    /// How it is cached.
    pub memory_type: MemoryType,
}

impl Range {
    /// The largest page, up to `max`, that can start the range; 4 KiB if none fits.
    #[must_use]
    pub fn first_page(&self, max: PageSize) -> PageSize {
        let fits = |size: &PageSize| {
            *size <= max
                && self.bytes >= size.bytes()
                && self.gpa.is_aligned(size.bytes())
                && self.hpa.is_aligned(size.bytes())
        };
        PageSize::DOWN
            .into_iter()
            .find(fits)
            .unwrap_or(PageSize::Kib4)
    }

    /// The range without its first `bytes`; `None` past 2^64.
    fn skip(&self, bytes: u64) -> Option<Self> {
        Some(Self {
            gpa: self.gpa.checked_add(bytes)?,
            hpa: self.hpa.checked_add(bytes)?,
            bytes: self.bytes.saturating_sub(bytes),
            ..*self
        })
    }
}

impl<F: Format> SecondStage<F> {
    /// Maps all of `range` by the largest pages that alignment, length and `max` allow.
    ///
    /// # Errors
    /// [`MapError`] of the first page that was refused; the pages before it stay mapped.
    pub fn map_range(
        &mut self,
        memory: &mut impl TableMemory,
        mut range: Range,
        max: PageSize,
    ) -> Result<(), MapError> {
        if !range.bytes.is_multiple_of(PAGE_BYTES) {
            return Err(MapError::BadLength(range.bytes));
        }
        while range.bytes != 0 {
            let size = range.first_page(max);
            let leaf = Leaf {
                hpa: range.hpa,
                size,
                rights: range.rights,
                memory_type: range.memory_type,
            };
            self.map(memory, range.gpa, leaf)?;
            range = range
                .skip(size.bytes())
                .ok_or(MapError::BadGuestAddress(range.gpa, size))?;
        }
        Ok(())
    }
}
