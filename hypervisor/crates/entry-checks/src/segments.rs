//! The rules about guest segment registers: broken ones exit with reason 33.
//!
//! Three sets, by mode: virtual-8086, CS to GS otherwise, and LDTR with TR.

use skerry_words::{AccessRights, Segment};

use crate::field::{self, guest_segment};
use crate::value::is_canonical;
use crate::{Failure, SegmentRule, State, guest};

const TITLE: &str = "Checks on Guest Segment Registers";

const CODE_AND_DATA: &[Segment] = &[
    Segment::Cs,
    Segment::Ss,
    Segment::Ds,
    Segment::Es,
    Segment::Fs,
    Segment::Gs,
];
const DATA: &[Segment] = &[Segment::Ds, Segment::Es, Segment::Fs, Segment::Gs];
const ALL: &[Segment] = &[
    Segment::Cs,
    Segment::Ss,
    Segment::Ds,
    Segment::Es,
    Segment::Fs,
    Segment::Gs,
    Segment::Ldtr,
    Segment::Tr,
];

/// One guest segment register as its four fields hold it.
#[derive(Clone, Copy)]
pub(super) struct View {
    segment: Segment,
    selector: u64,
    base: u64,
    limit: u64,
    pub(super) rights: AccessRights,
}

impl View {
    pub(super) fn of(s: &State<'_>, segment: Segment) -> Self {
        let fields = guest_segment(segment);
        Self {
            segment,
            selector: s.read(fields.selector),
            base: s.read(fields.base),
            limit: s.read(fields.limit),
            rights: AccessRights::from_bits_retain(s.read(fields.rights) as u32),
        }
    }

    fn usable(&self) -> bool {
        !self.rights.contains(AccessRights::UNUSABLE)
    }

    /// CS and TR are checked even if they say they are unusable.
    fn checked(&self) -> bool {
        matches!(self.segment, Segment::Cs | Segment::Tr) || self.usable()
    }

    /// Descriptor type, bits 3:0.
    fn kind(&self) -> u32 {
        self.rights.bits() & 0xf
    }

    fn rpl(&self) -> u8 {
        (self.selector & 3) as u8
    }

    /// Bits 11:8 and 31:17.
    fn has_reserved_bits(&self) -> bool {
        self.rights.bits() & 0xfffe_0f00 != 0
    }

    fn granularity_fits(&self) -> bool {
        if self.rights.contains(AccessRights::GRANULARITY) {
            self.limit & 0xfff == 0xfff
        } else {
            self.limit & 0xfff0_0000 == 0
        }
    }
}

