//! The registers of a local APIC: where they are, who may read and write them.
//!
//! Owns offsets, access rights in each mode and the bits that hold something
//! `[SDM 3A, "The Local APIC Block Diagram" and "x2APIC Register Address Space", ed. 085]`.
//! Does not own what a write does. An MSR's offset is its index less 800h, times 16.
//!
//! Absent, as on every CPU since the Pentium 4: arbitration priority (90h), remote read (C0h);
//! and CMCI's vector (2F0h), the extended registers of AMD (400h and up).

/// Local APIC ID.
pub(super) const ID: u16 = 0x20;
/// Version.
pub(super) const VERSION: u16 = 0x30;
/// Task priority.
pub(super) const TASK_PRIORITY: u16 = 0x80;
/// Processor priority.
pub(super) const PROCESSOR_PRIORITY: u16 = 0xa0;
/// End of interrupt.
pub(super) const END_OF_INTERRUPT: u16 = 0xb0;
/// Logical destination.
pub(super) const LOGICAL_DESTINATION: u16 = 0xd0;
/// Destination format.
pub(super) const DESTINATION_FORMAT: u16 = 0xe0;
/// Spurious-interrupt vector.
pub(super) const SPURIOUS: u16 = 0xf0;
/// In service: the first of eight registers of 32 vectors.
pub(super) const IN_SERVICE: u16 = 0x100;
/// Trigger mode: the first of eight.
pub(super) const TRIGGER_MODE: u16 = 0x180;
/// Interrupt request: the first of eight.
pub(super) const REQUESTED: u16 = 0x200;
/// Error status.
pub(super) const ERROR_STATUS: u16 = 0x280;
/// Interrupt command, bits 31 to 0.
pub(super) const COMMAND: u16 = 0x300;
/// Interrupt command, bits 63 to 32, where an MSR of 64 bits has them in a virtual-APIC page.
pub(super) const COMMAND_WIDE: u16 = 0x304;
/// Interrupt command, bits 63 to 32, in xAPIC mode.
pub(super) const COMMAND_HIGH: u16 = 0x310;
/// Local vector table: timer.
pub(super) const LVT_TIMER: u16 = 0x320;
/// Local vector table: thermal sensor.
pub(super) const LVT_THERMAL: u16 = 0x330;
/// Local vector table: performance counters.
pub(super) const LVT_PERFORMANCE: u16 = 0x340;
/// Local vector table: LINT0.
pub(super) const LVT_LINT0: u16 = 0x350;
/// Local vector table: LINT1.
pub(super) const LVT_LINT1: u16 = 0x360;
/// Local vector table: errors.
pub(super) const LVT_ERROR: u16 = 0x370;
/// Timer: initial count.
pub(super) const INITIAL_COUNT: u16 = 0x380;
/// Timer: current count.
pub(super) const CURRENT_COUNT: u16 = 0x390;
/// Timer: divide configuration.
pub(super) const DIVIDE: u16 = 0x3e0;
/// Self IPI, in x2APIC mode only.
pub(super) const SELF_IPI: u16 = 0x3f0;

/// The entries of the local vector table.
pub(super) const LVT: [u16; 6] = [
    LVT_TIMER,
    LVT_THERMAL,
    LVT_PERFORMANCE,
    LVT_LINT0,
    LVT_LINT1,
    LVT_ERROR,
];

/// The spurious-interrupt vector register's enable bit.
pub(super) const SOFTWARE_ENABLE: u32 = 1 << 8;

/// Delivery status of a local vector table entry: read-only, always idle here.
const DELIVERY_STATUS: u32 = 1 << 12;
/// Remote IRR of LINT0 and LINT1: read-only.
pub(super) const REMOTE_IRR: u32 = 1 << 14;

/// A set of registers, one bit for each 16 bytes below 400h.
#[derive(Clone, Copy)]
pub(super) struct Registers(u64);

impl Registers {
    const fn of(mut offsets: &[u16]) -> Self {
        let mut bits = 0;
        while let [first, rest @ ..] = offsets {
            bits |= 1 << (*first >> 4);
            offsets = rest;
        }
        Self(bits)
    }

    /// These and the eight registers of each of the three banks of 256 vectors.
    const fn with_banks(self) -> Self {
        Self(self.0 | 0xff_ffff << (IN_SERVICE >> 4))
    }

    const fn with(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    /// Whether the register at `offset`, a multiple of 16, is one of these.
    #[inline]
    pub(super) const fn has(self, offset: u16) -> bool {
        offset < 0x400 && self.0 & 1_u64.unbounded_shl((offset >> 4) as u32) != 0
    }
}

const READ: Registers = Registers::of(&[
    ID,
    VERSION,
    TASK_PRIORITY,
    PROCESSOR_PRIORITY,
    LOGICAL_DESTINATION,
    SPURIOUS,
    ERROR_STATUS,
    COMMAND,
    INITIAL_COUNT,
    CURRENT_COUNT,
    DIVIDE,
])
.with(Registers::of(&LVT))
.with_banks();

const WRITTEN: Registers = Registers::of(&[
    TASK_PRIORITY,
    END_OF_INTERRUPT,
    SPURIOUS,
    ERROR_STATUS,
    COMMAND,
    INITIAL_COUNT,
    DIVIDE,
])
.with(Registers::of(&LVT));

const ONLY_XAPIC: Registers = Registers::of(&[DESTINATION_FORMAT, COMMAND_HIGH]);

/// What xAPIC mode reads.
pub(super) const XAPIC_READ: Registers = READ.with(ONLY_XAPIC);
/// What xAPIC mode writes.
pub(super) const XAPIC_WRITTEN: Registers = WRITTEN
    .with(ONLY_XAPIC)
    .with(Registers::of(&[ID, LOGICAL_DESTINATION]));
/// What there is in xAPIC mode.
pub(super) const XAPIC: Registers = XAPIC_READ.with(XAPIC_WRITTEN);
/// What RDMSR reads in x2APIC mode.
pub(super) const X2APIC_READ: Registers = READ;
/// What WRMSR writes in x2APIC mode.
pub(super) const X2APIC_WRITTEN: Registers = WRITTEN.with(Registers::of(&[SELF_IPI]));

/// The bits of a register's low half that are not reserved.
pub(super) const fn defined(offset: u16) -> u32 {
    match offset {
        ID => 0xff00_0000,
        TASK_PRIORITY | SELF_IPI => 0xff,
        LOGICAL_DESTINATION | COMMAND_HIGH => 0xff00_0000,
        DESTINATION_FORMAT => 0xf000_0000,
        SPURIOUS => 0x3ff,
        // Bit 12 is the delivery status, reserved in x2APIC mode: Intel's CPUs take no notice
        // of what is written to it.
        COMMAND => 0x000c_dfff,
        LVT_TIMER => 0x0007_10ff,
        LVT_THERMAL | LVT_PERFORMANCE => 0x0001_17ff,
        LVT_LINT0 | LVT_LINT1 => 0x0001_f7ff,
        LVT_ERROR => 0x0001_10ff,
        INITIAL_COUNT => u32::MAX,
        DIVIDE => 0xb,
        _ => 0,
    }
}

/// The bits of a register that keep what is written.
pub(super) const fn kept(offset: u16) -> u32 {
    match offset {
        COMMAND | LVT_TIMER | LVT_THERMAL | LVT_PERFORMANCE | LVT_ERROR => {
            defined(offset) & !DELIVERY_STATUS
        }
        LVT_LINT0 | LVT_LINT1 => defined(offset) & !(DELIVERY_STATUS | REMOTE_IRR),
        _ => defined(offset),
    }
}
