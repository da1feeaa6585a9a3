//! What some CPUs do not tell about an instruction that exited.
//!
//! Owns the second look at an instruction whose exit is known: its length, the register of
//! a MOV to or from a control register, segment and address size of INS and OUTS. Does not
//! own what the instruction does. Called by the VMM where the exit came without a length.

use crate::address::MemoryOperand;
use crate::cursor::Cursor;
use crate::decode::DecodeError;
use crate::fetch::{Bytes, fetch_from, joined};
use crate::glance::Glance;
use crate::place::Translations;
use crate::prefix::Prefixes;
use crate::string_io::Floating;
use crate::{mode, register, segment, string_io};
use skerry_verdict::{Fault, GuestMemory};
use skerry_words::{
    Access, CrAccess, CrOperation, Direction, GuestState, PAGE_BYTES, PortAccess, Segment,
    StringIo, VmExit, Width,
};

/// An exit with nothing left untold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measured {
    /// The exit, completed.
    pub exit: VmExit,
    /// The length of the instruction, 1 to 15; 0 for an exit that is none's.
    pub bytes: u32,
}

/// The length of the instruction at RIP that exited as `exit`, if it is one of the frequent
/// ones without a prefix, in 64-bit code and not at the end of its page; `None` sends to
/// [`measure`]. `last` remembers the page, and starts as its default.
#[inline(always)]
pub fn plain_length(
    exit: &VmExit,
    state: &GuestState,
    memory: &mut impl GuestMemory,
    last: &mut Glance,
) -> Option<u32> {
    /// The last place of eight bytes in a page.
    const WHOLE: u64 = PAGE_BYTES - 8;
    // The bytes as a little-endian number, the mask of them, and how many they are.
    let (opcode, mask, length) = match exit {
        VmExit::Cpuid => (0xa20f, 0xffff, 2),
        // VMMCALL: CPUs that have VMCALL tell its length.
        VmExit::Hypercall => (0x00d9_010f, 0x00ff_ffff, 3),
        VmExit::Rdmsr => (0x320f, 0xffff, 2),
        VmExit::Wrmsr => (0x300f, 0xffff, 2),
        VmExit::Hlt => (0xf4, 0xff, 1),
        VmExit::Port(_)
        | VmExit::Cr(_)
        | VmExit::Xsetbv
        | VmExit::Pause
        | VmExit::CacheFlush
        | VmExit::Memory(_)
        | VmExit::Dr
        | VmExit::Invlpg(_)
        | VmExit::Undefined(_)
        | VmExit::Exception(_)
        | VmExit::TaskSwitch(_)
        | VmExit::InterruptWindow
        | VmExit::NmiWindow
        | VmExit::HostInterrupt(_)
        | VmExit::HostNmi
        | VmExit::Timer
        | VmExit::TripleFault
        | VmExit::Init
        | VmExit::EntryFailed(_)
        | VmExit::Unknown(_)
        | VmExit::ApicWrite(_)
        | VmExit::ApicEnd(_) => return None,
    };
    if !mode::is_64_bit(state) {
        return None;
    }
    let at = last.code(state, memory)?;
    (memory.word(at)? & mask == opcode && at.page_offset() <= WHOLE).then_some(length)
}

/// Looks at the instruction at RIP that exited as `exit`. `None` if there is another one
/// now (the guest's memory has changed since the exit): the guest shall execute that.
///
/// Exits that are no instruction's, or whose length the answer does not need, come back as
/// they are. Needs the state groups INSTRUCTION and CONTROL, and CODE or SEGMENTS.
///
/// # Errors
/// The fault a CPU would raise if it fetched the instruction now; nothing was changed.
#[cold]
pub fn measure(
    exit: &VmExit,
    state: &GuestState,
    memory: &mut impl GuestMemory,
) -> Result<Option<Measured>, Fault> {
    if !is_measurable(exit) {
        return Ok(Some(Measured {
            exit: *exit,
            bytes: 0,
        }));
    }
    let code = mode::code_width(state);
    let bytes = fetch_from(state, memory, 0)?;
    match look(exit, &bytes, code) {
        Ok(measured) => Ok(Some(measured)),
        Err(ended) => look_again(exit, state, memory, bytes, ended),
    }
}

/// What is longer than its page, or has an operand in memory.
#[cold]
fn look_again(
    exit: &VmExit,
    state: &GuestState,
    memory: &mut impl GuestMemory,
    first: Bytes,
    ended: DecodeError,
) -> Result<Option<Measured>, Fault> {
    let bytes = match ended {
        DecodeError::Unknown => first,
        DecodeError::Truncated => joined(first, fetch_from(state, memory, first.length() as u64)?),
    };
    match look(exit, &bytes, mode::code_width(state)) {
        Ok(measured) => Ok(Some(measured)),
        Err(_) => lmsw(exit, state, memory, &bytes),
    }
}

/// LMSW, the one instruction here whose operand may be in memory.
fn lmsw(
    exit: &VmExit,
    state: &GuestState,
    memory: &mut impl GuestMemory,
    bytes: &Bytes,
) -> Result<Option<Measured>, Fault> {
    let mut cursor = Cursor::new(bytes);
    let (prefixes, first) = Prefixes::take(&mut cursor, mode::code_width(state));
    let opcode = [first, cursor.next()];
    let modrm = cursor.next();
    let VmExit::Cr(access) = exit else {
        return Ok(None);
    };
    if opcode != [0x0f, 0x01] || (modrm >> 3) & 7 != 6 {
        return Ok(None);
    }
    let operand = (modrm >> 6 != 3).then(|| MemoryOperand::take(&mut cursor, &prefixes, modrm));
    let Ok(length) = cursor.taken() else {
        return Ok(None);
    };
    let word = match operand {
        None => register::full(state, prefixes.extend_base(modrm & 7)) as u16,
        Some(operand) => word_at(&operand, state, memory, u64::from(length))?,
    };
    let operation = CrOperation::Lmsw(word);
    let exit = VmExit::Cr(CrAccess {
        operation,
        ..*access
    });
    Ok(Some(Measured {
        exit,
        bytes: u32::from(length),
    }))
}

