//! Memory-mapped accesses as the VMM sees them, in sentences.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{CODE, DEVICE, Ram, Recorder, Seen, exit, guest, protected_mode, run, with};
use skerry_emulate::{Bytes, EmulateError, mmio};
use skerry_verdict::Fault;
use skerry_words::{Access, AccessRights, Gpr, Segment, SegmentRegister, StateGroups};

#[test]
fn a_load_reads_the_device_and_steps_over_the_instruction() {
    let (state, mut ram) = guest(&[0x8b, 0x43, 0x10]); // mov eax, [rbx+10h]
    let mut state = with(state, [(Gpr::Rbx, 0x20_0000), (Gpr::Rax, u64::MAX)]);
    let (result, seen) = run(&mut state, &mut ram, DEVICE + 0x10, 0xffff_ffff_1234_5678);
    assert_eq!(result, Ok(()));
    assert_eq!(seen, [Seen::Read(DEVICE + 0x10, 4)]);
    assert_eq!(state.get(Gpr::Rax), 0x1234_5678);
    assert_eq!(
        (state.rip, state.dirty),
        (CODE + 3, StateGroups::INSTRUCTION)
    );
}

#[test]
fn an_instruction_across_two_pages_of_code_is_fetched_from_both() {
    let (mut state, mut ram) = guest(&[]);
    ram.map(0x1_1000, 0x1_5000, 0x23);
    ram.put(0x1_0ffe, &[0x48, 0xc7]); // mov qword [rbx], 2
    ram.put(0x1_5000, &[0x03, 0x02, 0, 0, 0]);
    state.rip = 0x1_0ffe;
    let mut state = with(state, [(Gpr::Rbx, 0x20_0ff8)]);
    let (result, seen) = run(&mut state, &mut ram, DEVICE + 0xff8, 0);
    assert_eq!(
        (result, seen),
        (Ok(()), vec![Seen::Write(DEVICE + 0xff8, 8, 2)])
    );
    assert_eq!(state.rip, 0x1_1005);
}

#[test]
fn a_fault_of_the_second_code_page_is_the_guests_only_if_the_page_is_needed() {
    let (mut state, mut ram) = guest(&[]);
    ram.map(0x1_1000, 0, 0);
    ram.put(0x1_0ffe, &[0x89, 0x03]); // mov [rbx], eax
    state.rip = 0x1_0ffe;
    let mut state = with(state, [(Gpr::Rbx, 0x20_0000)]);
    assert_eq!(run(&mut state, &mut ram, DEVICE, 0).0, Ok(()));
    ram.put(0x1_0ffe, &[0x89, 0x43]); // mov [rbx+?], eax
    state.rip = 0x1_0ffe;
    let fault = Fault::Page(0x1_1000, 0x10);
    assert_eq!(
        run(&mut state, &mut ram, DEVICE, 0).0,
        Err(EmulateError::Fault(fault))
    );
    assert_eq!(state.rip, 0x1_0ffe);
}

#[test]
fn an_access_that_straddles_device_and_ram_is_split_between_them() {
    let (state, mut ram) = guest(&[0x48, 0x89, 0x03]); // mov [rbx], rax
    let mut state = with(
        state,
        [(Gpr::Rbx, 0x20_0ffd), (Gpr::Rax, 0x8877_6655_4433_2211)],
    );
    let (result, seen) = run(&mut state, &mut ram, DEVICE + 0xffd, 0);
    assert_eq!(result, Ok(()));
    let parts = [
        Seen::Write(DEVICE + 0xffd, 1, 0x11),
        Seen::Write(DEVICE + 0xffe, 2, 0x3322),
    ];
    assert_eq!(seen, parts);
    assert_eq!(ram.get_u64(0x1_3000) & 0xff_ffff_ffff, 0x88_7766_5544);
}

#[test]
fn an_access_across_pages_faults_before_the_device_sees_any_of_it() {
    let (state, mut ram) = guest(&[0x48, 0x89, 0x03]);
    ram.map(0x20_1000, 0, 0);
    let mut state = with(state, [(Gpr::Rbx, 0x20_0ffd)]);
    let (result, seen) = run(&mut state, &mut ram, DEVICE + 0xffd, 0);
    let fault = Fault::Page(0x20_1000, 2);
    assert_eq!((result, seen), (Err(EmulateError::Fault(fault)), vec![]));
    assert_eq!((state.rip, state.dirty), (CODE, StateGroups::empty()));
}

#[test]
fn reading_and_writing_a_read_only_mapping_faults_as_a_write_and_reads_nothing() {
    let (state, mut ram) = guest(&[0x83, 0x0b, 0x01]); // or dword [rbx], 1
    ram.map(0x20_0000, DEVICE, 0x21);
    let mut state = with(state, [(Gpr::Rbx, 0x20_0000)]);
    let mut device = Recorder::default();
    // Even though the exit says that the page was read with success.
    let access = exit(DEVICE, Some(0x20_0000));
    let result = mmio(&mut state, &mut ram, access, &mut device);
    assert_eq!(result, Err(EmulateError::Fault(Fault::Page(0x20_0000, 3))));
    assert_eq!(device.seen, []);
}

