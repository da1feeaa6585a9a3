//! The short way for what nearly every memory-mapped access is: a plain MOV or MOVZX in
//! 64-bit code, at the address the CPU has told.
//!
//! Owns the recognition of those few encodings in one word, at a fifth of the cost of the
//! general decoder, and their execution where nothing can fail. All else is left to
//! `mmio.rs`, which gives the same answers; tests hold the two together.

use crate::MmioTarget;
use crate::fetch::Bytes;
use crate::register::{self, Register};
use skerry_verdict::Registers;
use skerry_words::{Access, Gpa, GuestState, MemoryAccess, PAGE_BYTES, Width};

/// A plain move between a register, or from a constant, and [base + displacement].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plain {
    length: u8,
    kind: Kind,
    /// The width in memory.
    width: Width,
    register: u8,
    /// A register, or `None` for the address of the next instruction.
    base: Option<u8>,
    displacement: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Store,
    /// Of this constant, whatever the register.
    StoreConstant(u32),
    Load,
    /// To all of the register.
    LoadExtended,
}

/// The words recognised last, and as what. The default is no instruction, which is right: zeros
/// are no plain move.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Last {
    words: [u64; 2],
    plain: Option<Plain>,
}

impl Last {
    /// The plain instruction that `words` start with, if they do.
    #[inline(always)]
    pub(crate) fn recognise(&mut self, words: [u64; 2]) -> Option<Plain> {
        let [low, high] = words;
        if (self.words[0] ^ low) | (self.words[1] ^ high) != 0 {
            self.learn(words);
        }
        self.plain
    }

    #[cold]
    #[inline(never)]
    fn learn(&mut self, words: [u64; 2]) {
        *self = Self {
            words,
            plain: recognise(&Bytes::of_words(words)),
        };
    }
}

impl Plain {
    /// Executes it if all it touches is in the page of the exit; whether it was.
    #[inline]
    pub(crate) fn execute(
        self,
        state: &mut GuestState,
        access: MemoryAccess,
        target: &mut impl MmioTarget,
    ) -> bool {
        let Some(gpa) = operand(state, self, access) else {
            return false;
        };
        let register = Register::new(self.register);
        match self.kind {
            Kind::Store => {
                let value = register.read(state, self.width);
                target.write(gpa, self.width, value);
            }
            Kind::StoreConstant(constant) => {
                let extended = i64::from(constant as i32) as u64;
                target.write(gpa, self.width, extended & self.width.mask());
            }
            Kind::Load => {
                let value = target.read(gpa, self.width);
                register.write(state, self.width, value);
            }
            Kind::LoadExtended => {
                let value = target.read(gpa, self.width) & self.width.mask();
                register.write(state, Width::Qword, value);
            }
        }
        state.instruction_bytes = u32::from(self.length);
        state.advance();
        true
    }
}

/// Where the operand is, by the translation the exit tells: same page, and enough rights.
/// Where the CPU tells no linear address, the one access of a plain move is the one that
/// exited, if way and place in the page are the same.
#[inline]
fn operand(state: &GuestState, plain: Plain, access: MemoryAccess) -> Option<Gpa> {
    let base = match plain.base {
        Some(number) => register::full(state, number),
        None => state.rip.wrapping_add(u64::from(plain.length)),
    };
    let gva = base.wrapping_add(plain.displacement);
    let inside = gva & PAGE_BYTES.wrapping_sub(1);
    let stores = matches!(plain.kind, Kind::Store | Kind::StoreConstant(_));
    let same_page = match access.gva {
        Some(told) => gva ^ inside == told.page_start().0,
        None => inside == access.gpa.page_offset() && stores == (access.access == Access::Write),
    };
    let fits = inside <= PAGE_BYTES.wrapping_sub(plain.width.bytes());
    let permitted = !stores || access.access == Access::Write;
    (same_page && fits && permitted && !access.during_walk)
        .then(|| Gpa(access.gpa.page_start().0 | inside))
}

