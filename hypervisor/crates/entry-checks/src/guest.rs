//! The rules about guest control registers, MSRs, descriptor tables, RIP and RFLAGS:
//! broken ones exit with reason 33.

use crate::bits::entry;
use crate::controls::Injection;
use crate::field;
use crate::value::{efer_is_reserved, pat_is_valid, violations};
use crate::{Rule, Section, State, rule};
use skerry_manual::msr::efer;
use skerry_manual::vmx::EntryControls as Entry;
use skerry_words::{AccessRights, Segment};

pub(super) const REGISTERS: Section = Section {
    title: "Checks on Guest Control Registers, Debug Registers, and MSRs",
    rules: REGISTER_RULES,
};

pub(super) const TABLES: Section = Section {
    title: "Checks on Guest Descriptor-Table Registers",
    rules: TABLE_RULES,
};

pub(super) const RIP: Section = Section {
    title: "Checks on Guest RIP, RFLAGS, and SSP",
    rules: RIP_RULES,
};

pub(super) const CR0_PE: u64 = 1 << 0;
const CR0_WP: u64 = 1 << 16;
const CR0_NW_CD: u64 = 3 << 29;
pub(super) const CR0_PG: u64 = 1 << 31;
pub(super) const CR4_PAE: u64 = 1 << 5;
const CR4_PCIDE: u64 = 1 << 17;
const CR4_CET: u64 = 1 << 23;

pub(super) const RFLAGS_TF: u64 = 1 << 8;
pub(super) const RFLAGS_IF: u64 = 1 << 9;
pub(super) const RFLAGS_VM: u64 = 1 << 17;
/// Bits 63:22, 15, 5 and 3.
const RFLAGS_RESERVED: u64 = !0x3f_ffff | 1 << 15 | 1 << 5 | 1 << 3;

/// Bits 63:16 and 5:3 of IA32_DEBUGCTL `[SDM 3B, "IA32_DEBUGCTL MSR", ed. 085]`.
const DEBUGCTL_RESERVED: u64 = !0xffff | 0x38;

const REGISTER_RULES: &[Rule] = &[
    rule(
        "guest CR0 has bits that VMX operation fixes otherwise",
        |s| cr0_violations(s) != 0,
    ),
    rule("guest CR0.PG without PE", |s| {
        s.has(field::GUEST_CR0, CR0_PG) && !s.has(field::GUEST_CR0, CR0_PE)
    }),
    rule(
        "guest CR4 has bits that VMX operation fixes otherwise",
        |s| violations(s.machine.capabilities.cr4(), s.read(field::GUEST_CR4)) != 0,
    ),
    rule("guest CR4.CET without CR0.WP", |s| {
        s.has(field::GUEST_CR4, CR4_CET) && !s.has(field::GUEST_CR0, CR0_WP)
    }),
    rule("guest IA32_DEBUGCTL has reserved bits set", |s| {
        s.entry(Entry::LOAD_DEBUG_CONTROLS) && s.has(field::GUEST_DEBUGCTL, DEBUGCTL_RESERVED)
    }),
    rule("guest CR0.PG or CR4.PAE is 0 in IA-32e mode", |s| {
        s.long_mode() && !(s.has(field::GUEST_CR0, CR0_PG) && s.has(field::GUEST_CR4, CR4_PAE))
    }),
    rule("guest CR4.PCIDE outside IA-32e mode", |s| {
        !s.long_mode() && s.has(field::GUEST_CR4, CR4_PCIDE)
    }),
    rule("guest CR3 is beyond the physical-address width", |s| {
        !s.physical(field::GUEST_CR3)
    }),
    rule("guest DR7 has bits 63:32 set", |s| {
        s.entry(Entry::LOAD_DEBUG_CONTROLS) && s.read(field::GUEST_DR7) >> 32 != 0
    }),
    rule(
        "guest IA32_SYSENTER_ESP or IA32_SYSENTER_EIP is not canonical",
        |s| !(s.canonical(field::GUEST_SYSENTER_ESP) && s.canonical(field::GUEST_SYSENTER_EIP)),
    ),
    rule("guest IA32_PAT has reserved memory types", |s| {
        s.entry(Entry::LOAD_PAT) && !pat_is_valid(s.read(field::GUEST_PAT))
    }),
    rule("guest IA32_EFER has reserved bits set", |s| {
        s.entry(Entry::LOAD_EFER) && efer_is_reserved(s.read(field::GUEST_EFER))
    }),
    rule(
        "guest IA32_EFER.LMA differs from \"IA-32e mode guest\"",
        |s| s.entry(Entry::LOAD_EFER) && s.has(field::GUEST_EFER, efer::LMA) != s.long_mode(),
    ),
    rule(
        "guest IA32_EFER.LME differs from LMA though CR0.PG is 1",
        |s| {
            s.entry(Entry::LOAD_EFER)
                && s.has(field::GUEST_CR0, CR0_PG)
                && s.has(field::GUEST_EFER, efer::LMA) != s.has(field::GUEST_EFER, efer::LME)
        },
    ),
    rule(
        "guest IA32_BNDCFGS is not canonical or has bits 11:2 set",
        |s| {
            s.entry(entry::LOAD_BNDCFGS)
                && (!s.canonical(field::GUEST_BNDCFGS) || s.has(field::GUEST_BNDCFGS, 0xffc))
        },
    ),
    rule("guest IA32_PKRS has bits 63:32 set", |s| {
        s.entry(entry::LOAD_PKRS) && s.read(field::GUEST_PKRS) >> 32 != 0
    }),
];

