//! Ring 0's address space: who lives where.
//!
//! Owns the fixed addresses and the image's section bounds, which the linker script
//! defines. Below the upper half are components (`skerry_abi::layout`).

use core::ops::Range;

pub use skerry_abi::layout::USER_END;

/// Where physical address 0 would be; RAM is mapped from here on, never executable.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// Where the heap starts.
pub const HEAP: u64 = 0xffff_a000_0000_0000;
/// Where physical address 0 of device registers would be, uncached.
pub const DEVICES: u64 = 0xffff_c000_0000_0000;
/// The image's link address minus its load address.
pub const IMAGE_OFFSET: u64 = 0xffff_ffff_8000_0000;

unsafe extern "C" {
    safe static text_start: u8;
    safe static text_end: u8;
    safe static rodata_start: u8;
    safe static rodata_end: u8;
    safe static data_start: u8;
    safe static data_end: u8;
    safe static fixups_start: u8;
    safe static fixups_end: u8;
}

fn range(start: *const u8, end: *const u8) -> Range<u64> {
    start as u64..end as u64
}

/// Code: executable, read only.
pub fn text() -> Range<u64> {
    range(&raw const text_start, &raw const text_end)
}

/// Constants: read only.
pub fn rodata() -> Range<u64> {
    range(&raw const rodata_start, &raw const rodata_end)
}

/// Variables, stacks with their guard pages included.
pub fn data() -> Range<u64> {
    range(&raw const data_start, &raw const data_end)
}

/// The table of instructions that may fault, see `cpu::trap`.
pub fn fixups() -> Range<u64> {
    range(&raw const fixups_start, &raw const fixups_end)
}

/// The whole image in memory.
pub fn image() -> Range<u64> {
    text().start..data().end
}
