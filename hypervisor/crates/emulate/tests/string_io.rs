//! INS and OUTS as the VMM sees them, in sentences.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{Ram, Recorder, Seen, long_mode, protected_mode, with};
use skerry_emulate::{Progress, string_io};
use skerry_verdict::Fault;
use skerry_words::{
    AccessRights, Direction, Gpr, GuestState, Port, PortAccess, Segment, SegmentRegister, StringIo,
    Width,
};

fn access(direction: Direction, width: Width, address_bytes: u8, repeat: bool) -> PortAccess {
    let segment = if direction == Direction::In {
        Segment::Es
    } else {
        Segment::Ds
    };
    let string = Some(StringIo {
        repeat,
        address_bytes,
        segment,
    });
    PortAccess {
        port: Port(0x1f0),
        width,
        direction,
        string,
    }
}

fn run(
    state: &mut GuestState,
    ram: &mut Ram,
    access: PortAccess,
    budget: u32,
) -> (Result<Progress, Fault>, Vec<Seen>) {
    let mut port = Recorder {
        answer: 0xdead_4241,
        ..Recorder::default()
    };
    state.instruction_bytes = 2;
    let result = string_io(state, ram, access, &mut port, budget);
    (result, port.seen)
}

#[test]
fn a_repeated_ins_fills_memory_upwards() {
    let mut ram = Ram::new();
    let mut state = with(protected_mode(), [(Gpr::Rdi, 0x8000), (Gpr::Rcx, 3)]);
    let insw = access(Direction::In, Width::Word, 4, true);
    let (result, seen) = run(&mut state, &mut ram, insw, 100);
    assert_eq!((result, seen.len()), (Ok(Progress::Finished), 3));
    assert_eq!(&ram.bytes[0x8000..0x8008], b"ABABAB\0\0");
    assert_eq!(
        (state.get(Gpr::Rdi), state.get(Gpr::Rcx), state.rip),
        (0x8006, 0, 2)
    );
}

#[test]
fn outs_downwards_with_16_bit_addresses_wraps_and_keeps_the_upper_halves() {
    let mut ram = Ram::new();
    ram.put(0, b"ab");
    ram.put(0xffff, b"c");
    let state = protected_mode();
    let mut state = with(state, [(Gpr::Rsi, 0xaaaa_0001), (Gpr::Rcx, 0xbbbb_0003)]);
    state.rflags |= 1 << 10;
    let outsb = access(Direction::Out, Width::Byte, 2, true);
    let (result, seen) = run(&mut state, &mut ram, outsb, 100);
    assert_eq!(result, Ok(Progress::Finished));
    let written: Vec<_> = b"bac"
        .iter()
        .map(|byte| Seen::Write(0x1f0, 1, (*byte).into()))
        .collect();
    assert_eq!(seen, written);
    assert_eq!(state.get(Gpr::Rsi), 0xaaaa_fffe);
    assert_eq!(state.get(Gpr::Rcx), 0xbbbb_0000);
}

#[test]
fn a_32_bit_address_size_in_64_bit_code_clears_the_upper_halves() {
    let mut ram = Ram::new();
    ram.map(0x8000, 0x8000, 0x63);
    let registers = [
        (Gpr::Rsi, 0xffff_ffff_0000_8000),
        (Gpr::Rcx, 0xffff_ffff_0000_0001),
    ];
    let mut state = with(long_mode(), registers);
    let outsd = access(Direction::Out, Width::Dword, 4, true);
    let (result, seen) = run(&mut state, &mut ram, outsd, 100);
    assert_eq!((result, seen.len()), (Ok(Progress::Finished), 1));
    assert_eq!((state.get(Gpr::Rsi), state.get(Gpr::Rcx)), (0x8004, 0));
}

#[test]
fn the_budget_leaves_registers_with_which_the_instruction_restarts() {
    let mut ram = Ram::new();
    let mut state = with(protected_mode(), [(Gpr::Rdi, 0x8000), (Gpr::Rcx, 10)]);
    let insb = access(Direction::In, Width::Byte, 4, true);
    let (result, seen) = run(&mut state, &mut ram, insb, 4);
    assert_eq!((result, seen.len()), (Ok(Progress::Interrupted), 4));
    assert_eq!(
        (state.get(Gpr::Rcx), state.get(Gpr::Rdi), state.rip),
        (6, 0x8004, 0)
    );
    let (result, seen) = run(&mut state, &mut ram, insb, 6);
    assert_eq!((result, seen.len()), (Ok(Progress::Finished), 6));
    assert_eq!(state.rip, 2);
}

#[test]
fn nothing_happens_for_a_count_of_zero_but_the_step_over_the_instruction() {
    let mut state = with(protected_mode(), [(Gpr::Rcx, 0xffff_0000)]);
    let insb = access(Direction::In, Width::Byte, 2, true);
    let (result, seen) = run(&mut state, &mut Ram::new(), insb, 4);
    assert_eq!(
        (result, seen, state.rip),
        (Ok(Progress::Finished), vec![], 2)
    );
}

