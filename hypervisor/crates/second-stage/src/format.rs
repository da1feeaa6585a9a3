//! What a vendor's table entries must be able to say.
//!
//! Owns the words of a mapping (rights, memory type, leaf) and the [`Format`] trait. Does
//! not own any encoding: those are in one file per format. Called by the walker.

use crate::{Level, PageSize};
use skerry_words::{HostFrame, Hpa};

/// What a guest may do with a page. Only combinations both vendors can express: neither
/// allows a page that is written but not read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rights {
    /// Read only.
    Read,
    /// Read and write.
    ReadWrite,
    /// Read and execute.
    ReadExecute,
    /// Everything: plain RAM.
    All,
}

impl Rights {
    /// Whether the guest may write.
    #[inline]
    #[must_use]
    pub const fn writable(self) -> bool {
        matches!(self, Self::ReadWrite | Self::All)
    }

    /// Whether the guest may execute.
    #[inline]
    #[must_use]
    pub const fn executable(self) -> bool {
        matches!(self, Self::ReadExecute | Self::All)
    }
}

/// How the CPU caches a page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MemoryType {
    /// Write-back: RAM.
    WriteBack,
    /// Uncacheable: device registers.
    Uncacheable,
}

/// One mapped page, without the guest address it is mapped at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// The page's first host byte, aligned to its size.
    pub hpa: Hpa,
    /// Its size.
    pub size: PageSize,
    /// What the guest may do.
    pub rights: Rights,
    /// How it is cached.
    pub memory_type: MemoryType,
}

impl Leaf {
    /// A page of plain RAM: every right, write-back.
    #[must_use]
    pub const fn ram(hpa: Hpa, size: PageSize) -> Self {
        Self {
            hpa,
            size,
            rights: Rights::All,
            memory_type: MemoryType::WriteBack,
        }
    }
}

/// A table entry, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Nothing is mapped.
    Absent,
    /// The table one level below.
    Table(HostFrame),
    /// A page.
    Leaf(Leaf),
}

/// In both vendors' large-page entries: it maps a page, no table.
pub(crate) const MAPS_PAGE: u64 = 1 << 7;
/// In both vendors' entries: the address of the page or table.
pub(crate) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The encoding of entries: what differs between the vendors, and what does not as the
/// methods with a body. The all-zero entry decodes as [`Entry::Absent`].
pub trait Format {
    /// An entry with none of these bits is absent.
    const PRESENT: u64;
    /// The entry that points to `table`; rights are decided by the leaf alone.
    fn table(table: HostFrame) -> u64;
    /// The entry that maps `leaf`, at the level of its size.
    fn leaf(leaf: Leaf) -> u64;
    /// What an entry that maps a page of `size` says.
    fn decode_leaf(entry: u64, size: PageSize) -> Leaf;

    /// What an entry at `level` says.
    #[inline(always)]
    fn decode(entry: u64, level: Level) -> Entry {
        if entry & Self::PRESENT == 0 {
            return Entry::Absent;
        }
        match level.page_size() {
            Some(PageSize::Kib4) => Entry::Leaf(Self::decode_leaf(entry, PageSize::Kib4)),
            Some(size) if entry & MAPS_PAGE != 0 => Entry::Leaf(Self::decode_leaf(entry, size)),
            _ => Entry::Table(Hpa(entry & ADDRESS).frame()),
        }
    }

    /// The `index`-th of the 512 leaves one level below that together say what the leaf
    /// `entry`, of size `size`, says; accessed and dirty bits are inherited.
    #[inline]
    fn split(entry: u64, size: PageSize, index: usize) -> u64 {
        let (shift, dropped) = match size {
            PageSize::Gib1 => (Level::Two.shift(), 0),
            PageSize::Mib2 | PageSize::Kib4 => (Level::One.shift(), MAPS_PAGE),
        };
        (entry & !dropped) | ((index as u64 & 0x1ff) << shift)
    }
}
