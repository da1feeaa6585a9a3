//! Exits with known fields, and any fields at all.
#![allow(clippy::expect_used, clippy::panic)]

extern crate std;

use std::vec::Vec;

use proptest::prelude::*;
use skerry_words::Event;

use super::super::field::Field;
use super::*;
use crate::as_frequent;

/// Fields with values; reading any other one is a failure: the decode must be lazy.
struct Fields(Vec<(Field, u64)>);

impl VmcsRead for Fields {
    fn read(&self, field: Field) -> u64 {
        let value = self.0.iter().find(|(known, _)| *known == field);
        value
            .map(|(_, value)| *value)
            .expect("a field this reason does not need")
    }
}

fn decoded(reason: u32, values: &[(Field, u64)]) -> VmExit {
    decode(reason, &Fields(values.to_vec()))
}

fn qualified(reason: u32, qualification: u64) -> VmExit {
    decoded(reason, &[(field::EXIT_QUALIFICATION, qualification)])
}

#[test]
fn exits_without_operands_read_no_field() {
    let table = [
        (2, VmExit::TripleFault),
        (3, VmExit::Init),
        (7, VmExit::InterruptWindow),
        (8, VmExit::NmiWindow),
        (10, VmExit::Cpuid),
        (11, VmExit::Undefined(Undefined::SystemExtension)),
        (12, VmExit::Hlt),
        (13, VmExit::CacheFlush),
        (15, VmExit::Undefined(Undefined::Rdpmc)),
        (18, VmExit::Hypercall),
        (27, VmExit::Undefined(Undefined::Virtualization)),
        (29, VmExit::Dr),
        (31, VmExit::Rdmsr),
        (32, VmExit::Wrmsr),
        (36, VmExit::Undefined(Undefined::MonitorMwait)),
        (40, VmExit::Pause),
        (49, VmExit::Unknown(49)),
        (50, VmExit::Undefined(Undefined::Virtualization)),
        (52, VmExit::Timer),
        (54, VmExit::CacheFlush),
        (55, VmExit::Xsetbv),
        (57, VmExit::Undefined(Undefined::SystemExtension)),
        (59, VmExit::Undefined(Undefined::Virtualization)),
        (71, VmExit::Unknown(71)),
        (0xffff, VmExit::Unknown(0xffff)),
    ];
    for (reason, exit) in table {
        assert_eq!(decoded(reason, &[]), exit, "reason {reason}");
    }
}

#[test]
fn a_failed_entry_keeps_its_basic_reason() {
    assert_eq!(decoded(0x8000_0021, &[]), VmExit::EntryFailed(33));
    assert_eq!(decoded(0x8000_0022, &[]), VmExit::EntryFailed(34));
    assert_eq!(decoded(41, &[]), VmExit::EntryFailed(41));
}

#[test]
fn modifier_bits_of_the_reason_do_not_hide_it() {
    // Bit 26, bus lock; bit 28, pending monitor-trap exit.
    assert_eq!(decoded(0x1400_000a, &[]), VmExit::Cpuid);
}

#[test]
fn an_outb_to_com1_decodes_from_the_qualification_alone() {
    let exit = qualified(30, 0x03f8_0000);
    let access = PortAccess {
        port: Port(0x3f8),
        width: Width::Byte,
        direction: Direction::Out,
        string: None,
    };
    assert_eq!(exit, VmExit::Port(access));
    assert_eq!(qualified(30, 0x0040_0002), VmExit::Unknown(30));
}

#[test]
fn rep_outsd_with_fs_override_tells_segment_and_address_size() {
    let exit = decoded(
        30,
        &[
            (field::EXIT_QUALIFICATION, 0x0cf8_0033),
            (field::EXIT_INSTRUCTION_INFORMATION, (4 << 15) | (1 << 7)),
        ],
    );
    let VmExit::Port(access) = exit else {
        panic!("{exit:?}");
    };
    assert_eq!((access.port, access.width), (Port(0xcf8), Width::Dword));
    let string = StringIo {
        repeat: true,
        address_bytes: 4,
        segment: Segment::Fs,
    };
    assert_eq!(access.string, Some(string));
}

#[test]
fn ins_stores_through_es_whatever_the_segment_bits_say() {
    let exit = decoded(
        30,
        &[
            (field::EXIT_QUALIFICATION, 0x0060_0018),
            (field::EXIT_INSTRUCTION_INFORMATION, (3 << 15) | (2 << 7)),
        ],
    );
    let string = StringIo {
        repeat: false,
        address_bytes: 8,
        segment: Segment::Es,
    };
    assert!(matches!(exit, VmExit::Port(access)
        if access.direction == Direction::In && access.string == Some(string)));
}

#[test]
fn control_register_accesses_tell_register_and_operand() {
    let table = [
        (0x0000_0f00, 0, CrOperation::Write(15)),
        (0x0000_0014, 4, CrOperation::Read(0)),
        (0x0000_0608, 8, CrOperation::Write(6)),
        (0x0000_0020, 0, CrOperation::Clts),
        (0xfff1_0070, 0, CrOperation::Lmsw(0xfff1)),
    ];
    for (qualification, register, operation) in table {
        let access = CrAccess {
            register,
            operation,
        };
        assert_eq!(qualified(28, qualification), VmExit::Cr(access));
    }
}

