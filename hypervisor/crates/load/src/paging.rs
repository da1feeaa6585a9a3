//! The page tables a plan makes for long mode: the first 4 GiB, mapped to themselves.
//!
//! 2 MiB pages, which every x86-64 CPU has, in six tables: PML4, PDPT, and one page
//! directory for each GiB `[SDM 3A, "4-Level Paging and 5-Level Paging", ed. 085]`.

use alloc::vec::Vec;

use crate::layout::PAGE_TABLES;

const PRESENT_WRITABLE: u64 = 3;
const PAGE_SIZE: u64 = 1 << 7;
const TABLE_BYTES: u64 = 4096;
const ENTRIES: usize = 512;
const DIRECTORIES: usize = 4;

/// The tables' bytes, to be put at [`PAGE_TABLES`], whose address CR3 gets.
pub(crate) fn identity_map() -> Vec<u8> {
    let pml4 = links(1, 1);
    let pdpt = links(2, DIRECTORIES);
    let leaves = (0u64..)
        .step_by(2 << 20)
        .take(DIRECTORIES.saturating_mul(ENTRIES))
        .map(|address| address | PAGE_SIZE | PRESENT_WRITABLE);
    pml4.chain(pdpt)
        .chain(leaves)
        .flat_map(u64::to_le_bytes)
        .collect()
}

/// A table with `count` links to the tables from number `first` on, and nothing else.
fn links(first: u64, count: usize) -> impl Iterator<Item = u64> {
    let start = PAGE_TABLES
        .0
        .saturating_add(first.saturating_mul(TABLE_BYTES));
    (start..)
        .step_by(TABLE_BYTES as usize)
        .map(|address| address | PRESENT_WRITABLE)
        .take(count)
        .chain(core::iter::repeat(0))
        .take(ENTRIES)
}
