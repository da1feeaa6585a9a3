//! Divisions, pairs, status words and stacks whose operand is a device's, in sentences.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{CODE, DEVICE, Ram, Seen, guest, run, with};
use skerry_emulate::EmulateError;
use skerry_verdict::Fault;
use skerry_words::{Gpr, GuestState, StateGroups};

/// Runs `code` with RBX at the device, which reads as `answer`.
fn at_device<const N: usize>(
    code: &[u8],
    registers: [(Gpr, u64); N],
    answer: u64,
) -> (Result<(), EmulateError>, Vec<Seen>, GuestState) {
    let (state, mut ram) = guest(code);
    let mut state = with(with(state, [(Gpr::Rbx, 0x20_0000)]), registers);
    let (result, seen) = run(&mut state, &mut ram, DEVICE, answer);
    (result, seen, state)
}

const NO_QUOTIENT: Result<(), EmulateError> = Err(EmulateError::Fault(Fault::DivideError));
const PROTECTION: Result<(), EmulateError> = Err(EmulateError::Fault(Fault::GeneralProtection(0)));

#[test]
fn a_division_by_zero_or_with_too_long_a_quotient_faults_and_keeps_the_registers() {
    let divide = |code: &[u8], high, low, by| {
        let (result, _, state) = at_device(code, [(Gpr::Rdx, high), (Gpr::Rax, low)], by);
        let after = (state.get(Gpr::Rax), state.get(Gpr::Rdx));
        if result == NO_QUOTIENT {
            assert_eq!((after, state.rip), ((low, high), CODE));
        }
        (result, after)
    };
    const DIV: [u8; 3] = [0x48, 0xf7, 0x33]; // div qword [rbx]
    const IDIV: [u8; 2] = [0xf7, 0x3b]; // idiv dword [rbx]
    assert_eq!(divide(&DIV, 2, 1, 0).0, NO_QUOTIENT);
    assert_eq!(divide(&DIV, 5, 0, 5).0, NO_QUOTIENT);
    assert_eq!(divide(&DIV, 4, 7, 5), (Ok(()), (0xcccc_cccc_cccc_ccce, 1)));
    assert_eq!(
        divide(&IDIV, 0xffff_ffff, 0x8000_0000, 0xffff_ffff).0,
        NO_QUOTIENT
    );
    assert_eq!(divide(&IDIV, 0, 0x8000_0000, 1).0, NO_QUOTIENT);
    assert_eq!(
        divide(&IDIV, 0xffff_ffff, 0x8000_0000, 1),
        (Ok(()), (0x8000_0000, 0))
    );
    assert_eq!(
        divide(&IDIV, 0xffff_ffff, 0xffff_fff9, 2),
        (Ok(()), (0xffff_fffd, 0xffff_ffff)),
        "-7 by 2 is -3, and -1 is left"
    );
    let byte = divide(&[0xf6, 0x33], 9, 0x1_0203, 3); // div byte [rbx]
    assert_eq!(byte, (Ok(()), (0x1_02ab, 9)), "203h by 3 is abh, 2 left");
}

#[test]
fn sixteen_bytes_are_compared_only_where_they_are_aligned() {
    const CMPXCHG16B: [u8; 5] = [0x48, 0x0f, 0xc7, 0x4b, 0x08]; // cmpxchg16b [rbx+8]
    let (result, seen, _) = at_device(&CMPXCHG16B, [], 0);
    assert_eq!((result, seen), (PROTECTION, vec![]));
    let registers = [(Gpr::Rbx, 0x20_0008), (Gpr::Rax, 1), (Gpr::Rdx, 2)];
    let (result, seen, state) = at_device(&CMPXCHG16B, registers, 7);
    assert_eq!(result, Ok(()));
    let accesses = [
        Seen::Read(DEVICE + 0x10, 8),
        Seen::Read(DEVICE + 0x18, 8),
        Seen::Write(DEVICE + 0x10, 8, 7),
        Seen::Write(DEVICE + 0x18, 8, 7),
    ];
    assert_eq!(seen, accesses);
    assert_eq!((state.get(Gpr::Rax), state.get(Gpr::Rdx)), (7, 7));
    assert_eq!(state.rflags & 0x40, 0);
}

#[test]
fn eight_bytes_are_compared_in_one_access() {
    let registers = [(Gpr::Rax, 5), (Gpr::Rdx, 3), (Gpr::Rcx, 9)];
    let (result, seen, state) = at_device(&[0x0f, 0xc7, 0x0b], registers, 0x3_0000_0005);
    assert_eq!(result, Ok(()));
    let accesses = [Seen::Read(DEVICE, 8), Seen::Write(DEVICE, 8, 0x9_0020_0000)];
    assert_eq!(seen, accesses);
    assert_eq!(state.rflags & 0x40, 0x40);
}

#[test]
fn smsw_stores_the_low_word_of_cr0_and_umip_keeps_it_from_users() {
    let (state, mut ram) = guest(&[0x0f, 0x01, 0x23]); // smsw [rbx]
    ram.map(0x20_0000, DEVICE, 0x67);
    ram.map(CODE, CODE, 0x27);
    let mut state = with(state, [(Gpr::Rbx, 0x20_0000)]);
    (state.cr0, state.cpl) = (0x8001_0033, 3);
    let mut again = state.clone();
    let stored = (Ok(()), vec![Seen::Write(DEVICE, 2, 0x33)]);
    assert_eq!(run(&mut state, &mut ram, DEVICE, 0), stored);
    assert_eq!(state.rip, CODE + 3);
    again.cr4 |= 1 << 11;
    assert_eq!(run(&mut again, &mut ram, DEVICE, 0), (PROTECTION, vec![]));
}

