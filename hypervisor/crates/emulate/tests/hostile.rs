//! Any state and any bytes: no panic, no endless loop, and a fault changes nothing.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{RAM_BYTES, Ram, Recorder, exit};
use proptest::prelude::*;
use skerry_emulate::{
    EmulateError, VectorLayout, VectorRegisters, fetch, mmio, string_io, translate, vector_mmio,
};
use skerry_words::{
    Access, AccessRights, Direction, ExtendedState, Gpa, GuestState, Gva, MemoryAccess, Port,
    PortAccess, Segment, SegmentRegister, StateGroups, StringIo, Width,
};

/// Random bits, and often values near the edges that matter.
fn word() -> impl Strategy<Value = u64> {
    let edges = vec![
        0u64,
        1,
        0xff8,
        0xfff,
        0x1000,
        0xffff,
        0x1_0000,
        0x7fff_ffff,
        0xffff_fffc,
        0xffff_ffff,
        0x7fff_ffff_ffff,
        0xffff_8000_0000_0000,
        u64::MAX - 3,
        u64::MAX,
    ];
    prop_oneof![
        any::<u64>(),
        prop::sample::select(edges),
        0u64..RAM_BYTES as u64
    ]
}

fn segment() -> impl Strategy<Value = SegmentRegister> {
    let rights = prop_oneof![
        Just(AccessRights::CODE64),
        Just(AccessRights::CODE32),
        Just(AccessRights::DATA32),
        any::<u32>().prop_map(AccessRights::from_bits_retain),
    ];
    let base = prop_oneof![2 => Just(0), 1 => word()];
    let limit = prop_oneof![2 => Just(u32::MAX), 1 => any::<u32>(), 1 => 0u32..0x10000];
    (base, limit, rights)
        .prop_map(|(base, limit, rights)| SegmentRegister::new(8, base, limit, rights))
}

fn state() -> impl Strategy<Value = GuestState> {
    let gpr = prop::array::uniform16(word());
    let cr0 = prop_oneof![Just(0x11u64), Just(0x8001_0011), any::<u64>()];
    let efer = prop::sample::select(vec![0u64, 0x500, 0xd00]);
    let control = (cr0, word(), any::<u64>(), efer, any::<u64>());
    let segments = prop::collection::vec(segment(), 8);
    (gpr, word(), control, segments, 0u32..4, any::<bool>()).prop_map(
        |(gpr, rip, (cr0, cr3, cr4, efer, rflags), segments, cpl, registers)| {
            let mut state = GuestState::at_reset();
            (state.gpr, state.rip, state.rflags, state.cpl) = (gpr, rip, rflags, cpl);
            (state.cr0, state.cr3, state.cr4, state.efer) = (cr0, cr3, cr4, efer);
            state.segments = segments.try_into().unwrap();
            state.pdpte = [gpr[0], gpr[1], gpr[2], gpr[3]];
            state.valid.set(StateGroups::PDPTES, registers);
            state.dirty = StateGroups::empty();
            state
        },
    )
}

/// Bytes that are likely to mean something, as code and as tables.
fn pattern() -> impl Strategy<Value = Vec<u8>> {
    let likely = prop::sample::select(vec![
        0x8b, 0x89, 0x0f, 0xf3, 0xa4, 0xab, 0x48, 0x67, 0xff, 0x83, 0x03, 0x23, 0xe7, 0, 0x10,
    ]);
    prop::collection::vec(prop_oneof![likely, any::<u8>()], 1..40)
}

/// Bytes that are likely to begin a vector move.
fn vector_opcode() -> impl Strategy<Value = Vec<u8>> {
    let starts: [&[u8]; 6] = [
        &[0x0f, 0x10],
        &[0x66, 0x0f, 0x7e],
        &[0xf3, 0x0f, 0x6f],
        &[0x0f, 0x6f],
        &[0xc5, 0xfe, 0x7f],
        &[0xc4, 0xe2, 0x7d, 0x2a],
    ];
    prop::sample::select(starts.map(<[u8]>::to_vec).to_vec())
}

/// RAM with `pattern` everywhere: code, tables and data alike.
fn filled(pattern: &[u8]) -> Ram {
    let mut ram = Ram::new();
    ram.bytes = pattern.repeat(RAM_BYTES / pattern.len() + 1);
    ram.bytes.truncate(RAM_BYTES);
    ram
}

