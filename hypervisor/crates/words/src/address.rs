//! Addresses and indices that must not be mixed up.
//!
//! Newtypes without arithmetic operators: whoever adds to a guest's address says what
//! happens on overflow, by `checked_add`.

/// Bytes in the smallest page of either translation stage.
pub const PAGE_BYTES: u64 = 4096;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        #[repr(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The address `bytes` further on, or `None` past 2^64.
            #[must_use]
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// The offset inside its 4 KiB page, 0 to 4095.
            #[must_use]
            pub const fn page_offset(self) -> u64 {
                self.0 & 0xfff
            }

            /// The start of its 4 KiB page.
            #[must_use]
            pub const fn page_start(self) -> Self {
                Self(self.0 & !0xfff)
            }

            /// Whether it is a multiple of `bytes`, a power of two.
            #[must_use]
            pub const fn is_aligned(self, bytes: u64) -> bool {
                self.0 & bytes.wrapping_sub(1) == 0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address!(
    /// A guest-physical address: what the guest believes is physical memory.
    Gpa
);
address!(
    /// A guest-virtual (linear) address: before the guest's own paging.
    Gva
);
address!(
    /// A host-physical address: real memory, seen by ring 0 only.
    Hpa
);

/// A 4 KiB frame of guest-physical memory, by number (address / 4096).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GuestFrame(pub u64);

/// A 4 KiB frame of host-physical memory, by number (address / 4096).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostFrame(pub u64);

impl Gpa {
    /// The guest frame that holds this address.
    #[must_use]
    pub const fn frame(self) -> GuestFrame {
        GuestFrame(self.0 >> 12)
    }
}

impl Hpa {
    /// The host frame that holds this address.
    #[must_use]
    pub const fn frame(self) -> HostFrame {
        HostFrame(self.0 >> 12)
    }
}

impl GuestFrame {
    /// The address of the frame's first byte.
    #[must_use]
    pub const fn start(self) -> Gpa {
        Gpa(self.0 << 12)
    }
}

impl HostFrame {
    /// The address of the frame's first byte.
    #[must_use]
    pub const fn start(self) -> Hpa {
        Hpa(self.0 << 12)
    }
}

/// An I/O port, 0 to 0xffff.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Port(pub u16);

/// The index of a model-specific register (ECX of RDMSR and WRMSR).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MsrIndex(pub u32);

/// An interrupt or exception vector, 0 to 255.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Vector(pub u8);

/// A point in time, in ticks of the host's time-stamp counter.
///
/// All time inside Skerry is this counter: no wall-clock decides anything, so the same
/// image on a deterministic engine gives the same run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tsc(pub u64);

impl Tsc {
    /// A time that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The time `ticks` later; [`Tsc::NEVER`] past the counter's end.
    #[must_use]
    pub const fn after(self, ticks: u64) -> Self {
        Self(self.0.saturating_add(ticks))
    }

    /// Ticks from `earlier` to here; 0 if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
