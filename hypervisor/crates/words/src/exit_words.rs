//! A [`VmExit`] as it stands in the shared page: four words of defined layout.
//!
//! Ring 0 writes it; the VMM reads it, by `skerry-verdict`. Any words decode to some exit, so
//! neither side's bugs are undefined behaviour in the other.

use crate::{Access, CrOperation, EventWord, ExitKind, MemoryAccess, PortAccess, StringIo, VmExit};

/// One exit in words. Zero is CPUID.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct ExitWords {
    /// The [`ExitKind`].
    pub kind: u32,
    /// Small operands, by kind.
    pub detail: u32,
    /// The first address or value.
    pub first: u64,
    /// The second.
    pub second: u64,
}

/// In [`ExitWords::first`] of a port access: there is a [`StringIo`].
pub const STRING: u64 = 1 << 0;
/// Beside [`STRING`]: it is repeated.
pub const REPEAT: u64 = 1 << 1;
/// In [`ExitWords::detail`]: the operand that may be missing is there.
pub const KNOWN: u32 = 1 << 31;
/// In [`ExitWords::detail`] of a memory access: it was part of a walk.
pub const WALK: u32 = 1 << 30;

impl ExitWords {
    /// The words for an exit of this kind that has no operands.
    #[inline(always)]
    #[must_use]
    pub const fn plain(kind: ExitKind) -> Self {
        Self::new(kind, 0)
    }

    const fn new(kind: ExitKind, detail: u32) -> Self {
        Self {
            kind: kind as u32,
            detail,
            first: 0,
            second: 0,
        }
    }

    /// The words for `exit`.
    #[inline(always)]
    #[must_use]
    pub const fn encode(exit: &VmExit) -> Self {
        let mut words = Self::new(exit.kind(), 0);
        match exit {
            VmExit::Port(access) => {
                words.detail = port_detail(*access);
                if let Some(string) = access.string {
                    words.first = string_word(string);
                }
            }
            VmExit::Memory(access) => {
                words.detail = memory_detail(*access);
                words.first = access.gpa.0;
                if let Some(gva) = access.gva {
                    words.second = gva.0;
                }
            }
            VmExit::Cr(access) => {
                let (operation, operand) = cr_operation(access.operation);
                words.detail = access.register as u32 | operation << 8;
                words.first = operand;
            }
            VmExit::Invlpg(gva) => words.first = gva.0,
            VmExit::Undefined(undefined) => words.detail = *undefined as u32,
            VmExit::Exception(event) => words.first = EventWord::encode(*event).0,
            VmExit::TaskSwitch(switch) => words.detail = switch.selector as u32,
            VmExit::HostInterrupt(Some(vector)) => words.detail = vector.0 as u32 | KNOWN,
            VmExit::EntryFailed(code) | VmExit::Unknown(code) => words.detail = *code,
            VmExit::ApicWrite(offset) => words.detail = *offset as u32,
            VmExit::ApicEnd(vector) => words.detail = vector.0 as u32,
            VmExit::Cpuid
            | VmExit::Hypercall
            | VmExit::Rdmsr
            | VmExit::Wrmsr
            | VmExit::Dr
            | VmExit::Xsetbv
            | VmExit::Hlt
            | VmExit::Pause
            | VmExit::CacheFlush
            | VmExit::InterruptWindow
            | VmExit::NmiWindow
            | VmExit::HostInterrupt(None)
            | VmExit::HostNmi
            | VmExit::Timer
            | VmExit::TripleFault
            | VmExit::Init => {}
        }
        words
    }
}

const fn port_detail(access: PortAccess) -> u32 {
    access.port.0 as u32 | (access.width as u32) << 16 | (access.direction as u32) << 24
}

const fn string_word(string: StringIo) -> u64 {
    let repeat = if string.repeat { REPEAT } else { 0 };
    STRING | repeat | (string.address_bytes as u64) << 8 | (string.segment as u64) << 16
}

const fn memory_detail(access: MemoryAccess) -> u32 {
    let mut detail = match access.access {
        Access::Read => 0,
        Access::Write => 1,
        Access::Execute => 2,
    };
    if access.gva.is_some() {
        detail |= KNOWN;
    }
    if access.during_walk {
        detail |= WALK;
    }
    detail
}

const fn cr_operation(operation: CrOperation) -> (u32, u64) {
    match operation {
        CrOperation::Write(gpr) => (0, gpr as u64),
        CrOperation::Read(gpr) => (1, gpr as u64),
        CrOperation::Clts => (2, 0),
        CrOperation::Lmsw(word) => (3, word as u64),
        CrOperation::Undecoded => (4, 0),
    }
}
