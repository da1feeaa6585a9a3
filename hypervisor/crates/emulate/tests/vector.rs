//! Vector moves on a device as the VMM sees them, in sentences.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{DEVICE, Ram, Recorder, Seen, exit, guest, protected_mode, run, with};
use skerry_emulate::{EmulateError, VectorLayout, VectorRegisters, mmio, vector_mmio};
use skerry_verdict::{Fault, Registers};
use skerry_words::{ExtendedState, Gpa, Gpr, GuestState, StateGroups};

const LAYOUT: VectorLayout = VectorLayout { ymm: 576, zmm: 0 };
const AVX: u64 = 7;
const UNDEFINED: Result<(), EmulateError> = Err(EmulateError::Fault(Fault::UndefinedInstruction));
const NO_DEVICE: Result<(), EmulateError> = Err(EmulateError::Fault(Fault::DeviceNotAvailable));

const MOVDQU_LOAD: &[u8] = &[0xf3, 0x0f, 0x6f, 0x0b]; // movdqu xmm1, [rbx]
const MOVAPS_LOAD: &[u8] = &[0x0f, 0x28, 0x0b];
const VMOVDQU_STORE: &[u8] = &[0xc5, 0xfe, 0x7f, 0x0b]; // vmovdqu [rbx], ymm1
const VMOVAPS_LOAD: &[u8] = &[0xc5, 0xfc, 0x28, 0x0b];
const MOVQ_MMX: &[u8] = &[0x0f, 0x6f, 0x0b]; // movq mm1, [rbx]

/// A guest with SSE and AVX switched on, at `code`, RBX in the device page at `offset`.
fn vector_guest(code: &[u8], offset: u64) -> (GuestState, Ram) {
    let (state, ram) = guest(code);
    let mut state = with(state, [(Gpr::Rbx, 0x20_0000 + offset)]);
    state.cr4 |= 1 << 9 | 1 << 18;
    (state, ram)
}

/// Registers whose every byte tells the register and its place there.
fn area() -> ExtendedState {
    let mut area = ExtendedState::default();
    for number in 0..16u8 {
        let at = usize::from(number) * 16;
        let low: Vec<u8> = (0..16).map(|byte| number << 4 | byte).collect();
        let high: Vec<u8> = low.iter().map(|byte| !byte).collect();
        area.set_bytes(160 + at, &low);
        area.set_bytes(576 + at, &high);
    }
    area.set_in_use(AVX);
    area
}

fn execute(
    state: &mut GuestState,
    ram: &mut Ram,
    area: &mut ExtendedState,
    xcr0: u64,
) -> (Result<(), EmulateError>, Vec<Seen>) {
    let mut device = Recorder {
        answer: 0x1716_1514_1312_1110,
        ..Recorder::default()
    };
    let mut registers = VectorRegisters::new(area, xcr0, LAYOUT);
    let result = vector_mmio(state, ram, Gpa(DEVICE), &mut device, &mut registers);
    let done = result.is_ok() && !device.seen.is_empty();
    let loads = matches!(device.seen.first(), Some(Seen::Read(..)));
    assert_eq!(registers.is_changed(), done && loads);
    (result, device.seen)
}

/// What comes of one instruction, with nothing changed where it fails.
fn outcome(code: &[u8], offset: u64, change: impl Fn(&mut GuestState)) -> Result<(), EmulateError> {
    let (mut state, mut ram) = vector_guest(code, offset);
    change(&mut state);
    let (before, mut registers) = (state.clone(), area());
    let (result, seen) = execute(&mut state, &mut ram, &mut registers, AVX);
    if result.is_err() {
        assert_eq!((seen, state.rip), (vec![], before.rip));
        assert!(registers == area());
    }
    result
}

#[test]
fn the_general_emulator_changes_nothing_and_says_what_it_wants() {
    for code in [MOVDQU_LOAD, VMOVDQU_STORE, MOVQ_MMX, &[0xf0, 0x0f, 0x28, 3]] {
        let (mut state, mut ram) = vector_guest(code, 0);
        let before = (state.gpr, state.rip, state.dirty);
        let (result, seen) = run(&mut state, &mut ram, DEVICE, 0);
        assert_eq!(
            (result, seen),
            (Err(EmulateError::Vector(Gpa(DEVICE))), vec![])
        );
        assert_eq!((state.gpr, state.rip, state.dirty), before);
    }
}

#[test]
fn sixteen_bytes_are_two_accesses_and_step_over_the_instruction() {
    let (mut state, mut ram) = vector_guest(MOVDQU_LOAD, 0x40);
    let (rip, mut registers) = (state.rip, area());
    let (result, seen) = execute(&mut state, &mut ram, &mut registers, AVX);
    assert_eq!(result, Ok(()));
    let reads = [DEVICE + 0x40, DEVICE + 0x48].map(|at| Seen::Read(at, 8));
    assert_eq!(seen, reads);
    assert_eq!(
        (state.rip, state.dirty),
        (rip + 4, StateGroups::INSTRUCTION)
    );
    let loaded = [0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17];
    assert_eq!(registers.bytes(176), loaded);
    assert_eq!(registers.bytes(184), loaded);
    // The upper half of the YMM register is no business of it.
    assert_eq!(registers.bytes::<16>(592), area().bytes(592));
}

