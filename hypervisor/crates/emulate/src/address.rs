//! Memory operands: ModRM and SIB, and the effective address they give.
//!
//! Owns the addressing forms of all three address sizes `[SDM 2A, "Addressing-Mode
//! Encoding of ModR/M and SIB Bytes", ed. 085]`. Does not own segments.

use crate::cursor::Cursor;
use crate::prefix::Prefixes;
use crate::register;
use skerry_words::{GuestState, Segment, Width};

/// What a memory operand's address starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    /// Nothing: the displacement alone.
    None,
    /// A register, 0 to 15.
    Register(u8),
    /// The address of the next instruction.
    NextInstruction,
}

/// A memory operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryOperand {
    /// Its segment.
    pub segment: Segment,
    /// What its address starts from.
    pub base: Base,
    /// A register added, shifted left by `scale`.
    pub index: Option<u8>,
    /// 0 to 3.
    pub scale: u8,
    /// Added, sign-extended to 64 bits.
    pub displacement: u64,
    /// The address size: the sum is cut to it.
    pub width: Width,
}

const RSP: u8 = 4;
const RBP: u8 = 5;

impl MemoryOperand {
    /// The operand of a ModRM byte whose `mod` is not 3, the rest of it taken from
    /// `cursor`.
    #[inline]
    pub(crate) fn take(cursor: &mut Cursor<'_>, prefixes: &Prefixes, modrm: u8) -> Self {
        let width = prefixes.address_width();
        let mut operand = Self {
            segment: Segment::Ds,
            base: Base::None,
            index: None,
            scale: 0,
            displacement: 0,
            width,
        };
        match width {
            Width::Word | Width::Byte => operand.take_16(cursor, modrm),
            Width::Dword | Width::Qword => operand.take_32(cursor, prefixes, modrm),
        }
        let stack_based = matches!(operand.base, Base::Register(RSP | RBP));
        let default = if stack_based {
            Segment::Ss
        } else {
            Segment::Ds
        };
        operand.segment = prefixes.segment.unwrap_or(default);
        operand
    }

    /// The operand of MOV with a direct offset (A0h to A3h).
    pub(crate) fn take_offset(cursor: &mut Cursor<'_>, prefixes: &Prefixes) -> Self {
        let width = prefixes.address_width();
        let displacement = match width {
            Width::Word | Width::Byte => cursor.next_i16(),
            Width::Dword => cursor.next_i32(),
            Width::Qword => cursor.next_u64(),
        };
        Self {
            segment: prefixes.segment.unwrap_or(Segment::Ds),
            base: Base::None,
            index: None,
            scale: 0,
            displacement,
            width,
        }
    }

    /// The source of a string instruction: `number` is RSI's; the segment may be
    /// overridden.
    pub(crate) fn implied(prefixes: &Prefixes, number: u8) -> Self {
        Self {
            segment: prefixes.segment.unwrap_or(Segment::Ds),
            base: Base::Register(number),
            index: None,
            scale: 0,
            displacement: 0,
            width: prefixes.address_width(),
        }
    }

    /// The top of the stack, for who looks; its width is the stack pointer's own affair.
    pub(crate) fn on_stack(prefixes: &Prefixes) -> Self {
        Self {
            segment: Segment::Ss,
            base: Base::Register(RSP),
            index: None,
            scale: 0,
            displacement: 0,
            width: prefixes.address_width(),
        }
    }

    #[inline]
    fn take_32(&mut self, cursor: &mut Cursor<'_>, prefixes: &Prefixes, modrm: u8) {
        let mode = modrm >> 6;
        let mut low = modrm & 7;
        if low == RSP {
            let sib = cursor.next();
            let index = prefixes.extend_index((sib >> 3) & 7);
            self.index = (index != RSP).then_some(index);
            self.scale = sib >> 6;
            low = sib & 7;
        }
        self.base = Base::Register(prefixes.extend_base(low));
        match mode {
            1 => self.displacement = cursor.next_i8(),
            2 => self.displacement = cursor.next_i32(),
            _ if low == RBP => {
                self.displacement = cursor.next_i32();
                let relative = prefixes.code == Width::Qword && modrm & 7 == RBP;
                self.base = if relative {
                    Base::NextInstruction
                } else {
                    Base::None
                };
            }
            _ => {}
        }
    }

    fn take_16(&mut self, cursor: &mut Cursor<'_>, modrm: u8) {
        const BX: u8 = 3;
        const SI: u8 = 6;
        const DI: u8 = 7;
        let (base, index) = match modrm & 7 {
            0 => (BX, Some(SI)),
            1 => (BX, Some(DI)),
            2 => (RBP, Some(SI)),
            3 => (RBP, Some(DI)),
            4 => (SI, None),
            5 => (DI, None),
            6 => (RBP, None),
            _ => (BX, None),
        };
        (self.base, self.index) = (Base::Register(base), index);
        match modrm >> 6 {
            1 => self.displacement = cursor.next_i8(),
            2 => self.displacement = cursor.next_i16(),
            _ if modrm & 7 == 6 => {
                self.displacement = cursor.next_i16();
                self.base = Base::None;
            }
            _ => {}
        }
    }

    /// The offset in its segment, cut to the address size. `next_rip` is the address of
    /// the next instruction; `shift` is added (bit strings, a popped stack pointer).
    #[inline]
    pub(crate) fn offset(&self, state: &GuestState, next_rip: u64, shift: u64) -> u64 {
        let base = match self.base {
            Base::None => 0,
            Base::Register(number) => register::full(state, number),
            Base::NextInstruction => next_rip,
        };
        let index = match self.index {
            Some(number) => register::full(state, number) << (self.scale & 3),
            None => 0,
        };
        let sum = base
            .wrapping_add(index)
            .wrapping_add(self.displacement)
            .wrapping_add(shift);
        sum & self.width.mask()
    }
}
