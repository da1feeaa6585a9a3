//! Table memory for tests: arrays in a map, with every store on record.

use skerry_second_stage::{Format, Leaf, SecondStage, TABLE_ENTRIES, TableMemory};
use skerry_words::{Gpa, HostFrame};
use std::collections::BTreeMap;

/// One store to a table.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code)] // each test reads some of the fields
pub(crate) struct Store {
    pub(crate) table: HostFrame,
    pub(crate) index: usize,
    pub(crate) entry: u64,
}

/// Frames for tables, at most `left` more of them.
#[derive(Clone, Default)]
pub(crate) struct FakeMemory {
    pub(crate) tables: BTreeMap<u64, Vec<u64>>,
    pub(crate) stores: Vec<Store>,
    pub(crate) freed: Vec<HostFrame>,
    pub(crate) left: u64,
    next: u64,
}

impl FakeMemory {
    pub(crate) fn with_frames(left: u64) -> Self {
        Self {
            left,
            next: 0x100,
            ..Self::default()
        }
    }
}

impl TableMemory for FakeMemory {
    fn allocate_table(&mut self) -> Option<HostFrame> {
        self.left = self.left.checked_sub(1)?;
        self.next += 1;
        self.tables.insert(self.next, vec![0; TABLE_ENTRIES]);
        Some(HostFrame(self.next))
    }

    fn free_table(&mut self, table: HostFrame) {
        assert!(
            self.tables.remove(&table.0).is_some(),
            "{table:?} was not allocated"
        );
        self.freed.push(table);
        self.left += 1;
    }

    fn read(&self, table: HostFrame, index: usize) -> u64 {
        self.tables[&table.0][index]
    }

    fn write(&mut self, table: HostFrame, index: usize, entry: u64) {
        self.tables.get_mut(&table.0).expect("a live table")[index] = entry;
        self.stores.push(Store {
            table,
            index,
            entry,
        });
    }
}

/// Everything that is mapped, in order.
pub(crate) fn leaves<F: Format>(stage: &SecondStage<F>, memory: &FakeMemory) -> Vec<(Gpa, Leaf)> {
    let mut found = Vec::new();
    stage.each_leaf(memory, &mut |gpa, leaf| found.push((gpa, leaf)));
    found
}