#[test]
fn an_operand_that_begins_in_the_device_and_ends_in_ram_is_split() {
    let (mut state, mut ram) = vector_guest(VMOVDQU_STORE, 0xfec);
    let (result, seen) = execute(&mut state, &mut ram, &mut area(), AVX);
    assert_eq!(result, Ok(()));
    let device = [
        Seen::Write(DEVICE + 0xfec, 8, 0x1716_1514_1312_1110),
        Seen::Write(DEVICE + 0xff4, 8, 0x1f1e_1d1c_1b1a_1918),
        Seen::Write(DEVICE + 0xffc, 4, 0xeced_eeef),
    ];
    assert_eq!(seen, device);
    assert_eq!(ram.get_u64(0x1_3000), 0xe4e5_e6e7_e8e9_eaeb);
    assert_eq!(ram.get_u64(0x1_3008), 0xe0e1_e2e3);
}

#[test]
fn a_fault_of_the_last_byte_comes_before_the_first_is_written() {
    for last in 0xfe1..0x1000 {
        let (mut state, mut ram) = vector_guest(VMOVDQU_STORE, last);
        ram.map(0x20_1000, 0, 0);
        let (result, seen) = execute(&mut state, &mut ram, &mut area(), AVX);
        let fault = EmulateError::Fault(Fault::Page(0x20_1000, 2));
        assert_eq!((result, seen), (Err(fault), vec![]));
    }
}

#[test]
fn an_operand_outside_of_the_device_is_left_to_the_guest() {
    let (mut state, mut ram) = vector_guest(VMOVDQU_STORE, 0x1000);
    let rip = state.rip;
    let (result, seen) = execute(&mut state, &mut ram, &mut area(), AVX);
    assert_eq!((result, seen, state.rip), (Ok(()), vec![], rip));
    assert_eq!(ram.get_u64(0x1_3000), 0);
}

#[test]
fn aligned_moves_ask_for_the_alignment_of_their_size() {
    let misaligned = Err(EmulateError::Fault(Fault::GeneralProtection(0)));
    assert_eq!(outcome(MOVAPS_LOAD, 0x10, |_| {}), Ok(()));
    assert_eq!(outcome(MOVAPS_LOAD, 0x18, |_| {}), misaligned);
    assert_eq!(outcome(VMOVAPS_LOAD, 0x20, |_| {}), Ok(()));
    assert_eq!(outcome(VMOVAPS_LOAD, 0x30, |_| {}), misaligned);
    assert_eq!(outcome(MOVDQU_LOAD, 0x33, |_| {}), Ok(()));
    // MOVNTDQ, MOVNTPS, MOVNTDQA.
    for code in [
        &[0x66, 0x0f, 0xe7, 3][..],
        &[0x0f, 0x2b, 3],
        &[0x66, 0x0f, 0x38, 0x2a, 3],
    ] {
        assert_eq!(outcome(code, 0x38, |_| {}), misaligned);
        assert_eq!(outcome(code, 0x30, |_| {}), Ok(()));
    }
}

#[test]
fn what_the_system_has_not_enabled_is_undefined() {
    let emulated = |state: &mut GuestState| state.cr0 |= 1 << 2;
    let no_fxsr = |state: &mut GuestState| state.cr4 &= !(1 << 9);
    let no_xsave = |state: &mut GuestState| state.cr4 &= !(1 << 18);
    assert_eq!(outcome(MOVDQU_LOAD, 0, emulated), UNDEFINED);
    assert_eq!(outcome(MOVQ_MMX, 0, emulated), UNDEFINED);
    assert_eq!(outcome(VMOVAPS_LOAD, 0, emulated), Ok(()));
    assert_eq!(outcome(MOVDQU_LOAD, 0, no_fxsr), UNDEFINED);
    assert_eq!(outcome(MOVQ_MMX, 0, no_fxsr), Ok(()));
    assert_eq!(outcome(VMOVAPS_LOAD, 0, no_xsave), UNDEFINED);
    for xcr0 in [0, 1, 3, 5] {
        let (mut state, mut ram) = vector_guest(VMOVAPS_LOAD, 0);
        let result = execute(&mut state, &mut ram, &mut area(), xcr0).0;
        assert_eq!(result, UNDEFINED, "XCR0 {xcr0}");
    }
}

