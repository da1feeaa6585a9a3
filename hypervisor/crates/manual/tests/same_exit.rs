//! One event, as a VMCS and as a VMCB record it, is the same exit.
//!
//! Each event is written down twice, by the two books' formats, and decoded from both. What
//! CPUs wrote down of real events is in `recorded.rs`.
#![allow(missing_docs)]

mod common;

use common::common;
use proptest::prelude::*;
use skerry_manual::svm::caps::Features;
use skerry_manual::svm::{self, VmcbRead};
use skerry_manual::vmx::{self, VmcsRead};
use skerry_words::{
    Access, CrAccess, CrOperation, Direction, Event, EventKind, Gpa, MemoryAccess, Port,
    PortAccess, Segment, StringIo, TaskSwitch, Undefined, Vector, VmExit, Width,
};

/// A VMCS of which only the fields an exit writes are known.
#[derive(Default)]
struct Vmcs {
    reason: u32,
    values: Vec<(vmx::Field, u64)>,
}

/// A VMCB of which only the fields an exit writes are known.
#[derive(Default)]
struct Vmcb {
    code: u64,
    values: Vec<(svm::Field, u64)>,
}

impl VmcsRead for Vmcs {
    fn read(&self, field: vmx::Field) -> u64 {
        self.values
            .iter()
            .find(|(known, _)| *known == field)
            .map_or(0, |(_, value)| *value)
    }
}

impl VmcbRead for Vmcb {
    fn read(&self, field: svm::Field) -> u64 {
        self.values
            .iter()
            .find(|(known, _)| *known == field)
            .map_or(0, |(_, value)| *value)
    }
}

fn vmcs(reason: u32, values: &[(vmx::Field, u64)]) -> Vmcs {
    Vmcs {
        reason,
        values: values.to_vec(),
    }
}

fn vmcb(code: u64, values: &[(svm::Field, u64)]) -> Vmcb {
    Vmcb {
        code,
        values: values.to_vec(),
    }
}

fn qualified(reason: u32, qualification: u64) -> Vmcs {
    vmcs(reason, &[(vmx::field::EXIT_QUALIFICATION, qualification)])
}

fn informed(code: u64, information: u64) -> Vmcb {
    vmcb(code, &[(svm::field::EXIT_INFO_1, information)])
}

fn both(vmcs: &Vmcs, vmcb: &Vmcb) -> (VmExit, VmExit) {
    let intel = vmx::decode(vmcs.reason, vmcs);
    let amd = svm::decode(vmcb.code, Features::all(), vmcb);
    (common(intel), common(amd))
}

/// An event of which nothing but its kind is recorded.
fn plain(exit: &VmExit) -> Option<(u32, u64, u64)> {
    let (reason, code, information) = match exit {
        VmExit::Cpuid => (10, 0x72, 0),
        VmExit::Hypercall => (18, 0x81, 0),
        VmExit::Rdmsr => (31, 0x7c, 0),
        VmExit::Wrmsr => (32, 0x7c, 1),
        VmExit::Xsetbv => (55, 0x8d, 0),
        VmExit::Hlt => (12, 0x78, 0),
        VmExit::Pause => (40, 0x77, 0),
        VmExit::CacheFlush => (54, 0x89, 0),
        VmExit::Dr => (29, 0x23, 0),
        VmExit::Undefined(Undefined::Virtualization) => (24, 0x80, 0),
        VmExit::Undefined(Undefined::MonitorMwait) => (39, 0x8a, 0),
        VmExit::Undefined(Undefined::Rdpmc) => (15, 0x6f, 0),
        VmExit::Undefined(Undefined::SystemExtension) => (17, 0x73, 0),
        VmExit::InterruptWindow => (7, 0x64, 0),
        VmExit::HostInterrupt(None) => (1, 0x60, 0),
        VmExit::Init => (3, 0x63, 0),
        VmExit::TripleFault => (2, 0x7f, 0),
        _ => return None,
    };
    Some((reason, code, information))
}

