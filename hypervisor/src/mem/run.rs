//! A few consecutive frames with one owner, for the permission maps of AMD-V, which the
//! CPU finds by the physical address of the first byte.

use super::{allocate, free, pointer};
use alloc::vec::Vec;
use skerry_words::{HostFrame, Hpa, PAGE_BYTES};

/// Frames tried before giving up; the allocator gives ascending ones out while memory is
/// fresh, so the first few fit.
const TRIES: usize = 256;

/// Consecutive frames of host memory.
#[derive(Debug)]
pub struct OwnedRun {
    first: HostFrame,
    frames: usize,
}

impl OwnedRun {
    /// `frames` frames full of ones; `None` when there are none in a row.
    pub fn ones(frames: usize) -> Option<Self> {
        let mut run = Self {
            first: in_a_row(frames)?,
            frames,
        };
        run.bytes().fill(0xff);
        Some(run)
    }

    /// The host-physical address of the first byte, for the CPU.
    pub fn start(&self) -> Hpa {
        self.first.start()
    }

    /// All bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        let bytes = self.frames * PAGE_BYTES as usize;
        // SAFETY: the frames are consecutive in the direct map and this owner's alone.
        unsafe { core::slice::from_raw_parts_mut(pointer(self.first.start()), bytes) }
    }
}

impl Drop for OwnedRun {
    fn drop(&mut self) {
        (0..self.frames as u64).for_each(|index| free(HostFrame(self.first.0 + index)));
    }
}

/// The first of `frames` frames with ascending numbers; what was tried in vain is freed.
fn in_a_row(frames: usize) -> Option<HostFrame> {
    let mut tried: Vec<HostFrame> = Vec::new();
    let mut length = 0;
    while length < frames && tried.len() < TRIES {
        let Some(next) = allocate() else { break };
        let follows = tried.last().is_some_and(|last| last.0 + 1 == next.0);
        length = if follows { length + 1 } else { 1 };
        tried.push(next);
    }
    let kept = if length == frames { frames } else { 0 };
    let row = tried.split_off(tried.len() - kept);
    tried.into_iter().for_each(free);
    row.first().copied()
}