fn word_at(
    operand: &MemoryOperand,
    state: &GuestState,
    memory: &mut impl GuestMemory,
    length: u64,
) -> Result<u16, Fault> {
    const BYTES: u64 = 2;
    let offset = operand.offset(state, state.rip.wrapping_add(length), 0);
    let gva = segment::linear(state, operand.segment, offset, BYTES, Access::Read)?;
    let place = Translations::new().place(state, memory, gva, BYTES, Access::Read)?;
    Ok(string_io::load(memory, &mut Floating, place, Width::Word) as u16)
}

/// Whether [`measure`] has a look at the instruction that exited so: the answer goes on behind it.
#[inline(always)]
#[must_use]
pub const fn is_measurable(exit: &VmExit) -> bool {
    match exit {
        VmExit::Cpuid
        | VmExit::Hypercall
        | VmExit::Rdmsr
        | VmExit::Wrmsr
        | VmExit::Port(_)
        | VmExit::Cr(_)
        | VmExit::Xsetbv
        | VmExit::Hlt
        | VmExit::Pause
        | VmExit::CacheFlush => true,
        VmExit::Memory(_)
        | VmExit::Dr
        | VmExit::Invlpg(_)
        | VmExit::Undefined(_)
        | VmExit::Exception(_)
        | VmExit::TaskSwitch(_)
        | VmExit::InterruptWindow
        | VmExit::NmiWindow
        | VmExit::HostInterrupt(_)
        | VmExit::HostNmi
        | VmExit::Timer
        | VmExit::TripleFault
        | VmExit::Init
        | VmExit::EntryFailed(_)
        | VmExit::Unknown(_)
        | VmExit::ApicWrite(_)
        | VmExit::ApicEnd(_) => false,
    }
}

#[inline]
fn look(exit: &VmExit, bytes: &Bytes, code: Width) -> Result<Measured, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let (prefixes, first) = Prefixes::take(&mut cursor, code);
    let exit = if first == 0x0f {
        two_bytes(exit, &mut cursor, &prefixes)
    } else {
        one_byte(exit, first, &prefixes)
    };
    // Missing bytes read as zeros, so they come before what the bytes say.
    let bytes = u32::from(cursor.taken()?);
    Ok(Measured { exit: exit?, bytes })
}

fn one_byte(exit: &VmExit, opcode: u8, prefixes: &Prefixes) -> Result<VmExit, DecodeError> {
    match (exit, opcode) {
        // HLT; PAUSE, which is NOP with a prefix.
        (VmExit::Hlt, 0xf4) | (VmExit::Pause, 0x90) => Ok(*exit),
        // IN and OUT without an immediate; string forms.
        (VmExit::Port(PortAccess { string: None, .. }), 0xec..=0xef) => Ok(*exit),
        (VmExit::Port(access), 0x6c..=0x6f) => Ok(VmExit::Port(told(*access, prefixes))),
        _ => Err(DecodeError::Unknown),
    }
}

/// INS and OUTS with their segment and address size.
fn told(access: PortAccess, prefixes: &Prefixes) -> PortAccess {
    let segment = match access.direction {
        Direction::In => Segment::Es,
        Direction::Out => prefixes.segment.unwrap_or(Segment::Ds),
    };
    let address_bytes = prefixes.address_width().bytes() as u8;
    let string = access.string.map(|string| StringIo {
        address_bytes,
        segment,
        ..string
    });
    PortAccess { string, ..access }
}

#[inline]
fn two_bytes(
    exit: &VmExit,
    cursor: &mut Cursor<'_>,
    prefixes: &Prefixes,
) -> Result<VmExit, DecodeError> {
    match (exit, cursor.next()) {
        (VmExit::Cpuid, 0xa2)
        | (VmExit::Rdmsr, 0x32)
        | (VmExit::Wrmsr, 0x30)
        // INVD, WBINVD.
        | (VmExit::CacheFlush, 0x08 | 0x09) => Ok(*exit),
        (VmExit::Hypercall, 0x01) => third_byte(exit, cursor, &[0xd9, 0xc1]),
        (VmExit::Xsetbv, 0x01) => third_byte(exit, cursor, &[0xd1]),
        (VmExit::Cr(access), opcode) => control_register(*access, opcode, cursor, prefixes),
        _ => Err(DecodeError::Unknown),
    }
}

fn third_byte(
    exit: &VmExit,
    cursor: &mut Cursor<'_>,
    expected: &[u8],
) -> Result<VmExit, DecodeError> {
    if expected.contains(&cursor.next()) {
        Ok(*exit)
    } else {
        Err(DecodeError::Unknown)
    }
}

/// MOV to and from a control register, whose ModRM.mod does not count, and CLTS. LMSW is
/// found later; SMSW is not known: no backend asks for reads of CR0.
fn control_register(
    access: CrAccess,
    opcode: u8,
    cursor: &mut Cursor<'_>,
    prefixes: &Prefixes,
) -> Result<VmExit, DecodeError> {
    let operation = match opcode {
        0x06 => CrOperation::Clts,
        0x20 => CrOperation::Read(prefixes.extend_base(cursor.next() & 7)),
        0x22 => CrOperation::Write(prefixes.extend_base(cursor.next() & 7)),
        _ => return Err(DecodeError::Unknown),
    };
    Ok(VmExit::Cr(CrAccess {
        operation,
        ..access
    }))
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm
)]
mod tests;