#[test]
fn the_linear_address_of_the_exit_spares_the_walk() {
    let (state, mut ram) = guest(&[0x8b, 0x03]);
    ram.map(0x20_0000, 0, 0);
    let mut state = with(state, [(Gpr::Rbx, 0x20_0020)]);
    let mut device = Recorder {
        answer: 7,
        ..Recorder::default()
    };
    let access = exit(DEVICE + 0x20, Some(0x20_0020));
    assert_eq!(mmio(&mut state, &mut ram, access, &mut device), Ok(()));
    assert_eq!(device.seen, [Seen::Read(DEVICE + 0x20, 4)]);
}

#[test]
fn an_instruction_that_does_not_touch_the_page_of_the_exit_is_executed_again() {
    let (state, mut ram) = guest(&[0x83, 0x03, 0x01]); // add dword [rbx], 1
    let mut state = with(state, [(Gpr::Rbx, 0x20_1000)]);
    let (result, seen) = run(&mut state, &mut ram, DEVICE, 0);
    assert_eq!((result, seen), (Ok(()), vec![]));
    assert_eq!((state.rip, state.dirty), (CODE, StateGroups::empty()));
    assert_eq!(ram.get_u64(0x1_3000), 0);
}

#[test]
fn an_unknown_instruction_is_named_with_its_bytes() {
    let (mut state, mut ram) = guest(&[0x0f, 0x51, 0x03]); // sqrtps xmm0, [rbx]
    let (result, seen) = run(&mut state, &mut ram, DEVICE, 0);
    let Err(EmulateError::Unknown { rip, bytes }) = result else {
        panic!("{result:?}");
    };
    assert_eq!((rip, seen), (CODE, vec![]));
    assert_eq!(&bytes.as_slice()[..3], [0x0f, 0x51, 0x03]);
    let text = EmulateError::Unknown {
        rip,
        bytes: Bytes::new(&[0x0f, 0x51]),
    }
    .to_string();
    assert_eq!(text, "instruction not emulated at 0x10000: 0f 51");
}

#[test]
fn a_failed_compare_and_exchange_writes_the_old_value_back() {
    let (state, mut ram) = guest(&[0xf0, 0x0f, 0xb1, 0x0b]); // lock cmpxchg [rbx], ecx
    let mut state = with(state, [(Gpr::Rbx, 0x20_0000), (Gpr::Rax, 5), (Gpr::Rcx, 9)]);
    let (_, seen) = run(&mut state, &mut ram, DEVICE, 6);
    assert_eq!(seen, [Seen::Read(DEVICE, 4), Seen::Write(DEVICE, 4, 6)]);
    assert_eq!((state.get(Gpr::Rax), state.rflags & 0x40), (6, 0));
}

#[test]
fn a_segment_register_is_stored_as_one_word() {
    let (state, mut ram) = guest(&[0x48, 0x8c, 0x1b]); // mov [rbx], ds
    let mut state = with(state, [(Gpr::Rbx, 0x20_0000)]);
    let (_, seen) = run(&mut state, &mut ram, DEVICE, 0);
    assert_eq!(seen, [Seen::Write(DEVICE, 2, 16)]);
}

#[test]
fn a_selector_that_was_not_filled_in_is_not_stored() {
    let (state, mut ram) = guest(&[0x8c, 0x1b]);
    let mut state = with(state, [(Gpr::Rbx, 0x20_0000)]);
    state.valid.remove(StateGroups::SEGMENTS);
    let (result, seen) = run(&mut state, &mut ram, DEVICE, 0);
    assert!(matches!(
        result,
        Err(EmulateError::Unknown { rip: CODE, .. })
    ));
    assert_eq!(seen, []);
}

#[test]
fn a_plain_move_at_an_address_the_exit_did_not_tell_takes_the_general_way() {
    // The exit was for the page behind: the move straddles both.
    let (state, mut ram) = guest(&[0x89, 0x03]);
    ram.map(0x20_1000, DEVICE + 0x1000, 0x63);
    let mut state = with(state, [(Gpr::Rbx, 0x20_0ffe), (Gpr::Rax, 0x4433_2211)]);
    let mut device = Recorder::default();
    let mut access = exit(DEVICE + 0x1000, Some(0x20_1000));
    access.access = Access::Write;
    assert_eq!(mmio(&mut state, &mut ram, access, &mut device), Ok(()));
    let parts = [
        Seen::Write(DEVICE + 0xffe, 2, 0x2211),
        Seen::Write(DEVICE + 0x1000, 2, 0x4433),
    ];
    assert_eq!(device.seen, parts);
}

