//! From bytes to a [`VectorMove`].
//!
//! Owns the opcodes of moves between memory and MMX or vector registers, with the mandatory
//! prefixes that choose between them, and the VEX prefixes `[SDM 2A, "Intel AVX Instruction
//! Formats"; 2D, "Opcode Map"; ed. 085]`. Does not own EVEX. A decoder beside `decode.rs`, since
//! nothing of this is on a frequent path.

use crate::address::MemoryOperand;
use crate::cursor::Cursor;
use crate::decode::DecodeError;
use crate::fetch::Bytes;
use crate::instruction::Repeat;
use crate::prefix::Prefixes;
use skerry_words::{Access, Width};

/// The registers an instruction names, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegisterFile {
    /// MM0 to MM7.
    Mmx,
    /// XMM registers, without VEX.
    Sse,
    /// XMM and YMM registers, with VEX.
    Vex,
}

/// Which part of the register is moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// From bit 0 on; a load clears what is above it, to bit 127 at least.
    Whole,
    /// Bits 63:0; a load merges them with bits 127:64 of a register.
    Low,
    /// Bits 127:64; a load merges them with bits 63:0 of a register.
    High,
}

/// What the operand's address has to be a multiple of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alignment {
    /// 1.
    None,
    /// Its size.
    Natural,
}

/// A move between memory and a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VectorMove {
    /// Its length in bytes, 1 to 15.
    pub length: u8,
    /// Whether memory is read or written.
    pub access: Access,
    /// The kind of register.
    pub file: RegisterFile,
    /// The register's number.
    pub register: u8,
    /// The part of it.
    pub part: Part,
    /// With which register a load merges.
    pub merged: u8,
    /// How many bytes are moved: 4, 8, 16 or 32.
    pub bytes: u64,
    /// Their alignment.
    pub alignment: Alignment,
    /// Where they are.
    pub memory: MemoryOperand,
}

/// What a vector instruction is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VectorInstruction {
    /// A move.
    Move(VectorMove),
    /// A move's opcode with what makes it none: LOCK, or a prefix or field that VEX does not
    /// allow there.
    Undefined,
}

/// The mandatory prefix: of F2h and F3h the last, before 66h.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mandatory {
    None,
    P66,
    F3,
    F2,
}

impl Mandatory {
    fn of(prefixes: &Prefixes) -> Self {
        match prefixes.repeat {
            Repeat::WhileNotEqual => Self::F2,
            Repeat::WhileEqual => Self::F3,
            Repeat::No if prefixes.operand_size => Self::P66,
            Repeat::No => Self::None,
        }
    }

    fn of_vex(field: u8) -> Self {
        match field & 3 {
            0 => Self::None,
            1 => Self::P66,
            2 => Self::F3,
            _ => Self::F2,
        }
    }
}

/// The map an opcode is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Map {
    /// After 0Fh.
    Two,
    /// After 0Fh 38h.
    Three,
}

/// How much is moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Size {
    /// 4 bytes.
    Dword,
    /// 8 bytes.
    Qword,
    /// 4 or 8, by REX.W or VEX.W.
    General,
    /// The vector.
    Vector,
}

/// What an opcode stands for.
#[derive(Clone, Copy)]
struct Form {
    access: Access,
    size: Size,
    part: Part,
    alignment: Alignment,
    mmx: bool,
}

impl Form {
    const fn new(access: Access, size: Size) -> Self {
        Self {
            access,
            size,
            part: Part::Whole,
            alignment: Alignment::None,
            mmx: false,
        }
    }

    const fn aligned(self) -> Self {
        Self {
            alignment: Alignment::Natural,
            ..self
        }
    }

    const fn part(self, part: Part) -> Self {
        Self { part, ..self }
    }

    const fn mmx(self) -> Self {
        Self { mmx: true, ..self }
    }

    /// Whether VEX.vvvv names a register.
    fn merges(&self) -> bool {
        self.access == Access::Read && self.part != Part::Whole
    }
}

/// What comes before the opcode's operand.
struct Encoding {
    /// With REX, or what VEX has in its place.
    prefixes: Prefixes,
    mandatory: Mandatory,
    map: Map,
    opcode: u8,
    vex: Option<Vex>,
}

impl Encoding {
    /// The register that VEX.vvvv names; its upper bit counts in 64-bit code only.
    fn merged(&self, form: &Form) -> Option<u8> {
        let vex = self.vex.filter(|_| form.merges())?;
        let is_64_bit = self.prefixes.code == Width::Qword;
        Some(vex.second & if is_64_bit { 15 } else { 7 })
    }
}

/// What VEX has that REX has not.
#[derive(Clone, Copy)]
struct Vex {
    /// VEX.vvvv, not inverted.
    second: u8,
    /// VEX.L.
    is_256: bool,
    /// Whether one of the prefixes before it is one that may not be there.
    is_prefixed: bool,
}

/// Decodes the first instruction of `bytes` as code of size `code`.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_vector(bytes: &Bytes, code: Width) -> Result<VectorInstruction, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let (prefixes, first) = Prefixes::take(&mut cursor, code);
    let encoding = match first {
        0x0f => legacy(&mut cursor, prefixes),
        0xc4 | 0xc5 => vex(&mut cursor, prefixes, first),
        _ => None,
    };
    cursor.taken()?;
    let encoding = encoding.ok_or(DecodeError::Unknown)?;
    let form = form(&encoding).ok_or(DecodeError::Unknown)?;
    let modrm = cursor.next();
    cursor.taken()?;
    if modrm >> 6 == 3 {
        return Err(DecodeError::Unknown);
    }
    let memory = MemoryOperand::take(&mut cursor, &encoding.prefixes, modrm);
    let length = cursor.taken()?;
    if !is_defined(&encoding, &form) {
        return Ok(VectorInstruction::Undefined);
    }
    Ok(VectorInstruction::Move(vector_move(
        &encoding, &form, modrm, memory, length,
    )))
}

