//! A vCPU's extended state: x87, MMX, vector registers and what else XSAVE keeps.
//!
//! Owns the area as it crosses the seam, in the standard format of XSAVE, and which of its bytes
//! a CPU would refuse to load `[SDM 1, "Standard Format of the Extended Region" and "Operation of
//! XRSTOR", ed. 085]`. Does not own what the registers mean. Ring 0 fills it and judges it; a VMM
//! reads and changes it.

/// The bytes of the area, of which a CPU uses as many as its components need: at most 2,696 of
/// those that guests have. Where a CPU has no XSAVE, they are the 512 of FXSAVE.
const BYTES: usize = 4096;
const MXCSR: usize = 24;
const MXCSR_MASK: usize = 28;
const XSTATE_BV: usize = 512;
/// XCOMP_BV, which is 0 in the standard format, and what is reserved.
const REST_OF_HEADER: core::ops::Range<usize> = 520..576;

/// The area. Any bytes are a value; not all of them are a state.
#[repr(C, align(64))]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExtendedState(pub [u8; BYTES]);

impl Default for ExtendedState {
    fn default() -> Self {
        Self([0; BYTES])
    }
}

impl ExtendedState {
    /// The `N` bytes at `at`; zeros past the end.
    #[must_use]
    pub fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let rest = self.0.get(at..).unwrap_or_default();
        rest.first_chunk().copied().unwrap_or([0; N])
    }

    /// Stores bytes at `at`; nothing past the end.
    pub fn set_bytes(&mut self, at: usize, bytes: &[u8]) {
        let rest = self.0.get_mut(at..).unwrap_or_default();
        rest.iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
    }

    /// Which components are not in their initial state.
    #[must_use]
    pub fn in_use(&self) -> u64 {
        u64::from_le_bytes(self.bytes(XSTATE_BV))
    }

    /// Says which components are not in their initial state.
    pub fn set_in_use(&mut self, components: u64) {
        self.set_bytes(XSTATE_BV, &components.to_le_bytes());
    }

    /// The bits of MXCSR that the CPU which has filled this area knows. It may leave them at 0,
    /// which stands for those that all know `[SDM 1, "MXCSR_MASK", ed. 085]`.
    #[must_use]
    pub fn mxcsr_mask(&self) -> u32 {
        match u32::from_le_bytes(self.bytes(MXCSR_MASK)) {
            0 => 0xffbf,
            mask => mask,
        }
    }

    /// Whether XRSTOR loads it without a fault where XCR0 is `components`; FXRSTOR where there is
    /// no XCR0, which knows no header.
    #[must_use]
    pub fn is_loadable(&self, components: Option<u64>, mxcsr_mask: u32) -> bool {
        let mxcsr = u32::from_le_bytes(self.bytes(MXCSR));
        let rest = self.0.get(REST_OF_HEADER).unwrap_or_default();
        let header = components.is_none_or(|components| {
            self.in_use() & !components == 0 && rest.iter().all(|byte| *byte == 0)
        });
        header && mxcsr & !mxcsr_mask == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: u32 = 0xffff;

    fn with(at: usize, byte: u8) -> ExtendedState {
        let mut area = ExtendedState::default();
        area.set_bytes(at, &[byte]);
        area
    }

    #[test]
    fn components_that_are_not_enabled_are_not_loaded() {
        assert!(with(512, 7).is_loadable(Some(7), MASK));
        assert!(!with(512, 7).is_loadable(Some(3), MASK));
        assert!(!with(519, 0x80).is_loadable(Some(7), MASK));
        assert!(with(519, 0x80).is_loadable(None, MASK));
    }

    #[test]
    fn every_other_byte_of_the_header_is_zero() {
        for at in 512..600 {
            let wanted = !(520..576).contains(&at);
            assert_eq!(with(at, 1).is_loadable(Some(!0), MASK), wanted, "{at}");
        }
    }

    #[test]
    fn mxcsr_has_no_bit_that_its_mask_has_not() {
        assert!(with(24, 0x40).is_loadable(Some(3), MASK));
        assert!(!with(24, 0x40).is_loadable(Some(3), 0xffbf));
        assert!(!with(26, 1).is_loadable(Some(3), MASK));
        assert!(!with(26, 1).is_loadable(None, MASK));
        assert_eq!(with(28, 0).mxcsr_mask(), 0xffbf);
        assert_eq!(with(29, 0xff).mxcsr_mask(), 0xff00);
    }

    #[test]
    fn what_is_past_the_end_is_nothing() {
        let mut area = ExtendedState::default();
        area.set_bytes(4094, &[1, 2, 3]);
        area.set_bytes(5000, &[4]);
        assert_eq!(area.bytes(4094), [1, 2]);
        assert_eq!(area.bytes(4094), [0; 3]);
        assert_eq!(area.bytes(5000), [0]);
    }
}
