//! What is measured of instructions the CPU does not tell about.

extern crate std;

use super::*;
use skerry_verdict::Unbacked;
use skerry_words::{AccessRights, Gpa, Port};
use std::vec::Vec;

/// Memory with `code` at 0, nothing behind it.
struct Code(Vec<u8>);

impl GuestMemory for Code {
    fn read(&mut self, at: Gpa, into: &mut [u8]) -> Result<(), Unbacked> {
        for (byte, index) in into.iter_mut().zip(at.0..) {
            *byte = self.0.get(index as usize).copied().unwrap_or(0xcc);
        }
        Ok(())
    }
    fn write(&mut self, at: Gpa, _: &[u8]) -> Result<(), Unbacked> {
        Err(Unbacked(at))
    }
}

fn state(rights: AccessRights) -> GuestState {
    let mut state = GuestState::at_reset();
    state.cr0 = 1;
    state.efer = 1 << 10;
    state.rip = 0;
    state.segments[Segment::Cs as usize].base = 0;
    state.segments[Segment::Cs as usize].rights = rights;
    state
}

fn measured(exit: VmExit, code: &[u8]) -> Option<Measured> {
    measure(
        &exit,
        &state(AccessRights::CODE64),
        &mut Code(code.to_vec()),
    )
    .unwrap()
}

fn length(exit: VmExit, code: &[u8]) -> Option<u32> {
    measured(exit, code).map(|measured| measured.bytes)
}

#[test]
fn plain_instructions_have_the_manuals_lengths_and_prefixes_count() {
    assert_eq!(length(VmExit::Cpuid, &[0x0f, 0xa2]), Some(2));
    assert_eq!(length(VmExit::Cpuid, &[0x66, 0x48, 0x0f, 0xa2]), Some(4));
    assert_eq!(length(VmExit::Hypercall, &[0x0f, 0x01, 0xd9]), Some(3));
    assert_eq!(length(VmExit::Xsetbv, &[0x0f, 0x01, 0xd1]), Some(3));
    assert_eq!(length(VmExit::Rdmsr, &[0x0f, 0x32]), Some(2));
    assert_eq!(length(VmExit::Wrmsr, &[0x0f, 0x30]), Some(2));
    assert_eq!(length(VmExit::Hlt, &[0xf4]), Some(1));
    assert_eq!(length(VmExit::Pause, &[0xf3, 0x90]), Some(2));
    assert_eq!(length(VmExit::CacheFlush, &[0x0f, 0x09]), Some(2));
    assert_eq!(
        length(VmExit::CacheFlush, &[0xf3, 0x0f, 0x09]),
        Some(3),
        "WBNOINVD"
    );
}

/// Long mode with tables at 1000h, 2000h and 3000h that map the first 2 MiB as `bits`
/// say; code at 4000h.
fn paged(bits: u64, code: &[u8]) -> (GuestState, Code) {
    let mut memory = std::vec![0; 0x4000];
    for (at, entry) in [(0x1000, 0x2027), (0x2000, 0x3027), (0x3000, bits)] {
        memory[at..at + 8].copy_from_slice(&u64::to_le_bytes(entry));
    }
    memory.extend(code);
    let mut state = state(AccessRights::CODE64);
    state.cr0 |= 1 << 31;
    state.cr4 = 1 << 5;
    state.cr3 = 0x1000;
    state.efer |= 1 << 8 | 1 << 11;
    state.rip = 0x4000;
    (state, Code(memory))
}

#[test]
fn the_plain_ones_are_known_at_a_glance_and_only_they() {
    let glance = |exit, code: &[u8]| {
        let (state, mut memory) = paged(0xa3, code);
        plain_length(&exit, &state, &mut memory, &mut Glance::default())
    };
    assert_eq!(glance(VmExit::Cpuid, &[0x0f, 0xa2]), Some(2));
    assert_eq!(glance(VmExit::Hypercall, &[0x0f, 0x01, 0xd9]), Some(3));
    assert_eq!(glance(VmExit::Hlt, &[0xf4]), Some(1));
    assert_eq!(glance(VmExit::Cpuid, &[0x66, 0x0f, 0xa2]), None);
    assert_eq!(glance(VmExit::Cpuid, &[0x0f, 0x32]), None);
    assert_eq!(glance(VmExit::Timer, &[0x0f, 0xa2]), None);
}

