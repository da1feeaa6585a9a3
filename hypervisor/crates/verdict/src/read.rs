//! The exit that ring 0 has written into the shared page.
//!
//! Any words decode to some exit; what makes no sense is [`VmExit::Unknown`].

use crate::ALL_KINDS;
use skerry_words::exit_bits::{KNOWN, REPEAT, STRING, WALK};
use skerry_words::{
    Access, CrAccess, CrOperation, Direction, EventWord, ExitKind, ExitWords, Gpa, Gva,
    MemoryAccess, Port, PortAccess, Segment, StringIo, TaskSwitch, Undefined, Vector, VmExit,
    Width,
};

/// What [`ExitWords`] say.
pub trait ReadExit {
    /// Whether it is an exit of this kind.
    #[must_use]
    fn is(&self, kind: ExitKind) -> bool;

    /// The access, if the exit is one to a port. For the frequent exits this is a shorter way
    /// than [`ReadExit::decode`], which gives the same.
    #[must_use]
    fn port_access(&self) -> Option<PortAccess>;

    /// The access, if the exit is one to memory.
    #[must_use]
    fn memory_access(&self) -> Option<MemoryAccess>;

    /// The exit.
    #[must_use]
    fn decode(&self) -> VmExit;
}

impl ReadExit for ExitWords {
    #[inline(always)]
    fn is(&self, kind: ExitKind) -> bool {
        self.kind == kind as u32
    }

    #[inline(always)]
    fn port_access(&self) -> Option<PortAccess> {
        self.is(ExitKind::Port).then(|| port(self))
    }

    #[inline(always)]
    fn memory_access(&self) -> Option<MemoryAccess> {
        self.is(ExitKind::Memory).then(|| memory(self))
    }

    #[inline]
    fn decode(&self) -> VmExit {
        let Some(kind) = ALL_KINDS.get(self.kind as usize) else {
            return VmExit::Unknown(self.kind);
        };
        match kind {
            ExitKind::Cpuid => VmExit::Cpuid,
            ExitKind::Hypercall => VmExit::Hypercall,
            ExitKind::Rdmsr => VmExit::Rdmsr,
            ExitKind::Wrmsr => VmExit::Wrmsr,
            ExitKind::Port => VmExit::Port(port(self)),
            ExitKind::Memory => VmExit::Memory(memory(self)),
            ExitKind::Cr => VmExit::Cr(cr(self)),
            ExitKind::Dr => VmExit::Dr,
            ExitKind::Xsetbv => VmExit::Xsetbv,
            ExitKind::Hlt => VmExit::Hlt,
            ExitKind::Pause => VmExit::Pause,
            ExitKind::CacheFlush => VmExit::CacheFlush,
            ExitKind::Invlpg => VmExit::Invlpg(Gva(self.first)),
            ExitKind::Undefined => VmExit::Undefined(undefined(self)),
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
            ExitKind::ApicWrite => VmExit::ApicWrite(self.detail as u16),
            ExitKind::ApicEnd => VmExit::ApicEnd(Vector(self.detail as u8)),
        }
    }
}

#[inline(always)]
fn port(words: &ExitWords) -> PortAccess {
    let string = words.first;
    PortAccess {
        port: Port(words.detail as u16),
        width: match (words.detail >> 16) & 3 {
            0 => Width::Byte,
            1 => Width::Word,
            _ => Width::Dword,
        },
        direction: match words.detail >> 24 {
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

fn memory(words: &ExitWords) -> MemoryAccess {
    MemoryAccess {
        gpa: Gpa(words.first),
        access: match words.detail & 3 {
            0 => Access::Read,
            1 => Access::Write,
            _ => Access::Execute,
        },
        gva: (words.detail & KNOWN != 0).then_some(Gva(words.second)),
        during_walk: words.detail & WALK != 0,
    }
}

fn cr(words: &ExitWords) -> CrAccess {
    let operand = words.first;
    CrAccess {
        register: words.detail as u8,
        operation: match (words.detail >> 8) & 7 {
            0 => CrOperation::Write(operand as u8),
            1 => CrOperation::Read(operand as u8),
            2 => CrOperation::Clts,
            3 => CrOperation::Lmsw(operand as u16),
            _ => CrOperation::Undecoded,
        },
    }
}

fn undefined(words: &ExitWords) -> Undefined {
    match words.detail {
        0 => Undefined::Virtualization,
        1 => Undefined::MonitorMwait,
        3 => Undefined::Rdpmc,
        _ => Undefined::SystemExtension,
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
    use skerry_words::{Event, EventKind};

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
            kind: 27,
            ..ExitWords::default()
        };
        assert_eq!(words.decode(), VmExit::Unknown(27));
    }
}
