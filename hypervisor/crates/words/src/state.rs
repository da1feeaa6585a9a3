//! One vCPU's registers in the page that ring 0 and its VMM share.
//!
//! Ring 0 fills the groups an exit needs and says which in `valid`; the VMM changes what
//! its answer needs and says which groups in `dirty`; ring 0 writes back only those.
//! General-purpose registers are always valid and always written back (RSP apart). Every field is a
//! plain integer: any bit pattern is valid Rust, and ring 0 judges it before use.

use crate::{EventWord, ExitWords, PAGE_BYTES, Tsc};

bitflags::bitflags! {
    /// The groups of state that are read and written together.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    #[repr(transparent)]
    pub struct StateGroups: u32 {
        /// `rip`, and for reading `rflags`, `shadow` and `instruction_bytes` too.
        const INSTRUCTION = 1 << 0;
        /// `cr0`, `cr3`, `cr4`, `efer`. CR4.OSXSAVE is always valid.
        const CONTROL = 1 << 1;
        /// `segments`, `gdtr`, `idtr`.
        const SEGMENTS = 1 << 2;
        /// `pdpte`.
        const PDPTES = 1 << 3;
        /// `dr7`, `pending_debug`.
        const DEBUG = 1 << 4;
        /// `xcr0`; always valid, so never filled.
        const XCR0 = 1 << 5;
        /// `activity`.
        const ACTIVITY = 1 << 6;
        /// `sysenter`, `pat`, `system_msrs`: written when a VM starts or resets.
        const MSRS = 1 << 7;
        /// `tsc_offset`; never filled.
        const TSC = 1 << 8;
        /// The code segment alone, for who fetches the instruction; never dirty.
        const CODE = 1 << 9;
        /// What it takes to find an instruction's operands: the code segment, and the others
        /// as far as the mode uses them (in 64-bit mode the bases of FS and GS); never dirty.
        const OPERAND = 1 << 10;
        /// `rflags` and `shadow`, for writing.
        const FLAGS = 1 << 11;
        /// `cpl`; never dirty.
        const PRIVILEGE = 1 << 12;
        /// RSP in `gpr`.
        const STACK = 1 << 13;
        /// `cr2`, for writing.
        const CR2 = 1 << 14;
        /// `apic_mode`, `eoi_exits`; never filled.
        const APIC = 1 << 15;
        /// `interrupt_status`; never filled.
        const INTERRUPTS = 1 << 16;
        /// `debug_status`; never filled.
        const DEBUG_STATUS = 1 << 17;
        /// What it takes to fetch the instruction at RIP in 64-bit code.
        const FETCH = Self::INSTRUCTION.bits() | Self::CONTROL.bits() | Self::CODE.bits()
            | Self::PRIVILEGE.bits();
    }
}

/// A general-purpose register, by its number in instruction encodings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)] // the architecture's names
pub enum Gpr {
    Rax = 0,
    Rcx = 1,
    Rdx = 2,
    Rbx = 3,
    Rsp = 4,
    Rbp = 5,
    Rsi = 6,
    Rdi = 7,
    R8 = 8,
    R9 = 9,
    R10 = 10,
    R11 = 11,
    R12 = 12,
    R13 = 13,
    R14 = 14,
    R15 = 15,
}

/// A segment register, by its index in [`GuestState::segments`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)] // the architecture's names
pub enum Segment {
    Es = 0,
    Cs = 1,
    Ss = 2,
    Ds = 3,
    Fs = 4,
    Gs = 5,
    Ldtr = 6,
    Tr = 7,
}

bitflags::bitflags! {
    /// A segment's access rights in the VT-x format: descriptor bits 55:40 (type, S, DPL,
    /// P in 7:0; AVL, L, D/B, G in 15:12) and bit 16 for an unusable (null) segment
    /// `[SDM 3C, "Guest Register State", ed. 085]`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    #[repr(transparent)]
    pub struct AccessRights: u32 {
        /// Code or data (S bit), not a system segment.
        const CODE_OR_DATA = 1 << 4;
        /// Present.
        const PRESENT = 1 << 7;
        /// 64-bit code (L).
        const LONG = 1 << 13;
        /// 32-bit default size (D/B).
        const DEFAULT_32 = 1 << 14;
        /// Limit in 4 KiB units (G).
        const GRANULARITY = 1 << 15;
        /// The register holds no segment.
        const UNUSABLE = 1 << 16;
        /// Every other bit is kept as it is.
        const _ = !0;
    }
}

