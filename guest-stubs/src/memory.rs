//! Guest-physical memory outside the stub's image, byte by byte or word by word.
//!
//! The map is flat, so an address is a guest-physical address. Rust objects live in the
//! image only; addresses there are refused, so nothing else can alias them.

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The end of the flat map.
pub const MAPPED_BYTES: u64 = 1 << 32;

/// Where stubs keep what must be at a known address: free memory from 2 MiB on.
pub const SCRATCH: u64 = 0x20_0000;

static IMAGE: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(u64::MAX)];

pub(crate) fn set_image(image: Range<u64>) {
    IMAGE[0].store(image.start, Relaxed);
    IMAGE[1].store(image.end, Relaxed);
}

/// The image's own addresses.
#[must_use]
pub fn image() -> Range<u64> {
    IMAGE[0].load(Relaxed)..IMAGE[1].load(Relaxed)
}

fn outside(address: u64, bytes: u64) -> usize {
    let end = address + bytes;
    let image = image();
    assert!(end <= MAPPED_BYTES && (end <= image.start || address >= image.end));
    #[allow(clippy::cast_possible_truncation)] // 64-bit
    let address = address as usize;
    address
}

macro_rules! word {
    ($read:ident, $write:ident, $type:ty) => {
        #[doc = concat!("Reads a `", stringify!($type), "` with one instruction.")]
        #[inline]
        #[must_use]
        pub fn $read(address: u64) -> $type {
            let at = outside(address, size_of::<$type>() as u64) as *const $type;
            // SAFETY: `outside` saw that it is mapped and that no Rust object is there.
            unsafe { at.read_volatile() }
        }

        #[doc = concat!("Writes a `", stringify!($type), "` with one instruction.")]
        #[inline]
        pub fn $write(address: u64, value: $type) {
            let at = outside(address, size_of::<$type>() as u64) as *mut $type;
            // SAFETY: as in the read.
            unsafe { at.write_volatile(value) }
        }
    };
}

word!(read8, write8, u8);
word!(read32, write32, u32);
word!(read64, write64, u64);

/// Copies bytes to memory.
pub fn store(address: u64, bytes: &[u8]) {
    (address..)
        .zip(bytes)
        .for_each(|(at, byte)| write8(at, *byte));
}

/// Copies bytes from memory.
pub fn fetch(address: u64, into: &mut [u8]) {
    (address..)
        .zip(into)
        .for_each(|(at, byte)| *byte = read8(at));
}

/// Sets every doubleword of a range, its bounds multiples of 8.
pub fn fill(range: Range<u64>, value: u64) {
    range.step_by(8).for_each(|at| write64(at, value));
}

/// The first doubleword of a range that is not `value`.
#[must_use]
pub fn first_other(mut range: Range<u64>, value: u64) -> Option<u64> {
    range.find(|at| at % 8 == 0 && read64(*at) != value)
}