fn legacy(cursor: &mut Cursor<'_>, prefixes: Prefixes) -> Option<Encoding> {
    let second = cursor.next();
    let (map, opcode) = if second == 0x38 {
        (Map::Three, cursor.next())
    } else {
        (Map::Two, second)
    };
    Some(Encoding {
        prefixes,
        mandatory: Mandatory::of(&prefixes),
        map,
        opcode,
        vex: None,
    })
}

/// VEX, of two or three bytes. Outside of 64-bit code C4h and C5h are LES and LDS, whose operand
/// is in memory: there the next byte's upper bits tell. B and W mean nothing there.
fn vex(cursor: &mut Cursor<'_>, prefixes: Prefixes, first: u8) -> Option<Encoding> {
    let is_64_bit = prefixes.code == Width::Qword;
    let second = cursor.next();
    if !is_64_bit && second >> 6 != 3 {
        return None;
    }
    // As C4h has them: inverted R, X and B with the map; W, inverted vvvv, L and pp.
    let (extensions, rest) = if first == 0xc5 {
        ((second & 0x80) | 0x61, second & 0x7f)
    } else {
        (second, cursor.next())
    };
    let map = match extensions & 0x1f {
        1 => Map::Two,
        2 => Map::Three,
        _ => return None,
    };
    let rex = (!extensions >> 5) | ((rest >> 7) << 3);
    let rex = if is_64_bit { 0x40 | rex } else { 0 };
    let is_prefixed = prefixes.operand_size || prefixes.repeat != Repeat::No || prefixes.rex != 0;
    Some(Encoding {
        prefixes: Prefixes { rex, ..prefixes },
        mandatory: Mandatory::of_vex(rest),
        map,
        opcode: cursor.next(),
        vex: Some(Vex {
            second: (!rest >> 3) & 15,
            is_256: rest & 4 != 0,
            is_prefixed,
        }),
    })
}

fn form(encoding: &Encoding) -> Option<Form> {
    let form = match encoding.map {
        Map::Two => two_byte(encoding.opcode, encoding.mandatory),
        Map::Three => three_byte(encoding.opcode, encoding.mandatory),
    };
    form.filter(|form| encoding.vex.is_none() || !form.mmx)
}

/// The opcodes after 0Fh.
fn two_byte(opcode: u8, mandatory: Mandatory) -> Option<Form> {
    use Mandatory::{F2, F3, None as No, P66};
    let access = match opcode {
        0x11 | 0x13 | 0x17 | 0x29 | 0x2b | 0x7f | 0xd6 | 0xe7 => Access::Write,
        0x7e if mandatory != F3 => Access::Write,
        _ => Access::Read,
    };
    let of = |size| Form::new(access, size);
    Some(match (opcode, mandatory) {
        (0x10 | 0x11, No | P66) | (0x6f | 0x7f, F3) | (0xf0, F2) => of(Size::Vector),
        (0x28 | 0x29 | 0x2b, No | P66) => of(Size::Vector).aligned(),
        (0x6f | 0x7f | 0xe7, P66) => of(Size::Vector).aligned(),
        (0x10 | 0x11, F3) => of(Size::Dword),
        (0x10 | 0x11, F2) | (0x7e, F3) | (0xd6, P66) => of(Size::Qword),
        (0x12 | 0x13, No | P66) => of(Size::Qword).part(Part::Low),
        (0x16 | 0x17, No | P66) => of(Size::Qword).part(Part::High),
        (0x6e | 0x7e, P66) => of(Size::General),
        (0x6e | 0x7e, No) => of(Size::General).mmx(),
        (0x6f | 0x7f | 0xe7, No) => of(Size::Qword).mmx(),
        _ => return None,
    })
}

/// The opcodes after 0Fh 38h.
fn three_byte(opcode: u8, mandatory: Mandatory) -> Option<Form> {
    let loads = opcode == 0x2a && mandatory == Mandatory::P66;
    loads.then(|| Form::new(Access::Read, Size::Vector).aligned())
}

/// Whether every field may be what it is.
fn is_defined(encoding: &Encoding, form: &Form) -> bool {
    let fits = encoding.vex.is_none_or(|vex| {
        // The scalar moves of 10h and 11h ignore L.
        let ignores_length = matches!(encoding.opcode, 0x10 | 0x11);
        let length = !vex.is_256 || form.size == Size::Vector || ignores_length;
        length && (vex.second == 0 || form.merges()) && !vex.is_prefixed
    });
    fits && !encoding.prefixes.lock
}

fn vector_move(
    encoding: &Encoding,
    form: &Form,
    modrm: u8,
    memory: MemoryOperand,
    length: u8,
) -> VectorMove {
    let prefixes = &encoding.prefixes;
    let field = (modrm >> 3) & 7;
    let (file, register) = if form.mmx {
        (RegisterFile::Mmx, field)
    } else {
        let file = encoding
            .vex
            .map_or(RegisterFile::Sse, |_| RegisterFile::Vex);
        (file, prefixes.extend_register(field))
    };
    VectorMove {
        length,
        access: form.access,
        file,
        register,
        part: form.part,
        merged: encoding.merged(form).unwrap_or(register),
        bytes: match form.size {
            Size::Dword => 4,
            Size::Qword => 8,
            Size::General if prefixes.rex & 8 != 0 => 8,
            Size::General => 4,
            Size::Vector if encoding.vex.is_some_and(|vex| vex.is_256) => 32,
            Size::Vector => 16,
        },
        alignment: form.alignment,
        memory,
    }
}
