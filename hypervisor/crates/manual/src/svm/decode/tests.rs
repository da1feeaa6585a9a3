//! Exits with known fields, and any fields at all.
#![allow(clippy::expect_used, clippy::panic)]

extern crate std;

use proptest::prelude::*;
use std::vec::Vec;

use super::super::field::Field;
use super::*;
use crate::as_frequent;

/// Fields with values; reading any other one is a failure: the decode must be lazy.
struct Fields(Vec<(Field, u64)>);

impl VmcbRead for Fields {
    fn read(&self, field: Field) -> u64 {
        let value = self.0.iter().find(|(known, _)| *known == field);
        value
            .map(|(_, value)| *value)
            .expect("a field this code does not need")
    }
}

fn decoded(code: u64, values: &[(Field, u64)]) -> VmExit {
    decode(code, Features::all(), &Fields(values.to_vec()))
}

fn informed(code: u64, information: u64) -> VmExit {
    decoded(code, &[(field::EXIT_INFO_1, information)])
}

#[test]
fn exits_without_operands_read_no_field() {
    let table = [
        (0x60, VmExit::HostInterrupt(None)),
        (0x61, VmExit::HostNmi),
        (0x63, VmExit::Init),
        (0x64, VmExit::InterruptWindow),
        (0x6f, VmExit::Undefined(Undefined::Rdpmc)),
        (0x72, VmExit::Cpuid),
        (0x76, VmExit::CacheFlush),
        (0x77, VmExit::Pause),
        (0x78, VmExit::Hlt),
        (0x7f, VmExit::TripleFault),
        (0x80, VmExit::Undefined(Undefined::Virtualization)),
        (0x81, VmExit::Hypercall),
        (0x84, VmExit::Undefined(Undefined::Virtualization)),
        (0x89, VmExit::CacheFlush),
        (0x8b, VmExit::Undefined(Undefined::MonitorMwait)),
        (0x8d, VmExit::Xsetbv),
        (0x6e, VmExit::Unknown(0x6e)),
        (0x403, VmExit::Unknown(0x403)),
        (0xffff, VmExit::Unknown(0xffff)),
    ];
    for (code, exit) in table {
        assert_eq!(decoded(code, &[]), exit, "code {code:#x}");
    }
}

#[test]
fn an_invalid_vmcb_is_a_failed_entry_in_64_bits_and_in_32() {
    assert_eq!(decoded(u64::MAX, &[]), VmExit::EntryFailed(u32::MAX));
    assert_eq!(decoded(0xffff_ffff, &[]), VmExit::EntryFailed(u32::MAX));
    assert_eq!(
        decoded(u64::MAX - 1, &[]),
        VmExit::EntryFailed(u32::MAX - 1)
    );
}

#[test]
fn an_outb_to_com1_decodes_from_the_information_alone() {
    let access = PortAccess {
        port: Port(0x3f8),
        width: Width::Byte,
        direction: Direction::Out,
        string: None,
    };
    assert_eq!(informed(0x7b, 0x03f8_0210), VmExit::Port(access));
    assert_eq!(
        informed(0x7b, 0x03f8_0000),
        VmExit::Unknown(0x7b),
        "no width"
    );
}

#[test]
fn rep_outsd_tells_segment_and_address_size_with_decode_assists_only() {
    // Port CF8h, FS, 32-bit addresses, REP, string, dword, out.
    let values = [(field::EXIT_INFO_1, 0x0cf8_114c)];
    let VmExit::Port(access) = decoded(0x7b, &values) else {
        panic!("no port access")
    };
    let string = StringIo {
        repeat: true,
        address_bytes: 4,
        segment: Segment::Fs,
    };
    assert_eq!((access.width, access.string), (Width::Dword, Some(string)));
    let plain = decode(0x7b, Features::empty(), &Fields(values.to_vec()));
    let VmExit::Port(access) = plain else {
        panic!("no port access")
    };
    assert_eq!(access.string.map(|string| string.address_bytes), Some(0));
}