impl AccessRights {
    /// A flat 64-bit code segment, ring 0.
    pub const CODE64: Self = Self::from_bits_retain(0xa09b);
    /// A flat 32-bit code segment, ring 0.
    pub const CODE32: Self = Self::from_bits_retain(0xc09b);
    /// A 16-bit code segment, ring 0.
    pub const CODE16: Self = Self::from_bits_retain(0x009b);
    /// A flat 32-bit data segment, ring 0.
    pub const DATA32: Self = Self::from_bits_retain(0xc093);
    /// A 16-bit data segment, ring 0.
    pub const DATA16: Self = Self::from_bits_retain(0x0093);
    /// A busy 64-bit (or 32-bit) task-state segment.
    pub const TSS_BUSY: Self = Self::from_bits_retain(0x008b);
    /// A local descriptor table.
    pub const LDT: Self = Self::from_bits_retain(0x0082);

    /// The descriptor privilege level, 0 to 3.
    #[must_use]
    pub const fn dpl(self) -> u8 {
        ((self.bits() >> 5) & 3) as u8
    }
}

/// One segment register with its hidden part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct SegmentRegister {
    /// Linear base address.
    pub base: u64,
    /// Limit in bytes (already scaled).
    pub limit: u32,
    /// Access rights.
    pub rights: AccessRights,
    /// The visible selector.
    pub selector: u16,
    /// Keeps the layout free of hidden padding.
    pub reserved: [u16; 3],
}

