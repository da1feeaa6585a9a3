//! Why a guest exited, the same on both vendors.
//!
//! A closed enum: a new exit breaks the build until somebody decides its answer.

use crate::{Event, Gpa, Gva, Port, Segment, Vector};

/// One VM exit, decoded. Register operands are in the [`crate::GuestState`] page. The tag is
/// a byte of its own, in the order of [`ExitKind`], so that telling the kind costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum VmExit {
    /// CPUID; leaf in EAX, subleaf in ECX.
    Cpuid,
    /// VMCALL or VMMCALL.
    Hypercall,
    /// RDMSR of the index in ECX.
    Rdmsr,
    /// WRMSR of EDX:EAX to the index in ECX.
    Wrmsr,
    /// IN, OUT, INS or OUTS.
    Port(PortAccess),
    /// A guest-physical access that the second stage does not allow.
    Memory(MemoryAccess),
    /// A move to or from a control register, CLTS or LMSW.
    Cr(CrAccess),
    /// A move to or from a debug register, its number and the register operand.
    Dr,
    /// XSETBV of EDX:EAX to the index in ECX.
    Xsetbv,
    /// HLT.
    Hlt,
    /// PAUSE, or a loop of it.
    Pause,
    /// INVD or WBINVD.
    CacheFlush,
    /// INVLPG of this linear address.
    Invlpg(Gva),
    /// An instruction this virtual CPU does not have.
    Undefined(Undefined),
    /// An exception ring 0 asked to see.
    Exception(Event),
    /// A hardware task switch.
    TaskSwitch(TaskSwitch),
    /// The guest can take an interrupt now.
    InterruptWindow,
    /// The guest can take an NMI now.
    NmiWindow,
    /// A host interrupt arrived, with its vector where the CPU acknowledged it.
    HostInterrupt(Option<Vector>),
    /// A host NMI arrived.
    HostNmi,
    /// The time slice or deadline ring 0 set has passed.
    Timer,
    /// The guest's CPU shut down.
    TripleFault,
    /// INIT or a start-up IPI reached the physical CPU.
    Init,
    /// The CPU refused the entry: basic exit reason or exit code.
    EntryFailed(u32),
    /// A reason no manual we know names.
    Unknown(u32),
    /// The guest has written the register at this offset of its APIC page, where the value now
    /// stands, and the CPU leaves what follows from it to others.
    ApicWrite(u16),
    /// The CPU has ended the interrupt with this vector in the APIC page, and somebody wanted to
    /// know.
    ApicEnd(Vector),
}

/// An instruction refused with `#UD` (or `#GP` for RDPMC).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Undefined {
    /// VMXON, VMLAUNCH, VMRUN and their family: no nesting.
    Virtualization,
    /// MONITOR or MWAIT: hidden in CPUID.
    MonitorMwait,
    /// GETSEC, ENCLS, RSM and the like.
    SystemExtension,
    /// RDPMC: no performance counters.
    Rdpmc,
}

/// The width of a port or memory access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 1 byte.
    Byte,
    /// 2 bytes.
    Word,
    /// 4 bytes.
    Dword,
    /// 8 bytes (memory only).
    Qword,
}

impl Width {
    /// Its number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Dword => 4,
            Self::Qword => 8,
        }
    }

    /// The mask of its bits; also what a read of absent hardware gives.
    #[must_use]
    pub const fn mask(self) -> u64 {
        match self {
            Self::Byte => 0xff,
            Self::Word => 0xffff,
            Self::Dword => 0xffff_ffff,
            Self::Qword => u64::MAX,
        }
    }
}

/// Which way an access goes, seen from the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The guest reads.
    In,
    /// The guest writes.
    Out,
}

/// One port instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortAccess {
    /// The port.
    pub port: Port,
    /// Byte, word or dword.
    pub width: Width,
    /// Read or write.
    pub direction: Direction,
    /// For INS and OUTS: where the bytes come from or go to.
    pub string: Option<StringIo>,
}

