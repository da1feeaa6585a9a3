//! Valid states pass every rule; each broken one is named. Here: the states of a valid
//! VMCS, controls and host; the guest's rules are in `guest`.
#![allow(clippy::indexing_slicing)]

extern crate std;

use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;

use proptest::prelude::*;
use skerry_abi::FieldValue;
use skerry_words::Segment;

mod guest;

use super::*;
use crate::field::*;
use crate::told::{Told, names};

const GUEST_CS_BASE: Field = guest_segment(Segment::Cs).base;
const GUEST_CS_LIMIT: Field = guest_segment(Segment::Cs).limit;
const GUEST_DS_BASE: Field = guest_segment(Segment::Ds).base;
const GUEST_DS_LIMIT: Field = guest_segment(Segment::Ds).limit;
const GUEST_DS_RIGHTS: Field = guest_segment(Segment::Ds).rights;
const GUEST_DS_SELECTOR: Field = guest_segment(Segment::Ds).selector;
const GUEST_GS_RIGHTS: Field = guest_segment(Segment::Gs).rights;
const GUEST_LDTR_BASE: Field = guest_segment(Segment::Ldtr).base;
const GUEST_LDTR_RIGHTS: Field = guest_segment(Segment::Ldtr).rights;
const GUEST_SS_LIMIT: Field = guest_segment(Segment::Ss).limit;
const GUEST_SS_SELECTOR: Field = guest_segment(Segment::Ss).selector;
const GUEST_TR_LIMIT: Field = guest_segment(Segment::Tr).limit;
const GUEST_TR_RIGHTS: Field = guest_segment(Segment::Tr).rights;
const GUEST_TR_SELECTOR: Field = guest_segment(Segment::Tr).selector;

#[derive(Clone, Default)]
struct Fake(BTreeMap<Field, u64>);

impl VmcsRead for Fake {
    fn read(&self, field: Field) -> u64 {
        let name = u64::from(field.encoding());
        assert!(names().any(|other| other == name), "not asked: {field:?}");
        self.0.get(&field).copied().unwrap_or(0)
    }
}

impl Fake {
    fn set(&mut self, field: Field, value: u64) {
        self.0.insert(field, value);
    }

    fn set_segment(&mut self, segment: Segment, values: [u64; 4]) {
        let fields = guest_segment(segment);
        self.set(fields.selector, values[0]);
        self.set(fields.base, values[1]);
        self.set(fields.limit, values[2]);
        self.set(fields.rights, values[3]);
    }

    fn with(mut self, changes: &[(Field, u64)]) -> Self {
        for (field, value) in changes {
            self.set(*field, *value);
        }
        self
    }

    fn failures(&self) -> Vec<String> {
        self.failures_on(&CAPABILITIES)
    }

    fn failures_on(&self, capabilities: &Capabilities) -> Vec<String> {
        let machine = Machine {
            capabilities,
            physical_bits: 40,
            linear_bits: 48,
        };
        failed(self, machine)
            .map(|failure| failure.to_string())
            .collect()
    }
}

/// A CPU like Bochs' Skylake-X, with every activity state.
const CAPABILITIES: Capabilities = Capabilities {
    basic: 0x00d8_1000_0000_002b,
    pin: 0x0000_007f_0000_0016,
    primary: 0xf7f9_fffe_0400_6172,
    exit: 0x007f_ffff_0003_6dfb,
    entry: 0x0000_f3ff_0000_11fb,
    misc: 0x0004_01e0,
    cr0_fixed0: 0x8000_0021,
    cr0_fixed1: 0xffff_ffff,
    cr4_fixed0: 0x2000,
    cr4_fixed1: 0x0037_67ff,
    secondary: 0x0217_7fff_0000_0000,
    tertiary: 0,
    ept_vpid: 0x0000_0f01_0633_4141,
    vm_functions: 0,
};

const HOST: &[(Field, u64)] = &[
    (HOST_CR0, 0x8001_0033),
    (HOST_CR3, 0x20_0000),
    (HOST_CR4, 0x2620),
    (HOST_CS_SELECTOR, 0x08),
    (HOST_TR_SELECTOR, 0x18),
    (HOST_GDTR_BASE, 0xffff_ffff_8000_1000),
    (HOST_RIP, 0xffff_ffff_8000_2000),
    (HOST_EFER, 0xd00),
    (HOST_PAT, 0x0007_0406_0007_0406),
];