#[test]
fn a_move_to_cr4_names_its_register_where_the_cpu_tells_it() {
    let told = CrAccess {
        register: 4,
        operation: CrOperation::Write(11),
    };
    let untold = CrAccess {
        register: 4,
        operation: CrOperation::Undecoded,
    };
    assert_eq!(informed(0x14, 1 << 63 | 11), VmExit::Cr(told));
    assert_eq!(informed(0x14, 11), VmExit::Cr(untold), "LMSW and its like");
    let values = Fields([(field::EXIT_INFO_1, 1 << 63)].to_vec());
    assert_eq!(decode(0x14, Features::empty(), &values), VmExit::Cr(untold));
}

#[test]
fn a_fault_in_the_walk_of_the_guests_tables_is_told_from_one_behind_it() {
    let fault = |information| {
        let values = [
            (field::EXIT_INFO_1, information),
            (field::EXIT_INFO_2, 0xfe03_0007),
        ];
        let VmExit::Memory(access) = decoded(0x400, &values) else {
            panic!("no access")
        };
        assert_eq!(access.gpa, Gpa(0xfe03_0007));
        (access.access, access.during_walk)
    };
    assert_eq!(fault(1 << 32 | 0b00110), (Access::Write, false));
    assert_eq!(fault(1 << 32 | 0b00100), (Access::Read, false));
    assert_eq!(fault(1 << 32 | 0b10100), (Access::Execute, false));
    assert_eq!(fault(1 << 33 | 0b00110), (Access::Write, true));
}

#[test]
fn an_exception_has_an_error_code_where_the_architecture_has_one() {
    let event = |vector, error_code| {
        VmExit::Exception(Event {
            kind: EventKind::Exception,
            vector: Vector(vector),
            error_code,
        })
    };
    assert_eq!(decoded(0x41, &[]), event(1, None));
    assert_eq!(informed(0x51, 0), event(17, Some(0)));
}

#[test]
fn the_length_comes_from_where_the_cpu_tells_the_next_instruction() {
    let fields = Fields([(field::EXIT_INFO_2, 0x1001), (field::NEXT_RIP, 0x1002)].to_vec());
    let port = informed(0x7b, 0x03f8_0210);
    let none = Features::empty();
    assert_eq!(instruction_bytes(&port, none, 0x1000, &fields), 1);
    assert_eq!(instruction_bytes(&VmExit::Cpuid, none, 0x1000, &fields), 0);
    let nrip = Features::NRIP_SAVE;
    assert_eq!(instruction_bytes(&VmExit::Cpuid, nrip, 0x1000, &fields), 2);
    assert_eq!(
        instruction_bytes(&VmExit::Timer, nrip, 0x5000, &fields),
        0,
        "stale"
    );
}

#[test]
fn without_nrip_save_an_instruction_exit_brings_what_a_fetch_needs() {
    let fetch = StateGroups::INSTRUCTION | StateGroups::CONTROL | StateGroups::CODE;
    assert!(groups(&VmExit::Hlt, Features::empty()).contains(fetch));
    assert_eq!(
        groups(&VmExit::Hlt, Features::NRIP_SAVE),
        StateGroups::INSTRUCTION
    );
    assert_eq!(
        groups(&VmExit::HostNmi, Features::empty()),
        StateGroups::empty()
    );
}

struct Anything(u64);

impl VmcbRead for Anything {
    fn read(&self, field: Field) -> u64 {
        self.0.rotate_left(u32::from(field.offset()))
    }
}

proptest! {
    #[test]
    fn any_code_with_any_fields_decodes(code in any::<u64>(), low in 0u64..0x500, seed in any::<u64>()) {
        for code in [code, low] {
            for features in [Features::empty(), Features::all()] {
                let exit = decode(code, features, &Anything(seed));
                let bytes = instruction_bytes(&exit, features, seed, &Anything(seed));
                prop_assert!(bytes <= 15);
            }
        }
    }

    #[test]
    fn what_is_decoded_first_is_decoded_the_same(code in 0u64..0x500, seed in any::<u64>()) {
        let fields = Anything(seed);
        let exit = decode(code, Features::empty(), &fields);
        prop_assert_eq!(frequent(code, &fields), as_frequent(exit));
    }
}
