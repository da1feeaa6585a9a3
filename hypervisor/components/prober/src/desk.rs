//! Memory to point at: pages of the prober's own that can be written, read, or neither.
//!
//! Owns the addresses. A page for what calls read, one behind it for what they write, nothing
//! behind that; and both a second time, read only.

use skerry_abi::{Handle, MapRequest, Refused, Rights, layout, own};
use skerry_component::{calls, sabotage};

const PAGE_BYTES: u64 = 4096;

/// What calls read is laid out here.
pub const INPUT: u64 = layout::SCRATCH;
/// What calls write comes here.
pub const OUTPUT: u64 = INPUT + PAGE_BYTES;
/// Nothing is mapped from here on.
pub const END: u64 = OUTPUT + PAGE_BYTES;
/// The output's page again, read only.
pub const READ_ONLY: u64 = layout::SCRATCH + 0x10_0000;
/// Where nothing is mapped, for those who want to map something.
pub const FREE: u64 = layout::SCRATCH + 0x20_0000;

/// A request to map one page at [`FREE`].
pub const MAP_REQUEST: u64 = INPUT;
/// A guest's range of 2 MiB.
pub const GUEST_RANGE: u64 = INPUT + 0x100;
/// A write to a port that does nothing.
pub const OFF_WRITE: u64 = INPUT + 0x200;
/// Text.
pub const TEXT: u64 = INPUT + 0x300;

/// The words of [`MAP_REQUEST`].
pub const MAP_WORDS: [u64; 4] = [FREE, 0, 1, Rights::READ.bits() as u64];
/// The words of [`GUEST_RANGE`].
pub const GUEST_WORDS: [u64; 2] = [0, 0x20_0000];
/// The word of [`OFF_WRITE`]: one byte to port 80h, where diagnostic cards listen.
pub const OFF_WORDS: [u64; 1] = [0x80 | 1 << 16];

/// Maps the pages and fills the first. Without them nothing can be told: a refusal ends the
/// prober at the first word it stores.
pub fn lay_out() {
    let _ = mapped();
    lay_out_input();
}

/// Stores what calls read, as it has to be.
pub fn lay_out_input() {
    put(MAP_REQUEST, &MAP_WORDS);
    put(GUEST_RANGE, &GUEST_WORDS);
    put(OFF_WRITE, &OFF_WORDS);
    put(TEXT, &[u64::from_le_bytes(*b"probing\n"); 8]);
}

fn mapped() -> Result<(), Refused> {
    let memory = calls::memory_create(own::MACHINE, 2)?;
    map(memory, INPUT, 0, Rights::READ | Rights::WRITE, 2)?;
    map(memory, READ_ONLY, 1, Rights::READ, 1)
}

/// Maps pages of memory here.
///
/// # Errors
/// Those of the call.
pub fn map(
    memory: Handle,
    at: u64,
    first_page: u64,
    rights: Rights,
    pages: u64,
) -> Result<(), Refused> {
    let request = MapRequest {
        at,
        first_page,
        pages,
        rights: rights.bits(),
        reserved: 0,
    };
    calls::component_map(layout::MYSELF, memory, &request)
}

/// Stores words on the desk.
pub fn put(at: u64, words: &[u64]) {
    for (place, word) in (at..).step_by(8).zip(words) {
        sabotage::write(place, *word);
    }
}
