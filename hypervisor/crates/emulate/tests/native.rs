//! The emulator against the real CPU: the same instruction on the same registers, flags
//! and bytes, once executed and once emulated.
//!
//! Runs on x86-64 Linux hosts; elsewhere it is empty.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod bench;
mod common;

use bench::{Bench, DATA_PAGES, Device, Machine, PAGE, STATUS_AND_DIRECTION, bench};
use common::long_mode;
use proptest::prelude::*;
use skerry_emulate::decoder::{
    Accumulation, BitTest, Count, Instruction, Operation, Shift, Source, StackOperation, decode,
};
use skerry_emulate::{Bytes, EmulateError, mmio};
use skerry_verdict::Fault;
use skerry_words::{Access, Gpa, GuestState, Gva, MemoryAccess, Width};

/// Where the data pages are in the guest: apart, so that a page boundary matters.
const DATA_GPA: [u64; DATA_PAGES] = [0x8000_0000, 0x9000_2000, 0xa000_1000];

/// Emulates `code` at the same addresses. Where the emulator leaves elements on other
/// pages to the guest, the exit is repeated for the next page. `None` for a division without
/// a quotient.
fn emulate(bench: &Bench, code: &[u8], before: &Machine, exit: Access) -> Option<(Machine, u64)> {
    let mut ram = bench.guest_memory(code, DATA_GPA);
    let at = bench.instruction_at();
    let mut state: GuestState = long_mode();
    (state.gpr, state.rip, state.rflags) = (before.gpr, at, before.flags | 2);
    let mut device = Device {
        at: DATA_GPA,
        bytes: before.data.clone(),
    };
    for turn in 0..200 {
        let page = turn % DATA_PAGES;
        let access = MemoryAccess {
            gpa: Gpa(DATA_GPA[page] + 8),
            access: exit,
            gva: Some(Gva(bench.data as u64 + (page * PAGE) as u64 + 8)),
            during_walk: false,
        };
        match mmio(&mut state, &mut ram, access, &mut device) {
            Err(EmulateError::Fault(Fault::DivideError)) => return None,
            outcome => outcome.unwrap(),
        }
        if state.rip != at {
            break;
        }
    }
    let after = Machine {
        gpr: state.gpr,
        flags: state.rflags & STATUS_AND_DIRECTION,
        data: device.bytes,
    };
    Some((after, state.rip))
}

const ADJUST: u64 = 1 << 4;
const OVERFLOW: u64 = 1 << 11;

/// Flags the architecture leaves undefined after an instruction.
fn undefined_flags(instruction: &Instruction, before: &Machine) -> u64 {
    use skerry_emulate::decoder::Alu;
    match instruction.operation {
        Operation::BitTest(_) => 0x894,
        Operation::Test => ADJUST,
        Operation::Alu(Alu::And | Alu::Or | Alu::Xor) => ADJUST,
        Operation::AluToRegister(Alu::And | Alu::Or | Alu::Xor) => ADJUST,
        Operation::BitScan(_) => 0x895,
        Operation::Multiply | Operation::MultiplyConstant => 0xd4,
        Operation::Accumulate(Accumulation::Multiply | Accumulation::MultiplySigned) => 0xd4,
        Operation::Accumulate(_) => 0x8d5,
        Operation::Shift(shift) => undefined_after_shift(shift, instruction, before),
        Operation::ShiftDouble(..) => match count(instruction, before) {
            0 => 0,
            1 => ADJUST,
            _ => ADJUST | OVERFLOW,
        },
        _ => 0,
    }
}

fn undefined_after_shift(shift: Shift, instruction: &Instruction, before: &Machine) -> u64 {
    let count = count(instruction, before);
    let rotates = !matches!(shift, Shift::Left | Shift::Right | Shift::ArithmeticRight);
    let overlong = count >= instruction.width.bytes() * 8 && shift != Shift::ArithmeticRight;
    match (count, rotates) {
        (0, _) | (1, true) => 0,
        (1, false) => ADJUST,
        (_, true) => OVERFLOW,
        (_, false) => ADJUST | OVERFLOW | u64::from(overlong),
    }
}

/// How far a shift goes.
fn count(instruction: &Instruction, before: &Machine) -> u64 {
    let count = match (instruction.operation, instruction.source) {
        (Operation::ShiftDouble(_, Count::Constant), _) => instruction.constant,
        (Operation::Shift(_), Source::Immediate(count)) => count,
        _ => before.gpr[1],
    };
    let most = if instruction.width == Width::Qword {
        63
    } else {
        31
    };
    count & most
}

