//! The extended state (XSAVE) a guest may enable, and how large it is.
//!
//! Components are x87, SSE, AVX, AVX-512 and PKRU; MPX and supervisor state are not given
//! `[SDM 1, "Managing State Using the XSAVE Feature Set", ed. 085]`.

use crate::cpuid::CpuidRegisters;
use skerry_emulate::VectorLayout;

const X87: u64 = 1 << 0;
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;
const AVX512: u64 = 0b111 << 5;
const PKRU: u64 = 1 << 9;
/// Legacy region and header, in bytes.
const LEGACY_BYTES: u32 = 576;
const COMPONENTS: usize = 10;

/// Where each component lies in the standard XSAVE format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Layout {
    permitted: u64,
    size_offset: [(u32, u32); COMPONENTS],
}

impl Layout {
    /// Reads leaf Dh of the physical CPU.
    pub(crate) fn new(leaf: &mut impl FnMut(u32, u32) -> CpuidRegisters) -> Self {
        const XSAVE: u32 = 1 << 26;
        if leaf(0, 0).eax < 0xd || leaf(1, 0).ecx & XSAVE == 0 {
            return Self::default();
        }
        let mut permitted = u64::from(leaf(0xd, 0).eax) & (X87 | SSE | AVX | AVX512 | PKRU);
        if permitted & AVX512 != AVX512 {
            permitted &= !AVX512;
        }
        let mut layout = Self {
            permitted,
            size_offset: [(0, 0); COMPONENTS],
        };
        for (number, slot) in (0u32..).zip(layout.size_offset.iter_mut()).skip(2) {
            if permitted & (1 << number) != 0 {
                let component = leaf(0xd, number);
                *slot = (component.eax, component.ebx);
            }
        }
        layout
    }

    /// The bits a guest may set in XCR0; 0 where the CPU has no XSAVE.
    pub(crate) const fn permitted(&self) -> u64 {
        self.permitted
    }

    /// Whether AVX-512 state may be enabled.
    pub(crate) const fn has_avx512(&self) -> bool {
        self.permitted & AVX512 == AVX512
    }

    /// Whether PKRU may be enabled.
    pub(crate) const fn has_pkru(&self) -> bool {
        self.permitted & PKRU != 0
    }

    /// Whether XSETBV may load `value` `[SDM 2C, "XSETBV—Set Extended Control Register"]`.
    pub(crate) const fn accepts(&self, value: u64) -> bool {
        let known = value & !self.permitted == 0 && value & X87 != 0;
        let avx_has_sse = value & AVX == 0 || value & SSE != 0;
        let avx512_is_whole = value & AVX512 == 0 || (value & AVX512 == AVX512 && value & AVX != 0);
        known && avx_has_sse && avx512_is_whole
    }

    /// Where the upper parts of vector registers are.
    pub(crate) fn vectors(&self) -> VectorLayout {
        let offset = |number: usize| {
            self.size_offset
                .get(number)
                .map_or(0, |(_, offset)| *offset)
        };
        VectorLayout {
            ymm: offset(2),
            zmm: offset(6),
        }
    }

    fn bytes(&self, features: u64) -> u32 {
        (0u32..)
            .zip(self.size_offset.iter())
            .filter(|(number, _)| features & (1 << *number) != 0)
            .map(|(_, (size, offset))| size.saturating_add(*offset))
            .fold(LEGACY_BYTES, u32::max)
    }

    /// Leaf Dh, subleaf 0, with this XCR0.
    pub(crate) fn leaf(&self, xcr0: u64) -> CpuidRegisters {
        if self.permitted == 0 {
            return CpuidRegisters::default();
        }
        CpuidRegisters {
            eax: self.permitted as u32,
            ebx: self.bytes(xcr0),
            ecx: self.bytes(self.permitted),
            edx: 0,
        }
    }

    /// Leaf Dh, subleaf 2 and up: one component's size and offset.
    pub(crate) fn component(&self, number: u32) -> CpuidRegisters {
        match self.size_offset.get(number as usize) {
            Some((size, offset)) => CpuidRegisters {
                eax: *size,
                ebx: *offset,
                ..Default::default()
            },
            None => CpuidRegisters::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xcr0_accepts_only_whole_and_ordered_sets() {
        let layout = Layout {
            permitted: 0x2e7,
            size_offset: [(0, 0); COMPONENTS],
        };
        for good in [1, 3, 7, 0xe7, 0x201, 0x2e7] {
            assert!(layout.accepts(good), "{good:#x}");
        }
        for bad in [0, 2, 5, 0x27, 0x67, 0xe3, 0x200, 0x107, 1 << 63 | 1] {
            assert!(!layout.accepts(bad), "{bad:#x}");
        }
    }
}
