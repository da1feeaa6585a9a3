//! The one walker of second-stage page tables, under thin vendor formats.
//!
//! Owns the way from guest-physical to host-physical addresses: mapping, unmapping,
//! splitting of large pages, translation. Each change is built aside and becomes visible
//! by one store, so a CPU that walks the tables meanwhile sees the old or the new mapping.
//!
//! Does not own memory (see [`TableMemory`]), nor what CPUs cache of the tables: after
//! [`SecondStage::unmap`] the caller invalidates before a vCPU runs and before it reuses
//! the frames. Called by ring 0 only: when a VM is built, on its memory exits, and by the
//! emulator's view of guest memory.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

mod ept;
mod error;
mod format;
mod map;
mod npt;
mod size;
mod walk;

pub use ept::Ept;
pub use error::{MapError, UnmapError};
pub use format::{Entry, Format, Leaf, MemoryType, Rights};
pub use npt::Npt;
pub use size::{Level, PageSize};
pub use walk::{Mapping, SecondStage};

use skerry_words::HostFrame;

/// Entries in one table: 4096 bytes of 8-byte entries.
pub const TABLE_ENTRIES: usize = 512;

/// Where the tables live. In ring 0 the frame allocator and the direct map; in a test a
/// map of arrays.
///
/// `index` is always below [`TABLE_ENTRIES`], and every `HostFrame` passed in came from
/// `allocate_table` of the same memory. A write must be one store that a walking CPU
/// sees whole, and not before the writes made earlier.
pub trait TableMemory {
    /// A frame for one table, all zero, or `None` if there is none left.
    fn allocate_table(&mut self) -> Option<HostFrame>;
    /// Takes a table's frame back.
    fn free_table(&mut self, table: HostFrame);
    /// One entry.
    fn read(&self, table: HostFrame, index: usize) -> u64;
    /// Stores one entry.
    fn write(&mut self, table: HostFrame, index: usize, entry: u64);
}
