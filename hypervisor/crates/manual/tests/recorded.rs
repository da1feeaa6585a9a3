//! One event, as a VMCS and as a VMCB recorded it on an engine, is the same exit.
//!
//! The guest stub `events` causes the same events on Bochs (VT-x) and on QEMU's TCG (AMD-V);
//! `cargo xtask record` writes down what either left in its control structure. Each line is
//! `EVENT FIELD=VALUE ...`, and `rip` is the same on both where the instruction is.
#![allow(missing_docs)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use common::common;
use proptest::prelude::*;
use skerry_manual::svm::caps::Features;
use skerry_manual::svm::{self, VmcbRead};
use skerry_manual::vmx::{self, VmcsRead};
use skerry_words::{
    Access, CrAccess, CrOperation, ExitKind, MemoryAccess, PortAccess, Segment, StringIo, VmExit,
};

static VT_X: LazyLock<Recording> =
    LazyLock::new(|| Recording::of(include_str!("recorded/bochs.txt")));
static AMD_V: LazyLock<Recording> =
    LazyLock::new(|| Recording::of(include_str!("recorded/qemu-tcg.txt")));

/// The kinds of exit that an instruction of the guest causes on both engines.
const KINDS: [ExitKind; 13] = [
    ExitKind::Cpuid,
    ExitKind::Hypercall,
    ExitKind::Rdmsr,
    ExitKind::Wrmsr,
    ExitKind::Port,
    ExitKind::Memory,
    ExitKind::Cr,
    ExitKind::Hlt,
    ExitKind::CacheFlush,
    ExitKind::Undefined,
    ExitKind::Exception,
    ExitKind::InterruptWindow,
    ExitKind::TripleFault,
];
/// Events whose instruction is another one on the other vendor's CPU: VMCALL and VMMCALL,
/// VMLAUNCH and VMRUN.
const OTHER_INSTRUCTION: [&str; 2] = ["hypercall", "nested-entry"];
/// Exits on VT-x alone: TCG does not intercept XSETBV.
const ONLY_VT_X: [(&str, ExitKind); 1] = [("xsetbv", ExitKind::Xsetbv)];
/// Exits on AMD-V alone: its intercepts know no masks of control-register bits; on VT-x the
/// CPU reads the offset TSC itself, and is not asked to exit on WBINVD.
const ONLY_AMD_V: [(&str, ExitKind); 3] = [
    ("lmsw", ExitKind::Cr),
    ("rdmsr-tsc", ExitKind::Rdmsr),
    ("wbinvd", ExitKind::CacheFlush),
];

/// The exits of one engine, by event, each in the order they came.
struct Recording(BTreeMap<&'static str, Vec<State>>);

/// The fields of one control structure after one exit, by their names in the recording.
#[derive(Clone, Debug)]
struct State(BTreeMap<&'static str, u64>);

impl Recording {
    fn of(text: &'static str) -> Self {
        let mut events = BTreeMap::<_, Vec<_>>::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (event, fields) = line.split_once(' ').expect("an event and its fields");
            events.entry(event).or_default().push(State::of(fields));
        }
        Self(events)
    }

    fn names(&self) -> BTreeSet<&'static str> {
        self.0.keys().copied().collect()
    }

    /// The states of an event, and how each is decoded.
    fn exits(&self, event: &str) -> Vec<VmExit> {
        self.0[event].iter().map(State::decode).collect()
    }
}

impl State {
    fn of(fields: &'static str) -> Self {
        let field = |word: &'static str| {
            let (name, value) = word.split_once("=0x").expect("NAME=0xVALUE");
            (name, u64::from_str_radix(value, 16).expect("hexadecimal"))
        };
        Self(fields.split_ascii_whitespace().map(field).collect())
    }

    /// By the vendor's decode: a VMCS has a reason, a VMCB a code.
    fn decode(&self) -> VmExit {
        match self.0.get("reason") {
            Some(reason) => vmx::decode(u32::try_from(*reason).expect("32 bits"), self),
            None => svm::decode(self.0["code"], self.features(), self),
        }
    }

    fn features(&self) -> Features {
        Features::from_bits_truncate(u32::try_from(self.0["features"]).expect("32 bits"))
    }
}

impl VmcsRead for State {
    fn read(&self, field: vmx::Field) -> u64 {
        use vmx::field;
        let name = match field {
            field::EXIT_QUALIFICATION => "qualification",
            field::GUEST_PHYSICAL_ADDRESS => "guest-physical",
            field::GUEST_LINEAR_ADDRESS => "guest-linear",
            field::EXIT_INSTRUCTION_INFORMATION => "instruction",
            field::EXIT_INTERRUPTION_INFORMATION => "interruption",
            field::EXIT_INTERRUPTION_ERROR_CODE => "error-code",
            other => panic!("{other:?} is not recorded"),
        };
        self.0[name]
    }
}

