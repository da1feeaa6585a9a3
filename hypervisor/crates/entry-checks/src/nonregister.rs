//! The rules about guest activity, interruptibility, pending debug exceptions, the link
//! pointer and the PDPTEs: broken ones exit with reason 33.

use skerry_words::Segment;

use crate::controls::Injection;
use crate::field;
use crate::{Rule, Section, State, guest, rule};
use skerry_manual::vmx::{PinControls as Pin, SecondaryControls as Secondary};

pub(super) const STATE: Section = Section {
    title: "Checks on Guest Non-Register State",
    rules: RULES,
};

pub(super) const PDPTE_STATE: Section = Section {
    title: "Checks on Guest Page-Directory-Pointer-Table Entries",
    rules: PDPTE_RULES,
};

const STI: u64 = 1 << 0;
const MOV_SS: u64 = 1 << 1;
const SMI: u64 = 1 << 2;
const NMI: u64 = 1 << 3;
const ENCLAVE: u64 = 1 << 4;

const ACTIVE: u64 = 0;
const HALTED: u64 = 1;
const SHUTDOWN: u64 = 2;
const WAIT_FOR_SIPI: u64 = 3;

/// Bits 63:17, 15, 13 and 10:4 of the pending debug exceptions.
const PENDING_DEBUG_RESERVED: u64 = !0x1_ffff | 1 << 15 | 1 << 13 | 0x7f0;
/// BS: a single step is pending.
const PENDING_SINGLE_STEP: u64 = 1 << 14;
/// BTF of IA32_DEBUGCTL: steps are branches.
const DEBUGCTL_BTF: u64 = 1 << 1;
/// Bits 8:5 and 2:1 of a PDPTE.
const PDPTE_RESERVED: u64 = 0x1e6;

const RULES: &[Rule] = &[
    rule(
        "guest activity state is reserved or not offered by the CPU",
        |s| !activity_exists(s),
    ),
    rule(
        "guest activity state is HLT though the DPL of SS is not 0",
        |s| s.read(field::GUEST_ACTIVITY) == HALTED && s.segment(Segment::Ss).rights.dpl() != 0,
    ),
    rule(
        "guest activity state is not active though STI or MOV SS blocks events",
        |s| {
            s.read(field::GUEST_ACTIVITY) != ACTIVE
                && s.has(field::GUEST_INTERRUPTIBILITY, STI | MOV_SS)
        },
    ),
    rule(
        "guest activity state does not let the injected event in",
        |s| Injection::of(s).is_some_and(|event| !wakes(s.read(field::GUEST_ACTIVITY), event)),
    ),
    rule("guest interruptibility state has reserved bits set", |s| {
        s.has(
            field::GUEST_INTERRUPTIBILITY,
            !(STI | MOV_SS | SMI | NMI | ENCLAVE),
        )
    }),
    rule(
        "guest interruptibility state: blocking by STI and by MOV SS",
        |s| s.read(field::GUEST_INTERRUPTIBILITY) & (STI | MOV_SS) == STI | MOV_SS,
    ),
    rule(
        "guest interruptibility state: blocking by STI though RFLAGS.IF is 0",
        |s| {
            s.has(field::GUEST_INTERRUPTIBILITY, STI)
                && !s.has(field::GUEST_RFLAGS, guest::RFLAGS_IF)
        },
    ),
    rule(
        "guest interruptibility state: an interrupt is injected though STI or MOV SS blocks",
        |s| {
            Injection::of(s).is_some_and(Injection::is_interrupt)
                && s.has(field::GUEST_INTERRUPTIBILITY, STI | MOV_SS)
        },
    ),
    rule(
        "guest interruptibility state: an NMI is injected though STI or MOV SS blocks",
        |s| {
            Injection::of(s).is_some_and(Injection::is_nmi)
                && s.has(field::GUEST_INTERRUPTIBILITY, STI | MOV_SS)
        },
    ),
    rule(
        "guest interruptibility state: an NMI is injected though NMIs are blocked",
        |s| {
            Injection::of(s).is_some_and(Injection::is_nmi)
                && s.pin(Pin::VIRTUAL_NMIS)
                && s.has(field::GUEST_INTERRUPTIBILITY, NMI)
        },
    ),
    rule(
        "guest interruptibility state: blocking by SMI outside SMM",
        |s| s.has(field::GUEST_INTERRUPTIBILITY, SMI),
    ),
    rule(
        "guest interruptibility state: enclave interruption with blocking by MOV SS",
        |s| s.read(field::GUEST_INTERRUPTIBILITY) & (ENCLAVE | MOV_SS) == ENCLAVE | MOV_SS,
    ),
    rule(
        "guest pending debug exceptions have reserved bits set",
        |s| s.has(field::GUEST_PENDING_DEBUG, PENDING_DEBUG_RESERVED),
    ),
    rule(
        "guest pending debug exceptions: BS does not fit RFLAGS.TF and IA32_DEBUGCTL.BTF",
        |s| {
            events_are_held(s) && s.has(field::GUEST_PENDING_DEBUG, PENDING_SINGLE_STEP) != steps(s)
        },
    ),
    rule(
        "VMCS link pointer is neither all ones nor a page-aligned physical address",
        |s| s.read(field::VMCS_LINK_POINTER) != u64::MAX && !s.page(field::VMCS_LINK_POINTER),
    ),
];

