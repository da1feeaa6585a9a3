//! Segment attributes: AMD's twelve bits and the words' VT-x format.
//!
//! Owns the translation both ways. AMD packs descriptor bits 55:52 and 47:40 without the
//! gap between them, and has no "unusable": a null segment is one that is not present
//! `[APM 2, "VMCB State Save Area", rev. 3.42]`.

use skerry_words::{AccessRights, Segment};

const LOW: u32 = 0xff;
const TYPE_ACCESSED: u32 = 1;
const TYPE_BUSY: u32 = 2;

/// The attributes for `rights`.
#[inline]
#[must_use]
pub const fn attributes(rights: AccessRights) -> u16 {
    if rights.contains(AccessRights::UNUSABLE) {
        return 0;
    }
    let bits = rights.bits();
    ((bits & LOW) | ((bits >> 4) & 0xf00)) as u16
}

/// The rights for the attributes of `segment`.
///
/// The CPU may drop two bits that a loaded segment always has, and VT-x insists on them:
/// "accessed" of code and data, "busy" of TR.
#[inline]
#[must_use]
pub const fn rights(attributes: u16, segment: Segment) -> AccessRights {
    let present = present_rights(attributes);
    let always = match segment {
        Segment::Tr => TYPE_BUSY,
        Segment::Ldtr => 0,
        Segment::Es | Segment::Cs | Segment::Ss | Segment::Ds | Segment::Fs | Segment::Gs => {
            TYPE_ACCESSED
        }
    };
    if present.contains(AccessRights::PRESENT) {
        present.union(AccessRights::from_bits_retain(always))
    } else {
        present.union(AccessRights::UNUSABLE)
    }
}

/// The rights for the attributes of a segment that is present, as CS always is.
#[inline]
#[must_use]
pub const fn present_rights(attributes: u16) -> AccessRights {
    let bits = attributes as u32;
    AccessRights::from_bits_retain((bits & LOW) | ((bits & 0xf00) << 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_segments_have_the_attributes_linux_writes() {
        assert_eq!(attributes(AccessRights::CODE64), 0xa9b);
        assert_eq!(attributes(AccessRights::CODE32), 0xc9b);
        assert_eq!(attributes(AccessRights::DATA16), 0x093);
        assert_eq!(attributes(AccessRights::TSS_BUSY), 0x08b);
    }

    #[test]
    fn a_null_segment_goes_in_as_not_present_and_comes_back_unusable() {
        let null = AccessRights::UNUSABLE.union(AccessRights::from_bits_retain(0xc093));
        assert_eq!(attributes(null), 0);
        assert!(rights(0, Segment::Ds).contains(AccessRights::UNUSABLE));
    }

    #[test]
    fn usable_rights_come_back_as_they_went_in() {
        for segment in [Segment::Cs, Segment::Ds, Segment::Tr] {
            for given in [
                AccessRights::CODE64,
                AccessRights::CODE32,
                AccessRights::TSS_BUSY,
            ] {
                assert_eq!(rights(attributes(given), segment), given);
            }
        }
        assert_eq!(rights(0x082, Segment::Ldtr), AccessRights::LDT);
        assert_eq!(
            rights(0x089, Segment::Tr),
            AccessRights::TSS_BUSY,
            "busy again"
        );
    }
}
