//! A frame with one owner: freed when dropped, reachable through its owner alone.
//!
//! For what the CPU reads by physical address (VMCS, bitmaps) or ring 0 saves to (FPU
//! state). Guest memory is not owned this way: it belongs to a VM's second stage.

use super::{allocate, allocate_zeroed, free, pointer};
use skerry_words::{HostFrame, Hpa, PAGE_BYTES};

/// One frame of host memory.
#[derive(Debug)]
pub struct OwnedFrame(HostFrame);

impl OwnedFrame {
    /// A frame full of zeros; `None` when memory is exhausted.
    pub fn zeroed() -> Option<Self> {
        allocate_zeroed().map(Self)
    }

    /// A frame full of ones; `None` when memory is exhausted.
    pub fn ones() -> Option<Self> {
        let mut frame = Self(allocate()?);
        frame.bytes().fill(0xff);
        Some(frame)
    }

    /// Its host-physical address, for the CPU.
    pub fn start(&self) -> Hpa {
        self.0.start()
    }

    /// Its bytes.
    pub fn bytes(&mut self) -> &mut [u8; PAGE_BYTES as usize] {
        // SAFETY: the frame is mapped in the direct map, aligned, and this owner's alone.
        unsafe { &mut *pointer(self.0.start()).cast() }
    }
}

impl Drop for OwnedFrame {
    fn drop(&mut self) {
        free(self.0);
    }
}
