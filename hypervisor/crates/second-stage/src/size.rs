//! Page sizes and table levels: which bits of an address index which table.
//!
//! Owns the geometry both formats share (four levels, nine bits each). Does not own what
//! an entry looks like. Called by the walker and by whoever chooses a page size.

use skerry_words::Gpa;

/// The size of one mapped page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PageSize {
    /// 4 KiB.
    Kib4,
    /// 2 MiB.
    Mib2,
    /// 1 GiB.
    Gib1,
}

impl PageSize {
    /// From large to small.
    pub const DOWN: [Self; 3] = [Self::Gib1, Self::Mib2, Self::Kib4];

    /// Its number of bytes.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.level().span_bytes()
    }

    /// The level whose tables hold leaves of this size.
    #[inline]
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            Self::Kib4 => Level::One,
            Self::Mib2 => Level::Two,
            Self::Gib1 => Level::Three,
        }
    }
}

/// A level of the tables; the root is at [`Level::Four`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// Page table: each entry spans 4 KiB.
    One,
    /// Page directory: each entry spans 2 MiB.
    Two,
    /// Page-directory-pointer table: each entry spans 1 GiB.
    Three,
    /// PML4 table: each entry spans 512 GiB and never maps a page.
    Four,
}

impl Level {
    /// From the root to the smallest pages.
    pub const DOWN: [Self; 4] = [Self::Four, Self::Three, Self::Two, Self::One];

    /// The lowest address bit that chooses an entry at this level.
    #[inline]
    #[must_use]
    pub const fn shift(self) -> u32 {
        match self {
            Self::One => 12,
            Self::Two => 21,
            Self::Three => 30,
            Self::Four => 39,
        }
    }

    /// The bytes one entry spans.
    #[inline]
    #[must_use]
    pub const fn span_bytes(self) -> u64 {
        match self {
            Self::One => 1 << 12,
            Self::Two => 1 << 21,
            Self::Three => 1 << 30,
            Self::Four => 1 << 39,
        }
    }

    /// The index of `gpa`'s entry in its table of this level, 0 to 511.
    #[inline]
    #[must_use]
    pub const fn index(self, gpa: Gpa) -> usize {
        ((gpa.0 >> self.shift()) & 0x1ff) as usize
    }

    /// The level of the tables that entries at this level point to.
    #[inline]
    #[must_use]
    pub const fn below(self) -> Option<Self> {
        match self {
            Self::One => None,
            Self::Two => Some(Self::One),
            Self::Three => Some(Self::Two),
            Self::Four => Some(Self::Three),
        }
    }

    /// The size of a page mapped by an entry at this level.
    #[inline]
    #[must_use]
    pub const fn page_size(self) -> Option<PageSize> {
        match self {
            Self::One => Some(PageSize::Kib4),
            Self::Two => Some(PageSize::Mib2),
            Self::Three => Some(PageSize::Gib1),
            Self::Four => None,
        }
    }
}