const CONTROLS: &[(Field, u64)] = &[
    (PIN_CONTROLS, 0x7f),
    (PRIMARY_CONTROLS, 0xb600_61f2),
    (SECONDARY_CONTROLS, 0xaa),
    (EXIT_CONTROLS, 0x007f_6ffb & !(1 << 12)),
    (ENTRY_CONTROLS, 0xd3ff),
    (VPID, 1),
    (EPT_POINTER, 0x10_005e),
    (IO_BITMAP_A, 0x1000),
    (IO_BITMAP_B, 0x2000),
    (MSR_BITMAPS, 0x3000),
    (VMCS_LINK_POINTER, u64::MAX),
    (GUEST_PAT, 0x0007_0406_0007_0406),
    (GUEST_RFLAGS, 0x202),
    (GUEST_DR7, 0x400),
];

/// A 64-bit kernel.
fn long_mode() -> Fake {
    let mut vmcs = Fake::default().with(HOST).with(CONTROLS).with(&[
        (GUEST_CR0, 0x8005_0033),
        (GUEST_CR3, 0x1000),
        (GUEST_CR4, 0x20b0 | 1 << 17),
        (GUEST_EFER, 0xd01),
        (GUEST_RIP, 0xffff_ffff_8100_0000),
    ]);
    vmcs.set_segment(Segment::Cs, [0x10, 0, 0xffff_ffff, 0xa09b]);
    for segment in [
        Segment::Ss,
        Segment::Ds,
        Segment::Es,
        Segment::Fs,
        Segment::Gs,
    ] {
        vmcs.set_segment(segment, [0x18, 0, 0xffff_ffff, 0xc093]);
    }
    vmcs.set_segment(Segment::Ldtr, [0, 0, 0, 0x1_0000]);
    vmcs.set_segment(Segment::Tr, [0x40, 0xffff_8800_0000_0000, 0x67, 0x8b]);
    vmcs
}

/// The state after reset, in an unrestricted guest.
fn real_mode() -> Fake {
    let mut vmcs = Fake::default().with(HOST).with(CONTROLS).with(&[
        (ENTRY_CONTROLS, 0xd1ff),
        (GUEST_CR0, 0x6000_0030),
        (GUEST_CR4, 0x2000),
        (GUEST_RFLAGS, 2),
        (GUEST_RIP, 0xfff0),
    ]);
    vmcs.set_segment(Segment::Cs, [0xf000, 0xffff_0000, 0xffff, 0x9b]);
    for segment in [
        Segment::Ss,
        Segment::Ds,
        Segment::Es,
        Segment::Fs,
        Segment::Gs,
    ] {
        vmcs.set_segment(segment, [0, 0, 0xffff, 0x93]);
    }
    vmcs.set_segment(Segment::Ldtr, [0, 0, 0xffff, 0x82]);
    vmcs.set_segment(Segment::Tr, [0, 0, 0xffff, 0x8b]);
    vmcs
}

fn virtual_8086() -> Fake {
    let mut vmcs = real_mode().with(&[(GUEST_CR0, 0x8000_0031), (GUEST_RFLAGS, 0x2_0202)]);
    for (segment, selector) in [
        (Segment::Cs, 0x1000),
        (Segment::Ss, 0x2000),
        (Segment::Ds, 0x3000),
        (Segment::Es, 0x4000),
        (Segment::Fs, 0x5000),
        (Segment::Gs, 0xffff),
    ] {
        vmcs.set_segment(segment, [selector, selector << 4, 0xffff, 0xf3]);
    }
    vmcs
}

/// A 32-bit PAE guest.
fn pae() -> Fake {
    let mut vmcs = real_mode().with(&[
        (GUEST_CR0, 0x8000_0031),
        (GUEST_CR4, 0x2020),
        (GUEST_PDPTE0, 0x2001),
        (GUEST_PDPTE1, 0xffff_ffff_ffff_fffe),
    ]);
    vmcs.set_segment(Segment::Cs, [0x8, 0, 0xffff_ffff, 0xc09b]);
    vmcs
}

/// That exactly one rule is broken, and its text contains `expected`.
fn assert_names(vmcs: &Fake, expected: &str) {
    let failures = vmcs.failures();
    assert!(
        failures.len() == 1 && failures[0].contains(expected),
        "expected {expected:?}, got {failures:#?}"
    );
}