#[test]
fn what_a_glance_remembers_holds_only_while_the_tables_say_so() {
    let (mut state, mut memory) = paged(0xa3, &[0x0f, 0xa2]);
    let mut last = Glance::default();
    let mut known = |state: &GuestState, memory: &mut Code| {
        plain_length(&VmExit::Cpuid, state, memory, &mut last)
    };
    assert_eq!(known(&state, &mut memory), Some(2));
    assert_eq!(known(&state, &mut memory), Some(2));
    // The guest takes the page away, then maps it so that no user may execute it.
    for (at, entry) in [(0x3000, 0xa2), (0x3000, 0xa3 | 1 << 63), (0x1000, 0x2026)] {
        let before: [u8; 8] = memory.0[at..at + 8].try_into().unwrap();
        memory.0[at..at + 8].copy_from_slice(&u64::to_le_bytes(entry));
        assert_eq!(known(&state, &mut memory), None, "{at:#x} {entry:#x}");
        memory.0[at..at + 8].copy_from_slice(&before);
        assert_eq!(known(&state, &mut memory), Some(2));
    }
    state.cpl = 3;
    assert_eq!(known(&state, &mut memory), None, "a page of the system's");
    state.cpl = 0;
    state.rip = 0x5000;
    assert_eq!(known(&state, &mut memory), None, "another page");
    state.rip = 0x4000;
    state.cr3 = 0x3000;
    memory.0[0x3000..0x3008].copy_from_slice(&[0; 8]);
    assert_eq!(known(&state, &mut memory), None, "other tables");
}

#[test]
fn of_two_pages_in_turn_each_is_found_where_the_tables_now_have_it() {
    let (mut state, mut memory) = paged(0xa3, &[0x0f, 0xa2]);
    let mut last = Glance::default();
    let mut known = |state: &GuestState, memory: &mut Code| {
        plain_length(&VmExit::Cpuid, state, memory, &mut last)
    };
    // The same memory once more, 2 MiB higher.
    memory.0[0x3008..0x3010].copy_from_slice(&u64::to_le_bytes(0xa3));
    for turn in 0..40 {
        state.rip = 0x4000 + ((turn & 1) << 21);
        assert_eq!(known(&state, &mut memory), Some(2), "turn {turn}");
    }
    memory.0[0x3008..0x3010].copy_from_slice(&[0; 8]);
    for turn in 0..40 {
        state.rip = 0x4000 + ((turn & 1) << 21);
        let expected = (turn & 1 == 0).then_some(2);
        assert_eq!(
            known(&state, &mut memory),
            expected,
            "turn {turn}, taken away"
        );
    }
}

#[test]
fn a_glance_knows_no_code_that_a_walk_would_treat_otherwise() {
    let glance = |bits, cpl, cr4| {
        let (mut state, mut memory) = paged(bits, &[0x0f, 0xa2]);
        state.cpl = cpl;
        state.cr4 |= cr4;
        plain_length(&VmExit::Cpuid, &state, &mut memory, &mut Glance::default())
    };
    // Not present, not accessed, reserved bits, no execute.
    for bits in [0xa2, 0x83, 0x2_00a3, 1 << 51 | 0xa3, 1 << 63 | 0xa3] {
        assert_eq!(glance(bits, 0, 0), None, "{bits:#x}");
    }
    const SMEP: u64 = 1 << 20;
    assert_eq!(
        glance(0xa3, 3, 0),
        None,
        "the supervisor's code in user mode"
    );
    assert_eq!(glance(0xa7, 3, SMEP), Some(2));
    assert_eq!(
        glance(0xa7, 0, SMEP),
        None,
        "the user's code in supervisor mode"
    );
    assert_eq!(glance(0xa7, 0, 0), Some(2));
    assert_eq!(glance(0xa3, 0, 1 << 12), None, "five levels");
}

