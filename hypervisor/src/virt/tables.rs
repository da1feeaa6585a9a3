//! Second-stage tables in real frames, for the walker (`skerry_second_stage`).

use crate::mem;
use core::sync::atomic::{AtomicU64, Ordering};
use skerry_second_stage::TableMemory;
use skerry_words::HostFrame;

/// The frame allocator and the direct map, as the walker wants them.
pub struct Frames;

/// One entry of a table frame.
#[inline(always)]
fn entry(table: HostFrame, index: usize) -> *const AtomicU64 {
    mem::pointer(table.start())
        .cast::<AtomicU64>()
        .wrapping_add(index & 511)
}

impl TableMemory for Frames {
    #[inline]
    fn allocate_table(&mut self) -> Option<HostFrame> {
        mem::allocate_zeroed()
    }

    fn free_table(&mut self, table: HostFrame) {
        mem::free(table);
    }

    #[inline(always)]
    fn read(&self, table: HostFrame, index: usize) -> u64 {
        // SAFETY: `table` came from `allocate_table`, so it is a mapped frame of 512
        // entries, which CPUs and ring 0 access by whole words only.
        unsafe { &*entry(table, index) }.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn write(&mut self, table: HostFrame, index: usize, value: u64) {
        // SAFETY: as for `read`. Release: a CPU that follows the entry sees what it leads to.
        unsafe { &*entry(table, index) }.store(value, Ordering::Release);
    }
}
