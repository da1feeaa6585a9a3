//! A component in the place of `root` that makes every call in every wrong way.
//!
//! Owns the order of the probes and the end. What is refused as [`skerry_abi`] says is told in
//! one `skerry: PASS: ` line for a call, and everything else in a `skerry: FAIL: ` line of its
//! own; `cargo xtask test --only calls` judges them. What a component may hold that it should
//! not is the saboteur's question: this one holds everything, and is refused all the same.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

extern crate alloc;

mod desk;
mod handles;
mod lives;
mod map;
mod objects;
mod off;
mod pointers;
mod records;
mod specs;
mod tally;
mod values;

use alloc::format;
use skerry_abi::{Call, Refused, layout};
use skerry_component::{component, sabotage};

use objects::Objects;
use tally::Tally;

component! {
    main: run,
    heap_pages: layout::SERVICE_HEAP_PAGES,
    last_words: last_words,
}

fn run() -> ! {
    let mut tally = Tally::default();
    off::prepare();
    desk::lay_out();
    match Objects::make() {
        Ok(objects) => probe(&objects, &mut tally),
        Err(refused) => tally.fail(&format!("no objects to probe with: {refused}")),
    }
    tally::say(&format!("@skerry end {{\"status\":{}}}", tally.status()));
    off::switch()
}

fn probe(objects: &Objects, tally: &mut Tally) {
    unknown_calls(tally);
    for spec in &specs::SPECS {
        handles::probe(spec, objects, tally);
        pointers::probe(spec, objects, tally);
        values::probe(spec, objects, tally);
        tally.conclude(&format!("{:?} refuses what it has to", spec.call));
    }
    records::probe(objects, tally);
    map::probe(objects, tally);
    handles::probe_copies(objects, tally);
    lives::probe(objects, tally);
}

/// Numbers of no call, some of them a call's with more bits.
fn unknown_calls(tally: &mut Tally) {
    let unknown = (0..256).filter(|number| Call::from_word(*number).is_none());
    // The lower half of most of these is a call's number.
    for number in unknown.chain([1 << 32, 1 << 63, u64::MAX << 32, u64::MAX]) {
        let (result, _) = sabotage::call(number, [0; 6]);
        tally.expect(
            "no call",
            &format!("{number:#x}"),
            result,
            &[Refused::NoSuchCall],
        );
    }
    let (result, _) = sabotage::call(Call::Version as u64, [u64::MAX; 6]);
    tally.expect_result("Version", "with any registers", result, skerry_abi::VERSION);
    tally.conclude("numbers of no call are refused");
}

fn last_words(words: &str) {
    tally::say(&format!("skerry: FAIL: the prober ends: {words}"));
}
