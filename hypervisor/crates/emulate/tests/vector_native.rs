//! Vector moves against the real CPU: the same instruction on the same memory and extended
//! state, once executed between XRSTOR and XSAVE and once emulated in the area.
//!
//! Runs on x86-64 Linux hosts with AVX; elsewhere it is empty.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod bench;
mod common;

use bench::{Bench, COMPONENTS, DATA_PAGES, Device, Machine, PAGE, bench};
use common::long_mode;
use proptest::prelude::*;
use skerry_emulate::decoder::{Alignment, VectorInstruction, VectorMove, decode_vector};
use skerry_emulate::{Bytes, VectorLayout, VectorRegisters, vector_mmio};
use skerry_words::{ExtendedState, Gpa, Width};

/// Where the data pages are in the guest; the second is RAM.
const DATA_GPA: [u64; DATA_PAGES] = [0x8000_0000, 0x1_a000, 0xa000_1000];
const BASE: u8 = 3;
const DISPLACEMENT: u64 = 0x20;

fn emulate(
    bench: &Bench,
    code: &[u8],
    instruction: &VectorMove,
    before: &Machine,
    area: &mut ExtendedState,
) -> Machine {
    let mut ram = bench.guest_memory(code, DATA_GPA);
    let at = bench.instruction_at();
    ram.put(DATA_GPA[1], &before.data[PAGE..2 * PAGE]);
    let mut state = long_mode();
    state.cr4 |= 1 << 9 | 1 << 18;
    (state.gpr, state.rip, state.rflags) = (before.gpr, at, before.flags | 2);
    let mut device = Device {
        at: DATA_GPA,
        bytes: before.data.clone(),
    };
    // Exits are for a page with a part of the operand that is no RAM.
    let first = before.gpr[usize::from(BASE)] + DISPLACEMENT - bench.data as u64;
    let page = if first < PAGE as u64 { 0 } else { 2 };
    let page = Gpa(DATA_GPA[page]);
    let mut registers = VectorRegisters::new(area, COMPONENTS, layout());
    vector_mmio(&mut state, &mut ram, page, &mut device, &mut registers).unwrap();
    assert_eq!(state.rip, at + u64::from(instruction.length));
    let mut data = device.bytes;
    data[PAGE..2 * PAGE].copy_from_slice(&ram.bytes[DATA_GPA[1] as usize..][..PAGE]);
    Machine {
        gpr: state.gpr,
        flags: before.flags,
        data,
    }
}

fn component(number: u32) -> (usize, usize) {
    let leaf = std::arch::x86_64::__cpuid_count(0xd, number);
    (leaf.ebx as usize, leaf.eax as usize)
}

fn layout() -> VectorLayout {
    let has_zmm = std::is_x86_feature_detected!("avx512f");
    VectorLayout {
        ymm: component(2).0 as u32,
        zmm: if has_zmm { component(6).0 as u32 } else { 0 },
    }
}

/// What the area says, by component; those in their initial state are spelt out.
fn meaning(area: &[u8; PAGE]) -> Vec<Vec<u8>> {
    let in_use = u64::from_le_bytes(area[512..520].try_into().unwrap());
    let part = |number: u32, at: usize, bytes: usize| {
        if in_use >> number & 1 == 1 {
            area[at..at + bytes].to_vec()
        } else {
            vec![0; bytes]
        }
    };
    let mut parts = vec![part(0, 0, 6), part(0, 32, 128), part(1, 160, 256)];
    if in_use & 1 == 0 {
        parts[0][..2].copy_from_slice(&0x37f_u16.to_le_bytes());
    }
    parts.push(area[24..28].to_vec());
    for number in [2, 5, 6, 7] {
        let (at, bytes) = component(number);
        parts.push(part(number, at, bytes));
    }
    parts
}

