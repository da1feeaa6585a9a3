//! The second stage of one VM: its root, and reading what is mapped.
//!
//! Owns the life of the tables, translation (on the path of every memory exit, so short)
//! and the visit of all leaves. Does not own changes: those are in `map.rs`.

use crate::{Entry, Format, Leaf, Level, PageSize, Rights, TABLE_ENTRIES, TableMemory};
use core::marker::PhantomData;
use skerry_words::{Gpa, HostFrame, Hpa};

/// One VM's second-stage tables in format `F`.
///
/// Every table but the root holds at least one entry. Dropping it leaks its tables:
/// [`SecondStage::destroy`] gives them back.
#[derive(Debug)]
pub struct SecondStage<F: Format> {
    pub(crate) root: HostFrame,
    pub(crate) tables: u64,
    format: PhantomData<F>,
}

/// Where one guest-physical byte is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The host address of that byte.
    pub hpa: Hpa,
    /// Bytes from it to the end of its page, at least 1.
    pub bytes_left: u64,
    /// What the guest may do with the page.
    pub rights: Rights,
    /// The page's size.
    pub size: PageSize,
}

impl Mapping {
    #[inline(always)]
    fn of(leaf: Leaf, gpa: Gpa) -> Self {
        let offset = gpa.0 & leaf.size.bytes().wrapping_sub(1);
        Self {
            hpa: Hpa(leaf.hpa.0 | offset),
            bytes_left: leaf.size.bytes().wrapping_sub(offset),
            rights: leaf.rights,
            size: leaf.size,
        }
    }
}

impl<F: Format> SecondStage<F> {
    /// Tables that map nothing, or `None` if `memory` has no frame for the root.
    pub fn new(memory: &mut impl TableMemory) -> Option<Self> {
        Some(Self {
            root: memory.allocate_table()?,
            tables: 1,
            format: PhantomData,
        })
    }

    /// The frame of the root table.
    #[must_use]
    pub const fn root(&self) -> HostFrame {
        self.root
    }

    /// How many tables there are now, the root included; 4096 bytes each.
    #[must_use]
    pub const fn tables(&self) -> u64 {
        self.tables
    }

    /// Where `gpa` is, or `None` if nothing is mapped there.
    #[inline]
    pub fn translate(&self, memory: &impl TableMemory, gpa: Gpa) -> Option<Mapping> {
        if gpa.0 >> 48 != 0 {
            return None;
        }
        let mut table = self.root;
        for level in Level::DOWN {
            match F::decode(memory.read(table, level.index(gpa)), level) {
                Entry::Absent => return None,
                Entry::Table(below) => table = below,
                Entry::Leaf(leaf) => return Some(Mapping::of(leaf, gpa)),
            }
        }
        None
    }

    /// Calls `visit` for every mapped page, by ascending guest address.
    pub fn each_leaf(&self, memory: &impl TableMemory, visit: &mut impl FnMut(Gpa, Leaf)) {
        Self::visit_table(memory, self.root, Level::Four, Gpa(0), visit);
    }

    fn visit_table(
        memory: &impl TableMemory,
        table: HostFrame,
        level: Level,
        start: Gpa,
        visit: &mut impl FnMut(Gpa, Leaf),
    ) {
        for index in 0..TABLE_ENTRIES {
            let gpa = Gpa(start.0 | ((index as u64) << level.shift()));
            match F::decode(memory.read(table, index), level) {
                Entry::Absent => {}
                Entry::Leaf(leaf) => visit(gpa, leaf),
                Entry::Table(child) => {
                    if let Some(below) = level.below() {
                        Self::visit_table(memory, child, below, gpa, visit);
                    }
                }
            }
        }
    }

    /// Gives every table back. The pages that were mapped are the caller's, who visits
    /// them by [`SecondStage::each_leaf`] first. No CPU may use the tables any more.
    pub fn destroy(self, memory: &mut impl TableMemory) {
        Self::free_tables(memory, self.root, Level::Four);
    }

    fn free_tables(memory: &mut impl TableMemory, table: HostFrame, level: Level) {
        if let Some(below) = level.below() {
            for index in 0..TABLE_ENTRIES {
                if let Entry::Table(child) = F::decode(memory.read(table, index), level) {
                    Self::free_tables(memory, child, below);
                }
            }
        }
        memory.free_table(table);
    }
}