impl VmcbRead for State {
    fn read(&self, field: svm::Field) -> u64 {
        use svm::field;
        let name = match field {
            field::EXIT_INFO_1 => "info1",
            field::EXIT_INFO_2 => "info2",
            other => panic!("{other:?} is not recorded"),
        };
        self.0[name]
    }
}

/// What both engines tell. TCG has no decode assists: it tells neither the operation and the
/// general register of a control-register access, nor the address size and the segment of
/// string I/O. A walk of the guest's tables is a read on VT-x and a write on AMD-V, by their
/// manuals; who answers asks only whether it was a walk.
fn told(exit: VmExit) -> VmExit {
    match common(exit) {
        VmExit::Cr(access) => VmExit::Cr(CrAccess {
            operation: CrOperation::Undecoded,
            ..access
        }),
        VmExit::Port(access) => VmExit::Port(PortAccess {
            string: access.string.map(without_operand),
            ..access
        }),
        VmExit::Memory(access) if access.during_walk => VmExit::Memory(MemoryAccess {
            access: Access::Read,
            ..access
        }),
        other => other,
    }
}

fn without_operand(string: StringIo) -> StringIo {
    StringIo {
        address_bytes: 0,
        segment: Segment::Es,
        ..string
    }
}

fn told_of(recording: &Recording, event: &str) -> Vec<VmExit> {
    recording.exits(event).into_iter().map(told).collect()
}

/// The events that exit on both.
fn shared() -> Vec<&'static str> {
    VT_X.names().intersection(&AMD_V.names()).copied().collect()
}

fn kinds(recording: &Recording, events: &[&str]) -> Vec<ExitKind> {
    let exits = events.iter().flat_map(|event| recording.exits(event));
    exits.map(|exit| exit.kind()).collect()
}

#[test]
fn every_recorded_event_is_the_same_exit_on_both() {
    for event in shared() {
        assert_eq!(told_of(&VT_X, event), told_of(&AMD_V, event), "{event}");
    }
}

#[test]
fn every_kind_a_guest_can_cause_on_both_was_recorded() {
    let recorded = kinds(&VT_X, &shared());
    for kind in KINDS {
        assert!(recorded.contains(&kind), "{kind:?}");
    }
}

#[test]
fn an_event_is_at_one_address_on_both_unless_its_instruction_is_another() {
    let addresses = |recording: &Recording, event| -> Vec<u64> {
        recording.0[event]
            .iter()
            .map(|state| state.0["rip"])
            .collect()
    };
    for event in shared() {
        let same = addresses(&VT_X, event) == addresses(&AMD_V, event);
        assert_eq!(same, !OTHER_INSTRUCTION.contains(&event), "{event}");
    }
}

#[test]
fn what_exits_on_one_alone_is_known_and_of_the_right_kind() {
    let alone = |recording: &Recording, other: &Recording| -> Vec<(&str, ExitKind)> {
        let names = recording.names();
        let alone: Vec<&str> = names.difference(&other.names()).copied().collect();
        alone
            .iter()
            .copied()
            .zip(kinds(recording, &alone))
            .collect()
    };
    assert_eq!(alone(&VT_X, &AMD_V), ONLY_VT_X);
    assert_eq!(alone(&AMD_V, &VT_X), ONLY_AMD_V);
}

#[test]
fn what_only_vt_x_tells_is_what_the_stubs_instruction_says() {
    let operation = |event| match VT_X.exits(event)[..] {
        [VmExit::Cr(access)] => access.operation,
        ref other => panic!("{event}: {other:?}"),
    };
    assert_eq!(operation("cr0-cache-off"), CrOperation::Write(6), "RSI");
    assert_eq!(operation("cr0-cache-on"), CrOperation::Write(7), "RDI");
    assert_eq!(operation("cr4-reserved"), CrOperation::Write(1), "RCX");
    assert_eq!(operation("cr8-read"), CrOperation::Read(6), "RSI");
    let operand = |event| match VT_X.exits(event)[..] {
        [
            VmExit::Port(PortAccess {
                string: Some(string),
                ..
            }),
        ] => (string.address_bytes, string.segment),
        ref other => panic!("{event}: {other:?}"),
    };
    assert_eq!(operand("outsb"), (8, Segment::Ds));
    assert_eq!(operand("outsb-fs"), (8, Segment::Fs));
    assert_eq!(operand("outsb-address-32"), (4, Segment::Ds));
    assert_eq!(operand("insb"), (8, Segment::Es));
}

