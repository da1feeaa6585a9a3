//! Guest-physical memory, in one place.
//!
//! RAM starts at 0, leaves out the PC's hole for video memory and the 4th GiB (where
//! devices live), and goes on above 4 GiB. 0xc0000 to 0xfffff is backed by RAM, though
//! guests are told it is reserved, so that their scans for firmware tables read zeros
//! without an exit; the ACPI tables are in it. A ROM is backed by memory that ends at 4 GiB.
//!
//! Used by the loaders, by whoever backs guest memory, and by the VMM.

use core::ops::Range;

use skerry_words::{Gpa, PAGE_BYTES};

/// The least memory a VM can have, in bytes.
pub const LEAST_MEMORY_BYTES: u64 = 1 << 20;
/// The end of RAM below 1 MiB that guests are told of.
pub const LOW_RAM_END: u64 = 0xa_0000;
/// Where RAM goes on behind the hole for video memory.
pub const SHADOW_START: u64 = 0xc_0000;
/// Where ordinary RAM goes on.
pub const MIB: u64 = 1 << 20;
/// The end of RAM below 4 GiB.
pub const HOLE_START: u64 = 3 << 30;
/// Where the rest of RAM starts.
pub const HIGH_RAM_START: u64 = 4 << 30;

/// Where a ROM ends.
pub const ROM_END: u64 = HIGH_RAM_START;
/// The most bytes of a ROM; what is below belongs to devices.
pub const ROM_MOST_BYTES: u64 = 16 << 20;

/// The global descriptor table a plan makes for long mode.
pub const GDT: Gpa = Gpa(0x1000);
/// Linux's zero page, or `hvm_start_info` with its tables. One page.
pub const START_INFO: Gpa = Gpa(0x2000);
/// The command line, and the modules' behind it, up to [`CMDLINE_BYTES`].
pub const CMDLINE: Gpa = Gpa(0x3000);
/// Room for the command lines with their terminating zeros.
pub const CMDLINE_BYTES: u64 = 0x4000;
/// Where a boot sector is put and entered.
pub const BOOT_SECTOR: Gpa = Gpa(0x7c00);
/// Where a boot sector's image must end: the rest is the firmware's by custom.
pub const BOOT_SECTOR_END: u64 = 0x9_fc00;
/// The identity map of the first 4 GiB, six pages.
pub const PAGE_TABLES: Gpa = Gpa(0x8000);
/// The first stack of an ELF kernel ends here and grows down.
pub const STACK_TOP: Gpa = Gpa(LOW_RAM_END);

/// The ranges of guest-physical memory that are RAM, in ascending order.
pub fn ram(memory_bytes: u64) -> impl Iterator<Item = Range<Gpa>> {
    let low = 0..memory_bytes.min(LOW_RAM_END);
    let middle = SHADOW_START..memory_bytes.min(HOLE_START);
    let high = HIGH_RAM_START..high_ram_end(memory_bytes);
    [low, middle, high]
        .into_iter()
        .filter(|range| !range.is_empty())
        .map(|range| Gpa(range.start)..Gpa(range.end))
}

/// The addresses of a ROM of so many bytes; `None` if they are 0, no whole pages, or more than
/// [`ROM_MOST_BYTES`].
#[must_use]
pub fn rom(rom_bytes: u64) -> Option<Range<Gpa>> {
    let fits = rom_bytes <= ROM_MOST_BYTES && rom_bytes.is_multiple_of(PAGE_BYTES);
    let start = ROM_END.checked_sub(rom_bytes).filter(|_| fits)?;
    (start != ROM_END).then_some(Gpa(start)..Gpa(ROM_END))
}

/// The ranges of guest-physical memory that are backed, in ascending order: [`ram`], and a
/// [`rom`] of `rom_bytes`, as [`crate::rom_bytes`] has them; at most four.
pub fn backed(memory_bytes: u64, rom_bytes: u64) -> impl Iterator<Item = Range<Gpa>> {
    let high = |range: &Range<Gpa>| range.start.0 >= HIGH_RAM_START;
    let below = ram(memory_bytes).filter(move |range| !high(range));
    let above = ram(memory_bytes).filter(high);
    below.chain(rom(rom_bytes)).chain(above)
}

/// KiB of RAM from 0 on, and from 1 MiB on up to the hole for devices, as boot loaders tell
/// them.
#[must_use]
pub fn lower_and_upper_kib(memory_bytes: u64) -> (u32, u32) {
    let lower = memory_bytes.min(LOW_RAM_END);
    let upper = memory_bytes.min(HOLE_START).saturating_sub(MIB);
    // Both are below 3 GiB.
    ((lower >> 10) as u32, (upper >> 10) as u32)
}

