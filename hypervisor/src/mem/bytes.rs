//! Filling and copying whole frames.
//!
//! Owns the string instructions: eight bytes an iteration, since an interpreter pays for
//! iterations, and real CPUs make them as fast as memory.

use core::arch::asm;

use skerry_words::HostFrame;

const FRAME_QWORDS: usize = 512;

/// Fills `frame` with zeroes.
#[inline]
pub fn zero_frame(frame: HostFrame) {
    zero_frames(frame, 1);
}

/// Fills `count` frames from `first` on with zeroes.
#[inline]
pub fn zero_frames(first: HostFrame, count: usize) {
    let at = super::pointer(first.start());
    // SAFETY: a frame is RAM, mapped writable in the direct map; whoever holds it may
    // overwrite it.
    unsafe {
        asm!("rep stosq", inout("rcx") count * FRAME_QWORDS => _, inout("rdi") at => _,
            in("rax") 0u64, options(nostack, preserves_flags));
    }
}

/// Copies the frame `from` over the frame `to`.
#[inline]
pub fn copy_frame(from: HostFrame, to: HostFrame) {
    let source = super::pointer(from.start());
    let target = super::pointer(to.start());
    // SAFETY: both frames are RAM in the direct map; frames are the same or disjoint.
    unsafe {
        asm!("rep movsq", inout("rcx") FRAME_QWORDS => _, inout("rsi") source => _,
            inout("rdi") target => _, options(nostack, preserves_flags));
    }
}
