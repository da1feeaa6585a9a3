//! Host memory: frames, ring 0's page tables, the heap, and the only way from a
//! host-physical address to a pointer.
//!
//! Owns all RAM that the boot path calls usable. Does not own guests' second stages
//! (`virt` builds them from frames). Called by everything in ring 0.

pub mod bytes;
mod frames;
mod heap;
pub mod layout;
mod owned;
mod run;
mod space;
mod tables;

use bootloader_api::BootInfo;
use skerry_frames::Span;
use skerry_words::{Hpa, PAGE_BYTES};

pub use frames::{
    allocate, allocate_gib, allocate_large, allocate_zeroed, free, free_large, statistics,
};
pub use owned::OwnedFrame;
pub use run::OwnedRun;
pub use space::{Exhausted, Space};
pub use tables::map_device;

/// Where `at`, which must be RAM, is mapped.
#[inline]
pub fn pointer(at: Hpa) -> *mut u8 {
    (layout::DIRECT_MAP + at.0) as *mut u8
}

/// What ring 0 holds for itself, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// The image with its variables and stacks.
    pub image_bytes: u64,
    /// Frame bookkeeping and page tables.
    pub tables_bytes: u64,
    /// The heap, used or not.
    pub heap_bytes: u64,
}

/// What ring 0 holds for itself.
pub fn usage() -> Usage {
    let image = layout::image();
    Usage {
        image_bytes: image.end - image.start,
        tables_bytes: frames::bookkeeping_bytes() + tables::bytes(),
        heap_bytes: heap::bytes(),
    }
}

/// Frames that are nobody's; ring 0's heap and tables count as such, since they grow as they
/// like and are nobody's gain or loss.
pub fn free_frames() -> u64 {
    let own_bytes = tables::bytes() + heap::bytes();
    statistics().free_frames + own_bytes / PAGE_BYTES
}

/// Whether ring 0's heap has room for the objects of one call.
pub fn heap_has_room() -> bool {
    heap::has_room()
}

/// Copies memory out.
///
/// # Safety
/// `from` and the `into.len()` bytes after it are RAM in the direct map, which others may change
/// at any time.
pub unsafe fn read(from: Hpa, into: &mut [u8]) {
    // SAFETY: by the caller's promise; a buffer of ours is on the stack or the heap.
    unsafe { core::ptr::copy_nonoverlapping(pointer(from), into.as_mut_ptr(), into.len()) };
}

/// Copies into memory.
///
/// # Safety
/// As for [`read`], and nothing of ring 0's own is there.
pub unsafe fn write(to: Hpa, from: &[u8]) {
    // SAFETY: as in `read`.
    unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), pointer(to), from.len()) };
}

/// Drops the CPU's translation of one page.
fn flush_page(at: u64) {
    x86_64::instructions::tlb::flush(x86_64::VirtAddr::new_truncate(at));
}

/// Takes over memory: frames from the map in `boot`, our own page tables, the heap.
/// Returns where the bundle is. `boot` may be unmapped afterwards.
pub fn start(boot: &'static mut BootInfo) -> Span {
    crate::cpu::features::protect_memory();
    let bundle = tables::bundle_span(boot);
    frames::start(&boot.memory_regions);
    tables::start(&boot.memory_regions, bundle);
    crate::cpu::features::protect_from_user();
    heap::start();
    bundle
}

/// The bundle's bytes.
pub fn bundle_bytes(span: Span) -> &'static [u8] {
    tables::bundle_bytes(span)
}
