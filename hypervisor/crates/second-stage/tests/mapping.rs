//! The second stage as its callers see it, in sentences.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{FakeMemory, leaves};
use skerry_second_stage::{Ept, Leaf, MapError, PageSize, Rights, SecondStage, UnmapError};
use skerry_words::{Gpa, Hpa};

const KIB4: u64 = 1 << 12;
const MIB2: u64 = 1 << 21;
const GIB1: u64 = 1 << 30;

fn empty(frames: u64) -> (SecondStage<Ept>, FakeMemory) {
    let mut memory = FakeMemory::with_frames(frames);
    (SecondStage::new(&mut memory).unwrap(), memory)
}

#[test]
fn a_byte_inside_a_large_page_knows_its_place_and_the_bytes_left() {
    let (mut stage, mut memory) = empty(10);
    let page = Leaf {
        rights: Rights::ReadExecute,
        ..Leaf::ram(Hpa(3 * GIB1), PageSize::Mib2)
    };
    stage.map(&mut memory, Gpa(MIB2), page).unwrap();
    let found = stage.translate(&memory, Gpa(MIB2 + 0x12345)).unwrap();
    assert_eq!(found.hpa, Hpa(3 * GIB1 + 0x12345));
    assert_eq!(found.bytes_left, MIB2 - 0x12345);
    assert_eq!(found.rights, Rights::ReadExecute);
    assert_eq!(found.size, PageSize::Mib2);
    assert_eq!(stage.translate(&memory, Gpa(MIB2 - 1)), None);
    assert_eq!(stage.translate(&memory, Gpa(2 * MIB2)), None);
    assert_eq!(stage.tables(), 3);
}

#[test]
fn addresses_past_48_bits_are_not_mapped_and_do_not_wrap() {
    let (mut stage, mut memory) = empty(10);
    stage
        .map(&mut memory, Gpa(0), Leaf::ram(Hpa(0), PageSize::Gib1))
        .unwrap();
    assert_eq!(stage.translate(&memory, Gpa(1 << 48)), None);
    let high = Gpa(1 << 48);
    assert_eq!(
        stage.map(&mut memory, high, Leaf::ram(Hpa(0), PageSize::Kib4)),
        Err(MapError::BadGuestAddress(high, PageSize::Kib4))
    );
    let far = Hpa(1 << 52);
    assert_eq!(
        stage.map(&mut memory, Gpa(GIB1), Leaf::ram(far, PageSize::Kib4)),
        Err(MapError::BadHostAddress(far, PageSize::Kib4))
    );
}

#[test]
fn nothing_mapped_is_ever_replaced() {
    let (mut stage, mut memory) = empty(10);
    stage
        .map(&mut memory, Gpa(MIB2), Leaf::ram(Hpa(0), PageSize::Mib2))
        .unwrap();
    for (gpa, size) in [
        (MIB2, PageSize::Mib2),
        (MIB2 + 5 * KIB4, PageSize::Kib4),
        (0, PageSize::Gib1),
    ] {
        let page = Leaf::ram(Hpa(GIB1), size);
        assert_eq!(
            stage.map(&mut memory, Gpa(gpa), page),
            Err(MapError::Overlap(Gpa(gpa)))
        );
    }
    assert_eq!(leaves(&stage, &memory).len(), 1);
}

#[test]
fn unmapping_a_small_page_splits_the_large_one_around_it() {
    let (mut stage, mut memory) = empty(10);
    stage
        .map(&mut memory, Gpa(0), Leaf::ram(Hpa(GIB1), PageSize::Gib1))
        .unwrap();
    assert_eq!(stage.tables(), 2);
    let hole = Gpa(MIB2 + 7 * KIB4);
    let page = stage.unmap(&mut memory, hole, PageSize::Kib4).unwrap();
    assert_eq!(page, Leaf::ram(Hpa(GIB1 + MIB2 + 7 * KIB4), PageSize::Kib4));
    assert_eq!(stage.tables(), 4);
    assert_eq!(leaves(&stage, &memory).len(), 511 + 511);
    assert_eq!(stage.translate(&memory, hole), None);
    let after = stage.translate(&memory, Gpa(MIB2 + 8 * KIB4)).unwrap();
    assert_eq!(after.hpa, Hpa(GIB1 + MIB2 + 8 * KIB4));
}

#[test]
fn unmapping_the_last_page_gives_its_tables_back_so_that_a_larger_page_fits() {
    let (mut stage, mut memory) = empty(10);
    stage
        .map(&mut memory, Gpa(MIB2), Leaf::ram(Hpa(KIB4), PageSize::Kib4))
        .unwrap();
    assert_eq!(stage.tables(), 4);
    stage.unmap(&mut memory, Gpa(MIB2), PageSize::Kib4).unwrap();
    assert_eq!((stage.tables(), memory.tables.len()), (1, 1));
    stage
        .map(&mut memory, Gpa(0), Leaf::ram(Hpa(0), PageSize::Gib1))
        .unwrap();
}

#[test]
fn unmapping_names_what_is_in_the_way() {
    let (mut stage, mut memory) = empty(10);
    stage
        .map(&mut memory, Gpa(0), Leaf::ram(Hpa(0), PageSize::Kib4))
        .unwrap();
    assert_eq!(
        stage.unmap(&mut memory, Gpa(0), PageSize::Mib2),
        Err(UnmapError::MappedBySmallerPages(Gpa(0)))
    );
    assert_eq!(
        stage.unmap(&mut memory, Gpa(KIB4), PageSize::Kib4),
        Err(UnmapError::NotMapped(Gpa(KIB4)))
    );
    assert_eq!(
        stage.unmap(&mut memory, Gpa(1), PageSize::Kib4),
        Err(UnmapError::BadGuestAddress(Gpa(1), PageSize::Kib4))
    );
}

#[test]
fn a_change_that_lacks_tables_changes_nothing_and_keeps_none() {
    for frames in 1..4 {
        let (mut stage, mut memory) = empty(frames);
        let page = Leaf::ram(Hpa(0), PageSize::Kib4);
        assert_eq!(
            stage.map(&mut memory, Gpa(0), page),
            Err(MapError::OutOfTables)
        );
        assert_eq!(stage.tables(), 1);
        assert_eq!(memory.left, frames - 1);
        assert_eq!(leaves(&stage, &memory), []);
        let linked = memory
            .stores
            .iter()
            .find(|store| store.table == stage.root());
        assert!(linked.is_none(), "{linked:?}");
    }
}

#[test]
fn destroying_returns_every_table() {
    let (mut stage, mut memory) = empty(100);
    for gpa in [0, MIB2, 5 * GIB1, 600 * GIB1] {
        stage
            .map(&mut memory, Gpa(gpa), Leaf::ram(Hpa(0), PageSize::Kib4))
            .unwrap();
    }
    assert_eq!(stage.tables(), memory.tables.len() as u64);
    stage.destroy(&mut memory);
    assert!(memory.tables.is_empty());
    assert_eq!(memory.left, 100);
}
