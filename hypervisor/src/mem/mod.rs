//! Host memory: frames, ring 0's page tables, the heap, and the only way from a
//! host-physical address to a pointer.
//!
//! Owns all RAM that the boot path calls usable. Does not own guests' second stages
//! (`virt` builds them from frames). Called by everything in ring 0.

pub mod bytes;
mod frames;
pub mod guest;
mod heap;
pub mod layout;
mod owned;
mod run;
mod tables;

use bootloader_api::BootInfo;
use skerry_words::Hpa;

pub use frames::{
    allocate, allocate_gib, allocate_large, allocate_zeroed, free, free_large, statistics,
};
pub use owned::OwnedFrame;
pub use run::OwnedRun;
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

/// Takes over memory: frames from the map in `boot`, our own page tables, the heap.
/// Returns the bundle. `boot` may be unmapped afterwards.
pub fn start(boot: &'static mut BootInfo) -> &'static [u8] {
    crate::cpu::features::protect_memory();
    let bundle = tables::bundle_span(boot);
    frames::start(&boot.memory_regions);
    tables::start(&boot.memory_regions, bundle);
    crate::cpu::features::protect_from_user();
    heap::start();
    tables::bundle_bytes(bundle)
}
