//! Addresses of our own where we fill memory for others.
//!
//! Owns which are taken. They are given once: a VM keeps its own over all its lives.

use crate::object::Object;
use crate::program::map_whole;
use skerry_abi::layout::SCRATCH;
use skerry_abi::{Refused, Rights, own};
use skerry_component::{calls, pages};
use skerry_words::PAGE_BYTES;

/// What one page of page tables maps.
const TABLE_PAGES: u64 = 512;

/// The addresses not yet given.
#[derive(Debug)]
pub struct Scratch {
    next: u64,
}

impl Scratch {
    /// All are free.
    pub const fn new() -> Self {
        Self { next: SCRATCH }
    }

    /// Takes so many pages. Gives the address of the first.
    pub fn take(&mut self, pages: u64) -> u64 {
        let first = self.next;
        self.next = first.saturating_add(pages.saturating_mul(PAGE_BYTES));
        first
    }
}

/// Makes ring 0 take the page tables for these pages, where nothing is mapped, so that it need
/// not later.
///
/// # Errors
/// What ring 0 refuses.
pub fn take_tables(at: u64, count: u64) -> Result<(), Refused> {
    if count == 0 {
        return Ok(());
    }
    let memory = Object::new(calls::memory_create(own::MACHINE, count)?);
    let rights = Rights::READ | Rights::WRITE;
    map_whole(memory.handle(), at, count, rights)?;
    for page in touched(count) {
        pages::scratch_write(at.saturating_add(page.saturating_mul(PAGE_BYTES)), &[0]);
    }
    Ok(())
}

/// Pages of which at least one is in each page of page tables that `count` of them need.
fn touched(count: u64) -> impl Iterator<Item = u64> {
    let steps = (0..count).step_by(TABLE_PAGES as usize);
    steps.chain(count.checked_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn pages_are_given_once() {
        let mut scratch = Scratch::new();
        assert_eq!(scratch.take(3), SCRATCH);
        assert_eq!(scratch.take(0), SCRATCH + 0x3000);
        assert_eq!(scratch.take(1), SCRATCH + 0x3000);
        assert_eq!(scratch.take(1), SCRATCH + 0x4000);
    }

    #[test]
    fn every_page_of_tables_is_touched_wherever_the_first_page_lies() {
        for first in [0, 1, 511, 700] {
            for count in [1, 2, 512, 513, 1500] {
                let needed: BTreeSet<u64> = (first..first + count).map(|page| page / 512).collect();
                let got: BTreeSet<u64> = touched(count).map(|page| (first + page) / 512).collect();
                assert_eq!(got, needed, "{first} {count}");
            }
        }
    }
}
