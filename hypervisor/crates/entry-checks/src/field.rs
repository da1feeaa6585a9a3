//! The fields that the checks read: ring 0's, and those it leaves at 0, by name
//! `[SDM 3D, "Field Encoding in VMCS", ed. 085]`.
//!
//! Owns the encodings of the latter. Called by the rules, and by who asks ring 0 for all of them.

pub use skerry_manual::vmx::field::*;
use skerry_words::Segment;

macro_rules! fields {
    ($($encoding:literal $name:ident $doc:literal)*) => {
        $(
            #[doc = $doc]
            pub const $name: Field = Field::new($encoding);
        )*

        /// Every field here.
        const MORE: &[Field] = &[$($name,)*];
    };
}

fields! {
    0x0002 POSTED_INTERRUPT_NOTIFICATION_VECTOR "Posted-interrupt notification vector."
    0x2006 EXIT_MSR_STORE_ADDRESS "VM-exit MSR-store address."
    0x2008 EXIT_MSR_LOAD_ADDRESS "VM-exit MSR-load address."
    0x200a ENTRY_MSR_LOAD_ADDRESS "VM-entry MSR-load address."
    0x200e PML_ADDRESS "Page-modification-log address."
    0x2016 POSTED_INTERRUPT_DESCRIPTOR "Posted-interrupt descriptor address."
    0x2018 VM_FUNCTION_CONTROLS "VM-function controls."
    0x2024 EPTP_LIST_ADDRESS "EPTP-list address."
    0x2026 VMREAD_BITMAP "VMREAD-bitmap address."
    0x2028 VMWRITE_BITMAP "VMWRITE-bitmap address."
    0x202a VIRTUALIZATION_EXCEPTION_ADDRESS "Virtualization-exception information address."
    0x2030 SUB_PAGE_PERMISSION_TABLE "Sub-page-permission-table pointer."
    0x2032 TSC_MULTIPLIER "TSC multiplier, 48 bits after the binary point."
    0x2034 TERTIARY_CONTROLS "Tertiary processor-based VM-execution controls."
    0x2812 GUEST_BNDCFGS "Guest IA32_BNDCFGS."
    0x2818 GUEST_PKRS "Guest IA32_PKRS."
    0x2c06 HOST_PKRS "Host IA32_PKRS."
}

const SEGMENTS: [Segment; 8] = [
    Segment::Es,
    Segment::Cs,
    Segment::Ss,
    Segment::Ds,
    Segment::Fs,
    Segment::Gs,
    Segment::Ldtr,
    Segment::Tr,
];

/// Every field that a rule may read, and some besides.
pub fn all() -> impl Iterator<Item = Field> {
    let segments = SEGMENTS.into_iter().flat_map(|segment| {
        let fields = guest_segment(segment);
        [fields.selector, fields.base, fields.limit, fields.rights]
    });
    ALL.iter().chain(MORE).copied().chain(segments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use x86::vmx::vmcs::{control, guest};

    #[test]
    fn encodings_are_those_others_read_in_the_manual() {
        let pairs = [
            (TSC_MULTIPLIER, control::TSC_MULTIPLIER_FULL),
            (VMWRITE_BITMAP, control::VMWRITE_BITMAP_ADDR_FULL),
            (GUEST_BNDCFGS, guest::IA32_BNDCFGS_FULL),
        ];
        for (ours, theirs) in pairs {
            assert_eq!(ours.encoding(), theirs, "{ours:?}");
        }
    }

    #[test]
    fn no_field_has_two_names() {
        for (index, field) in ALL.iter().chain(MORE).enumerate() {
            assert_eq!(field.encoding() & 0xffff_9001, 0, "{field:?}");
            let others = ALL.iter().chain(MORE).skip(index + 1);
            assert!(others.into_iter().all(|other| other != field), "{field:?}");
        }
    }
}
