//! Changing what is mapped, one page at a time.
//!
//! Owns mapping, unmapping and splitting. Every new table is filled while nothing points
//! to it, then linked by one store: at any moment a walking CPU finds the mapping before
//! or after the change, and a change that lacks memory halfway has changed nothing.

use crate::{
    Entry, Format, Leaf, Level, MapError, PageSize, SecondStage, TABLE_ENTRIES, TableMemory,
    UnmapError,
};
use skerry_words::{Gpa, HostFrame, Hpa};

/// An entry's place: which table, of which level.
#[derive(Clone, Copy)]
struct Slot {
    table: HostFrame,
    level: Level,
}

impl Slot {
    fn read(self, memory: &impl TableMemory, gpa: Gpa) -> u64 {
        memory.read(self.table, self.level.index(gpa))
    }

    fn write(self, memory: &mut impl TableMemory, gpa: Gpa, entry: u64) {
        memory.write(self.table, self.level.index(gpa), entry);
    }
}

fn guest_page(gpa: Gpa, size: PageSize) -> Option<Gpa> {
    (gpa.is_aligned(size.bytes()) && gpa.0 >> 48 == 0).then_some(gpa)
}

fn host_page(hpa: Hpa, size: PageSize) -> Option<Hpa> {
    (hpa.is_aligned(size.bytes()) && hpa.0 >> 52 == 0).then_some(hpa)
}

impl<F: Format> SecondStage<F> {
    /// Maps one page at `gpa`. What was mapped before is never replaced.
    ///
    /// A vCPU may run meanwhile; nothing needs to be invalidated afterwards
    /// `[SDM 3C, "Guidelines for Use of the INVEPT Instruction", ed. 085]`.
    ///
    /// # Errors
    /// [`MapError`]; nothing was changed.
    pub fn map(
        &mut self,
        memory: &mut impl TableMemory,
        gpa: Gpa,
        leaf: Leaf,
    ) -> Result<(), MapError> {
        guest_page(gpa, leaf.size).ok_or(MapError::BadGuestAddress(gpa, leaf.size))?;
        host_page(leaf.hpa, leaf.size).ok_or(MapError::BadHostAddress(leaf.hpa, leaf.size))?;
        let target = leaf.size.level();
        let mut slot = self.root_slot();
        loop {
            match F::decode(slot.read(memory, gpa), slot.level) {
                Entry::Absent => break,
                Entry::Table(table) if slot.level > target => slot = below(slot, table),
                Entry::Table(_) | Entry::Leaf(_) => return Err(MapError::Overlap(gpa)),
            }
        }
        let entry = if slot.level == target {
            F::leaf(leaf)
        } else {
            self.build_chain(memory, gpa, leaf, slot.level)?
        };
        slot.write(memory, gpa, entry);
        Ok(())
    }

    /// Unmaps the page of `size` at `gpa` and returns it; a larger page around it is
    /// split first, tables that become empty are given back.
    ///
    /// CPUs may still use the old translation: until they are told to forget it, no vCPU
    /// of this VM may run, and neither the page nor the tables' frames be reused.
    ///
    /// # Errors
    /// [`UnmapError`]; no translation was changed.
    pub fn unmap(
        &mut self,
        memory: &mut impl TableMemory,
        gpa: Gpa,
        size: PageSize,
    ) -> Result<Leaf, UnmapError> {
        guest_page(gpa, size).ok_or(UnmapError::BadGuestAddress(gpa, size))?;
        let target = size.level();
        let mut slot = self.root_slot();
        loop {
            let entry = slot.read(memory, gpa);
            match F::decode(entry, slot.level) {
                Entry::Absent => return Err(UnmapError::NotMapped(gpa)),
                Entry::Leaf(_) => return self.unmap_inside(memory, gpa, slot, target),
                Entry::Table(table) if slot.level > target => slot = below(slot, table),
                Entry::Table(_) => return Err(UnmapError::MappedBySmallerPages(gpa)),
            }
        }
    }