/// The string form of a port instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StringIo {
    /// Whether a REP prefix makes RCX count.
    pub repeat: bool,
    /// The address size in bytes: 2, 4 or 8; 0 where the CPU tells neither it nor the
    /// segment, and the instruction must be looked at.
    pub address_bytes: u8,
    /// The segment of the memory operand (ES for INS; DS or an override for OUTS).
    pub segment: Segment,
}

/// What a memory access wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A data read.
    Read,
    /// A data write.
    Write,
    /// An instruction fetch.
    Execute,
}

/// A guest-physical access the second stage stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryAccess {
    /// The guest-physical address.
    pub gpa: Gpa,
    /// What was wanted.
    pub access: Access,
    /// The guest-linear address, where the CPU tells it.
    pub gva: Option<Gva>,
    /// Whether the access was part of the guest's own page-table walk.
    pub during_walk: bool,
}

/// One access to a control register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CrAccess {
    /// The register: 0, 2, 3, 4 or 8.
    pub register: u8,
    /// What was done.
    pub operation: CrOperation,
}

/// What a control-register instruction does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrOperation {
    /// MOV CRn, reg: the register's index, 0 to 15.
    Write(u8),
    /// MOV reg, CRn: the register's index, 0 to 15.
    Read(u8),
    /// CLTS.
    Clts,
    /// LMSW with this machine status word.
    Lmsw(u16),
    /// A write the CPU does not decode: the instruction must be looked at.
    Undecoded,
}

/// A hardware task switch the guest asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskSwitch {
    /// The selector of the new task-state segment.
    pub selector: u16,
}

/// How many kinds of exit there are.
pub const EXIT_KINDS: usize = 27;

/// The kind of an exit: what the counters count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)] // named as the variants of `VmExit`
pub enum ExitKind {
    Cpuid = 0,
    Hypercall = 1,
    Rdmsr = 2,
    Wrmsr = 3,
    Port = 4,
    Memory = 5,
    Cr = 6,
    Dr = 7,
    Xsetbv = 8,
    Hlt = 9,
    Pause = 10,
    CacheFlush = 11,
    Invlpg = 12,
    Undefined = 13,
    Exception = 14,
    TaskSwitch = 15,
    InterruptWindow = 16,
    NmiWindow = 17,
    HostInterrupt = 18,
    HostNmi = 19,
    Timer = 20,
    TripleFault = 21,
    Init = 22,
    EntryFailed = 23,
    Unknown = 24,
    ApicWrite = 25,
    ApicEnd = 26,
}

impl VmExit {
    /// The kind the counters count it under.
    #[must_use]
    pub const fn kind(&self) -> ExitKind {
        match self {
            Self::Cpuid => ExitKind::Cpuid,
            Self::Hypercall => ExitKind::Hypercall,
            Self::Rdmsr => ExitKind::Rdmsr,
            Self::Wrmsr => ExitKind::Wrmsr,
            Self::Port(_) => ExitKind::Port,
            Self::Memory(_) => ExitKind::Memory,
            Self::Cr(_) => ExitKind::Cr,
            Self::Dr => ExitKind::Dr,
            Self::Xsetbv => ExitKind::Xsetbv,
            Self::Hlt => ExitKind::Hlt,
            Self::Pause => ExitKind::Pause,
            Self::CacheFlush => ExitKind::CacheFlush,
            Self::Invlpg(_) => ExitKind::Invlpg,
            Self::Undefined(_) => ExitKind::Undefined,
            Self::Exception(_) => ExitKind::Exception,
            Self::TaskSwitch(_) => ExitKind::TaskSwitch,
            Self::InterruptWindow => ExitKind::InterruptWindow,
            Self::NmiWindow => ExitKind::NmiWindow,
            Self::HostInterrupt(_) => ExitKind::HostInterrupt,
            Self::HostNmi => ExitKind::HostNmi,
            Self::Timer => ExitKind::Timer,
            Self::TripleFault => ExitKind::TripleFault,
            Self::Init => ExitKind::Init,
            Self::EntryFailed(_) => ExitKind::EntryFailed,
            Self::Unknown(_) => ExitKind::Unknown,
            Self::ApicWrite(_) => ExitKind::ApicWrite,
            Self::ApicEnd(_) => ExitKind::ApicEnd,
        }
    }
}
