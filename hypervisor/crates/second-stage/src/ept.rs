//! Intel's extended page tables as a [`Format`].
//!
//! Owns the bits of EPT entries and of the EPT pointer
//! `[SDM 3C, "EPT Paging-Structure Entries" and "Extended-Page-Table Pointer (EPTP)",
//! ed. 085]`. Does not own capability checks: 1-GiB pages are optional
//! (IA32_VMX_EPT_VPID_CAP), and ring 0 asks before it uses them.

use crate::format::{ADDRESS, MAPS_PAGE};
use crate::{Format, Leaf, MemoryType, PageSize, Rights};
use skerry_words::{HostFrame, Hpa};

const READ: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const EXECUTE: u64 = 1 << 2;
const ALL_RIGHTS: u64 = READ | WRITE | EXECUTE;
const TYPE_UNCACHEABLE: u64 = 0 << 3;
const TYPE_WRITE_BACK: u64 = 6 << 3;
const TYPE: u64 = 7 << 3;

/// The EPT format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ept {}

impl Ept {
    /// The VMCS's EPT pointer: write-back tables, a walk of four levels, no accessed and dirty
    /// flags.
    #[must_use]
    pub const fn pointer(root: HostFrame) -> u64 {
        let walk_length_minus_1 = 3 << 3;
        root.start().0 | walk_length_minus_1 | 6
    }

    const fn rights(entry: u64) -> Rights {
        match (entry & WRITE != 0, entry & EXECUTE != 0) {
            (false, false) => Rights::Read,
            (true, false) => Rights::ReadWrite,
            (false, true) => Rights::ReadExecute,
            (true, true) => Rights::All,
        }
    }
}

impl Format for Ept {
    const PRESENT: u64 = ALL_RIGHTS;

    #[inline(always)]
    fn decode_leaf(entry: u64, size: PageSize) -> Leaf {
        Leaf {
            hpa: Hpa(entry & ADDRESS),
            size,
            rights: Self::rights(entry),
            memory_type: match entry & TYPE {
                TYPE_UNCACHEABLE => MemoryType::Uncacheable,
                _ => MemoryType::WriteBack,
            },
        }
    }

    #[inline]
    fn table(table: HostFrame) -> u64 {
        table.start().0 | ALL_RIGHTS
    }

    #[inline]
    fn leaf(leaf: Leaf) -> u64 {
        let rights = match leaf.rights {
            Rights::Read => READ,
            Rights::ReadWrite => READ | WRITE,
            Rights::ReadExecute => READ | EXECUTE,
            Rights::All => ALL_RIGHTS,
        };
        let memory_type = match leaf.memory_type {
            MemoryType::WriteBack => TYPE_WRITE_BACK,
            MemoryType::Uncacheable => TYPE_UNCACHEABLE,
        };
        let maps_page = match leaf.size {
            PageSize::Kib4 => 0,
            PageSize::Mib2 | PageSize::Gib1 => MAPS_PAGE,
        };
        leaf.hpa.0 | maps_page | memory_type | rights
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, Level};

    #[test]
    fn plain_ram_has_the_manuals_bits() {
        let small = Leaf::ram(Hpa(0x1234_5000), PageSize::Kib4);
        assert_eq!(Ept::leaf(small), 0x1234_5037);
        let large = Leaf::ram(Hpa(0x4000_0000), PageSize::Gib1);
        assert_eq!(Ept::leaf(large), 0x4000_00b7);
        assert_eq!(Ept::table(HostFrame(0x77)), 0x77007);
        assert_eq!(Ept::pointer(HostFrame(5)), 0x501e);
    }

    #[test]
    fn a_read_only_device_page_is_uncacheable_and_comes_back_as_it_went_in() {
        let leaf = Leaf {
            hpa: Hpa(0xfee0_0000),
            size: PageSize::Mib2,
            rights: Rights::Read,
            memory_type: MemoryType::Uncacheable,
        };
        assert_eq!(Ept::leaf(leaf), 0xfee0_0081);
        assert_eq!(Ept::decode(0xfee0_0081, Level::Two), Entry::Leaf(leaf));
    }

    #[test]
    fn splitting_keeps_the_accessed_and_dirty_flags_and_ends_the_page_bit_at_4_kib() {
        let gib = 0x4000_03b7;
        assert_eq!(Ept::split(gib, PageSize::Gib1, 3), 0x4060_03b7);
        assert_eq!(Ept::split(0x4060_03b7, PageSize::Mib2, 511), 0x407f_f337);
    }

    #[test]
    fn a_root_entry_never_maps_a_page() {
        assert_eq!(Ept::decode(0x1087, Level::Four), Entry::Table(HostFrame(1)));
        assert_eq!(Ept::decode(0x1000, Level::One), Entry::Absent);
    }
}
