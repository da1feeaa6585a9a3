//! The heap behind `alloc`: starts at 2 MiB, grows by 2 MiB pages.
//!
//! Owns the address range from `layout::HEAP` on and the frames mapped there. The list of
//! holes is `linked_list_allocator`. Nothing on the way of a VM exit allocates.

use core::{
    alloc::{GlobalAlloc, Layout},
    ptr::{self, NonNull},
};

use linked_list_allocator::Heap;
use skerry_frames::BLOCK_FRAMES;
use skerry_words::PAGE_BYTES;
use spin::Mutex;

use super::{frames, layout, tables};

const STEP_BYTES: usize = (BLOCK_FRAMES * PAGE_BYTES) as usize;

/// More than the small objects of any one call take; what is large asks for itself.
const RESERVE_BYTES: usize = 512 << 10;

struct Growing(Mutex<Heap>);

#[global_allocator]
static HEAP: Growing = Growing(Mutex::new(Heap::empty()));

// SAFETY: `Heap` hands out disjoint, aligned memory from the range it was given.
unsafe impl GlobalAlloc for Growing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut heap = self.0.lock();
        loop {
            if let Ok(memory) = heap.allocate_first_fit(layout) {
                return memory.as_ptr();
            }
            if heap.bottom().is_null() || !grow(&mut heap) {
                return ptr::null_mut();
            }
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if let Some(memory) = NonNull::new(memory) {
            // SAFETY: the caller's promise: `memory` came from `alloc` with this layout.
            unsafe { self.0.lock().deallocate(memory, layout) };
        }
    }
}

/// Makes the first allocation possible.
pub(super) fn start() {
    let mut heap = HEAP.0.lock();
    assert!(map_step(layout::HEAP), "no 2 MiB of memory for the heap");
    // SAFETY: the range has just been mapped, for good, and is nobody else's.
    unsafe { heap.init(layout::HEAP as *mut u8, STEP_BYTES) };
}

/// Whether there is room for the objects of one call; grows the heap if it is tight. Who makes
/// objects asks first, so that a call is refused where the heap would fail.
pub(super) fn has_room() -> bool {
    let mut heap = HEAP.0.lock();
    heap.free() >= RESERVE_BYTES || grow(&mut heap)
}

/// Bytes the heap has been given.
pub(super) fn bytes() -> u64 {
    HEAP.0.lock().size() as u64
}

fn grow(heap: &mut Heap) -> bool {
    let mapped = map_step(heap.top() as u64);
    if mapped {
        // SAFETY: the step just mapped follows the heap's end directly.
        unsafe { heap.extend(STEP_BYTES) };
    }
    mapped
}

fn map_step(at: u64) -> bool {
    let Some(first) = frames::allocate_large() else {
        return false;
    };
    tables::map_large(at, first);
    true
}