#[test]
fn repeated_stores_end_where_the_device_ends_and_the_guest_goes_on_in_ram() {
    let (state, mut ram) = guest(&[0xf3, 0xab]); // rep stosd
    let registers = [(Gpr::Rdi, 0x20_0ff8), (Gpr::Rcx, 5), (Gpr::Rax, 0xabcd)];
    let mut state = with(state, registers);
    let (result, seen) = run(&mut state, &mut ram, DEVICE + 0xff8, 0);
    assert_eq!(result, Ok(()));
    let writes = [
        Seen::Write(DEVICE + 0xff8, 4, 0xabcd),
        Seen::Write(DEVICE + 0xffc, 4, 0xabcd),
    ];
    assert_eq!(seen, writes);
    assert_eq!((state.rip, state.get(Gpr::Rcx)), (CODE, 3));
    assert_eq!(state.get(Gpr::Rdi), 0x20_1000);
    assert_eq!(ram.get_u64(0x1_3000), 0);
}

#[test]
fn a_fault_in_the_middle_of_a_copy_keeps_the_elements_before_it() {
    let (state, mut ram) = guest(&[0xf3, 0xa5]); // rep movsd
    ram.map(0x20_3000, 0, 0);
    ram.put(0x1_4ffc, &0x1111u32.to_le_bytes());
    let registers = [(Gpr::Rsi, 0x20_2ffc), (Gpr::Rdi, 0x20_0000), (Gpr::Rcx, 4)];
    let mut state = with(state, registers);
    let (result, seen) = run(&mut state, &mut ram, DEVICE, 0);
    assert_eq!(result, Err(EmulateError::Fault(Fault::Page(0x20_3000, 0))));
    assert_eq!(seen, [Seen::Write(DEVICE, 4, 0x1111)]);
    assert_eq!((state.get(Gpr::Rcx), state.get(Gpr::Rdi)), (3, 0x20_0004));
    assert_eq!(state.rip, CODE);
}

#[test]
fn an_endless_repetition_stops_at_its_budget_with_registers_that_say_what_remains() {
    let (state, mut ram) = guest(&[0xf3, 0x6c, 0xf3, 0xac]); // (insb;) rep lodsb
    let mut state = with(state, [(Gpr::Rsi, 0x20_0000), (Gpr::Rcx, u64::MAX)]);
    state.rip = CODE + 2;
    let (result, seen) = run(&mut state, &mut ram, DEVICE, 0);
    assert_eq!((result, seen.len()), (Ok(()), 256));
    assert_eq!((state.rip, state.get(Gpr::Rcx)), (CODE + 2, u64::MAX - 256));
}

#[test]
fn a_jump_through_the_device_goes_where_it_says_if_that_is_canonical() {
    let (state, mut ram) = guest(&[0xff, 0x23]); // jmp [rbx]
    let mut state = with(state, [(Gpr::Rbx, 0x20_0000)]);
    assert_eq!(
        run(&mut state, &mut ram, DEVICE, 0xffff_8000_0000_1000).0,
        Ok(())
    );
    assert_eq!(state.rip, 0xffff_8000_0000_1000);
    state.rip = CODE;
    let (result, _) = run(&mut state, &mut ram, DEVICE, 1 << 60);
    assert_eq!(
        result,
        Err(EmulateError::Fault(Fault::GeneralProtection(0)))
    );
    assert_eq!(state.rip, CODE);
}

#[test]
fn a_push_reads_the_device_and_writes_the_stack() {
    let (state, mut ram) = guest(&[0xff, 0x33]); // push qword [rbx]
    let mut state = with(state, [(Gpr::Rbx, 0x20_0000), (Gpr::Rsp, 0x20_1010)]);
    let (result, seen) = run(&mut state, &mut ram, DEVICE, 0x77);
    assert_eq!((result, seen), (Ok(()), vec![Seen::Read(DEVICE, 8)]));
    assert_eq!(
        (ram.get_u64(0x1_3008), state.get(Gpr::Rsp)),
        (0x77, 0x20_1008)
    );
}

#[test]
fn a_pop_addressed_by_the_stack_pointer_uses_it_as_it_is_afterwards() {
    let (state, mut ram) = guest(&[0x8f, 0x44, 0x24, 0x08]); // pop qword [rsp+8]
    ram.put(0x1_3000, &0x99u64.to_le_bytes());
    ram.map(0x20_2000, DEVICE, 0x63);
    let mut state = with(state, [(Gpr::Rsp, 0x20_1ff8)]);
    ram.put(0x1_3ff8, &0x77u64.to_le_bytes());
    let (result, seen) = run(&mut state, &mut ram, DEVICE + 8, 0);
    assert_eq!(
        (result, seen),
        (Ok(()), vec![Seen::Write(DEVICE + 8, 8, 0x77)])
    );
    assert_eq!(state.get(Gpr::Rsp), 0x20_2000);
}

