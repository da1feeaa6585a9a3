//! The rules about host state: broken ones end VMLAUNCH with instruction error 8.

use crate::bits::exit;
use crate::field;
use crate::value::{efer_is_reserved, pat_is_valid, violations};
use crate::{Rule, Section, State, rule};
use skerry_manual::msr::efer;
use skerry_manual::vmx::{EntryControls as Entry, ExitControls as Exit};

pub(super) const REGISTERS: Section = Section {
    title: "Checks on Host Control Registers, MSRs, and SSP",
    rules: REGISTER_RULES,
};

pub(super) const SEGMENTS: Section = Section {
    title: "Checks on Host Segment and Descriptor-Table Registers",
    rules: SEGMENT_RULES,
};

pub(super) const ADDRESS_SPACE: Section = Section {
    title: "Checks Related to Address-Space Size",
    rules: ADDRESS_SPACE_RULES,
};

const CR0_WP: u64 = 1 << 16;
const CR4_PAE: u64 = 1 << 5;
const CR4_CET: u64 = 1 << 23;

const REGISTER_RULES: &[Rule] = &[
    rule(
        "host CR0 has bits that VMX operation fixes otherwise",
        |s| violations(s.machine.capabilities.cr0(), s.read(field::HOST_CR0)) != 0,
    ),
    rule(
        "host CR4 has bits that VMX operation fixes otherwise",
        |s| violations(s.machine.capabilities.cr4(), s.read(field::HOST_CR4)) != 0,
    ),
    rule("host CR4.CET without CR0.WP", |s| {
        s.has(field::HOST_CR4, CR4_CET) && !s.has(field::HOST_CR0, CR0_WP)
    }),
    rule("host CR3 is beyond the physical-address width", |s| {
        !s.physical(field::HOST_CR3)
    }),
    rule(
        "host IA32_SYSENTER_ESP or IA32_SYSENTER_EIP is not canonical",
        |s| !(s.canonical(field::HOST_SYSENTER_ESP) && s.canonical(field::HOST_SYSENTER_EIP)),
    ),
    rule("host IA32_PAT has reserved memory types", |s| {
        s.exit(Exit::LOAD_PAT) && !pat_is_valid(s.read(field::HOST_PAT))
    }),
    rule("host IA32_EFER has reserved bits set", |s| {
        s.exit(Exit::LOAD_EFER) && efer_is_reserved(s.read(field::HOST_EFER))
    }),
    rule(
        "host IA32_EFER.LMA or LME differs from \"host address-space size\"",
        |s| s.exit(Exit::LOAD_EFER) && !host_long_mode_agrees(s),
    ),
    rule("host IA32_PKRS has bits 63:32 set", |s| {
        s.exit(exit::LOAD_PKRS) && s.read(field::HOST_PKRS) >> 32 != 0
    }),
];

const SEGMENT_RULES: &[Rule] = &[
    rule("a host selector has RPL or TI set", |s| {
        SELECTORS.iter().any(|selector| s.has(*selector, 7))
    }),
    rule("host CS selector is 0", |s| {
        s.read(field::HOST_CS_SELECTOR) == 0
    }),
    rule("host TR selector is 0", |s| {
        s.read(field::HOST_TR_SELECTOR) == 0
    }),
    rule("host SS selector is 0 in a 32-bit host", |s| {
        !s.exit(Exit::HOST_ADDRESS_SPACE_SIZE) && s.read(field::HOST_SS_SELECTOR) == 0
    }),
    rule("host FS or GS base is not canonical", |s| {
        !(s.canonical(field::HOST_FS_BASE) && s.canonical(field::HOST_GS_BASE))
    }),
    rule("host GDTR, IDTR or TR base is not canonical", |s| {
        !(s.canonical(field::HOST_GDTR_BASE)
            && s.canonical(field::HOST_IDTR_BASE)
            && s.canonical(field::HOST_TR_BASE))
    }),
];

/// Skerry's host is always in IA-32e mode, so its rules are those that apply.
const ADDRESS_SPACE_RULES: &[Rule] = &[
    rule(
        "\"host address-space size\" is 0 though the host is in IA-32e mode",
        |s| !s.exit(Exit::HOST_ADDRESS_SPACE_SIZE),
    ),
    rule("a 64-bit guest under a 32-bit host", |s| {
        s.entry(Entry::IA32E_MODE_GUEST) && !s.exit(Exit::HOST_ADDRESS_SPACE_SIZE)
    }),
    rule("host CR4.PAE is 0 in a 64-bit host", |s| {
        s.exit(Exit::HOST_ADDRESS_SPACE_SIZE) && !s.has(field::HOST_CR4, CR4_PAE)
    }),
    rule("host RIP is not canonical", |s| {
        !s.canonical(field::HOST_RIP)
    }),
];

const SELECTORS: [field::Field; 7] = [
    field::HOST_ES_SELECTOR,
    field::HOST_CS_SELECTOR,
    field::HOST_SS_SELECTOR,
    field::HOST_DS_SELECTOR,
    field::HOST_FS_SELECTOR,
    field::HOST_GS_SELECTOR,
    field::HOST_TR_SELECTOR,
];

fn host_long_mode_agrees(s: &State<'_>) -> bool {
    let expected = if s.exit(Exit::HOST_ADDRESS_SPACE_SIZE) {
        efer::LMA | efer::LME
    } else {
        0
    };
    s.read(field::HOST_EFER) & (efer::LMA | efer::LME) == expected
}
