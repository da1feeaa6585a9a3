//! The words every part of Skerry shares.
//!
//! Owns the types that cross the seam between ring 0 and a VM's VMM: addresses,
//! [`VmExit`] as [`ExitWords`], and the [`GuestState`] page that holds them. All of it
//! is plain data: no reference, closure or lock crosses the seam, so the same VMM
//! runs in a host test, under a fuzzer and on the machine.
//!
//! Does not own behaviour: who decodes, answers or schedules lives elsewhere; nor what only
//! VMMs say to each other (`skerry-verdict`).
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

mod address;
mod apic_page;
mod event;
mod exit;
mod exit_words;
mod extended;
mod state;

pub use address::{Gpa, GuestFrame, Gva, HostFrame, Hpa, MsrIndex, PAGE_BYTES, Port, Tsc, Vector};
pub use apic_page::ApicPage;
pub use event::{Event, EventKind, EventWord};
pub use exit::{
    Access, CrAccess, CrOperation, Direction, EXIT_KINDS, ExitKind, MemoryAccess, PortAccess,
    StringIo, TaskSwitch, Undefined, VmExit, Width,
};
pub use exit_words::ExitWords;
pub use extended::ExtendedState;

/// The bits of [`ExitWords`], for who reads them.
pub mod exit_bits {
    pub use crate::exit_words::{KNOWN, REPEAT, STRING, WALK};
}
pub use state::{
    AccessRights, Activity, ApicMode, Gpr, GuestState, Segment, SegmentRegister, Shadow,
    StateGroups, TableRegister,
};