const fn rule(
    text: &'static str,
    applies_to: &'static [Segment],
    broken: fn(&State<'_>, &View) -> bool,
) -> SegmentRule {
    SegmentRule {
        text,
        applies_to,
        broken,
    }
}

const VIRTUAL_8086_RULES: &[SegmentRule] = &[
    rule(
        "base is not the selector times 16 in virtual-8086 mode",
        CODE_AND_DATA,
        |_, v| v.base != v.selector << 4,
    ),
    rule(
        "limit is not 0xffff in virtual-8086 mode",
        CODE_AND_DATA,
        |_, v| v.limit != 0xffff,
    ),
    rule(
        "access rights are not 0xf3 in virtual-8086 mode",
        CODE_AND_DATA,
        |_, v| v.rights.bits() != 0xf3,
    ),
];

const PROTECTED_RULES: &[SegmentRule] = &[
    rule("RPL differs from that of CS", &[Segment::Ss], |s, v| {
        !s.unrestricted() && v.rpl() != s.segment(Segment::Cs).rpl()
    }),
    rule(
        "type is not accessed code (or data, in an unrestricted guest)",
        &[Segment::Cs],
        |s, v| !(matches!(v.kind(), 9 | 11 | 13 | 15) || v.kind() == 3 && s.unrestricted()),
    ),
    rule(
        "type is not accessed writable data",
        &[Segment::Ss],
        |_, v| v.usable() && !matches!(v.kind(), 3 | 7),
    ),
    rule(
        "type is not accessed, or is code that cannot be read",
        DATA,
        |_, v| v.usable() && (v.kind() & 1 == 0 || v.kind() & 0b1010 == 0b1000),
    ),
    rule("S is 0: a system segment", CODE_AND_DATA, |_, v| {
        v.checked() && !v.rights.contains(AccessRights::CODE_OR_DATA)
    }),
    rule(
        "DPL does not fit its type and the DPL of SS",
        &[Segment::Cs],
        |s, v| !code_dpl_fits(v, s.segment(Segment::Ss).rights.dpl()),
    ),
    rule("DPL differs from RPL", &[Segment::Ss], |s, v| {
        !s.unrestricted() && v.rights.dpl() != v.rpl()
    }),
    rule(
        "DPL is not 0 in real mode or with data in CS",
        &[Segment::Ss],
        |s, v| {
            let flat = s.segment(Segment::Cs).kind() == 3;
            (flat || !s.has(field::GUEST_CR0, guest::CR0_PE)) && v.rights.dpl() != 0
        },
    ),
    rule("DPL is below RPL", DATA, |s, v| {
        !s.unrestricted() && v.usable() && v.kind() <= 11 && v.rights.dpl() < v.rpl()
    }),
    rule("P is 0: not present", CODE_AND_DATA, |_, v| {
        v.checked() && !v.rights.contains(AccessRights::PRESENT)
    }),
    rule(
        "access rights have reserved bits set",
        CODE_AND_DATA,
        |_, v| v.checked() && v.has_reserved_bits(),
    ),
    rule("L and D/B are both set", &[Segment::Cs], |s, v| {
        let both = AccessRights::LONG.union(AccessRights::DEFAULT_32);
        s.long_mode() && v.rights.contains(both)
    }),
    rule("G does not fit the limit", CODE_AND_DATA, |_, v| {
        v.checked() && !v.granularity_fits()
    }),
];

const COMMON_RULES: &[SegmentRule] = &[
    rule(
        "TI is set in the selector",
        &[Segment::Tr, Segment::Ldtr],
        |_, v| v.checked() && v.selector & 4 != 0,
    ),
    rule(
        "base is not canonical",
        &[Segment::Fs, Segment::Gs, Segment::Tr, Segment::Ldtr],
        |s, v| {
            let counts = v.segment != Segment::Ldtr || v.usable();
            counts && !is_canonical(v.base, s.machine.linear_bits)
        },
    ),
    rule(
        "base has bits 63:32 set",
        &[Segment::Cs, Segment::Ss, Segment::Ds, Segment::Es],
        |_, v| v.checked() && v.base >> 32 != 0,
    ),
    rule(
        "type is not that of a busy TSS (a 64-bit one in IA-32e mode)",
        &[Segment::Tr],
        |s, v| v.kind() != 11 && (s.long_mode() || v.kind() != 3),
    ),
    rule("is unusable", &[Segment::Tr], |_, v| !v.usable()),
    rule("type is not that of an LDT", &[Segment::Ldtr], |_, v| {
        v.usable() && v.kind() != 2
    }),
    rule(
        "S is 1: not a system segment",
        &[Segment::Tr, Segment::Ldtr],
        |_, v| v.checked() && v.rights.contains(AccessRights::CODE_OR_DATA),
    ),
    rule(
        "P is 0: not present",
        &[Segment::Tr, Segment::Ldtr],
        |_, v| v.checked() && !v.rights.contains(AccessRights::PRESENT),
    ),
    rule(
        "access rights have reserved bits set",
        &[Segment::Tr, Segment::Ldtr],
        |_, v| v.checked() && v.has_reserved_bits(),
    ),
    rule(
        "G does not fit the limit",
        &[Segment::Tr, Segment::Ldtr],
        |_, v| v.checked() && !v.granularity_fits(),
    ),
];

/// Data and non-conforming code have a DPL of their own, conforming code at most SS's.
fn code_dpl_fits(code: &View, stack_dpl: u8) -> bool {
    let dpl = code.rights.dpl();
    match code.kind() {
        3 => dpl == 0,
        9 | 11 => dpl == stack_dpl,
        13 | 15 => dpl <= stack_dpl,
        _ => true,
    }
}

pub(super) fn failed<'a>(state: State<'a>) -> impl Iterator<Item = Failure> + 'a {
    let by_mode = if state.virtual_8086() {
        VIRTUAL_8086_RULES
    } else {
        PROTECTED_RULES
    };
    ALL.iter().flat_map(move |segment| {
        let view = View::of(&state, *segment);
        let rules = by_mode.iter().chain(COMMON_RULES);
        let broken = rules
            .filter(move |rule| rule.applies_to.contains(segment) && (rule.broken)(&state, &view));
        broken.map(|rule| Failure {
            segment: Some(*segment),
            text: rule.text,
            section: TITLE,
        })
    })
}
