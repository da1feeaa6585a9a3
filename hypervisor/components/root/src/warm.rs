//! Memory of our own that is given on first use, used once at the start.
//!
//! Afterwards `root` takes no more, so that the frames that are free before the first VM and
//! after the last can be compared.

use alloc::vec;
use core::hint::black_box;

/// More stack than anything here needs.
const STACK_BYTES: usize = 40 << 10;
/// More heap than the loop needs for itself, and for each VM.
const HEAP_BYTES: usize = 64 << 10;
const VM_HEAP_BYTES: usize = 2 << 10;

/// Uses all the stack and heap that will be needed for so many VMs.
pub fn take_own_memory(vms: usize) {
    take_stack();
    let bytes = vms.saturating_mul(VM_HEAP_BYTES).saturating_add(HEAP_BYTES);
    black_box(vec![1_u8; bytes]);
}

#[inline(never)]
fn take_stack() {
    black_box([1_u8; STACK_BYTES]);
}