const TABLE_RULES: &[Rule] = &[
    rule("guest GDTR or IDTR base is not canonical", |s| {
        !(s.canonical(field::GUEST_GDTR_BASE) && s.canonical(field::GUEST_IDTR_BASE))
    }),
    rule("guest GDTR or IDTR limit is above 0xffff", |s| {
        s.read(field::GUEST_GDTR_LIMIT) > 0xffff || s.read(field::GUEST_IDTR_LIMIT) > 0xffff
    }),
];

const RIP_RULES: &[Rule] = &[
    rule("guest RIP has bits 63:32 set outside 64-bit mode", |s| {
        !in_64_bit_code(s) && s.read(field::GUEST_RIP) >> 32 != 0
    }),
    rule("guest RIP is beyond the linear-address width", |s| {
        in_64_bit_code(s) && !extends_linear_address(s)
    }),
    rule("guest RFLAGS has reserved bits set", |s| {
        s.has(field::GUEST_RFLAGS, RFLAGS_RESERVED)
    }),
    rule("guest RFLAGS bit 1 is 0", |s| {
        !s.has(field::GUEST_RFLAGS, 1 << 1)
    }),
    rule("guest RFLAGS.VM in IA-32e mode or in real mode", |s| {
        s.virtual_8086() && (s.long_mode() || !s.has(field::GUEST_CR0, CR0_PE))
    }),
    rule(
        "guest RFLAGS.IF is 0 though an interrupt is injected",
        |s| {
            Injection::of(s).is_some_and(Injection::is_interrupt)
                && !s.has(field::GUEST_RFLAGS, RFLAGS_IF)
        },
    ),
];

/// NW and CD are never checked; PE and PG are the unrestricted guest's own.
fn cr0_violations(s: &State<'_>) -> u64 {
    let own = if s.unrestricted() { CR0_PE | CR0_PG } else { 0 };
    let broken = violations(s.machine.capabilities.cr0(), s.read(field::GUEST_CR0));
    broken & !(CR0_NW_CD | own)
}

fn in_64_bit_code(s: &State<'_>) -> bool {
    s.long_mode() && s.segment(Segment::Cs).rights.contains(AccessRights::LONG)
}

/// Bits 63:N are all equal, N being the linear-address width: less than canonical.
fn extends_linear_address(s: &State<'_>) -> bool {
    let rest = s
        .read(field::GUEST_RIP)
        .checked_shr(s.machine.linear_bits)
        .unwrap_or(0);
    let ones = u64::MAX.checked_shr(s.machine.linear_bits).unwrap_or(0);
    rest == 0 || rest == ones
}