fn compare(code: &[u8], mut before: Machine, exit: Access) -> Result<(), TestCaseError> {
    let bench = bench();
    let instruction = decode(&Bytes::new(code), Width::Qword).unwrap();
    let length = usize::from(instruction.length);
    let end = bench.instruction_at() + length as u64;
    let base = bench.data as u64;
    for register in [3, 4, 6, 7] {
        before.gpr[register] = before.gpr[register].wrapping_add(base);
    }
    match instruction.operation {
        Operation::Stack(StackOperation::Call | StackOperation::Jump) => {
            let operand = (before.gpr[3] - base) as usize + DISPLACEMENT;
            before.data[operand..operand + 8].copy_from_slice(&end.to_le_bytes());
        }
        Operation::Stack(StackOperation::Return) => {
            let operand = (before.gpr[4] - base) as usize;
            before.data[operand..operand + 8].copy_from_slice(&end.to_le_bytes());
        }
        Operation::Stack(StackOperation::Leave) => before.gpr[5] += base,
        _ => {}
    }
    let Some((mut emulated, rip)) = emulate(&bench, code, &before, exit) else {
        // The CPU's fault would end the test; what divides is judged by another.
        return Ok(());
    };
    let mut native = bench.execute(&code[..length], &before);
    native.flags &= !undefined_flags(&instruction, &before);
    emulated.flags &= !undefined_flags(&instruction, &before);
    prop_assert_eq!(rip, end);
    prop_assert_eq!(native.gpr, emulated.gpr, "{:x?}", instruction);
    prop_assert_eq!(native.flags, emulated.flags, "{:x?}", instruction);
    prop_assert!(native.data == emulated.data, "{:x?}", instruction);
    Ok(())
}

const DISPLACEMENT: usize = 0x10;

/// Opcodes with a ModRM operand.
fn opcode() -> impl Strategy<Value = Vec<u8>> {
    let arithmetic = (0u8..0x40).prop_map(|byte| vec![byte & !4]);
    let one = prop::sample::select(vec![
        0x63u8, 0x69, 0x6b, 0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3, 0xf6, 0xf7, 0x80, 0x81, 0x83, 0x84,
        0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8f, 0xc6, 0xc7, 0xf6, 0xf7, 0xfe, 0xff,
    ]);
    let two = prop::sample::select(vec![
        0xa4u8, 0xa5, 0xac, 0xad, 0xaf, 0xbc, 0xbd, 0xc7, 0xa3, 0xab, 0xb0, 0xb1, 0xb3, 0xb6, 0xb7,
        0xba, 0xbb, 0xbe, 0xbf, 0xc0, 0xc1, 0xc3,
    ]);
    let swapping = std::is_x86_feature_detected!("movbe");
    let three = (0xf0u8..0xf2).prop_map(move |byte| {
        if swapping {
            vec![0x0f, 0x38, byte]
        } else {
            vec![0x89]
        }
    });
    let conditional = prop_oneof![0x40u8..0x50, 0x90u8..0xa0];
    prop_oneof![
        3 => arithmetic,
        5 => one.prop_map(|byte| vec![byte]),
        4 => two.prop_map(|byte| vec![0x0f, byte]),
        2 => conditional.prop_map(|byte| vec![0x0f, byte]),
        1 => three,
    ]
}

/// Values that make flags interesting.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => any::<u64>(),
        1 => prop::sample::select(vec![
            0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff,
            1 << 63, u64::MAX >> 1, u64::MAX,
        ]),
    ]
}

/// Registers and flags; bases are offsets in the data pages until they are placed.
fn machine() -> impl Strategy<Value = Machine> {
    let offset = prop_oneof![0x400u64..0x2b00, 0xff0u64..0x1010, 0x1fe8u64..0x2008];
    let offsets = prop::array::uniform4(offset);
    let words = prop::collection::vec(value(), 13);
    (
        prop::array::uniform16(value()),
        offsets,
        any::<u64>(),
        words,
    )
        .prop_map(|(mut gpr, offsets, flags, words)| {
            for (register, offset) in [3, 4, 6, 7].into_iter().zip(offsets) {
                gpr[register] = offset;
            }
            let words = words.iter().cycle().take(DATA_PAGES * PAGE / 8);
            let data = words.flat_map(|word| word.to_le_bytes()).collect();
            Machine {
                gpr,
                flags: flags & STATUS_AND_DIRECTION & !0x400,
                data,
            }
        })
}

fn exit() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::Read), Just(Access::Write)]
}

/// Locked accesses across cache lines are slow or forbidden on some hosts.
fn locks(instruction: &Instruction, prefix: &[u8]) -> bool {
    prefix.contains(&0xf0) || instruction.operation == Operation::Exchange
}

/// Bit offsets of registers stay within the data pages.
fn bounded_bits(instruction: &Instruction, machine: &mut Machine) {
    if let (Operation::BitTest(_), Source::Register(register)) =
        (instruction.operation, instruction.source)
        && ![3, 4].contains(&register.number)
    {
        let slot = &mut machine.gpr[usize::from(register.number)];
        *slot = (*slot as i64 % 4096) as u64;
    }
}

fn is_fit(instruction: &Instruction) -> bool {
    // A bit offset that is an address leads out of the data pages.
    !matches!(
        (instruction.operation, instruction.source),
        (Operation::BitTest(BitTest::Test | BitTest::Set | BitTest::Reset | BitTest::Complement),
            Source::Register(register)) if [3, 4, 6, 7].contains(&register.number)
    )
}

