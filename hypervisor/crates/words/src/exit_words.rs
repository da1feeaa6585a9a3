//! A [`VmExit`] as it stands in the shared page: four words of defined layout.
//!
//! Ring 0 writes it, the VMM reads it. Any words decode to some exit, so neither side's bugs
//! are undefined behaviour in the other; what makes no sense is [`VmExit::Unknown`].

use crate::{
    Access, CrAccess, CrOperation, Direction, EventWord, ExitKind, Gpa, Gva, MemoryAccess, Port,
    PortAccess, Segment, StringIo, TaskSwitch, Undefined, Vector, VmExit, Width,
};

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

const STRING: u64 = 1 << 0;
const REPEAT: u64 = 1 << 1;
const KNOWN: u32 = 1 << 31;
const WALK: u32 = 1 << 30;

impl ExitWords {
    const fn new(kind: ExitKind, detail: u32) -> Self {
        Self {
            kind: kind as u32,
            detail,
            first: 0,
            second: 0,
        }
    }

    /// The words for `exit`.
    #[inline]
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

    /// Whether it is an exit of this kind.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, kind: ExitKind) -> bool {
        self.kind == kind as u32
    }

    /// The access, if the exit is one to a port. For the frequent exits this is a shorter way
    /// than [`ExitWords::decode`], which gives the same.
    #[inline(always)]
    #[must_use]
    pub fn port_access(&self) -> Option<PortAccess> {
        self.is(ExitKind::Port).then(|| self.port())
    }

    /// The access, if the exit is one to memory.
    #[inline(always)]
    #[must_use]
    pub fn memory_access(&self) -> Option<MemoryAccess> {
        self.is(ExitKind::Memory).then(|| self.memory())
    }

    /// The exit.
    #[inline]
    #[must_use]
    pub fn decode(&self) -> VmExit {
        let Some(kind) = ExitKind::ALL.get(self.kind as usize) else {
            return VmExit::Unknown(self.kind);
        };
        match kind {
            ExitKind::Cpuid => VmExit::Cpuid,
            ExitKind::Hypercall => VmExit::Hypercall,
            ExitKind::Rdmsr => VmExit::Rdmsr,
            ExitKind::Wrmsr => VmExit::Wrmsr,
            ExitKind::Port => VmExit::Port(self.port()),
            ExitKind::Memory => VmExit::Memory(self.memory()),
            ExitKind::Cr => VmExit::Cr(self.cr()),
            ExitKind::Dr => VmExit::Dr,
            ExitKind::Xsetbv => VmExit::Xsetbv,
            ExitKind::Hlt => VmExit::Hlt,
            ExitKind::Pause => VmExit::Pause,
            ExitKind::CacheFlush => VmExit::CacheFlush,
            ExitKind::Invlpg => VmExit::Invlpg(Gva(self.first)),
            ExitKind::Undefined => VmExit::Undefined(self.undefined()),
            ExitKind::Exception => match EventWord(self.first).decode() {
                Some(event) => VmExit::Exception(event),
                None => VmExit::Unknown(self.kind),
            },
            ExitKind::TaskSwitch => VmExit::TaskSwitch(TaskSwitch {
                selector: self.detail as u16,
            }),
            ExitKind::InterruptWindow => VmExit::InterruptWindow,
            ExitKind::NmiWindow => VmExit::NmiWindow,
            ExitKind::HostInterrupt => {
                let known = self.detail & KNOWN != 0;
                VmExit::HostInterrupt(known.then_some(Vector(self.detail as u8)))
            }
            ExitKind::HostNmi => VmExit::HostNmi,
            ExitKind::Timer => VmExit::Timer,
            ExitKind::TripleFault => VmExit::TripleFault,
            ExitKind::Init => VmExit::Init,
            ExitKind::EntryFailed => VmExit::EntryFailed(self.detail),
            ExitKind::Unknown => VmExit::Unknown(self.detail),
        }
    }

    #[inline(always)]
    fn port(&self) -> PortAccess {
        let string = self.first;
        PortAccess {
            port: Port(self.detail as u16),
            width: match (self.detail >> 16) & 3 {
                0 => Width::Byte,
                1 => Width::Word,
                _ => Width::Dword,
            },
            direction: match self.detail >> 24 {
                0 => Direction::In,
                _ => Direction::Out,
            },
            string: (string & STRING != 0).then(|| StringIo {
                repeat: string & REPEAT != 0,
                address_bytes: (string >> 8) as u8,
                segment: segment((string >> 16) as u32),
            }),
        }
    }

    fn memory(&self) -> MemoryAccess {
        MemoryAccess {
            gpa: Gpa(self.first),
            access: match self.detail & 3 {
                0 => Access::Read,
                1 => Access::Write,
                _ => Access::Execute,
            },
            gva: (self.detail & KNOWN != 0).then_some(Gva(self.second)),
            during_walk: self.detail & WALK != 0,
        }
    }

    fn cr(&self) -> CrAccess {
        let operand = self.first;
        CrAccess {
            register: self.detail as u8,
            operation: match (self.detail >> 8) & 7 {
                0 => CrOperation::Write(operand as u8),
                1 => CrOperation::Read(operand as u8),
                2 => CrOperation::Clts,
                3 => CrOperation::Lmsw(operand as u16),
                _ => CrOperation::Undecoded,
            },
        }
    }

    fn undefined(&self) -> Undefined {
        match self.detail {
            0 => Undefined::Virtualization,
            1 => Undefined::MonitorMwait,
            3 => Undefined::Rdpmc,
            _ => Undefined::SystemExtension,
        }
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

const fn segment(number: u32) -> Segment {
    match number {
        0 => Segment::Es,
        1 => Segment::Cs,
        2 => Segment::Ss,
        4 => Segment::Fs,
        5 => Segment::Gs,
        _ => Segment::Ds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, EventKind};

    fn survives(exit: VmExit) {
        let words = ExitWords::encode(&exit);
        assert_eq!(words.decode(), exit);
        let port = words.port_access().map(VmExit::Port);
        let memory = words.memory_access().map(VmExit::Memory);
        let kind = words.is(ExitKind::Port) || words.is(ExitKind::Memory);
        assert_eq!(port.or(memory), kind.then_some(exit));
    }

    #[test]
    fn every_port_access_survives() {
        for width in [Width::Byte, Width::Word, Width::Dword] {
            for direction in [Direction::In, Direction::Out] {
                for port in [0, 0x3f8, u16::MAX] {
                    let mut access = PortAccess {
                        port: Port(port),
                        width,
                        direction,
                        string: None,
                    };
                    survives(VmExit::Port(access));
                    for address_bytes in [0, 2, 4, 8] {
                        for segment in [Segment::Es, Segment::Ds, Segment::Gs] {
                            let repeat = address_bytes == 4;
                            access.string = Some(StringIo {
                                repeat,
                                address_bytes,
                                segment,
                            });
                            survives(VmExit::Port(access));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_memory_access_survives() {
        for access in [Access::Read, Access::Write, Access::Execute] {
            for gva in [None, Some(Gva(u64::MAX))] {
                for during_walk in [false, true] {
                    survives(VmExit::Memory(MemoryAccess {
                        gpa: Gpa(0xfe03_0000),
                        access,
                        gva,
                        during_walk,
                    }));
                }
            }
        }
    }

    #[test]
    fn every_other_operand_survives() {
        for operation in [
            CrOperation::Write(15),
            CrOperation::Read(3),
            CrOperation::Clts,
            CrOperation::Lmsw(0xffff),
            CrOperation::Undecoded,
        ] {
            survives(VmExit::Cr(CrAccess {
                register: 8,
                operation,
            }));
        }
        for undefined in [
            Undefined::Virtualization,
            Undefined::MonitorMwait,
            Undefined::SystemExtension,
            Undefined::Rdpmc,
        ] {
            survives(VmExit::Undefined(undefined));
        }
        survives(VmExit::Exception(Event {
            kind: EventKind::Exception,
            vector: Vector(17),
            error_code: Some(5),
        }));
        survives(VmExit::TaskSwitch(TaskSwitch { selector: 0xfff8 }));
        survives(VmExit::HostInterrupt(Some(Vector(0))));
        survives(VmExit::HostInterrupt(None));
        survives(VmExit::Invlpg(Gva(1 << 63)));
        survives(VmExit::EntryFailed(u32::MAX));
        survives(VmExit::Unknown(77));
    }

    #[test]
    fn every_exit_without_operands_survives() {
        for exit in [
            VmExit::Cpuid,
            VmExit::Hypercall,
            VmExit::Rdmsr,
            VmExit::Wrmsr,
            VmExit::Dr,
            VmExit::Xsetbv,
            VmExit::Hlt,
            VmExit::Pause,
            VmExit::CacheFlush,
            VmExit::InterruptWindow,
            VmExit::NmiWindow,
            VmExit::HostNmi,
            VmExit::Timer,
            VmExit::TripleFault,
            VmExit::Init,
        ] {
            survives(exit);
        }
    }

    #[test]
    fn words_of_no_exit_are_unknown() {
        let words = ExitWords {
            kind: 25,
            ..ExitWords::default()
        };
        assert_eq!(words.decode(), VmExit::Unknown(25));
    }
}