/// An area in which the components `in_use` have these bytes.
fn area(in_use: u64, bytes: &[u8], top: u8) -> [u8; PAGE] {
    let mut area = [0; PAGE];
    let filling = bytes.iter().cycle().take(PAGE);
    area.iter_mut()
        .zip(filling)
        .for_each(|(to, from)| *to = *from);
    area[..32].fill(0);
    area[..2].copy_from_slice(&0x37f_u16.to_le_bytes());
    area[2..4].copy_from_slice(&(u16::from(top) << 11 | 0x4700).to_le_bytes());
    area[4] = bytes[0];
    area[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
    for register in 0..8 {
        area[32 + register * 16 + 10..][..6].fill(0);
    }
    area[416..576].fill(0);
    area[512..520].copy_from_slice(&in_use.to_le_bytes());
    area
}

/// The encodings of all moves, but for REX, VEX.R, VEX.W and the register.
fn opcodes() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for opcode in [
        0x10u8, 0x11, 0x12, 0x13, 0x16, 0x17, 0x28, 0x29, 0x2b, 0x6e, 0x6f, 0x7e, 0x7f, 0xd6, 0xe7,
        0xf0,
    ] {
        all.push(vec![0x0f, opcode]);
        for prefix in [0x66, 0xf2, 0xf3] {
            all.push(vec![prefix, 0x0f, opcode]);
            all.push(vec![prefix, 0x48, 0x0f, opcode]);
            all.push(vec![prefix, 0x44, 0x0f, opcode]);
        }
        all.extend((0..=255).map(|rest| vec![0xc5, rest, opcode]));
        all.extend((0..=255).map(|rest| vec![0xc4, 0xe1, rest, opcode]));
    }
    all.push(vec![0x66, 0x0f, 0x38, 0x2a]);
    all.extend((0..=255).map(|rest| vec![0xc4, 0xe2, rest, 0x2a]));
    all.retain(|code| decoded(&[code, &[0x43, 0x20][..]].concat()).is_some());
    all
}

fn decoded(code: &[u8]) -> Option<VectorMove> {
    match decode_vector(&Bytes::new(code), Width::Qword) {
        Ok(VectorInstruction::Move(instruction)) => Some(instruction),
        Ok(VectorInstruction::Undefined) | Err(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn vector_moves_do_what_the_cpu_does(
        opcode in prop::sample::select(opcodes()),
        register in 0u8..8,
        at in prop_oneof![0x400u64..0xf00, 0xfc1u64..0x1000, 0x1fc1u64..0x2000, 0x2001u64..0x2800],
        in_use in prop_oneof![3 => Just(COMPONENTS), 1 => 0u64..8, 1 => Just(0xe3), 1 => Just(4)],
        top in 0u8..8,
        bytes in prop::collection::vec(any::<u8>(), 61),
        data in prop::collection::vec(any::<u8>(), 59),
    ) {
        if !std::is_x86_feature_detected!("avx2") {
            return Ok(());
        }
        let code = [&opcode[..], &[0x43 | register << 3, DISPLACEMENT as u8]].concat();
        let instruction = decoded(&code).unwrap();
        let aligned = instruction.alignment == Alignment::Natural;
        let at = if aligned { at & !(instruction.bytes - 1) } else { at };
        // Some of it has to be outside of the page that is RAM.
        prop_assume!(!(0x1000..=0x2000 - instruction.bytes).contains(&at));
        let permitted = in_use & ((u64::from(component(6).0 != 0) * 0xe0) | 7);
        let bench = bench();
        let mut machine = Machine {
            gpr: [0; 16],
            flags: 0,
            data: data.into_iter().cycle().take(DATA_PAGES * PAGE).collect(),
        };
        machine.gpr[usize::from(BASE)] = bench.data as u64 + at - DISPLACEMENT;
        let before = area(permitted, &bytes, top);
        let (native, after) = bench.execute_extended(&code, &machine, &before);
        let mut emulated_area = ExtendedState(before);
        let emulated = emulate(&bench, &code, &instruction, &machine, &mut emulated_area);
        prop_assert!(native.data == emulated.data, "memory: {:x?}", instruction);
        let (found, wanted) = (meaning(&emulated_area.0), meaning(&after));
        for (number, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            prop_assert_eq!(found, wanted, "part {}: {:x?}", number, instruction);
        }
        prop_assert!(emulated_area.is_loadable(Some(COMPONENTS), 0xffff));
    }
}
