//! The checks of a VM entry, evaluated in software to name the one that failed.
//!
//! The CPU only says "VM-instruction error 7 or 8" or "exit reason 33"; these tables say
//! which rule of `[SDM 3C, "VM Entries", ed. 085]` the VMCS breaks. Each rule is one line:
//! the manual's words and a predicate over the VMCS.
//!
//! Left out: what needs guest memory (the VTPR, the VMCS a link pointer points to) and the
//! state of features Skerry never loads (CET, processor trace, LBR, user interrupts, SGX,
//! FRED, SMM).
//!
//! Called by `root` when an entry has failed, with the fields that ring 0 has told it; see
//! [`Told`].
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

mod bits;
mod controls;
mod field;
mod guest;
mod host;
mod nonregister;
mod segments;
#[cfg(test)]
mod tests;
mod told;
mod value;

pub use told::{MOST_ASKED, Told, asked};

use skerry_words::Segment;

use field::{Field, VmcsRead};
use skerry_manual::vmx::caps::Capabilities;
use skerry_manual::vmx::{
    EntryControls, ExitControls, PinControls, PrimaryControls, SecondaryControls,
};
use value::is_canonical;

/// What the rules depend on beside the VMCS.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// The capability MSRs.
    pub capabilities: &'a Capabilities,
    /// Width of a physical address in bits: CPUID 80000008h, EAX 7:0.
    pub physical_bits: u32,
    /// Width of a linear address in bits, 48 or 57: CPUID 80000008h, EAX 15:8.
    pub linear_bits: u32,
}

/// A rule the VMCS breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The guest segment register the rule was applied to, for rules about one.
    pub segment: Option<Segment>,
    /// What is wrong.
    pub text: &'static str,
    /// The section of volume 3C that has the rule.
    pub section: &'static str,
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if let Some(segment) = self.segment {
            write!(f, "guest {}: ", segment_name(segment))?;
        }
        write!(f, "{} [SDM 3C, \"{}\", ed. 085]", self.text, self.section)
    }
}

const fn segment_name(segment: Segment) -> &'static str {
    match segment {
        Segment::Es => "ES",
        Segment::Cs => "CS",
        Segment::Ss => "SS",
        Segment::Ds => "DS",
        Segment::Fs => "FS",
        Segment::Gs => "GS",
        Segment::Ldtr => "LDTR",
        Segment::Tr => "TR",
    }
}

/// A rule about the whole VMCS: broken where the predicate holds.
struct Rule {
    text: &'static str,
    broken: fn(&State<'_>) -> bool,
}

/// A rule about guest segment registers, one at a time.
struct SegmentRule {
    text: &'static str,
    applies_to: &'static [Segment],
    broken: fn(&State<'_>, &segments::View) -> bool,
}

const fn rule(text: &'static str, broken: fn(&State<'_>) -> bool) -> Rule {
    Rule { text, broken }
}

/// The rules of one section of the manual.
struct Section {
    title: &'static str,
    rules: &'static [Rule],
}

const SECTIONS: [Section; 11] = [
    controls::EXECUTION,
    controls::EXIT,
    controls::ENTRY,
    host::REGISTERS,
    host::SEGMENTS,
    host::ADDRESS_SPACE,
    guest::REGISTERS,
    guest::TABLES,
    guest::RIP,
    nonregister::STATE,
    nonregister::PDPTE_STATE,
];

/// Every rule that the VMCS breaks, in the order of the manual.
pub fn failed<'a>(
    vmcs: &'a dyn VmcsRead,
    machine: Machine<'a>,
) -> impl Iterator<Item = Failure> + 'a {
    let state = State { vmcs, machine };
    let general = SECTIONS.iter().flat_map(move |section| {
        let broken = section
            .rules
            .iter()
            .filter(move |rule| (rule.broken)(&state));
        broken.map(|rule| Failure {
            segment: None,
            text: rule.text,
            section: section.title,
        })
    });
    general.chain(segments::failed(state))
}

/// The VMCS with the words the rules are made of.
#[derive(Clone, Copy)]
struct State<'a> {
    vmcs: &'a dyn VmcsRead,
    machine: Machine<'a>,
}

impl State<'_> {
    fn read(&self, field: Field) -> u64 {
        self.vmcs.read(field)
    }

    /// Whether any of `bits` of a field is set.
    fn has(&self, field: Field, bits: u64) -> bool {
        self.read(field) & bits != 0
    }

    fn pin(&self, control: PinControls) -> bool {
        self.has(field::PIN_CONTROLS, control.bits().into())
    }

    fn primary(&self, control: PrimaryControls) -> bool {
        self.has(field::PRIMARY_CONTROLS, control.bits().into())
    }

    /// The secondary controls are all 0 where the primary ones do not activate them.
    fn secondary(&self, control: SecondaryControls) -> bool {
        self.primary(PrimaryControls::ACTIVATE_SECONDARY_CONTROLS)
            && self.has(field::SECONDARY_CONTROLS, control.bits().into())
    }

    fn exit(&self, control: ExitControls) -> bool {
        self.has(field::EXIT_CONTROLS, control.bits().into())
    }

    fn entry(&self, control: EntryControls) -> bool {
        self.has(field::ENTRY_CONTROLS, control.bits().into())
    }

    fn unrestricted(&self) -> bool {
        self.secondary(SecondaryControls::UNRESTRICTED_GUEST)
    }

    fn long_mode(&self) -> bool {
        self.entry(EntryControls::IA32E_MODE_GUEST)
    }

    fn virtual_8086(&self) -> bool {
        self.has(field::GUEST_RFLAGS, guest::RFLAGS_VM)
    }

    fn canonical(&self, field: Field) -> bool {
        is_canonical(self.read(field), self.machine.linear_bits)
    }

    /// Whether a field has no bits beyond the physical-address width.
    fn physical(&self, field: Field) -> bool {
        let beyond = u64::MAX
            .checked_shl(self.machine.physical_bits)
            .unwrap_or(0);
        !self.has(field, beyond)
    }

    /// Whether a field is a physical address and a multiple of `bytes`, a power of two.
    fn aligned(&self, field: Field, bytes: u64) -> bool {
        self.physical(field) && !self.has(field, bytes.wrapping_sub(1))
    }

    fn page(&self, field: Field) -> bool {
        self.aligned(field, 4096)
    }

    fn segment(&self, segment: Segment) -> segments::View {
        segments::View::of(self, segment)
    }
}