const PDPTE_RULES: &[Rule] = &[rule("a present guest PDPTE has reserved bits set", |s| {
    uses_pdpte_fields(s) && PDPTES.iter().any(|pdpte| pdpte_is_broken(s, *pdpte))
})];

const PDPTES: [field::Field; 4] = [
    field::GUEST_PDPTE0,
    field::GUEST_PDPTE1,
    field::GUEST_PDPTE2,
    field::GUEST_PDPTE3,
];

/// HLT, shutdown and wait-for-SIPI exist where IA32_VMX_MISC has bit 6, 7 or 8.
fn activity_exists(s: &State<'_>) -> bool {
    let misc = s.machine.capabilities.misc;
    match s.read(field::GUEST_ACTIVITY) {
        ACTIVE => true,
        HALTED => misc & (1 << 6) != 0,
        SHUTDOWN => misc & (1 << 7) != 0,
        WAIT_FOR_SIPI => misc & (1 << 8) != 0,
        _ => false,
    }
}

fn wakes(activity: u64, event: Injection) -> bool {
    const DEBUG: u64 = 1;
    const MACHINE_CHECK: u64 = 18;
    let machine_check = event.is_exception() && event.vector() == MACHINE_CHECK;
    match activity {
        HALTED => {
            let debug = event.is_exception() && event.vector() == DEBUG;
            let outside = event.is_interrupt() || event.is_nmi() || event.is_monitor_trap();
            outside || debug || machine_check
        }
        SHUTDOWN => event.is_nmi() || machine_check,
        WAIT_FOR_SIPI => false,
        _ => true,
    }
}

fn events_are_held(s: &State<'_>) -> bool {
    s.has(field::GUEST_INTERRUPTIBILITY, STI | MOV_SS) || s.read(field::GUEST_ACTIVITY) == HALTED
}

fn steps(s: &State<'_>) -> bool {
    s.has(field::GUEST_RFLAGS, guest::RFLAGS_TF) && !s.has(field::GUEST_DEBUGCTL, DEBUGCTL_BTF)
}

/// PAE paging with EPT takes the PDPTEs from the VMCS; without EPT, from memory.
fn uses_pdpte_fields(s: &State<'_>) -> bool {
    s.has(field::GUEST_CR0, guest::CR0_PG)
        && s.has(field::GUEST_CR4, guest::CR4_PAE)
        && !s.long_mode()
        && s.secondary(Secondary::ENABLE_EPT)
}

fn pdpte_is_broken(s: &State<'_>, pdpte: field::Field) -> bool {
    s.has(pdpte, 1) && (s.has(pdpte, PDPTE_RESERVED) || !s.physical(pdpte))
}
