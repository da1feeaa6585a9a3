//! Judgements of single values: canonical addresses, memory types, reserved and fixed bits.
//!
//! Called by the rules.

use skerry_manual::msr::efer;
use skerry_manual::vmx::caps::FixedBits;

/// Whether `address` is canonical with `bits` of linear address (48 or 57).
pub(crate) const fn is_canonical(address: u64, bits: u32) -> bool {
    let unused = 64_u32.saturating_sub(bits);
    let extended = ((address as i64).wrapping_shl(unused)).wrapping_shr(unused);
    extended as u64 == address
}

/// Whether all eight entries of an IA32_PAT value are memory types: 0, 1 and 4 to 7
/// `[SDM 3A, "IA32_PAT MSR", ed. 085]`.
pub(crate) fn pat_is_valid(pat: u64) -> bool {
    pat.to_le_bytes()
        .iter()
        .all(|kind| matches!(kind, 0 | 1 | 4..=7))
}

/// Whether an IA32_EFER value sets bits no Intel CPU defines.
pub(crate) const fn efer_is_reserved(value: u64) -> bool {
    value & !(efer::SCE | efer::LME | efer::LMA | efer::NXE) != 0
}

/// The bits of `value` that are not as they must be.
pub(crate) const fn violations(fixed: FixedBits, value: u64) -> u64 {
    (fixed.must & !value) | (value & !fixed.may)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_addresses_extend_their_top_bit() {
        for good in [0, 0x7fff_ffff_ffff, 0xffff_8000_0000_0000, u64::MAX] {
            assert!(is_canonical(good, 48));
        }
        assert!(!is_canonical(0x8000_0000_0000, 48));
        assert!(!is_canonical(0xfffe_8000_0000_0000, 48));
        assert!(is_canonical(0x00ff_ffff_ffff_ffff, 57));
        assert!(!is_canonical(0x0100_0000_0000_0000, 57));
    }

    #[test]
    fn memory_types_2_and_3_are_no_pat_entries() {
        assert!(pat_is_valid(0x0007_0406_0007_0406));
        assert!(!pat_is_valid(0x0007_0406_0007_0402));
        assert!(!pat_is_valid(0x0307_0406_0007_0406));
    }

    #[test]
    fn bits_that_are_fixed_otherwise_are_told() {
        let cr0 = FixedBits {
            must: 0x8000_0021,
            may: 0xffff_ffff,
        };
        assert_eq!(violations(cr0, 0x1_0000_0020), 0x1_8000_0001);
    }
}