impl SegmentRegister {
    /// A segment with these parts.
    #[must_use]
    pub const fn new(selector: u16, base: u64, limit: u32, rights: AccessRights) -> Self {
        Self {
            base,
            limit,
            rights,
            selector,
            reserved: [0; 3],
        }
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct TableRegister {
    /// Linear base address.
    pub base: u64,
    /// Limit in bytes, 0 to 0xffff.
    pub limit: u64,
}

bitflags::bitflags! {
    /// What blocks events right now.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    #[repr(transparent)]
    pub struct Shadow: u32 {
        /// The instruction before was STI.
        const STI = 1 << 0;
        /// The instruction before loaded SS.
        const MOV_SS = 1 << 1;
        /// An NMI is being served.
        const NMI = 1 << 3;
    }
}

/// What the vCPU does when entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct Activity(pub u32);

impl Activity {
    /// It runs instructions.
    pub const ACTIVE: Self = Self(0);
    /// It sleeps in HLT.
    pub const HALTED: Self = Self(1);
}

/// Who answers the guest's accesses to its local APIC. Any other number counts as the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct ApicMode(pub u32);

impl ApicMode {
    /// The VMM: each access exits.
    pub const SOFTWARE: Self = Self(0);
    /// The CPU, for the page at `fee00000`, where it can.
    pub const XAPIC: Self = Self(1);
    /// The CPU, for the MSRs from 800h on, where it can.
    pub const X2APIC: Self = Self(2);
}

/// The state of one vCPU, as ring 0 and its VMM share it: one page.
#[derive(Clone, Debug)]
#[repr(C, align(4096))]
pub struct GuestState {
    /// General-purpose registers by [`Gpr`]; always valid and written back, but for RSP
    /// (group `STACK`).
    pub gpr: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// Length of the instruction that exited, 1 to 15; 0 where the exit has none or the
    /// CPU does not tell.
    pub instruction_bytes: u32,
    /// What blocks events.
    pub shadow: Shadow,
    /// Control registers. `cr2` is for writing only.
    pub cr0: u64,
    /// See `cr0`.
    pub cr2: u64,
    /// See `cr0`.
    pub cr3: u64,
    /// See `cr0`.
    pub cr4: u64,
    /// The extended feature enable register.
    pub efer: u64,
    /// Extended control register 0.
    pub xcr0: u64,
    /// Segment registers by [`Segment`].
    pub segments: [SegmentRegister; 8],
    /// Global descriptor table.
    pub gdtr: TableRegister,
    /// Interrupt descriptor table.
    pub idtr: TableRegister,
    /// PAE page-directory-pointer entries (used with CR4.PAE outside long mode).
    pub pdpte: [u64; 4],
    /// Debug register 7.
    pub dr7: u64,
    /// Pending debug exceptions.
    pub pending_debug: u64,
    /// IA32_SYSENTER_CS, _ESP, _EIP.
    pub sysenter: [u64; 3],
    /// IA32_PAT.
    pub pat: u64,
    /// STAR, LSTAR, CSTAR, FMASK, KERNEL_GS_BASE, TSC_AUX.
    pub system_msrs: [u64; 6],
    /// What is added to the host's time-stamp counter for the guest, modulo 2^64.
    pub tsc_offset: u64,
    /// Current privilege level (read only, 0 to 3).
    pub cpl: u32,
    /// Running or halted.
    pub activity: Activity,
    /// Which groups ring 0 has filled for this exit.
    pub valid: StateGroups,
    /// Which groups the VMM changed and ring 0 must write back.
    pub dirty: StateGroups,
    /// The event to inject on the next entry. Ring 0 presets it with an event whose
    /// delivery this exit interrupted, so that it is not lost; the VMM may replace it.
    pub inject: EventWord,
    /// Nonzero: exit as soon as the guest can take an interrupt.
    pub interrupt_window: u32,
    /// Nonzero: exit as soon as the guest can take an NMI.
    pub nmi_window: u32,
    /// When the VMM next wants [`crate::VmExit::Timer`], in host TSC ticks.
    pub deadline: Tsc,
    /// Vectors whose end the VMM wants to know of, where the CPU looks after the APIC page.
    pub eoi_exits: [u64; 4],
    /// How far the CPU looks after the APIC page, where it can.
    pub apic_mode: ApicMode,
    /// The highest requested vector in bits 7:0 and the highest one in service in 15:8, where
    /// the CPU looks after the APIC page: the guest interrupt status
    /// `[SDM 3C, "Guest Non-Register State", ed. 085]`.
    pub interrupt_status: u32,
    /// Bits that the guest's DR6 gets on the next entry, besides those it has: what the debug
    /// exception in `inject` is for. Ring 0 takes [`GuestState::SINGLE_STEP`] alone.
    pub debug_status: u64,
    /// The exit that the VMM is to answer; ring 0 writes it and never reads it.
    pub exit: ExitWords,
    /// When it came, in host TSC ticks. That is the time for which it is answered: others may have
    /// had the CPU since. Written like `exit`.
    pub exit_tsc: Tsc,
}

const _: () = assert!(core::mem::size_of::<GuestState>() as u64 == PAGE_BYTES);
const _: () = assert!(core::mem::offset_of!(GuestState, gpr) == 0);

impl GuestState {
    /// RFLAGS.IF, the interrupt-enable flag.
    pub const INTERRUPT_FLAG: u64 = 1 << 9;
    /// RFLAGS.TF, the trap flag: a debug exception after each instruction.
    pub const TRAP_FLAG: u64 = 1 << 8;
    /// DR6.BS: the debug exception is for a single step.
    pub const SINGLE_STEP: u64 = 1 << 14;
    /// RFLAGS.RF, the resume flag.
    pub const RESUME_FLAG: u64 = 1 << 16;

    /// The state of an x86 CPU after RESET, everything dirty
    /// `[SDM 3A, "Processor State After Reset", ed. 085]`.
    #[must_use]
    pub fn at_reset() -> Self {
        let data = SegmentRegister::new(0, 0, 0xffff, AccessRights::DATA16);
        let code = SegmentRegister::new(0xf000, 0xffff_0000, 0xffff, AccessRights::CODE16);
        let ldtr = SegmentRegister::new(0, 0, 0xffff, AccessRights::LDT);
        let tr = SegmentRegister::new(0, 0, 0xffff, AccessRights::TSS_BUSY);
        Self {
            gpr: [0; 16],
            rip: 0xfff0,
            rflags: 2,
            instruction_bytes: 0,
            shadow: Shadow::empty(),
            cr0: 0x6000_0010,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            efer: 0,
            xcr0: 1,
            segments: [data, code, data, data, data, data, ldtr, tr],
            gdtr: TableRegister {
                base: 0,
                limit: 0xffff,
            },
            idtr: TableRegister {
                base: 0,
                limit: 0xffff,
            },
            pdpte: [0; 4],
            dr7: 0x400,
            pending_debug: 0,
            sysenter: [0; 3],
            pat: 0x0007_0406_0007_0406,
            system_msrs: [0; 6],
            tsc_offset: 0,
            cpl: 0,
            activity: Activity::ACTIVE,
            valid: StateGroups::all(),
            dirty: StateGroups::all(),
            inject: EventWord::NONE,
            interrupt_window: 0,
            nmi_window: 0,
            deadline: Tsc::NEVER,
            eoi_exits: [0; 4],
            apic_mode: ApicMode::SOFTWARE,
            interrupt_status: 0,
            debug_status: 0,
            exit: ExitWords::default(),
            exit_tsc: Tsc(0),
        }
    }

    /// One general-purpose register.
    #[inline]
    #[must_use]
    pub fn get(&self, register: Gpr) -> u64 {
        self.gpr.get(register as usize).copied().unwrap_or(0)
    }

    /// One segment register.
    #[inline]
    #[must_use]
    pub fn segment(&self, segment: Segment) -> SegmentRegister {
        self.segments
            .get(segment as usize)
            .copied()
            .unwrap_or_default()
    }
}
