//! The heap behind `alloc`: all pages the component may have, given by ring 0 on first touch.
//!
//! Owns the addresses from `layout::HEAP` on. The list of holes is `linked_list_allocator`.
//! It never grows: the page count is the component's limit.

use core::sync::atomic::{AtomicBool, Ordering};

/// Whether the last request for memory could not be met.
static EXHAUSTED: AtomicBool = AtomicBool::new(false);

/// Whether the last request for memory could not be met.
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
pub(crate) fn is_exhausted() -> bool {
    EXHAUSTED.load(Ordering::Relaxed)
}

#[cfg(target_os = "none")]
pub(crate) use bare::start;

/// On the host the heap is the host's.
#[cfg(not(target_os = "none"))]
pub(crate) fn start(_pages: u64) {
    EXHAUSTED.store(false, Ordering::Relaxed);
}

#[cfg(target_os = "none")]
mod bare {
    use super::EXHAUSTED;
    use core::{
        alloc::{GlobalAlloc, Layout},
        ptr::{self, NonNull},
        sync::atomic::Ordering,
    };
    use linked_list_allocator::Heap;
    use skerry_abi::layout;
    use skerry_words::PAGE_BYTES;
    use spin::Mutex;

    struct Limited(Mutex<Heap>);

    #[global_allocator]
    static HEAP: Limited = Limited(Mutex::new(Heap::empty()));

    // SAFETY: `Heap` hands out disjoint, aligned memory from the range it was given.
    unsafe impl GlobalAlloc for Limited {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let memory = self.0.lock().allocate_first_fit(layout);
            EXHAUSTED.store(memory.is_err(), Ordering::Relaxed);
            memory.map_or(ptr::null_mut(), NonNull::as_ptr)
        }

        unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
            if let Some(memory) = NonNull::new(memory) {
                // SAFETY: the caller's promise: `memory` came from `alloc` with this layout.
                unsafe { self.0.lock().deallocate(memory, layout) };
            }
        }
    }

    /// Makes the first allocation possible.
    pub(crate) fn start(pages: u64) {
        let room_pages = (layout::STACK_TOP - layout::HEAP) / PAGE_BYTES - layout::STACK_PAGES - 1;
        let bytes = pages.min(room_pages).saturating_mul(PAGE_BYTES);
        // SAFETY: by the agreement of `layout` this range is mapped for the heap alone, and
        // `start` is called once, before everything else.
        unsafe { HEAP.0.lock().init(layout::HEAP as *mut u8, bytes as usize) };
    }
}
