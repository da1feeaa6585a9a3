//! Guest-physical memory, in one place.
//!
//! RAM starts at 0, leaves out the PC's hole for video memory and the 4th GiB (where
//! devices live), and goes on above 4 GiB. 0xc0000 to 0xfffff is backed by RAM, though
//! guests are told it is reserved, so that their scans for firmware tables read zeros
//! without an exit.
//!
//! Used by the loaders, by whoever backs guest memory, and by the VMM.

use core::ops::Range;

use skerry_words::Gpa;

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

/// The global descriptor table a plan makes for long mode.
pub const GDT: Gpa = Gpa(0x1000);
/// Linux's zero page, or `hvm_start_info` with its tables. One page.
pub const START_INFO: Gpa = Gpa(0x2000);
/// The command line, up to [`CMDLINE_BYTES`].
pub const CMDLINE: Gpa = Gpa(0x3000);
/// Room for the command line with its terminating zero.
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

/// What a guest is told that a range is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RangeKind {
    /// Memory it may use.
    Ram,
    /// Addresses it must leave alone.
    Reserved,
}

impl RangeKind {
    /// The number that both the e820 table and PVH's memory map have for it.
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
    fn the_guest_is_told_of_no_ram_that_is_not_there() {
        for memory_bytes in [0x10_0000, 0x10_1000, 256 << 20, 3 << 30, 5 << 30] {
            for (told, kind) in memory_map(memory_bytes) {
                let backed = ram(memory_bytes).any(|r| r.start <= told.start && told.end <= r.end);
                assert!(backed || kind == RangeKind::Reserved, "{told:?}");
            }
        }
    }
}