/// REX or nothing; 88h to 8Bh, C6h and C7h, or 0Fh B6h and B7h; ModRM without SIB.
fn recognise(bytes: &Bytes) -> Option<Plain> {
    let mut word = bytes.first_word();
    let mut length = 2u8;
    let mut rex = 0;
    if word & 0xf0 == 0x40 {
        rex = word as u8;
        (word, length) = (word >> 8, 3);
    }
    let extended = word as u8 == 0x0f;
    if extended {
        (word, length) = (word >> 8, length.wrapping_add(1));
    }
    let (kind, width) = match (extended, word as u8) {
        (true, 0xb6) => (Kind::LoadExtended, Width::Byte),
        (true, 0xb7) => (Kind::LoadExtended, Width::Word),
        (false, 0x88) => (Kind::Store, Width::Byte),
        (false, 0x89) => (Kind::Store, full_width(rex)),
        (false, 0x8a) => (Kind::Load, Width::Byte),
        (false, 0x8b) => (Kind::Load, full_width(rex)),
        (false, 0xc6) => (Kind::StoreConstant(0), Width::Byte),
        (false, 0xc7) => (Kind::StoreConstant(0), full_width(rex)),
        _ => return None,
    };
    let modrm = (word >> 8) as u8;
    let (mode, low) = (modrm >> 6, modrm & 7);
    let field = (modrm >> 3) & 7;
    let constant = kind == Kind::StoreConstant(0);
    let is_high_byte = width == Width::Byte && !extended && rex == 0 && field >= 4;
    if low == 4 || is_high_byte || (constant && field != 0) {
        return None;
    }
    let relative = mode == 0 && low == 5;
    let (displacement, added) = match mode {
        0 if !relative => (0, 0),
        0 | 2 => (i64::from((word >> 16) as i32) as u64, 4),
        1 => (i64::from((word >> 16) as i8) as u64, 1),
        _ => return None,
    };
    length = length.wrapping_add(added);
    let kind = if constant {
        let at = usize::from(length);
        length = length.wrapping_add(if width == Width::Byte { 1 } else { 4 });
        Kind::StoreConstant(constant_at(bytes, at, width))
    } else {
        kind
    };
    (usize::from(length) <= bytes.length()).then_some(Plain {
        length,
        kind,
        width,
        register: if constant {
            0
        } else {
            field | ((rex & 4) << 1)
        },
        base: (!relative).then_some(low | ((rex & 1) << 3)),
        displacement,
    })
}

/// The constant of one or four bytes that ends the instruction.
#[inline]
fn constant_at(bytes: &Bytes, at: usize, width: Width) -> u32 {
    let byte = |index: usize| bytes.at(at.wrapping_add(index));
    match width {
        Width::Byte => u32::from(byte(0)),
        Width::Word | Width::Dword | Width::Qword => {
            u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
        }
    }
}

#[inline]
fn full_width(rex: u8) -> Width {
    if rex & 8 != 0 {
        Width::Qword
    } else {
        Width::Dword
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    extern crate std;

    use super::*;
    use crate::address::Base;
    use crate::decode::decode;
    use crate::instruction::{Extension, Operation, Source};
    use std::vec::Vec;

    fn kind(operation: Operation) -> Option<Kind> {
        if operation == Operation::Store {
            Some(Kind::Store)
        } else if operation == Operation::Load {
            Some(Kind::Load)
        } else {
            let zero = matches!(operation, Operation::LoadExtended(Extension::Zero, _));
            zero.then_some(Kind::LoadExtended)
        }
    }

    /// What the general decoder says, in the short way's words.
    fn generally(code: &[u8]) -> Option<Plain> {
        let whole = decode(&Bytes::new(code), Width::Qword).ok()?;
        let stores = whole.operation == Operation::Store;
        let (kind, register) = match (whole.source, whole.width) {
            (Source::Register(register), _) => (kind(whole.operation)?, register.number),
            (Source::Immediate(value), Width::Byte) if stores => {
                (Kind::StoreConstant(u32::from(value as u8)), 0)
            }
            (Source::Immediate(value), _) if stores => (Kind::StoreConstant(value as u32), 0),
            (Source::Immediate(_), _) => return None,
        };
        Some(Plain {
            length: whole.length,
            kind,
            width: whole.width,
            register,
            base: match whole.memory.base {
                Base::Register(number) => Some(number),
                Base::NextInstruction => None,
                Base::None => return None,
            },
            displacement: whole.memory.displacement,
        })
    }

    #[test]
    fn the_short_way_decodes_as_the_general_one_over_all_its_encodings() {
        let opcodes: [&[u8]; 8] = [
            &[0x88],
            &[0x89],
            &[0x8a],
            &[0x8b],
            &[0x0f, 0xb6],
            &[0x0f, 0xb7],
            &[0xc6],
            &[0xc7],
        ];
        let mut known = 0;
        for rex in 0x3f..=0x50u8 {
            for opcode in opcodes {
                for modrm in 0..=255u8 {
                    let mut code = Vec::new();
                    code.extend((0x40..0x50).contains(&rex).then_some(rex));
                    code.extend_from_slice(opcode);
                    code.extend([modrm, 0x92, 0x83, 0x74, 0xf5, 0x16, 7, 0x88, 0x99, 0xaa]);
                    if let Some(plain) = recognise(&Bytes::new(&code)) {
                        assert_eq!(Some(plain), generally(&code), "{code:x?}");
                        known += 1;
                    }
                }
            }
        }
        assert!(known > 17_000, "only {known} are known");
    }

    #[test]
    fn bytes_that_end_early_are_left_to_the_general_decoder() {
        assert!(recognise(&Bytes::new(&[0x8b, 0x03])).is_some());
        assert!(recognise(&Bytes::new(&[0x8b])).is_none());
        assert!(recognise(&Bytes::new(&[0x8b, 0x43])).is_none());
        assert!(recognise(&Bytes::new(&[0x48, 0x8b, 0x83, 0, 0, 0])).is_none());
    }
}