#[test]
fn a_task_whose_fpu_is_another_tasks_gets_device_not_available() {
    let switched = |state: &mut GuestState| state.cr0 |= 1 << 3;
    for code in [MOVDQU_LOAD, VMOVDQU_STORE, MOVQ_MMX] {
        assert_eq!(outcome(code, 0, switched), NO_DEVICE);
    }
    let both = |state: &mut GuestState| state.cr0 |= 3 << 2;
    assert_eq!(outcome(MOVQ_MMX, 0, both), UNDEFINED);
    // Before any fault of the operand.
    let nowhere = |state: &mut GuestState| {
        switched(state);
        state.set_number(3, 1 << 63);
    };
    assert_eq!(outcome(MOVDQU_LOAD, 0, nowhere), NO_DEVICE);
}

#[test]
fn fields_that_vex_does_not_allow_are_undefined() {
    let codes: [&[u8]; 5] = [
        &[0xc5, 0xee, 0x7f, 0x0b],       // a second register
        &[0xc5, 0xfc, 0x12, 0x0b],       // 256 bits of VMOVLPS
        &[0x66, 0xc5, 0xf8, 0x10, 0x0b], // a prefix in front
        &[0x48, 0xc5, 0xf8, 0x10, 0x0b],
        &[0xf0, 0x0f, 0x10, 0x0b],
    ];
    for code in codes {
        assert_eq!(outcome(code, 0, |_| {}), UNDEFINED, "{code:x?}");
    }
}

#[test]
fn vex_is_undefined_in_real_and_in_virtual_8086_mode() {
    let change: [fn(&mut GuestState); 2] =
        [|state| state.cr0 &= !1, |state| state.rflags |= 1 << 17];
    for change in change {
        let mut ram = Ram::new();
        ram.put(0x1_0000, &[0xc5, 0xf8, 0x10, 0x03]);
        let mut state = with(protected_mode(), [(Gpr::Rbx, DEVICE)]);
        (state.rip, state.cr4) = (0x1_0000, 1 << 9 | 1 << 18);
        let mut before = state.clone();
        assert_eq!(execute(&mut before, &mut ram, &mut area(), AVX).0, Ok(()));
        change(&mut state);
        let result = execute(&mut state, &mut ram, &mut area(), AVX).0;
        assert_eq!(result, UNDEFINED);
    }
}

#[test]
fn an_mmx_move_waits_for_x87_exceptions_and_takes_the_registers() {
    let failed = |area: &mut ExtendedState| area.set_bytes(2, &[0x80]);
    let (mut state, mut ram) = vector_guest(MOVQ_MMX, 0);
    let mut registers = area();
    failed(&mut registers);
    let result = execute(&mut state, &mut ram, &mut registers, AVX).0;
    assert_eq!(result, Err(EmulateError::Fault(Fault::FloatingPoint)));
    // In its initial state x87 has not failed, whatever the area has there.
    registers.set_in_use(AVX & !1);
    let result = execute(&mut state, &mut ram, &mut registers, AVX).0;
    assert_eq!(result, Ok(()));
    assert_eq!(registers.bytes(0), [0x7f, 3, 0, 0, 0xff, 0]);
    assert_eq!(
        registers.bytes(48),
        0xffff_1716_1514_1312_1110_u128.to_le_bytes()
    );
    assert_eq!(registers.in_use(), AVX);
}

#[test]
fn without_xsave_the_area_has_no_header() {
    let (mut state, mut ram) = vector_guest(MOVDQU_LOAD, 0);
    let mut registers = area();
    registers.set_in_use(0);
    assert_eq!(execute(&mut state, &mut ram, &mut registers, 0).0, Ok(()));
    assert_eq!(registers.in_use(), 0);
    assert_eq!(registers.bytes(176), [0x10, 0x11]);
    assert_eq!(registers.bytes::<16>(160), area().bytes(160));
}

#[test]
fn a_move_across_two_pages_of_code_is_fetched_from_both_or_faults_there() {
    let (mut state, mut ram) = vector_guest(&[], 0);
    ram.map(0x1_1000, 0x1_5000, 0x23);
    ram.put(0x1_0fff, &[0xc5]);
    ram.put(0x1_5000, &[0xfe, 0x7f, 0x0b]);
    state.rip = 0x1_0fff;
    let mut device = Recorder::default();
    let mut ask =
        |state: &mut GuestState, ram: &mut Ram| mmio(state, ram, exit(DEVICE, None), &mut device);
    assert_eq!(
        ask(&mut state, &mut ram),
        Err(EmulateError::Vector(Gpa(DEVICE)))
    );
    ram.map(0x1_1000, 0, 0);
    assert_eq!(
        ask(&mut state, &mut ram),
        Err(EmulateError::Vector(Gpa(DEVICE)))
    );
    let fault = EmulateError::Fault(Fault::Page(0x1_1000, 0x10));
    let result = execute(&mut state, &mut ram, &mut area(), AVX).0;
    assert_eq!(result, Err(fault));
    ram.map(0x1_1000, 0x1_5000, 0x23);
    assert_eq!(execute(&mut state, &mut ram, &mut area(), AVX).0, Ok(()));
    assert_eq!(state.rip, 0x1_1003);
}
