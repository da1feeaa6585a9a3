//! The second stage against a naive model, and every prefix of its stores against the
//! mapping before and after.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{FakeMemory, leaves};
use proptest::prelude::*;
use skerry_second_stage::{
    Ept, Format, Leaf, MapError, Npt, PageSize, SecondStage, TableMemory, UnmapError,
};
use skerry_words::{Gpa, Hpa};
use std::collections::BTreeMap;

/// Pages by their first guest byte: nothing but a map.
#[derive(Default)]
struct Model(BTreeMap<u64, Leaf>);

impl Model {
    fn overlapping(&self, gpa: u64, size: PageSize) -> Vec<(u64, Leaf)> {
        let end = gpa + size.bytes();
        let hit = |(at, leaf): &(&u64, &Leaf)| **at < end && gpa < **at + leaf.size.bytes();
        self.0
            .iter()
            .filter(hit)
            .map(|(at, leaf)| (*at, *leaf))
            .collect()
    }

    fn map(&mut self, gpa: u64, leaf: Leaf) -> Result<(), MapError> {
        if !self.overlapping(gpa, leaf.size).is_empty() {
            return Err(MapError::Overlap(Gpa(gpa)));
        }
        self.0.insert(gpa, leaf);
        Ok(())
    }

    fn unmap(&mut self, gpa: u64, size: PageSize) -> Result<Leaf, UnmapError> {
        let hits = self.overlapping(gpa, size);
        let (at, leaf) = *hits.first().ok_or(UnmapError::NotMapped(Gpa(gpa)))?;
        if leaf.size < size {
            return Err(UnmapError::MappedBySmallerPages(Gpa(gpa)));
        }
        self.0.remove(&at);
        let mut piece = leaf;
        let (mut start, mut removed) = (at, leaf);
        while piece.size > size {
            let smaller = match piece.size {
                PageSize::Gib1 => PageSize::Mib2,
                _ => PageSize::Kib4,
            };
            let base = start;
            for index in 0..512 {
                let offset = index * smaller.bytes();
                let hpa = Hpa(piece.hpa.0 + offset);
                let part = Leaf {
                    hpa,
                    size: smaller,
                    ..piece
                };
                if (base + offset..base + offset + smaller.bytes()).contains(&gpa) {
                    (start, removed) = (base + offset, part);
                } else {
                    self.0.insert(base + offset, part);
                }
            }
            piece = removed;
        }
        Ok(removed)
    }

    fn translate(&self, gpa: u64) -> Option<Hpa> {
        let (at, leaf) = self.0.range(..=gpa).next_back()?;
        (gpa < at + leaf.size.bytes()).then(|| Hpa(leaf.hpa.0 + (gpa - at)))
    }
}

#[derive(Clone, Debug)]
enum Change {
    Map(u64, Leaf),
    Unmap(u64, PageSize),
}

fn size() -> impl Strategy<Value = PageSize> {
    prop_oneof![
        Just(PageSize::Kib4),
        Just(PageSize::Kib4),
        Just(PageSize::Mib2),
        Just(PageSize::Gib1)
    ]
}

/// Few addresses, so that changes meet: two gigabytes, two large pages in each, two
/// small pages in each of those, and one far away.
fn address() -> impl Strategy<Value = u64> {
    (
        0u64..2,
        0u64..2,
        0u64..2,
        prop_oneof![4 => Just(0u64), 1 => Just(1 << 47)],
    )
        .prop_map(|(gib, mib, kib, far)| far | gib << 30 | mib << 21 | kib << 12)
}

fn change() -> impl Strategy<Value = Change> {
    (address(), size(), 0u64..0x1_0000, any::<bool>()).prop_map(|(gpa, size, host, map)| {
        let gpa = gpa & !(size.bytes() - 1);
        let hpa = Hpa((host << 24) & !(size.bytes() - 1));
        if map {
            Change::Map(gpa, Leaf::ram(hpa, size))
        } else {
            Change::Unmap(gpa, size)
        }
    })
}

fn probes() -> Vec<u64> {
    let mut probes = vec![(1 << 47) + 0x123];
    for gib in 0..3u64 {
        for mib in [0, 1, 2, 511] {
            probes.extend([0, 1, 2, 511].map(|kib| gib << 30 | mib << 21 | kib << 12 | 0xabc));
        }
    }
    probes
}