fn same(left: &GuestState, right: &GuestState) -> bool {
    left.gpr == right.gpr && left.rip == right.rip && left.rflags == right.rflags
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_memory_exit_is_answered(
        before in state(), pattern in pattern(), gpa in word(), gva in prop::option::of(word()),
        write in any::<bool>(), answer in word(),
    ) {
        let mut state = before.clone();
        let access = MemoryAccess {
            access: if write { Access::Write } else { Access::Read },
            ..exit(gpa, gva)
        };
        let mut device = Recorder { answer, ..Recorder::default() };
        let result = mmio(&mut state, &mut filled(&pattern), access, &mut device);
        // 256 elements of at most four parts on either side, and an operand that both
        // reads and writes.
        prop_assert!(device.seen.len() <= 256 * 8);
        let moved = state.gpr != before.gpr;
        if let Err(EmulateError::Unknown { .. }) = result {
            prop_assert!(same(&state, &before));
        }
        if let (Err(EmulateError::Fault(_)), false) = (result, moved) {
            prop_assert_eq!(state.rip, before.rip);
            prop_assert!(device.seen.iter().all(|seen| matches!(seen, common::Seen::Read(..))));
        }
    }

    #[test]
    fn any_vector_move_is_answered(
        before in state(), pattern in pattern(), opcode in vector_opcode(), gpa in word(),
        area in prop::collection::vec(any::<u8>(), 1..600), layout in any::<(u32, u32)>(),
        xcr0 in prop_oneof![Just(0u64), Just(7), any::<u64>()], near in any::<bool>(),
    ) {
        let mut state = before.clone();
        if near {
            // So that most get as far as the operand.
            (state.cr0, state.cr4) = (state.cr0 & 0x7fff_fff3, state.cr4 | 1 << 9 | 1 << 18);
            state.rip = 0;
            let code = state.segment(Segment::Cs).rights;
            state.segments[Segment::Cs as usize] = SegmentRegister::new(8, 0, u32::MAX, code);
        }
        let before = state.clone();
        let mut ram = filled(&[&opcode[..], &pattern].concat());
        let mut registers = ExtendedState::default();
        registers.set_bytes(0, &area.repeat(4096 / area.len() + 1));
        let layout = VectorLayout { ymm: layout.0 % 5000, zmm: layout.1 };
        let mut registers = VectorRegisters::new(&mut registers, xcr0, layout);
        let mut device = Recorder::default();
        let page = Gpa(gpa).page_start();
        let result = vector_mmio(&mut state, &mut ram, page, &mut device, &mut registers);
        // Four words, of which one may be in two pages.
        prop_assert!(device.seen.len() <= 4 + 3);
        prop_assert!(state.gpr == before.gpr);
        if result.is_err() {
            prop_assert!(!matches!(result, Err(EmulateError::Vector(_))));
            prop_assert!(same(&state, &before) && device.seen.is_empty());
            prop_assert!(!registers.is_changed());
        }
    }

    #[test]
    fn any_string_io_is_answered_within_its_budget(
        mut state in state(), pattern in pattern(), input in any::<bool>(), width in 0usize..3,
        repeat in any::<bool>(), address_bytes in any::<u8>(), segment in 0usize..8,
        budget in 0u32..50,
    ) {
        use Segment::{Cs, Ds, Es, Fs, Gs, Ldtr, Ss, Tr};
        let access = PortAccess {
            port: Port(0x70),
            width: [Width::Byte, Width::Word, Width::Dword][width],
            direction: if input { Direction::In } else { Direction::Out },
            string: Some(StringIo {
                repeat,
                address_bytes,
                segment: [Es, Cs, Ss, Ds, Fs, Gs, Ldtr, Tr][segment],
            }),
        };
        let mut port = Recorder::default();
        let _ = string_io(&mut state, &mut filled(&pattern), access, &mut port, budget);
        // One access to the port and at most three parts of the element in memory.
        prop_assert!(port.seen.len() <= budget as usize * 4);
    }

    #[test]
    fn any_address_is_translated_or_refused(
        state in state(), pattern in pattern(), gva in word(), kind in 0usize..3,
    ) {
        let access = [Access::Read, Access::Write, Access::Execute][kind];
        let found = translate(&state, &mut filled(&pattern), Gva(gva), access);
        if let (Ok(Gpa(gpa)), true) = (found, state.cr0 >> 31 & 1 == 1) {
            prop_assert_eq!(gpa & 0xfff, gva & 0xfff);
            prop_assert_eq!(gpa >> 52, 0);
        }
        if let Ok(bytes) = fetch(&state, &mut filled(&pattern)) {
            prop_assert!((1..=15).contains(&bytes.as_slice().len()));
        }
    }
}