/// Where a multiboot image's information goes, in this order, where the image leaves room: low
/// memory without the first 64 KiB, which kernels like to use for their own start; those, but
/// for the first page; and above 1 MiB. The last KiB of low memory is the firmware's by custom.
pub const INFO_WINDOWS: [Range<u64>; 3] =
    [0x1_0000..BOOT_SECTOR_END, 0x1000..0x1_0000, MIB..HOLE_START];

/// What a guest is told that a range is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RangeKind {
    /// Memory it may use.
    Ram,
    /// Addresses it must leave alone.
    Reserved,
}

impl RangeKind {
    /// The number that e820 tables and the memory maps of PVH and multiboot have for it.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Ram => 1,
            Self::Reserved => 2,
        }
    }
}

/// The memory map a guest is told, in ascending order.
pub fn memory_map(memory_bytes: u64) -> impl Iterator<Item = (Range<Gpa>, RangeKind)> {
    [
        (0..memory_bytes.min(LOW_RAM_END), RangeKind::Ram),
        (LOW_RAM_END..MIB, RangeKind::Reserved),
        (MIB..memory_bytes.min(HOLE_START), RangeKind::Ram),
        (HIGH_RAM_START..high_ram_end(memory_bytes), RangeKind::Ram),
    ]
    .into_iter()
    .filter(|(range, _)| !range.is_empty())
    .map(|(range, kind)| (Gpa(range.start)..Gpa(range.end), kind))
}

/// The same as numbers: first address, bytes, and what the range is, as e820 tables, PVH and
/// multiboot number it.
pub(crate) fn map_entries(memory_bytes: u64) -> impl Iterator<Item = (u64, u64, u32)> {
    memory_map(memory_bytes).map(|(range, kind)| {
        let bytes = range.end.0.saturating_sub(range.start.0);
        (range.start.0, bytes, kind.number())
    })
}

const fn high_ram_end(memory_bytes: u64) -> u64 {
    let above = memory_bytes.saturating_sub(HOLE_START);
    HIGH_RAM_START.saturating_add(above)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    fn ram_of(memory_bytes: u64) -> Vec<(u64, u64)> {
        ram(memory_bytes).map(|r| (r.start.0, r.end.0)).collect()
    }

    #[test]
    fn memory_up_to_3_gib_is_whole_but_for_the_video_hole() {
        assert_eq!(
            ram_of(0x10_0000),
            vec![(0, 0xa_0000), (0xc_0000, 0x10_0000)]
        );
        assert_eq!(
            ram_of(3 << 30),
            vec![(0, 0xa_0000), (0xc_0000, 0xc000_0000)]
        );
    }

    #[test]
    fn memory_beyond_3_gib_goes_on_at_4_gib() {
        assert_eq!(
            ram_of(0xc000_1000),
            vec![
                (0, 0xa_0000),
                (0xc_0000, 0xc000_0000),
                (0x1_0000_0000, 0x1_0000_1000)
            ]
        );
    }

    #[test]
    fn absurd_sizes_neither_wrap_nor_give_empty_ranges() {
        assert_eq!(ram_of(0), vec![]);
        assert_eq!(ram_of(0xb_0000), vec![(0, 0xa_0000)]);
        assert_eq!(ram_of(u64::MAX).last(), Some(&(0x1_0000_0000, u64::MAX)));
    }

    #[test]
    fn a_rom_is_backed_below_4_gib_between_the_rest() {
        let backed = |memory_bytes, rom_bytes| -> Vec<(u64, u64)> {
            let ranges = backed(memory_bytes, rom_bytes);
            ranges.map(|r| (r.start.0, r.end.0)).collect()
        };
        let expected = vec![
            (0, 0xa_0000),
            (0xc_0000, 0xc000_0000),
            (0xfffe_0000, 0x1_0000_0000),
            (0x1_0000_0000, 0x1_0000_1000),
        ];
        assert_eq!(backed(0xc000_1000, 0x2_0000), expected);
        assert_eq!(backed(0x10_0000, 0x100_0000)[2], (0xff00_0000, 1 << 32));
        for no_rom in [0, 0x1001, 0x100_1000, u64::MAX] {
            assert_eq!(backed(5 << 30, no_rom), ram_of(5 << 30));
        }
    }

    #[test]
    fn lower_and_upper_memory_leave_out_what_is_above_3_gib() {
        assert_eq!(lower_and_upper_kib(128 << 20), (640, 127 << 10));
        assert_eq!(lower_and_upper_kib(1 << 20), (640, 0));
        assert_eq!(lower_and_upper_kib(u64::MAX), (640, 3 * 1024 * 1024 - 1024));
    }

    #[test]
    fn the_guest_is_told_of_no_ram_that_is_not_there() {
        for memory_bytes in [0x10_0000, 0x10_1000, 256 << 20, 3 << 30, 5 << 30] {
            for (told, kind) in memory_map(memory_bytes) {
                let backed = ram(memory_bytes).any(|r| r.start <= told.start && told.end <= r.end);
                assert!(backed || kind == RangeKind::Reserved, "{told:?}");
            }
        }
    }
}
