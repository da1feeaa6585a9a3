//! Is fresh memory zero, and does every page keep its own value?
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::ops::Range;
use guest_stubs::{Boot, Report, memory, println, stub};

stub!(
    "fresh memory is zero and every page keeps its own value",
    run
);

fn run(report: &mut Report, boot: &Boot) {
    let free = boot.free();
    println!(
        "{} free pages in {free:#x?}",
        (free.end - free.start) / 4096
    );
    if report.on_skerry("fresh memory is zero") {
        let fresh = pages(&free).filter(|page| !boot.is_loaders(*page));
        let mut dirty = fresh.filter_map(|page| memory::first_other(page..page + 4096, 0));
        let first = dirty.next();
        report.check_none("every fresh page is zero", 1 + dirty.count() as u64, first);
    }
    pages(&free).for_each(mark);
    let wrong = pages(&free).find(|page| !is_marked(*page));
    report.check_none("every page keeps the value at both its ends", 1, wrong);
}

fn pages(range: &Range<u64>) -> impl Iterator<Item = u64> {
    range.clone().step_by(4096)
}

/// A value no other page has, at the first and the last doubleword.
fn mark(page: u64) {
    memory::write64(page, page ^ 0x5a5a_0000_0000);
    memory::write64(page + 4088, !page);
}

fn is_marked(page: u64) -> bool {
    memory::read64(page) == page ^ 0x5a5a_0000_0000 && memory::read64(page + 4088) == !page
}