#[test]
fn an_ept_write_violation_tells_both_addresses() {
    let exit = decoded(
        48,
        &[
            (field::EXIT_QUALIFICATION, 0x182),
            (field::GUEST_PHYSICAL_ADDRESS, 0xfee0_00b0),
            (field::GUEST_LINEAR_ADDRESS, 0xffff_ffff_ff5f_c0b0),
        ],
    );
    let access = MemoryAccess {
        gpa: Gpa(0xfee0_00b0),
        access: Access::Write,
        gva: Some(Gva(0xffff_ffff_ff5f_c0b0)),
        during_walk: false,
    };
    assert_eq!(exit, VmExit::Memory(access));
}

#[test]
fn an_ept_violation_of_a_page_walk_is_a_write_during_walk() {
    let exit = decoded(
        48,
        &[
            (field::EXIT_QUALIFICATION, 0x083),
            (field::GUEST_PHYSICAL_ADDRESS, 0x1000),
            (field::GUEST_LINEAR_ADDRESS, 0x40_0000),
        ],
    );
    assert!(matches!(exit, VmExit::Memory(access)
        if access.during_walk && access.access == Access::Write));
}

#[test]
fn without_a_linear_address_none_is_read() {
    let values = [
        (field::EXIT_QUALIFICATION, 0x004),
        (field::GUEST_PHYSICAL_ADDRESS, 0xffff_fff0),
    ];
    let exit = decoded(48, &values);
    assert!(matches!(exit, VmExit::Memory(access)
        if access.gva.is_none() && access.access == Access::Execute && !access.during_walk));
}

#[test]
fn an_nmi_is_the_hosts_and_an_exception_keeps_its_error_code() {
    let info = field::EXIT_INTERRUPTION_INFORMATION;
    assert_eq!(decoded(0, &[(info, 0x8000_0202)]), VmExit::HostNmi);
    let page_fault = Event {
        kind: EventKind::Exception,
        vector: Vector(14),
        error_code: Some(7),
    };
    let code = (field::EXIT_INTERRUPTION_ERROR_CODE, 7);
    // Bit 12: NMI unblocking due to IRET.
    let exit = decoded(0, &[(info, 0x8000_1b0e), code]);
    assert_eq!(exit, VmExit::Exception(page_fault));
    let undefined = Event {
        kind: EventKind::Exception,
        vector: Vector(6),
        error_code: None,
    };
    let exit = decoded(0, &[(info, 0x8000_0306)]);
    assert_eq!(exit, VmExit::Exception(undefined));
    assert_eq!(decoded(0, &[(info, 0x306)]), VmExit::Unknown(0));
}

#[test]
fn a_host_interrupt_has_its_vector_where_it_was_acknowledged() {
    let info = field::EXIT_INTERRUPTION_INFORMATION;
    let vector = Some(Vector(0x31));
    assert_eq!(
        decoded(1, &[(info, 0x8000_0031)]),
        VmExit::HostInterrupt(vector)
    );
    assert_eq!(decoded(1, &[(info, 0)]), VmExit::HostInterrupt(None));
}

#[test]
fn a_task_switch_tells_its_selector_and_invlpg_its_address() {
    let switch = TaskSwitch { selector: 0x28 };
    assert_eq!(qualified(9, 0x4000_0028), VmExit::TaskSwitch(switch));
    assert_eq!(qualified(14, 0x1234), VmExit::Invlpg(Gva(0x1234)));
}

#[test]
fn what_finds_operands_in_memory_gets_what_it_takes_and_what_is_hot_does_not() {
    let string = StringIo {
        repeat: true,
        address_bytes: 8,
        segment: Segment::Ds,
    };
    let mut access = PortAccess {
        port: Port(0x60),
        width: Width::Byte,
        direction: Direction::Out,
        string: None,
    };
    assert_eq!(groups(&VmExit::Port(access)), StateGroups::INSTRUCTION);
    access.string = Some(string);
    let operand = StateGroups::OPERAND | StateGroups::CONTROL | StateGroups::PRIVILEGE;
    assert!(groups(&VmExit::Port(access)).contains(operand));
    assert_eq!(groups(&VmExit::Cpuid), StateGroups::INSTRUCTION);
    let hypercall = StateGroups::INSTRUCTION | StateGroups::PRIVILEGE;
    assert_eq!(groups(&VmExit::Hypercall), hypercall);
}

/// Every field reads as the same word.
struct Same(u64);

impl VmcsRead for Same {
    fn read(&self, _: Field) -> u64 {
        self.0
    }
}

proptest! {
    #[test]
    fn any_reason_and_any_fields_decode(reason: u32, word: u64) {
        for reason in [reason, reason & 0x7f, reason & 0x8000_007f] {
            let exit = decode(reason, &Same(word));
            prop_assert_eq!(
                matches!(exit, VmExit::EntryFailed(_)),
                reason >> 31 != 0 || matches!(reason & 0xffff, 33 | 34 | 41)
            );
            let _ = groups(&exit);
        }
    }

    #[test]
    fn what_is_decoded_first_is_decoded_the_same(reason in 0u32..0x80, word: u64) {
        let fields = Same(word);
        let exit = decode(reason, &fields);
        prop_assert_eq!(frequent(reason, &fields), as_frequent(exit));
        prop_assert_eq!(frequent(reason | ENTRY_FAILURE, &fields), None);
    }
}