#[test]
fn valid_states_of_every_mode_break_no_rule() {
    for vmcs in [long_mode(), real_mode(), virtual_8086(), pae()] {
        assert_eq!(vmcs.failures(), Vec::<String>::new());
    }
}

#[test]
fn a_failure_tells_register_rule_and_section() {
    let vmcs = long_mode().with(&[(GUEST_CS_RIGHTS, 0xe09b)]);
    assert_eq!(
        vmcs.failures(),
        [
            "guest CS: L and D/B are both set [SDM 3C, \"Checks on Guest Segment Registers\", ed. 085]"
        ]
    );
}

#[test]
fn broken_controls_are_named() {
    let table: &[(&[(Field, u64)], &str)] = &[
        (&[(PIN_CONTROLS, 0x7d)], "pin-based controls"),
        (&[(PIN_CONTROLS, 0xff)], "pin-based controls"),
        (
            &[(PRIMARY_CONTROLS, 0xbe00_61f2)],
            "primary processor-based controls",
        ),
        (
            &[(SECONDARY_CONTROLS, 0x4000_00aa)],
            "secondary processor-based controls",
        ),
        (&[(CR3_TARGET_COUNT, 5)], "CR3-target count"),
        (&[(IO_BITMAP_B, 0x2008)], "I/O-bitmap"),
        (&[(MSR_BITMAPS, 1 << 40)], "MSR-bitmap"),
        (&[(PIN_CONTROLS, 0x77)], "\"virtual NMIs\" without"),
        (
            &[(PIN_CONTROLS, 0x5f), (PRIMARY_CONTROLS, 0xb640_61f2)],
            "\"NMI-window exiting\"",
        ),
        (&[(SECONDARY_CONTROLS, 0xba)], "without \"use TPR shadow\""),
        (&[(VPID, 0)], "VPID is 0"),
        (&[(EPT_POINTER, 0x10_0056)], "EPT pointer"),
        (&[(EPT_POINTER, 0x10_015e)], "EPT pointer"),
        (&[(EPT_POINTER, 0x10_005c)], "EPT pointer"),
        (&[(SECONDARY_CONTROLS, 0xa8)], "without EPT"),
        (&[(SECONDARY_CONTROLS, 0x200_00aa)], "TSC multiplier"),
        (
            &[(PIN_CONTROLS, 0x3f)],
            "\"save VMX-preemption timer value\"",
        ),
        (&[(EXIT_CONTROLS, 0)], "VM-exit controls"),
        (
            &[(EXIT_MSR_LOAD_COUNT, 1), (EXIT_MSR_LOAD_ADDRESS, 8)],
            "VM-exit MSR-load",
        ),
        (
            &[(ENTRY_MSR_LOAD_COUNT, 1), (ENTRY_MSR_LOAD_ADDRESS, 1 << 41)],
            "VM-entry MSR-load",
        ),
    ];
    for (changes, expected) in table {
        let failures = long_mode().with(changes).failures();
        let named = failures.iter().any(|failure| failure.contains(expected));
        assert!(named, "expected {expected:?}, got {failures:#?}");
    }
}

#[test]
fn broken_injections_are_named() {
    let table = [
        (0x8000_0120, "reserved type or bits"),
        (0x8000_1020, "reserved type or bits"),
        (0x8000_0203, "vector does not fit"),
        (0x8000_0320, "vector does not fit"),
        (0x8000_030e, "an error code where"),
        (0x8000_0b06, "an error code where"),
        (0x8000_0880, "an error code where"),
        (0x8000_0603, "instruction length"),
    ];
    for (word, expected) in table {
        assert_names(
            &long_mode().with(&[(ENTRY_INTERRUPTION_INFORMATION, word)]),
            expected,
        );
    }
    let page_fault = (ENTRY_INTERRUPTION_INFORMATION, 0x8000_0b0e);
    assert!(long_mode().with(&[page_fault]).failures().is_empty());
    let wide = (ENTRY_EXCEPTION_ERROR_CODE, 0x1_0000);
    assert_names(
        &long_mode().with(&[page_fault, wide]),
        "error code has bits 31:16",
    );
}

#[test]
fn a_general_protection_fault_has_no_error_code_in_real_mode() {
    let bare = (ENTRY_INTERRUPTION_INFORMATION, 0x8000_030d);
    assert!(real_mode().with(&[bare]).failures().is_empty());
    let coded = (ENTRY_INTERRUPTION_INFORMATION, 0x8000_0b0d);
    assert_names(&real_mode().with(&[coded]), "an error code where");
}