#[test]
fn lmsw_reads_its_word_and_leaves_the_rest_to_the_vmm() {
    let (result, seen, state) = at_device(&[0x0f, 0x01, 0x73, 0x02], [], 0xabcd_1239);
    assert_eq!(result, Err(EmulateError::StatusWord(0x1239)));
    assert_eq!(seen, [Seen::Read(DEVICE + 2, 2)]);
    assert_eq!((state.rip, state.instruction_bytes), (CODE, 4));
    assert_eq!(state.dirty, StateGroups::STACK & state.dirty);
}

#[test]
fn lmsw_is_not_for_users() {
    let (state, mut ram) = guest(&[0x0f, 0x01, 0x33]);
    ram.map(0x20_0000, DEVICE, 0x67);
    ram.map(CODE, CODE, 0x27);
    let mut state = with(state, [(Gpr::Rbx, 0x20_0000)]);
    state.cpl = 3;
    assert_eq!(run(&mut state, &mut ram, DEVICE, 0), (PROTECTION, vec![]));
}

#[test]
fn setcc_and_cmovcc_go_by_the_flags_and_always_make_their_access() {
    let (_, seen, _) = at_device(&[0x0f, 0x94, 0x03], [], 0); // sete [rbx]
    assert_eq!(seen, [Seen::Write(DEVICE, 1, 0)]);
    let registers = [(Gpr::Rax, 0x1234_5678_1234_5678)];
    let (_, seen, state) = at_device(&[0x0f, 0x44, 0x03], registers, 7); // cmove eax, [rbx]
    assert_eq!(seen, [Seen::Read(DEVICE, 4)]);
    assert_eq!(state.get(Gpr::Rax), 0x1234_5678);
    let (_, _, state) = at_device(&[0x0f, 0x45, 0x03], registers, 7); // cmovne eax, [rbx]
    assert_eq!(state.get(Gpr::Rax), 7);
}

/// A guest whose stack is the device.
fn stacked(code: &[u8], pointer: u64) -> (GuestState, Ram) {
    let (state, ram) = guest(code);
    (with(state, [(Gpr::Rsp, pointer)]), ram)
}

#[test]
fn a_stack_may_be_a_device() {
    let (mut state, mut ram) = stacked(&[0x6a, 0xf9], 0x20_0010); // push -7
    let (result, seen) = run(&mut state, &mut ram, DEVICE, 0);
    let pushed = Seen::Write(DEVICE + 8, 8, 0xffff_ffff_ffff_fff9);
    assert_eq!((result, seen), (Ok(()), vec![pushed]));
    assert_eq!(state.get(Gpr::Rsp), 0x20_0008);
    assert!(state.dirty.contains(StateGroups::STACK));

    let (mut state, mut ram) = stacked(&[0x5c], 0x20_0010); // pop rsp
    assert_eq!(run(&mut state, &mut ram, DEVICE, 0x77).0, Ok(()));
    assert_eq!(state.get(Gpr::Rsp), 0x77);

    let (mut state, mut ram) = stacked(&[0xe8, 0xf0, 0xff, 0xff, 0xff], 0x20_0010); // call
    let (result, seen) = run(&mut state, &mut ram, DEVICE, 0);
    assert_eq!(
        (result, seen),
        (Ok(()), vec![Seen::Write(DEVICE + 8, 8, CODE + 5)])
    );
    assert_eq!(state.rip, CODE - 11);
}

#[test]
fn a_return_to_no_canonical_address_faults_where_it_is() {
    let (mut state, mut ram) = stacked(&[0xc2, 0x20, 0x00], 0x20_0010); // ret 32
    assert_eq!(run(&mut state, &mut ram, DEVICE, 1 << 60).0, PROTECTION);
    assert_eq!((state.rip, state.get(Gpr::Rsp)), (CODE, 0x20_0010));
    assert_eq!(run(&mut state, &mut ram, DEVICE, 0x4000).0, Ok(()));
    assert_eq!((state.rip, state.get(Gpr::Rsp)), (0x4000, 0x20_0038));
}

#[test]
fn a_frame_whose_end_is_not_writable_is_not_entered() {
    let (mut state, mut ram) = stacked(&[0xc8, 0x00, 0x10, 0x00], 0x20_0010); // enter 1000h, 0
    let fault = Fault::Page(0x1f_f008, 2);
    let (result, seen) = run(&mut state, &mut ram, DEVICE, 0);
    assert_eq!((result, seen), (Err(EmulateError::Fault(fault)), vec![]));
    assert_eq!(state.get(Gpr::Rsp), 0x20_0010);
}

#[test]
fn a_stack_in_memory_is_left_to_the_guest() {
    for code in [
        &[0x50][..],
        &[0x58],
        &[0xc3],
        &[0xc9],
        &[0xe8, 0, 0, 0, 0],
        &[0xc8, 8, 0, 0],
    ] {
        let (mut state, mut ram) = stacked(code, 0x20_1800);
        state.gpr[Gpr::Rbp as usize] = 0x20_1800;
        let (result, seen) = run(&mut state, &mut ram, DEVICE, 0);
        assert_eq!(
            (result, seen, state.rip),
            (Ok(()), vec![], CODE),
            "{code:x?}"
        );
    }
}
