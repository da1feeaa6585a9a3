//! Numbers out of range, in the records that calls read from memory.

use alloc::format;
use skerry_abi::{Call, ObjectKind, Refused, Rights, layout, own};
use skerry_component::sabotage;

use crate::desk;
use crate::objects::Objects;
use crate::tally::Tally;

const HUGE: u64 = u64::MAX;
const READ: u64 = Rights::READ.bits() as u64;
const WRITE: u64 = Rights::WRITE.bits() as u64;
const RUN: u64 = Rights::RUN.bits() as u64;
const SIGNAL: u64 = Rights::SIGNAL.bits() as u64;
const GRANT: u64 = Rights::GRANT.bits() as u64;

/// Words of a request to map, of memory with four pages: the place, the first page, how many,
/// and rights below what has to be 0.
const MAP: [[u64; 4]; 23] = [
    // Where.
    [0, 0, 1, READ],
    [desk::FREE + 1, 0, 1, READ],
    [desk::FREE + 0x800, 0, 1, READ],
    [layout::USER_END, 0, 1, READ],
    [layout::USER_END - 0x1000, 0, 2, READ],
    [0xffff_8000_0000_0000, 0, 1, READ],
    [1 << 63, 0, 1, READ],
    [!0xfff, 0, 1, READ],
    [!0xfff, 0, 2, READ],
    // Which pages.
    [desk::FREE, 0, 0, READ],
    [desk::FREE, 0, 5, READ],
    [desk::FREE, 4, 1, READ],
    [desk::FREE, 1, 4, READ],
    [desk::FREE, HUGE, 1, READ],
    [desk::FREE, HUGE, 2, READ],
    [desk::FREE, 0, 1 << 52, READ],
    // Rights, which are never to write and to execute.
    [desk::FREE, 0, 1, 0],
    [desk::FREE, 0, 1, WRITE],
    [desk::FREE, 0, 1, RUN],
    [desk::FREE, 0, 1, READ | WRITE | RUN],
    [desk::FREE, 0, 1, READ | SIGNAL],
    [desk::FREE, 0, 1, READ | GRANT],
    // What has to be 0.
    [desk::FREE, 0, 1, READ | 1 << 32],
];

/// Two ranges of a guest's; and how many are given.
const GUEST: [([u64; 4], u64); 9] = [
    ([0, 0, 0, 0], 1),
    ([1, 0x1000, 0, 0], 1),
    ([0, 0x1001, 0, 0], 1),
    ([0x2000, 0x1000, 0, 0], 1),
    ([0, layout::GUEST_END + 0x1000, 0, 0], 1),
    ([!0xfff, 0, 0, 0], 1),
    ([0, HUGE, 0, 0], 1),
    ([0, 0x2000, 0x1000, 0x3000], 2),
    ([0, 0x2000, 0, 0x2000], 2),
];

/// The word of a write that switches off: the port, the width, the value.
const OFF: [u64; 5] = [
    0x80,
    0x80 | 3 << 16,
    0x80 | 8 << 16,
    0x80 | 0xffff << 16,
    0x80 | 0x101 << 16,
];

/// Tries each of them. The desk is as before, then.
pub fn probe(objects: &Objects, tally: &mut Tally) {
    let memory = objects.of(ObjectKind::Memory).word();
    for component in [objects.of(ObjectKind::Component), layout::MYSELF] {
        for words in MAP {
            desk::put(desk::MAP_REQUEST, &words);
            let arguments = [component.word(), memory, desk::MAP_REQUEST];
            try_with(Call::ComponentMap, arguments, 0, &words, tally);
        }
    }
    for (words, count) in GUEST {
        desk::put(desk::GUEST_RANGE, &words);
        let arguments = [own::MACHINE.word(), desk::GUEST_RANGE, count];
        try_with(Call::GuestCreate, arguments, 4096, &words, tally);
    }
    for word in OFF {
        desk::put(desk::OFF_WRITE, &[word]);
        let arguments = [own::MACHINE.word(), desk::OFF_WRITE, 1];
        try_with(Call::MachineOffBy, arguments, 0, &[word], tally);
    }
    desk::lay_out_input();
    tally.conclude("records with numbers out of range are refused");
}

fn try_with(call: Call, arguments: [u64; 3], last: u64, words: &[u64], tally: &mut Tally) {
    let [first, second, third] = arguments;
    let (result, _) = sabotage::call(call as u64, [first, second, third, last, 0, 0]);
    let how = format!("{words:x?}");
    tally.expect(&format!("{call:?}"), &how, result, &[Refused::BadArgument]);
}
