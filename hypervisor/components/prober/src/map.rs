//! Mapping: over what is there, with rights that the memory's handle lacks; and what is mapped.

use alloc::format;
use skerry_abi::{Call, Handle, ObjectKind, Refused, Rights, layout, own};
use skerry_component::{calls, sabotage};

use crate::desk;
use crate::objects::Objects;
use crate::tally::Tally;

/// What a place may be refused for where something is.
const TAKEN: [Refused; 2] = [Refused::WrongState, Refused::BadArgument];
const PAGE_BYTES: u64 = 4096;
const READ: Rights = Rights::READ;

/// Tries it all.
pub fn probe(objects: &Objects, tally: &mut Tally) {
    over_something(objects, tally);
    windows(objects, tally);
    tally.conclude("nothing is mapped over what is there");
    beyond_rights(objects, tally);
    bundle(tally);
    tally.conclude("memory is mapped only with the rights of its handle");
    first_touch(tally);
    after_the_end(tally);
    tally.conclude("calls reach memory that is mapped, and none that was");
}

fn expect_taken(memory: Handle, at: u64, page_count: u64, tally: &mut Tally) {
    let mapped = desk::map(memory, at, 0, READ, page_count).map(|()| 0);
    let how = format!("{page_count} pages over {at:#x}");
    tally.expect("ComponentMap", &how, mapped, &TAKEN);
}

fn over_something(objects: &Objects, tally: &mut Tally) {
    let memory = objects.of(ObjectKind::Memory);
    let stack = layout::STACK_TOP - PAGE_BYTES;
    for at in [
        layout::IMAGE,
        layout::HEAP,
        stack,
        layout::FILES,
        desk::INPUT,
        desk::OUTPUT,
    ] {
        expect_taken(memory, at, 1, tally);
    }
    // Only the last page of these is taken.
    for at in [desk::INPUT - PAGE_BYTES, layout::HEAP - PAGE_BYTES] {
        expect_taken(memory, at, 2, tally);
    }
    let free = desk::map(memory, desk::INPUT - PAGE_BYTES, 0, READ, 1);
    tally.expect_done("ComponentMap", "of the page that is free", free);
}

/// What ring 0 has mapped for a vCPU is its own.
fn windows(objects: &Objects, tally: &mut Tally) {
    let memory = objects.of(ObjectKind::Memory).word();
    for at in [
        layout::STATE_PAGE,
        layout::GUEST_WINDOW,
        layout::GUEST_WINDOW + 0x10_0000,
    ] {
        desk::put(desk::MAP_REQUEST, &[at]);
        let arguments = [objects.runner().word(), memory, desk::MAP_REQUEST, 0, 0, 0];
        let (result, _) = sabotage::call(Call::ComponentMap as u64, arguments);
        let how = format!("over a vCPU's window at {at:#x}");
        tally.expect("ComponentMap", &how, result, &TAKEN);
    }
    desk::lay_out_input();
}

fn beyond_rights(objects: &Objects, tally: &mut Tally) {
    let memory = objects.of(ObjectKind::Memory);
    for missing in [Rights::WRITE, Rights::RUN] {
        let copy = calls::component_grant(layout::MYSELF, memory, READ | Rights::GRANT);
        let Some(copy) = tally.expect_done("ComponentGrant", "of memory to read", copy) else {
            continue;
        };
        expect_forbidden(copy, missing, tally);
        tally.expect_done("HandleClose", "of the copy", calls::handle_close(copy));
    }
}

fn expect_forbidden(memory: Handle, more: Rights, tally: &mut Tally) {
    let mapped = desk::map(memory, desk::FREE, 0, READ | more, 1).map(|()| 0);
    let how = format!("memory to read, with {more:?}");
    tally.expect("ComponentMap", &how, mapped, &[Refused::NotPermitted]);
}

/// The bundle cannot be changed, and is no code but by copying.
fn bundle(tally: &mut Tally) {
    let made = calls::memory_of_bundle(own::MACHINE, 0, PAGE_BYTES);
    let Some(page) = tally.expect_done("MemoryOfBundle", "of its first page", made) else {
        return;
    };
    expect_forbidden(page, Rights::WRITE, tally);
    expect_forbidden(page, Rights::RUN, tally);
    let ended = calls::object_end(page);
    tally.expect_done("ObjectEnd", "of a part of the bundle", ended);
}

/// A call may be the first to touch a page, or two.
fn first_touch(tally: &mut Tally) {
    let made = calls::memory_create(own::MACHINE, 2);
    let rights = READ | Rights::WRITE;
    let mapped = made.and_then(|memory| desk::map(memory, desk::FREE, 0, rights, 2));
    if tally
        .expect_done("ComponentMap", "of new pages", mapped)
        .is_none()
    {
        return;
    }
    let across = desk::FREE + PAGE_BYTES - 8;
    let (result, _) = sabotage::call(
        Call::MachineRead as u64,
        [own::MACHINE.word(), across, 0, 0, 0, 0],
    );
    tally.expect_result("MachineRead", "into pages never touched", result, 0);
    let known = calls::machine_read(own::MACHINE).map(|machine| machine.tsc_hz);
    tally.expect_equal("the record's first word", Ok(sabotage::read(across)), known);
    tally.expect_equal("the word in front of it", sabotage::read(across - 8), 0);
}

/// When memory ends, it is gone from where it was mapped: the first page is free again, and a
/// call does not find it.
fn after_the_end(tally: &mut Tally) {
    let at = desk::FREE + 0x10_0000;
    let made = calls::memory_create(own::MACHINE, 1);
    let mapped = made.and_then(|memory| {
        desk::map(memory, at, 0, READ | Rights::WRITE, 1)?;
        sabotage::write(at, u64::from_le_bytes(*b"is gone\n"));
        calls::object_end(memory)
    });
    tally.expect_done("ObjectEnd", "of memory that is mapped", mapped);
    let arguments = [own::LOG.word(), at, 8, 0, 0, 0];
    let (result, _) = sabotage::call(Call::LogWrite as u64, arguments);
    let gone = [Refused::BadAddress];
    tally.expect("LogWrite", "from memory that has ended", result, &gone);
    let made = calls::memory_create(own::MACHINE, 1);
    let again = made.and_then(|memory| desk::map(memory, at, 0, READ, 1));
    if tally
        .expect_done("ComponentMap", "where memory has ended", again)
        .is_some()
    {
        tally.expect_equal("new memory in its place", sabotage::read(at), 0);
    }
}