    /// Unmaps the page at level `target` out of the leaf in `slot`, by one store there.
    fn unmap_inside(
        &mut self,
        memory: &mut impl TableMemory,
        gpa: Gpa,
        slot: Slot,
        target: Level,
    ) -> Result<Leaf, UnmapError> {
        let entry = slot.read(memory, gpa);
        let rest = self.without(memory, gpa, entry, slot.level, target);
        let (rest, removed) = rest.ok_or(UnmapError::OutOfTables)?;
        slot.write(memory, gpa, rest);
        self.prune(memory, gpa);
        match F::decode(removed, target) {
            Entry::Leaf(leaf) => Ok(leaf),
            Entry::Absent | Entry::Table(_) => Err(UnmapError::NotMapped(gpa)),
        }
    }

    const fn root_slot(&self) -> Slot {
        Slot {
            table: self.root,
            level: Level::Four,
        }
    }

    /// The entry at `top` for a chain of new tables down to `leaf`, not yet linked.
    #[inline(never)]
    fn build_chain(
        &mut self,
        memory: &mut impl TableMemory,
        gpa: Gpa,
        leaf: Leaf,
        top: Level,
    ) -> Result<u64, MapError> {
        let mut entry = F::leaf(leaf);
        let mut built: [Option<HostFrame>; 3] = [None; 3];
        let between = [Level::One, Level::Two, Level::Three];
        for (level, place) in between.into_iter().zip(&mut built) {
            if level < leaf.size.level() || level >= top {
                continue;
            }
            let Some(table) = memory.allocate_table() else {
                built
                    .into_iter()
                    .flatten()
                    .for_each(|table| self.release(memory, table));
                return Err(MapError::OutOfTables);
            };
            self.tables = self.tables.wrapping_add(1);
            *place = Some(table);
            Slot { table, level }.write(memory, gpa, entry);
            entry = F::table(table);
        }
        Ok(entry)
    }

    /// The entry for `level` that says what the leaf `entry` says but for the page at
    /// level `target` that holds `gpa`, and the entry of that page. New tables are not yet
    /// linked; if one is missing, none is kept.
    fn without(
        &mut self,
        memory: &mut impl TableMemory,
        gpa: Gpa,
        entry: u64,
        level: Level,
        target: Level,
    ) -> Option<(u64, u64)> {
        let (Some(size), Some(below)) = (level.page_size(), level.below()) else {
            return Some((0, entry));
        };
        if level == target {
            return Some((0, entry));
        }
        let table = memory.allocate_table()?;
        self.tables = self.tables.wrapping_add(1);
        let inside = F::split(entry, size, below.index(gpa));
        let Some((rest, removed)) = self.without(memory, gpa, inside, below, target) else {
            self.release(memory, table);
            return None;
        };
        for index in 0..TABLE_ENTRIES {
            let is_around = index != below.index(gpa);
            let part = if is_around {
                F::split(entry, size, index)
            } else {
                rest
            };
            memory.write(table, index, part);
        }
        Some((F::table(table), removed))
    }

    /// Unlinks and frees the tables on the way to `gpa` that hold nothing any more.
    fn prune(&mut self, memory: &mut impl TableMemory, gpa: Gpa) {
        while let Some((parent, empty)) = self.lowest_empty(memory, gpa) {
            parent.write(memory, gpa, 0);
            self.release(memory, empty);
        }
    }

    /// The lowest table on the way to `gpa`, if it is empty and not the root, with the
    /// slot that points to it.
    fn lowest_empty(&self, memory: &impl TableMemory, gpa: Gpa) -> Option<(Slot, HostFrame)> {
        let mut parent = None;
        let mut slot = self.root_slot();
        while let Entry::Table(table) = F::decode(slot.read(memory, gpa), slot.level) {
            parent = Some(slot);
            slot = below(slot, table);
        }
        let empty = (0..TABLE_ENTRIES).all(|index| memory.read(slot.table, index) == 0);
        parent.filter(|_| empty).map(|parent| (parent, slot.table))
    }

    fn release(&mut self, memory: &mut impl TableMemory, table: HostFrame) {
        self.tables = self.tables.wrapping_sub(1);
        memory.free_table(table);
    }
}

/// The slot one level down. Level one has no table entries, so it is never left.
fn below(slot: Slot, table: HostFrame) -> Slot {
    Slot {
        table,
        level: slot.level.below().unwrap_or(Level::One),
    }
}
