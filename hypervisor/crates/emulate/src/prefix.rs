//! Legacy prefixes and REX.
//!
//! Owns which prefix counts when several are there `[SDM 2A, "Instruction Prefixes" and
//! "REX Prefixes", ed. 085]`.

use crate::cursor::Cursor;
use crate::fetch::MAX_BYTES;
use crate::instruction::Repeat;
use skerry_words::{Segment, Width};

/// The prefixes of one instruction.
#[derive(Clone, Copy)]
pub(crate) struct Prefixes {
    /// The size of the code.
    pub(crate) code: Width,
    /// 66h.
    pub(crate) operand_size: bool,
    /// 67h.
    pub(crate) address_size: bool,
    /// F0h.
    pub(crate) lock: bool,
    /// F2h or F3h, the last of them.
    pub(crate) repeat: Repeat,
    /// The segment override that counts.
    pub(crate) segment: Option<Segment>,
    /// REX, or 0.
    pub(crate) rex: u8,
}

impl Prefixes {
    /// Takes all prefixes; returns them and the byte after them, taken too.
    #[inline]
    pub(crate) fn take(cursor: &mut Cursor<'_>, code: Width) -> (Self, u8) {
        let mut prefixes = Self {
            code,
            operand_size: false,
            address_size: false,
            lock: false,
            repeat: Repeat::No,
            segment: None,
            rex: 0,
        };
        // An instruction is at most 15 bytes, and the last of them is no prefix.
        for _ in 1..MAX_BYTES {
            let byte = cursor.peek();
            if code == Width::Qword && byte & 0xf0 == 0x40 {
                prefixes.rex = byte;
            } else if prefixes.accept(byte) {
                // A REX that is not the last prefix is ignored.
                prefixes.rex = 0;
            } else {
                break;
            }
            cursor.next();
        }
        (prefixes, cursor.next())
    }

    #[inline]
    fn accept(&mut self, byte: u8) -> bool {
        match byte {
            0x66 => self.operand_size = true,
            0x67 => self.address_size = true,
            0xf0 => self.lock = true,
            0xf2 => self.repeat = Repeat::WhileNotEqual,
            0xf3 => self.repeat = Repeat::WhileEqual,
            0x26 => self.flat_override(Segment::Es),
            0x2e => self.flat_override(Segment::Cs),
            0x36 => self.flat_override(Segment::Ss),
            0x3e => self.flat_override(Segment::Ds),
            0x64 => self.segment = Some(Segment::Fs),
            0x65 => self.segment = Some(Segment::Gs),
            _ => return false,
        }
        true
    }

    /// In 64-bit mode the overrides of flat segments are null prefixes.
    fn flat_override(&mut self, segment: Segment) {
        if self.code != Width::Qword {
            self.segment = Some(segment);
        }
    }

    /// The operand size of instructions that have no byte form.
    #[inline]
    pub(crate) fn operand_width(&self) -> Width {
        if self.rex & 8 != 0 {
            Width::Qword
        } else if (self.code == Width::Word) != self.operand_size {
            Width::Word
        } else {
            Width::Dword
        }
    }

    /// The operand size of stack instructions, which default to 64 bits in 64-bit code.
    pub(crate) fn stack_width(&self) -> Width {
        match self.code {
            Width::Qword if self.operand_size && self.rex & 8 == 0 => Width::Word,
            Width::Qword => Width::Qword,
            Width::Byte | Width::Word | Width::Dword => self.operand_width(),
        }
    }

    /// The operand size of near branches: always 64 bits in 64-bit code.
    pub(crate) fn branch_width(&self) -> Width {
        match self.code {
            Width::Qword => Width::Qword,
            Width::Byte | Width::Word | Width::Dword => self.operand_width(),
        }
    }

    /// The address size.
    #[inline]
    pub(crate) fn address_width(&self) -> Width {
        match (self.code, self.address_size) {
            (Width::Qword, false) => Width::Qword,
            (Width::Qword, true) | (Width::Dword, false) => Width::Dword,
            (Width::Word | Width::Byte, true) => Width::Dword,
            (Width::Dword, true) | (Width::Word | Width::Byte, false) => Width::Word,
        }
    }

    /// ModRM.reg extended by REX.R.
    #[inline]
    pub(crate) fn extend_register(&self, field: u8) -> u8 {
        field | ((self.rex & 4) << 1)
    }

    /// SIB.index extended by REX.X.
    #[inline]
    pub(crate) fn extend_index(&self, field: u8) -> u8 {
        field | ((self.rex & 2) << 2)
    }

    /// ModRM.rm or SIB.base extended by REX.B.
    #[inline]
    pub(crate) fn extend_base(&self, field: u8) -> u8 {
        field | ((self.rex & 1) << 3)
    }
}