fn plain_exits() -> impl Strategy<Value = VmExit> {
    prop::sample::select(vec![
        VmExit::Cpuid,
        VmExit::Hypercall,
        VmExit::Rdmsr,
        VmExit::Wrmsr,
        VmExit::Xsetbv,
        VmExit::Hlt,
        VmExit::Pause,
        VmExit::CacheFlush,
        VmExit::Dr,
        VmExit::Undefined(Undefined::Virtualization),
        VmExit::Undefined(Undefined::MonitorMwait),
        VmExit::Undefined(Undefined::Rdpmc),
        VmExit::Undefined(Undefined::SystemExtension),
        VmExit::InterruptWindow,
        VmExit::HostInterrupt(None),
        VmExit::Init,
        VmExit::TripleFault,
    ])
}

fn width() -> impl Strategy<Value = Width> {
    prop::sample::select(vec![Width::Byte, Width::Word, Width::Dword])
}

fn direction() -> impl Strategy<Value = Direction> {
    prop::sample::select(vec![Direction::In, Direction::Out])
}

fn string() -> impl Strategy<Value = StringIo> {
    let segments = vec![
        Segment::Es,
        Segment::Cs,
        Segment::Ss,
        Segment::Ds,
        Segment::Fs,
        Segment::Gs,
    ];
    let sizes = prop::sample::select(vec![2_u8, 4, 8]);
    (any::<bool>(), sizes, prop::sample::select(segments)).prop_map(
        |(repeat, address_bytes, segment)| StringIo {
            repeat,
            address_bytes,
            segment,
        },
    )
}

fn port_access() -> impl Strategy<Value = PortAccess> {
    (
        any::<u16>(),
        width(),
        direction(),
        prop::option::of(string()),
    )
        .prop_map(|(port, width, direction, string)| {
            // INS has no choice of segment.
            let string = string.map(|string| match direction {
                Direction::In => StringIo {
                    segment: Segment::Es,
                    ..string
                },
                Direction::Out => string,
            });
            PortAccess {
                port: Port(port),
                width,
                direction,
                string,
            }
        })
}

/// Qualification and instruction information `[SDM 3C, "Exit Qualification for I/O
/// Instructions", ed. 085]`.
fn port_in_vmcs(access: PortAccess) -> Vmcs {
    let mut qualification = u64::from(access.port.0) << 16 | (access.width.bytes() - 1);
    qualification |= u64::from(access.direction == Direction::In) << 3;
    let mut information = 0;
    if let Some(string) = access.string {
        qualification |= 1 << 4 | u64::from(string.repeat) << 5;
        information = u64::from(string.address_bytes.trailing_zeros() - 1) << 7
            | (string.segment as u64) << 15;
    }
    vmcs(
        30,
        &[
            (vmx::field::EXIT_QUALIFICATION, qualification),
            (vmx::field::EXIT_INSTRUCTION_INFORMATION, information),
        ],
    )
}

/// EXITINFO1 `[APM 2, "IOIO Intercept", rev. 3.42]`.
fn port_in_vmcb(access: PortAccess) -> Vmcb {
    let mut information = u64::from(access.port.0) << 16 | access.width.bytes() << 4;
    information |= u64::from(access.direction == Direction::In);
    if let Some(string) = access.string {
        information |= 1 << 2 | u64::from(string.repeat) << 3;
        information |= u64::from(string.address_bytes / 2) << 7;
        information |= (string.segment as u64) << 10;
    }
    informed(0x7b, information)
}

fn memory_in_vmcs(access: MemoryAccess) -> Vmcs {
    let kind = match access.access {
        Access::Read => 1,
        Access::Write => 1 << 1,
        Access::Execute => 1 << 2,
    };
    let walk = if access.during_walk {
        1 << 7
    } else {
        0b11 << 7
    };
    vmcs(
        48,
        &[
            (vmx::field::EXIT_QUALIFICATION, kind | walk),
            (vmx::field::GUEST_PHYSICAL_ADDRESS, access.gpa.0),
            (vmx::field::GUEST_LINEAR_ADDRESS, 0x7777),
        ],
    )
}