/// Whether the architecture says what `instruction` does.
fn is_defined(instruction: &Instruction, machine: &Machine) -> bool {
    let operand = machine.gpr[3] as usize + DISPLACEMENT;
    let bytes = &machine.data[operand..][..instruction.width.bytes() as usize];
    match instruction.operation {
        Operation::BitScan(_) => bytes.iter().any(|byte| *byte != 0),
        Operation::ShiftDouble(..) => count(instruction, machine) <= instruction.width.bytes() * 8,
        _ => true,
    }
}

/// Makes dividends likely to have a quotient, and pairs to be equal.
fn likely(instruction: &Instruction, machine: &mut Machine) {
    let sign = (machine.gpr[0] as i64 >> 63) as u64;
    match instruction.operation {
        Operation::Accumulate(Accumulation::Divide) => machine.gpr[2] &= 1,
        Operation::Accumulate(Accumulation::DivideSigned) => machine.gpr[2] = sign,
        Operation::CompareExchangePair => {
            machine.gpr[3] &= !0xf;
            let half = instruction.width.bytes() as usize;
            let operand = machine.gpr[3] as usize + DISPLACEMENT;
            let mut words = [0; 16];
            if machine.flags & 1 == 0 {
                words[..half].copy_from_slice(&machine.data[operand..][..half]);
                words[8..][..half].copy_from_slice(&machine.data[operand + half..][..half]);
                let [low, high] = [0, 8].map(|at| words[at..][..8].try_into().unwrap());
                machine.gpr[0] = u64::from_le_bytes(low);
                machine.gpr[2] = u64::from_le_bytes(high);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn instructions_do_what_the_cpu_does(
        prefix in prop::sample::select(vec![&[][..], &[], &[], &[0x66], &[0xf0], &[0xf0, 0x66]]),
        rex in prop::sample::select(vec![0u8, 0, 0x40, 0x44, 0x48, 0x4c]),
        opcode in opcode(),
        digit in 0u8..8,
        immediate in any::<[u8; 4]>(),
        machine in machine(),
        exit in exit(),
    ) {
        let mut machine = machine;
        let mut code = prefix.to_vec();
        code.extend(Some(rex).filter(|rex| *rex != 0));
        code.extend(opcode);
        code.extend([0x43 | digit << 3, DISPLACEMENT as u8]);
        code.extend(immediate);
        let decoded = decode(&Bytes::new(&code), Width::Qword).ok().filter(is_fit);
        if let Some(instruction) = decoded {
            if locks(&instruction, prefix) {
                machine.gpr[3] &= !7;
            }
            bounded_bits(&instruction, &mut machine);
            likely(&instruction, &mut machine);
            if is_defined(&instruction, &machine) {
                compare(&code, machine, exit)?;
            }
        }
    }

    #[test]
    fn string_instructions_do_what_the_cpu_does(
        prefix in prop::sample::select(vec![&[][..], &[0x66], &[0xf3], &[0xf2], &[0xf3, 0x66]]),
        rex in prop::sample::select(vec![0u8, 0x48]),
        opcode in prop::sample::select(vec![
            0xa4u8, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
        ]),
        count in 0u64..60,
        down in any::<bool>(),
        same in any::<bool>(),
        machine in machine(),
        exit in exit(),
    ) {
        let mut machine = machine;
        machine.gpr[1] = count;
        machine.flags |= if down { 0x400 } else { 0 };
        if same {
            // So that REPE goes on for a while.
            machine.data.fill(0x77);
            machine.gpr[0] = 0x7777_7777_7777_7777;
        }
        let mut code = prefix.to_vec();
        code.extend(Some(rex).filter(|rex| *rex != 0));
        code.extend([opcode, 0x90, 0x90]);
        compare(&code, machine, exit)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn stacks_that_are_no_memory_are_used_as_the_cpu_uses_them(
        short in any::<bool>(),
        rex in prop::sample::select(vec![0u8, 0x40, 0x41, 0x48, 0x49]),
        opcode in prop_oneof![
            0x50u8..0x60,
            prop::sample::select(vec![0x68u8, 0x6a, 0xc2, 0xc3, 0xc8, 0xc9, 0xe8]),
        ],
        immediate in any::<[u8; 4]>(),
        machine in machine(),
        exit in exit(),
    ) {
        let mut machine = machine;
        // CPUs do not agree on short branches in 64-bit code.
        let branches = matches!(opcode, 0xc2 | 0xc3 | 0xe8);
        let mut code = vec![0x66; usize::from(short && !branches)];
        code.extend(Some(rex).filter(|rex| *rex != 0));
        code.push(opcode);
        code.extend(match opcode {
            0xe8 => [0; 4],
            0xc8 => [immediate[0], 0, 0, 0],
            _ => immediate,
        });
        if opcode == 0xc9 {
            machine.gpr[5] = machine.gpr[7];
        }
        compare(&code, machine, exit)?;
    }
}
