//! MMX and vector registers where XSAVE or FXSAVE has put them.
//!
//! Owns their places in the area, and what a component in its initial state stands for
//! `[SDM 1, "Legacy Region of an XSAVE Area" and "Extended Region of an XSAVE Area"; 2A,
//! "FXSAVE—Save x87 FPU, MMX Technology, and SSE State"; ed. 085]`.

use skerry_words::ExtendedState;

const X87: u64 = 1 << 0;
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;
const ZMM_HI256: u64 = 1 << 6;

const STATUS_WORD: usize = 2;
const TAG_WORD: usize = 4;
const STACK: usize = 32;
const XMM: usize = 160;
/// The end of the x87 part that XRSTOR initialises, MXCSR and its mask not included.
const POINTERS_END: usize = 24;

/// FCW as FNINIT leaves it.
const INITIAL_CONTROL: u16 = 0x37f;
/// FSW: an unmasked exception waits.
const EXCEPTION_SUMMARY: u16 = 1 << 7;
/// FSW: the top of the stack.
const TOP: u16 = 7 << 11;

/// Where the CPU has the parts of vector registers above bit 127, in bytes from the area's
/// start; 0 for those that it has not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VectorLayout {
    /// Bits 255:128 of registers 0 to 15, 16 bytes each.
    pub ymm: u32,
    /// Bits 511:256 of registers 0 to 15, 32 bytes each.
    pub zmm: u32,
}

/// What becomes of the bits above those that are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Upper {
    Kept,
    Cleared,
}

/// A vCPU's MMX and vector registers.
#[derive(Debug)]
pub struct VectorRegisters<'a> {
    area: &'a mut ExtendedState,
    xcr0: u64,
    layout: VectorLayout,
    is_changed: bool,
}

impl<'a> VectorRegisters<'a> {
    /// The registers in `area`, of a guest with this XCR0; 0 where the area is FXSAVE's.
    #[must_use]
    pub fn new(area: &'a mut ExtendedState, xcr0: u64, layout: VectorLayout) -> Self {
        Self {
            area,
            xcr0,
            layout,
            is_changed: false,
        }
    }

    /// Whether the area has changed.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }

    pub(crate) fn xcr0(&self) -> u64 {
        self.xcr0
    }

    /// Whether the next MMX instruction raises `#MF`.
    pub(crate) fn has_failed_x87(&self) -> bool {
        self.is_in_use(X87) && self.status_word() & EXCEPTION_SUMMARY != 0
    }

    /// What every MMX instruction does: TOP is 0, and all registers are valid
    /// `[SDM 3A, "The MMX State and MMX Register Aliasing", ed. 085]`. The area has the x87
    /// registers from the top of their stack on, but their tags by number.
    pub(crate) fn begin_mmx(&mut self) {
        self.use_x87();
        let status = self.status_word();
        let top = usize::from((status & TOP) >> 11);
        let mut registers: [[u8; 16]; 8] =
            core::array::from_fn(|number| self.area.bytes(place(STACK, number, 16)));
        registers.rotate_right(top);
        for (number, register) in registers.iter().enumerate() {
            self.area.set_bytes(place(STACK, number, 16), register);
        }
        self.area
            .set_bytes(STATUS_WORD, &(status & !TOP).to_le_bytes());
        self.area.set_bytes(TAG_WORD, &[0xff]);
    }

    /// An MMX register, once the instruction has begun.
    pub(crate) fn mmx(&self, number: u8) -> u64 {
        let at = place(STACK, usize::from(number & 7), 16);
        u64::from_le_bytes(self.area.bytes(at))
    }

    /// Sets one: the x87 register below it gets an exponent of all ones.
    pub(crate) fn set_mmx(&mut self, number: u8, value: u64) {
        let at = place(STACK, usize::from(number & 7), 16);
        self.set_words(at, &[value]);
        self.area.set_bytes(at.wrapping_add(8), &[0xff, 0xff]);
    }

    /// Bits 255:0 of a vector register.
    pub(crate) fn vector(&self, number: u8) -> [u64; 4] {
        let [a, b] = self.half(SSE, XMM, number);
        let [c, d] = self.half(AVX, self.layout.ymm as usize, number);
        [a, b, c, d]
    }

    /// Sets bits 127:0 of one; those above are kept, or bits 255:128 are set too and the rest is
    /// cleared.
    pub(crate) fn set_vector(&mut self, number: u8, value: [u64; 4], upper: Upper) {
        let [a, b, c, d] = value;
        let number = usize::from(number & 15);
        self.use_component(SSE, XMM);
        self.set_words(place(XMM, number, 16), &[a, b]);
        if upper == Upper::Kept {
            return;
        }
        let VectorLayout { ymm, zmm } = self.layout;
        if ymm != 0 && (self.is_in_use(AVX) || [c, d] != [0; 2]) {
            self.use_component(AVX, ymm as usize);
            self.set_words(place(ymm as usize, number, 16), &[c, d]);
        }
        if zmm != 0 && self.is_in_use(ZMM_HI256) {
            self.set_words(place(zmm as usize, number, 32), &[0; 4]);
        }
    }

    /// Two words of a register's, in a component that has 16 bytes of each.
    fn half(&self, component: u64, start: usize, number: u8) -> [u64; 2] {
        if start == 0 || !self.is_in_use(component) {
            return [0; 2];
        }
        let at = place(start, usize::from(number & 15), 16);
        [at, at.wrapping_add(8)].map(|at| u64::from_le_bytes(self.area.bytes(at)))
    }

    /// FXSAVE's area has no header: all of it counts.
    fn is_in_use(&self, component: u64) -> bool {
        self.xcr0 == 0 || self.area.in_use() & component != 0
    }

    /// Makes a component of 16 registers of 16 bytes count that was in its initial state: all zeros.
    fn use_component(&mut self, component: u64, start: usize) {
        if self.is_in_use(component) {
            return;
        }
        for number in 0..16 {
            self.set_words(place(start, number, 16), &[0; 2]);
        }
        self.begin_use(component);
    }

    fn use_x87(&mut self) {
        self.is_changed = true;
        if self.is_in_use(X87) {
            return;
        }
        self.area.set_bytes(0, &[0; POINTERS_END]);
        self.area.set_bytes(0, &INITIAL_CONTROL.to_le_bytes());
        for number in 0..8 {
            self.set_words(place(STACK, number, 16), &[0; 2]);
        }
        self.begin_use(X87);
    }

    fn begin_use(&mut self, component: u64) {
        let all = self.area.in_use() | component;
        self.area.set_in_use(all);
        self.is_changed = true;
    }

    fn status_word(&self) -> u16 {
        u16::from_le_bytes(self.area.bytes(STATUS_WORD))
    }

    fn set_words(&mut self, at: usize, words: &[u64]) {
        for (at, word) in (at..).step_by(8).zip(words) {
            self.area.set_bytes(at, &word.to_le_bytes());
        }
        self.is_changed = true;
    }
}

/// Where register `number` is, of those of so many bytes from `start` on.
fn place(start: usize, number: usize, bytes: usize) -> usize {
    start.wrapping_add(number.wrapping_mul(bytes))
}