#[test]
fn a_destination_that_cannot_be_written_faults_before_the_port_is_read() {
    let mut ram = Ram::new();
    ram.map(0x8000, 0x8000, 0x21);
    let mut state = with(long_mode(), [(Gpr::Rdi, 0x8000)]);
    let insb = access(Direction::In, Width::Byte, 8, false);
    let (result, seen) = run(&mut state, &mut ram, insb, 4);
    assert_eq!((result, seen), (Err(Fault::Page(0x8000, 3)), vec![]));
    assert_eq!((state.rip, state.get(Gpr::Rdi)), (0, 0x8000));
}

#[test]
fn a_fault_after_some_elements_keeps_them() {
    let mut ram = Ram::new();
    ram.map(0x8000, 0x8000, 0x63);
    let mut state = with(long_mode(), [(Gpr::Rdi, 0x8ffc), (Gpr::Rcx, 9)]);
    let insw = access(Direction::In, Width::Word, 8, true);
    let (result, seen) = run(&mut state, &mut ram, insw, 100);
    assert_eq!((result, seen.len()), (Err(Fault::Page(0x9000, 2)), 2));
    assert_eq!(
        (state.get(Gpr::Rcx), state.get(Gpr::Rdi), state.rip),
        (7, 0x9000, 0)
    );
}

#[test]
fn segments_limit_and_protect() {
    let mut ram = Ram::new();
    let mut state = with(protected_mode(), [(Gpr::Rsi, 0x100), (Gpr::Rdi, 0)]);
    let short = SegmentRegister::new(8, 0, 0xff, AccessRights::DATA32);
    state.segments[Segment::Ds as usize] = short;
    state.segments[Segment::Ss as usize] = short;
    let mut outsb = access(Direction::Out, Width::Byte, 4, false);
    let (result, _) = run(&mut state, &mut ram, outsb, 1);
    assert_eq!(result, Err(Fault::GeneralProtection(0)));
    outsb.string = Some(StringIo {
        repeat: false,
        address_bytes: 4,
        segment: Segment::Ss,
    });
    assert_eq!(run(&mut state, &mut ram, outsb, 1).0, Err(Fault::Stack(0)));
    state.segments[Segment::Es as usize].rights = AccessRights::CODE32;
    let insb = access(Direction::In, Width::Byte, 4, false);
    assert_eq!(
        run(&mut state, &mut ram, insb, 1).0,
        Err(Fault::GeneralProtection(0))
    );
}

#[test]
fn a_word_across_two_pages_comes_from_both() {
    let mut ram = Ram::new();
    ram.map(0x8000, 0x8000, 0x63);
    ram.map(0x9000, 0xc000, 0x63);
    ram.put(0x8fff, &[0x11]);
    ram.put(0xc000, &[0x22]);
    let mut state = with(long_mode(), [(Gpr::Rsi, 0x8fff)]);
    let outsw = access(Direction::Out, Width::Word, 8, false);
    let (_, seen) = run(&mut state, &mut ram, outsw, 1);
    assert_eq!(seen, [Seen::Write(0x1f0, 2, 0x2211)]);
}

#[test]
fn where_there_is_no_memory_the_bus_answers() {
    let mut state = with(
        protected_mode(),
        [(Gpr::Rsi, 0xf000_0000), (Gpr::Rdi, 0xf000_0000)],
    );
    let outsw = access(Direction::Out, Width::Word, 4, false);
    let (_, seen) = run(&mut state, &mut Ram::new(), outsw, 1);
    assert_eq!(
        seen,
        [Seen::Read(0xf000_0000, 2), Seen::Write(0x1f0, 2, 0x4241)]
    );
    let insb = access(Direction::In, Width::Byte, 4, false);
    let (result, seen) = run(&mut state, &mut Ram::new(), insb, 1);
    assert_eq!(result, Ok(Progress::Finished));
    assert_eq!(
        seen,
        [Seen::Read(0x1f0, 1), Seen::Write(0xf000_0000, 1, 0x41)]
    );
}

#[test]
fn an_ins_from_a_device_into_memory_goes_on_at_the_page_of_another_device() {
    let mut ram = Ram::new();
    let end = ram.bytes.len() as u64;
    let mut state = with(protected_mode(), [(Gpr::Rdi, end - 1), (Gpr::Rcx, 2)]);
    let insb = access(Direction::In, Width::Byte, 4, true);
    let (result, seen) = run(&mut state, &mut ram, insb, 10);
    assert_eq!(result, Ok(Progress::Finished));
    assert_eq!(ram.bytes[end as usize - 1], 0x41);
    assert_eq!(
        seen,
        [
            Seen::Read(0x1f0, 1),
            Seen::Read(0x1f0, 1),
            Seen::Write(end, 1, 0x41)
        ]
    );
}

#[test]
fn a_guest_that_single_steps_traps_behind_each_element() {
    let mut state = with(protected_mode(), [(Gpr::Rdi, 0x8000), (Gpr::Rcx, 2)]);
    state.rflags |= 1 << 8;
    let insb = access(Direction::In, Width::Byte, 4, true);
    for (progress, rip) in [(Progress::Interrupted, 0), (Progress::Finished, 2)] {
        state.inject = skerry_words::EventWord::NONE;
        let (result, seen) = run(&mut state, &mut Ram::new(), insb, 10);
        assert_eq!((result, seen.len(), state.rip), (Ok(progress), 1, rip));
        assert_eq!(state.inject.0, 0x8000_0301);
    }
}