fn view<F: Format>(stage: &SecondStage<F>, memory: &FakeMemory) -> Vec<Option<Hpa>> {
    let find = |gpa| stage.translate(memory, Gpa(gpa)).map(|mapping| mapping.hpa);
    probes().into_iter().map(find).collect()
}

/// Replays the stores of one change over the memory before it and checks what a CPU that
/// walks in between would find. Frees come after the unlinking store, so tables of both
/// sides are kept.
fn each_prefix_is_old_or_new<F: Format>(
    stage: &SecondStage<F>,
    before: &FakeMemory,
    after: &FakeMemory,
) -> Result<(), TestCaseError> {
    let (old, new) = (view(stage, before), view(stage, after));
    let mut between = before.clone();
    for store in &after.stores[before.stores.len()..] {
        let table = between
            .tables
            .entry(store.table.0)
            .or_insert_with(|| vec![0; 512]);
        table[store.index] = store.entry;
        for (index, found) in view(stage, &between).into_iter().enumerate() {
            prop_assert!(found == old[index] || found == new[index]);
        }
    }
    Ok(())
}

/// The walker with format `F` against the model, after each change.
fn follows_the_model<F: Format>(changes: &[Change], frames: u64) -> Result<(), TestCaseError> {
    let mut memory = FakeMemory::with_frames(frames);
    let mut stage = SecondStage::<F>::new(&mut memory).unwrap();
    let mut model = Model::default();
    for change in changes {
        let before = memory.clone();
        match *change {
            Change::Map(gpa, leaf) => match stage.map(&mut memory, Gpa(gpa), leaf) {
                Err(MapError::OutOfTables) => prop_assert!(before.left < 3),
                answer => prop_assert_eq!(answer, model.map(gpa, leaf)),
            },
            Change::Unmap(gpa, size) => match stage.unmap(&mut memory, Gpa(gpa), size) {
                Err(UnmapError::OutOfTables) => prop_assert!(before.left < 2),
                answer => prop_assert_eq!(answer, model.unmap(gpa, size)),
            },
        }
        each_prefix_is_old_or_new(&stage, &before, &memory)?;
        prop_assert_eq!(stage.tables(), memory.tables.len() as u64);
        for gpa in probes() {
            let found = stage
                .translate(&memory, Gpa(gpa))
                .map(|mapping| mapping.hpa);
            prop_assert_eq!(found, model.translate(gpa));
        }
    }
    stage.destroy(&mut memory);
    prop_assert!(memory.tables.is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_changes_leave_what_a_plain_map_would_hold(
        changes in prop::collection::vec(change(), 1..24),
        frames in 1u64..40,
    ) {
        follows_the_model::<Ept>(&changes, frames)?;
        follows_the_model::<Npt>(&changes, frames)?;
    }

    #[test]
    fn the_visit_of_leaves_finds_each_page_once_in_order(
        pages in prop::collection::btree_set(address(), 1..12),
    ) {
        let mut memory = FakeMemory::with_frames(100);
        let mut stage = SecondStage::<Ept>::new(&mut memory).unwrap();
        let page = Leaf::ram(Hpa(0x5000), PageSize::Kib4);
        for gpa in &pages {
            stage.map(&mut memory, Gpa(*gpa), page).unwrap();
        }
        let expected: Vec<_> = pages.iter().map(|gpa| (Gpa(*gpa), page)).collect();
        prop_assert_eq!(leaves(&stage, &memory), expected);
    }
}

#[test]
fn no_store_links_a_table_before_it_is_complete() {
    let mut memory = FakeMemory::with_frames(10);
    let mut stage = SecondStage::<Ept>::new(&mut memory).unwrap();
    let page = Leaf::ram(Hpa(1 << 30), PageSize::Gib1);
    stage.map(&mut memory, Gpa(0), page).unwrap();
    memory.stores.clear();
    stage
        .unmap(&mut memory, Gpa(0x1000), PageSize::Kib4)
        .unwrap();
    // Two tables of 512 stores each, then the one that links them and unmaps.
    assert_eq!(memory.stores.len(), 2 * 512 + 1);
    let linked = memory.read(stage.root(), 0) >> 12;
    let (last, before) = memory.stores.split_last().unwrap();
    assert_eq!(last.table.0, linked);
    assert!(before.iter().all(|store| store.table.0 != linked));
}
