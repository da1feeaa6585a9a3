//! Bytes of guest memory, as ring 0 and the VMM reach them.
//!
//! Owns the copy between a host buffer and one host-contiguous piece of guest RAM. The
//! guest may change that memory at any time (other CPUs, devices): bytes are copied, never
//! borrowed. Does not own the translation: `vm::ram` has just made it.

use super::pointer;
use core::ptr::copy_nonoverlapping;
use skerry_words::Hpa;

/// Copies guest memory out.
///
/// # Safety
/// `from` and the `into.len()` bytes after it are RAM given to a guest, within one mapping.
#[inline]
pub unsafe fn read(from: Hpa, into: &mut [u8]) {
    let source = pointer(from);
    if let Ok(word) = <&mut [u8; 8]>::try_from(&mut *into) {
        // SAFETY: by the caller's promise, 8 bytes; unaligned reads are fine.
        *word = unsafe { source.cast::<[u8; 8]>().read_unaligned() };
        return;
    }
    // SAFETY: by the caller's promise; a buffer of ours never lies in guest memory.
    unsafe { copy_nonoverlapping(source, into.as_mut_ptr(), into.len()) };
}

/// Copies into guest memory.
///
/// # Safety
/// As for [`read`].
#[inline]
pub unsafe fn write(to: Hpa, from: &[u8]) {
    // SAFETY: by the caller's promise; a buffer of ours never lies in guest memory.
    unsafe { copy_nonoverlapping(from.as_ptr(), pointer(to), from.len()) };
}