#[test]
fn a_cpu_with_bit_56_leaves_error_codes_to_software() {
    let lenient = Capabilities {
        basic: CAPABILITIES.basic | 1 << 56,
        ..CAPABILITIES
    };
    let vmcs = long_mode().with(&[(ENTRY_INTERRUPTION_INFORMATION, 0x8000_0b06)]);
    assert!(vmcs.failures_on(&lenient).is_empty());
}

#[test]
fn broken_host_state_is_named() {
    let table = [
        (HOST_CR0, 0x8001_0013, "host CR0"),
        (HOST_CR4, 0x620, "host CR4"),
        (HOST_CR3, 1 << 40, "host CR3"),
        (HOST_SYSENTER_EIP, 1 << 47, "host IA32_SYSENTER_ESP"),
        (HOST_PAT, 2, "host IA32_PAT"),
        (HOST_EFER, 0xd02, "host IA32_EFER has reserved"),
        (HOST_EFER, 0x900, "host IA32_EFER.LMA or LME"),
        (HOST_CS_SELECTOR, 0, "host CS selector"),
        (HOST_TR_SELECTOR, 0, "host TR selector"),
        (HOST_DS_SELECTOR, 0x13, "RPL or TI"),
        (HOST_GS_BASE, 1 << 48, "host FS or GS base"),
        (HOST_IDTR_BASE, 1 << 63, "host GDTR, IDTR or TR base"),
        (HOST_RIP, 0x8000_0000_0000, "host RIP"),
    ];
    for (field, value, expected) in table {
        assert_names(&long_mode().with(&[(field, value)]), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_vmcs_and_no_cpu_make_the_rules_panic(
        values in prop::collection::vec(any::<u64>(), MOST_ASKED),
        words in any::<[u64; 4]>(),
        physical_bits: u32,
        linear_bits: u32,
    ) {
        let fields = all();
        let vmcs = Fake(fields.zip(values).collect());
        let capabilities = Capabilities {
            basic: words[0],
            primary: words[1],
            misc: words[2],
            ept_vpid: words[3],
            ..CAPABILITIES
        };
        let machine = Machine { capabilities: &capabilities, physical_bits, linear_bits };
        prop_assert!(failed(&vmcs, machine).count() > 0);
    }
}

#[test]
fn what_was_told_is_judged_like_the_vmcs_itself() {
    let vmcs = long_mode().with(&[(GUEST_RFLAGS, 0), (GUEST_EFER, 0xd01 | 1 << 1)]);
    let words = [
        (0x480, CAPABILITIES.basic & !(1 << 55)),
        (0x481, CAPABILITIES.pin),
        (0x482, CAPABILITIES.primary),
        (0x483, CAPABILITIES.exit),
        (0x484, CAPABILITIES.entry),
        (0x485, CAPABILITIES.misc),
        (0x486, CAPABILITIES.cr0_fixed0),
        (0x487, CAPABILITIES.cr0_fixed1),
        (0x488, CAPABILITIES.cr4_fixed0),
        (0x489, CAPABILITIES.cr4_fixed1),
        (0x48b, CAPABILITIES.secondary),
        (0x48c, CAPABILITIES.ept_vpid),
    ];
    let words: BTreeMap<u64, u64> = words.map(|(index, word)| (index | 1 << 63, word)).into();
    let fields = vmcs.0.iter();
    let fields = fields.map(|(field, value)| (u64::from(field.encoding()), *value));
    let all: BTreeMap<u64, u64> = words.into_iter().chain(fields).collect();
    let mut values = asked();
    for FieldValue { name, value } in &mut values {
        *value = all.get(name).copied().unwrap_or(0);
    }
    assert!(all.keys().all(|name| names().any(|other| other == *name)));
    let mut failures = Vec::new();
    let told = Told {
        values: &values,
        widths: 48 << 8 | 40,
    };
    told.each_failure(|failure| failures.push(failure.to_string()));
    assert_eq!(failures, vmcs.failures());
    assert!(failures.len() >= 2, "{failures:?}");
}

#[test]
fn nothing_is_asked_for_that_does_not_fit() {
    assert!(names().count() <= MOST_ASKED);
}