fn memory_in_vmcb(access: MemoryAccess) -> Vmcb {
    let kind = match access.access {
        Access::Read => 0,
        Access::Write => 1 << 1,
        Access::Execute => 1 << 4,
    };
    let place = if access.during_walk { 1 << 33 } else { 1 << 32 };
    vmcb(
        0x400,
        &[
            (svm::field::EXIT_INFO_1, 1 << 2 | kind | place),
            (svm::field::EXIT_INFO_2, access.gpa.0),
        ],
    )
}

proptest! {
    #[test]
    fn events_without_operands_are_the_same_exit(exit in plain_exits(), junk in any::<u64>()) {
        let (reason, code, information) = plain(&exit).expect("a plain exit");
        let (intel, amd) = both(&qualified(reason, junk), &informed(code, information));
        prop_assert_eq!(intel, exit);
        prop_assert_eq!(amd, exit);
    }

    #[test]
    fn a_port_instruction_is_the_same_exit(access in port_access()) {
        let (intel, amd) = both(&port_in_vmcs(access), &port_in_vmcb(access));
        prop_assert_eq!(intel, VmExit::Port(access));
        prop_assert_eq!(amd, intel);
    }

    #[test]
    fn an_access_outside_memory_is_the_same_exit(
        gpa in any::<u64>(),
        access in prop::sample::select(vec![Access::Read, Access::Write, Access::Execute]),
        during_walk in any::<bool>(),
    ) {
        let access = MemoryAccess { gpa: Gpa(gpa), access, gva: None, during_walk };
        let (intel, amd) = both(&memory_in_vmcs(access), &memory_in_vmcb(access));
        prop_assert_eq!(intel, VmExit::Memory(access));
        prop_assert_eq!(amd, intel);
    }

    #[test]
    fn a_move_to_or_from_a_control_register_is_the_same_exit(
        register in prop::sample::select(vec![0_u8, 3, 4, 8]),
        gpr in 0_u8..16,
        reads in any::<bool>(),
    ) {
        let way = u64::from(reads);
        let qualification = u64::from(register) | way << 4 | u64::from(gpr) << 8;
        let code = u64::from(register) + if reads { 0 } else { 0x10 };
        let (intel, amd) =
            both(&qualified(28, qualification), &informed(code, 1 << 63 | u64::from(gpr)));
        let operation =
            if reads { CrOperation::Read(gpr) } else { CrOperation::Write(gpr) };
        prop_assert_eq!(intel, VmExit::Cr(CrAccess { register, operation }));
        prop_assert_eq!(amd, intel);
    }

    #[test]
    fn an_exception_is_the_same_exit(
        (vector, has_code) in prop::sample::select(vec![(1_u8, false), (17, true), (18, false)]),
        code in any::<u32>(),
    ) {
        let valid = 1 << 31 | 3 << 8 | u64::from(has_code) << 11 | u64::from(vector);
        let intel = vmcs(0, &[
            (vmx::field::EXIT_INTERRUPTION_INFORMATION, valid),
            (vmx::field::EXIT_INTERRUPTION_ERROR_CODE, u64::from(code)),
        ]);
        let (intel, amd) = both(&intel, &informed(0x40 + u64::from(vector), u64::from(code)));
        let error_code = has_code.then_some(code);
        let event = Event { kind: EventKind::Exception, vector: Vector(vector), error_code };
        prop_assert_eq!(intel, VmExit::Exception(event));
        prop_assert_eq!(amd, intel);
    }

    #[test]
    fn a_task_switch_is_the_same_exit(selector in any::<u16>(), high in any::<u16>()) {
        let word = u64::from(high) << 16 | u64::from(selector);
        let (intel, amd) = both(&qualified(9, word), &informed(0x7d, word));
        prop_assert_eq!(intel, VmExit::TaskSwitch(TaskSwitch { selector }));
        prop_assert_eq!(amd, intel);
    }
}