#[test]
fn another_instruction_than_the_one_that_exited_is_executed_by_the_guest() {
    assert_eq!(length(VmExit::Cpuid, &[0x0f, 0x32]), None);
    assert_eq!(length(VmExit::Hlt, &[0x90]), None);
    assert_eq!(length(VmExit::Cpuid, &[0x66; 15]), None);
}

#[test]
fn exits_of_no_instruction_come_back_untouched() {
    assert_eq!(length(VmExit::Timer, &[]), Some(0));
    assert_eq!(length(VmExit::HostNmi, &[]), Some(0));
}

#[test]
fn a_move_to_cr4_from_r12_names_its_register() {
    let access = CrAccess {
        register: 4,
        operation: CrOperation::Undecoded,
    };
    let whole = measured(VmExit::Cr(access), &[0x41, 0x0f, 0x22, 0xe4]).unwrap();
    let known = CrAccess {
        register: 4,
        operation: CrOperation::Write(12),
    };
    assert_eq!(
        whole,
        Measured {
            exit: VmExit::Cr(known),
            bytes: 4
        }
    );
    let whole = measured(VmExit::Cr(access), &[0x0f, 0x20, 0xe3]).unwrap();
    let known = CrAccess {
        register: 4,
        operation: CrOperation::Read(3),
    };
    assert_eq!(whole.exit, VmExit::Cr(known));
}

#[test]
fn lmsw_brings_its_word_from_a_register_or_from_memory() {
    let access = CrAccess {
        register: 0,
        operation: CrOperation::Undecoded,
    };
    let mut state = state(AccessRights::CODE64);
    state.gpr[9] = 0xffff_1234;
    let word = |code: &[u8]| {
        let mut memory = Code(code.to_vec());
        measure(&VmExit::Cr(access), &state, &mut memory)
            .unwrap()
            .unwrap()
    };
    let lmsw = |word, bytes| Measured {
        exit: VmExit::Cr(CrAccess {
            register: 0,
            operation: CrOperation::Lmsw(word),
        }),
        bytes,
    };
    assert_eq!(word(&[0x41, 0x0f, 0x01, 0xf1]), lmsw(0x1234, 4));
    // LMSW [RIP + 1], behind a NOP.
    assert_eq!(
        word(&[0x0f, 0x01, 0x35, 1, 0, 0, 0, 0x90, 0x0b, 0x80]),
        lmsw(0x800b, 7)
    );
}

#[test]
fn outs_gets_its_override_and_address_size_and_ins_stays_in_es() {
    let access = |direction| PortAccess {
        port: Port(0x80),
        width: Width::Byte,
        direction,
        string: Some(StringIo {
            repeat: true,
            address_bytes: 0,
            segment: Segment::Es,
        }),
    };
    let string = |direction, code: &[u8]| match measured(VmExit::Port(access(direction)), code)
        .unwrap()
        .exit
    {
        VmExit::Port(PortAccess {
            string: Some(string),
            ..
        }) => string,
        other => panic!("{other:?}"),
    };
    let out = string(Direction::Out, &[0xf3, 0x65, 0x67, 0x6e]);
    assert_eq!(
        (out.segment, out.address_bytes, out.repeat),
        (Segment::Gs, 4, true)
    );
    let input = string(Direction::In, &[0x65, 0x6c]);
    assert_eq!((input.segment, input.address_bytes), (Segment::Es, 8));
}

#[test]
fn an_instruction_across_two_pages_is_fetched_from_both() {
    let mut code = std::vec![0x90; 4095];
    code.extend([0x0f, 0xa2]);
    let mut state = state(AccessRights::CODE32);
    state.segments[Segment::Cs as usize].limit = u32::MAX;
    state.rip = 4095;
    let whole = measure(&VmExit::Cpuid, &state, &mut Code(code)).unwrap();
    assert_eq!(whole.map(|measured| measured.bytes), Some(2));
}
