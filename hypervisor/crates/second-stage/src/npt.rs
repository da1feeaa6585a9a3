//! AMD's nested page tables as a [`Format`].
//!
//! Owns the bits of the entries: they are those of long-mode paging
//! `[APM 2, "Nested Paging" and "Long-Mode Page Translation", rev. 3.42]`. Every access of
//! a guest is a user access here, so the user bit is always set. Does not own the host's
//! EFER.NXE and PAT, which the CPU applies to these tables: ring 0 sets the one and leaves
//! the other as after reset (entry 0 write-back, entry 3 uncacheable).

use crate::format::{ADDRESS, MAPS_PAGE};
use crate::{Format, Leaf, MemoryType, PageSize, Rights};
use skerry_words::{HostFrame, Hpa};

const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const PAT_ENTRY_3: u64 = 0b11 << 3;
const NO_EXECUTE: u64 = 1 << 63;

/// The NPT format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Npt {}

impl Npt {
    /// The VMCB's nested CR3: a walk of four levels.
    #[must_use]
    pub const fn pointer(root: HostFrame) -> u64 {
        root.start().0
    }

    const fn rights(entry: u64) -> Rights {
        match (entry & WRITE != 0, entry & NO_EXECUTE == 0) {
            (false, false) => Rights::Read,
            (true, false) => Rights::ReadWrite,
            (false, true) => Rights::ReadExecute,
            (true, true) => Rights::All,
        }
    }
}

impl Format for Npt {
    const PRESENT: u64 = PRESENT;

    #[inline(always)]
    fn decode_leaf(entry: u64, size: PageSize) -> Leaf {
        Leaf {
            hpa: Hpa(entry & ADDRESS),
            size,
            rights: Self::rights(entry),
            memory_type: match entry & PAT_ENTRY_3 {
                0 => MemoryType::WriteBack,
                _ => MemoryType::Uncacheable,
            },
        }
    }

    #[inline]
    fn table(table: HostFrame) -> u64 {
        table.start().0 | USER | WRITE | PRESENT
    }

    #[inline]
    fn leaf(leaf: Leaf) -> u64 {
        let rights = match leaf.rights {
            Rights::Read => NO_EXECUTE,
            Rights::ReadWrite => NO_EXECUTE | WRITE,
            Rights::ReadExecute => 0,
            Rights::All => WRITE,
        };
        let memory_type = match leaf.memory_type {
            MemoryType::WriteBack => 0,
            MemoryType::Uncacheable => PAT_ENTRY_3,
        };
        let maps_page = match leaf.size {
            PageSize::Kib4 => 0,
            PageSize::Mib2 | PageSize::Gib1 => MAPS_PAGE,
        };
        leaf.hpa.0 | maps_page | memory_type | rights | USER | PRESENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, Level};

    #[test]
    fn plain_ram_has_the_manuals_bits() {
        let small = Leaf::ram(Hpa(0x1234_5000), PageSize::Kib4);
        assert_eq!(Npt::leaf(small), 0x1234_5007);
        let large = Leaf::ram(Hpa(0x4000_0000), PageSize::Gib1);
        assert_eq!(Npt::leaf(large), 0x4000_0087);
        assert_eq!(Npt::table(HostFrame(0x77)), 0x77007);
        assert_eq!(Npt::pointer(HostFrame(5)), 0x5000);
    }

    #[test]
    fn a_read_only_device_page_is_uncacheable_and_comes_back_as_it_went_in() {
        let leaf = Leaf {
            hpa: Hpa(0xfee0_0000),
            size: PageSize::Mib2,
            rights: Rights::Read,
            memory_type: MemoryType::Uncacheable,
        };
        assert_eq!(Npt::leaf(leaf), 0x8000_0000_fee0_009d);
        assert_eq!(Npt::decode(Npt::leaf(leaf), Level::Two), Entry::Leaf(leaf));
    }

    #[test]
    fn splitting_keeps_rights_and_flags_and_ends_the_page_bit_at_4_kib() {
        let gib = 0x8000_0000_4000_00e5;
        assert_eq!(Npt::split(gib, PageSize::Gib1, 3), 0x8000_0000_4060_00e5);
        assert_eq!(Npt::split(0x4060_00e7, PageSize::Mib2, 511), 0x407f_f067);
    }

    #[test]
    fn a_root_entry_never_maps_a_page_and_writable_but_absent_is_absent() {
        assert_eq!(Npt::decode(0x1087, Level::Four), Entry::Table(HostFrame(1)));
        assert_eq!(Npt::decode(0x1006, Level::One), Entry::Absent);
    }
}