#[test]
fn a_port_instruction_has_the_same_length_on_both() {
    for event in shared() {
        for (intel, amd) in VT_X.0[event].iter().zip(&AMD_V.0[event]) {
            let exit = amd.decode();
            if matches!(exit, VmExit::Port(_)) {
                let bytes = svm::instruction_bytes(&exit, amd.features(), amd.0["rip"], amd);
                assert_eq!(u64::from(bytes), intel.0["length"], "{event}");
            }
        }
    }
}

/// The bits of a field that may have a say in the exit: those the manual defines for it and
/// [`VmExit`] has a place for. All others may be anything.
fn meaning(state: &State, name: &str) -> u64 {
    match name {
        "rip" | "code" | "features" => u64::MAX,
        // The basic reason, and the failure of an entry.
        "reason" => 0x8000_ffff,
        _ if state.0.contains_key("reason") => meaning_in_vmcs(state, name),
        _ => meaning_in_vmcb(state, name),
    }
}

/// `[SDM 3C, "Exit Qualifications" and "Information for VM Exits Due to Instruction
/// Execution", ed. 085]`
fn meaning_in_vmcs(state: &State, name: &str) -> u64 {
    const STRING: u64 = 1 << 4;
    const IN: u64 = 1 << 3;
    const HAS_ERROR_CODE: u64 = 1 << 11;
    let qualification = state.0["qualification"];
    match (state.0["reason"], name) {
        (0, "interruption") => 0x8000_0fff,
        (0, "error-code") if state.0["interruption"] & HAS_ERROR_CODE != 0 => 0xffff_ffff,
        (28, "qualification") => 0xf3f,
        (30, "qualification") => 0xffff_003f,
        (30, "instruction") if qualification & (STRING | IN) == STRING => 0x3_8380,
        (30, "instruction") if qualification & STRING != 0 => 0x380,
        (48, "qualification") => 0x187,
        (48, "guest-physical") => u64::MAX,
        _ => 0,
    }
}

/// `[APM 2, "IOIO Intercept", "RDMSR and WRMSR Instruction Intercepts" and "Nested versus
/// Guest Page Faults, Fault Ordering", rev. 3.42]`, without decode assists.
fn meaning_in_vmcb(state: &State, name: &str) -> u64 {
    match (state.0["code"], name) {
        (0x7b, "info1") => 0xffff_007d,
        (0x7c, "info1") => 1,
        (0x400, "info1") => 1 << 33 | 1 << 4 | 1 << 1,
        (0x400, "info2") => u64::MAX,
        _ => 0,
    }
}

/// The state with `junk` wherever nothing has a meaning.
fn with_junk(state: &State, junk: &[u64]) -> State {
    let fields = state.0.iter().zip(junk).map(|((name, value), junk)| {
        let meaning = meaning(state, name);
        let width = if *name == "reason" {
            u64::from(u32::MAX)
        } else {
            u64::MAX
        };
        (*name, value & meaning | junk & width & !meaning)
    });
    State(fields.collect())
}

proptest! {
    #[test]
    fn bits_and_fields_without_a_meaning_do_not_change_a_recorded_exit(
        event in prop::sample::select(shared()),
        junk in prop::collection::vec(any::<u64>(), 16),
    ) {
        for (intel, amd) in VT_X.0[event].iter().zip(&AMD_V.0[event]) {
            let (intel_junk, amd_junk) = (with_junk(intel, &junk), with_junk(amd, &junk));
            prop_assert_eq!(told(intel_junk.decode()), told(intel.decode()), "{}", event);
            prop_assert_eq!(told(amd_junk.decode()), told(intel.decode()), "{}", event);
        }
    }

    #[test]
    fn another_port_is_another_exit_on_both(port in any::<u16>()) {
        let bits = u64::from(port) << 16;
        let at = |state: &State, field| {
            let mut state = state.clone();
            state.0.entry(field).and_modify(|value| *value = *value & 0xffff | bits);
            state.decode()
        };
        let (intel, amd) = (&VT_X.0["rep-outsb"][0], &AMD_V.0["rep-outsb"][0]);
        let (intel, amd) = (at(intel, "qualification"), at(amd, "info1"));
        prop_assert_eq!(told(intel), told(amd));
        prop_assert!(matches!(intel, VmExit::Port(access) if access.port.0 == port));
    }
}
