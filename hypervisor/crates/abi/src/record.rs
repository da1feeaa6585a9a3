//! What ring 0 tells of its objects, and what it is told in more words than registers hold.
//!
//! All are copied to or from the caller's memory as they stand here. Padding is spelt out, so
//! that no byte of ring 0's is copied unseen.

use skerry_words::EXIT_KINDS;

/// A range of guest-physical addresses with RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct GuestRange {
    /// The first address, page-aligned.
    pub start: u64,
    /// The address behind the last, page-aligned, at most [`crate::layout::GUEST_END`].
    pub end: u64,
}

/// What [`crate::Call::ComponentMap`] maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct MapRequest {
    /// Where, page-aligned, in the lower half, not in page 0, where nothing is mapped yet.
    pub at: u64,
    /// The first page of the memory.
    pub first_page: u64,
    /// How many.
    pub pages: u64,
    /// [`crate::Rights`]: `READ`, and one or none of `WRITE` and `RUN`.
    pub rights: u32,
    /// 0.
    pub reserved: u32,
}

/// A write to a port that belongs to switching the machine off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct OffWrite {
    /// The port.
    pub port: u16,
    /// 1, 2 or 4.
    pub width_bytes: u16,
    /// The value.
    pub value: u32,
}

/// Where a component is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum ComponentState {
    /// Made, not started.
    New = 0,
    /// Started, not ended.
    Running = 1,
    /// Ended.
    Ended = 2,
}

/// Why a component has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum EndCause {
    /// It has not.
    None = 0,
    /// It said so; `code` and `value` are its own.
    Own = 1,
    /// Its maker ended it.
    Killed = 2,
    /// An access to memory that is not its own; `value` is the address.
    BadAccess = 3,
    /// It ran off the end of its stack; `value` is the address.
    StackOverflow = 4,
    /// An exception it had no business with; `code` is the vector, `value` the address.
    Exception = 5,
    /// It computed for too long without a call; `value` is the limit in ticks.
    Hung = 6,
    /// The host had no memory left to give it, or its guest.
    OutOfMemory = 7,
}

impl EndCause {
    /// The cause with this number; an unknown one counts as `Exception`.
    #[must_use]
    pub const fn from_word(word: u32) -> Self {
        match word {
            0 => Self::None,
            1 => Self::Own,
            2 => Self::Killed,
            3 => Self::BadAccess,
            4 => Self::StackOverflow,
            6 => Self::Hung,
            7 => Self::OutOfMemory,
            _ => Self::Exception,
        }
    }
}

/// A component, as [`crate::Call::ComponentRead`] tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct ComponentRecord {
    /// A [`ComponentState`].
    pub state: u32,
    /// An [`EndCause`].
    pub cause: u32,
    /// See the cause.
    pub code: u64,
    /// See the cause.
    pub value: u64,
    /// The instruction it was at, where ring 0 ended it.
    pub rip: u64,
    /// Ticks it has had of the CPU, its guest's included.
    pub run_tsc: u64,
    /// Frames that are its own: address space and memory given to it alone.
    pub own_bytes: u64,
}

/// A vCPU and its guest, as [`crate::Call::VcpuRead`] tells them. It can be read after the end
/// of its component, until the guest is ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct VcpuRecord {
    /// Exits by `ExitKind`.
    pub exits: [u64; EXIT_KINDS],
    /// Ticks inside the guest.
    pub guest_tsc: u64,
    /// Ticks outside of it, in ring 0 and in the VMM, since the first run.
    pub host_tsc: u64,
    /// Guest RAM that is backed.
    pub resident_bytes: u64,
    /// Its second-stage tables.
    pub second_stage_bytes: u64,
    /// What ring 0 holds for the vCPU beyond that.
    pub overhead_bytes: u64,
}

impl Default for VcpuRecord {
    fn default() -> Self {
        Self {
            exits: [0; EXIT_KINDS],
            guest_tsc: 0,
            host_tsc: 0,
            resident_bytes: 0,
            second_stage_bytes: 0,
            overhead_bytes: 0,
        }
    }
}

/// A field of a vCPU's VMCS, for [`crate::Call::VcpuFields`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct FieldValue {
    /// Its encoding; or, with bit 63, the index of an MSR that tells what VT-x can do: 480h to
    /// 493h.
    pub name: u64,
    /// Its value; 0 for what the CPU does not have.
    pub value: u64,
}

/// The machine, as [`crate::Call::MachineRead`] tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct MachineRecord {
    /// The rate of the time-stamp counter in Hz.
    pub tsc_hz: u64,
    /// Ticks from the hypervisor's entry to the first guest's; 0 before it.
    pub first_guest_tsc: u64,
    /// Ticks since the entry.
    pub total_tsc: u64,
    /// Of these, with nobody to run.
    pub idle_tsc: u64,
    /// Ring 0's image in memory.
    pub image_bytes: u64,
    /// All that ring 0 holds for itself.
    pub resident_bytes: u64,
    /// Frames that are nobody's.
    pub free_frames: u64,
    /// Bytes of the bundle.
    pub bundle_bytes: u64,
    /// 1: VT-x with EPT; 2: AMD-V with NPT.
    pub backend: u32,
    /// What guests can execute beyond what CPUID tells: bit 0 RDTSCP, bit 1 INVPCID.
    pub abilities: u32,
}