#[test]
fn the_address_of_a_table_is_not_taken_for_that_of_the_operand() {
    let (state, mut ram) = guest(&[0x8b, 0x03]);
    let mut state = with(state, [(Gpr::Rbx, 0x20_0000)]);
    let mut access = exit(0x7000_0000, Some(0x20_0000));
    access.during_walk = true;
    let mut device = Recorder::default();
    assert_eq!(mmio(&mut state, &mut ram, access, &mut device), Ok(()));
    assert_eq!((device.seen, state.rip), (vec![], CODE));
}

#[test]
fn a_plain_store_is_not_done_by_the_rights_of_a_load() {
    let (state, mut ram) = guest(&[0x89, 0x03]);
    ram.map(0x20_0000, DEVICE, 0x21);
    let mut state = with(state, [(Gpr::Rbx, 0x20_0000)]);
    let mut device = Recorder::default();
    let access = exit(DEVICE, Some(0x20_0000));
    let result = mmio(&mut state, &mut ram, access, &mut device);
    assert_eq!(result, Err(EmulateError::Fault(Fault::Page(0x20_0000, 3))));
    assert_eq!(device.seen, []);
}

#[test]
fn real_mode_adds_segment_and_offset_and_knows_16_bit_addressing() {
    let mut ram = Ram::new();
    ram.put(CODE, &[0x26, 0x88, 0x42, 0x05]); // mov es:[bp+si+5], al
    let mut state = protected_mode();
    state.cr0 = 0x10;
    let code = SegmentRegister::new(0x1000, CODE, 0xffff, AccessRights::CODE16);
    state.segments[Segment::Cs as usize] = code;
    let extra = SegmentRegister::new(0xb800, 0xb_8000, 0xffff, AccessRights::DATA16);
    state.segments[Segment::Es as usize] = extra;
    let registers = [(Gpr::Rbp, 0xfff0), (Gpr::Rsi, 0x20), (Gpr::Rax, 0x41)];
    let mut state = with(state, registers);
    let (result, seen) = run(&mut state, &mut ram, 0xb_8015, 0);
    assert_eq!(
        (result, seen),
        (Ok(()), vec![Seen::Write(0xb_8015, 1, 0x41)])
    );
    assert_eq!(state.rip, 4);
}

#[test]
fn user_code_without_rights_gets_the_fault_of_the_architecture() {
    let (state, mut ram) = guest(&[0x89, 0x03]);
    ram.map(CODE, CODE, 0x27);
    let mut state = with(state, [(Gpr::Rbx, 0x20_0000)]);
    state.cpl = 3;
    let (result, seen) = run(&mut state, &mut ram, DEVICE, 0);
    assert_eq!(result, Err(EmulateError::Fault(Fault::Page(0x20_0000, 7))));
    assert_eq!(seen, []);
}

#[test]
fn a_write_exit_lets_read_and_write_instructions_use_its_translation() {
    let (state, mut ram) = guest(&[0x48, 0x0f, 0xba, 0x2b, 0x3f]); // bts qword [rbx], 63
    ram.map(0x20_0000, 0, 0);
    let mut state = with(state, [(Gpr::Rbx, 0x20_0000)]);
    let mut access = exit(DEVICE, Some(0x20_0000));
    access.access = Access::Write;
    let mut device = Recorder {
        answer: 1,
        ..Recorder::default()
    };
    assert_eq!(mmio(&mut state, &mut ram, access, &mut device), Ok(()));
    assert_eq!(
        device.seen,
        [Seen::Read(DEVICE, 8), Seen::Write(DEVICE, 8, 1 << 63 | 1)]
    );
}

#[test]
fn a_guest_that_single_steps_traps_behind_each_instruction_and_each_element() {
    const DEBUG: u64 = 0x8000_0301;
    let (state, mut ram) = guest(&[0xf3, 0xaa, 0x88, 0x03]); // rep stosb; mov [rbx], al
    let registers = [(Gpr::Rdi, 0x20_0000), (Gpr::Rcx, 2), (Gpr::Rbx, 0x20_0000)];
    let mut state = with(state, registers);
    state.rflags |= 1 << 8;
    for (rip, left) in [(CODE, 1), (CODE + 2, 0), (CODE + 4, 0)] {
        state.inject = skerry_words::EventWord::NONE;
        let (result, seen) = run(&mut state, &mut ram, DEVICE, 0);
        assert_eq!((result, seen.len()), (Ok(()), 1));
        assert_eq!((state.rip, state.get(Gpr::Rcx)), (rip, left));
        assert_eq!((state.inject.0, state.debug_status), (DEBUG, 1 << 14));
    }
}
