//! What a VMM makes of an exit, in the words that ring 0 does not know.
//!
//! Owns the reading of [`skerry_words::ExitWords`] ([`ReadExit`]), what a VMM does to the
//! guest's registers ([`Registers`]) and memory ([`GuestMemory`]), the faults it gives
//! ([`Fault`]), its answer ([`Resume`]) and why a VM ends ([`StopReason`]). What crosses the
//! seam to ring 0 is `skerry-words`' alone. Called by everybody who deals with guests in ring 3.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

mod kind;
mod memory;
mod read;
mod registers;
mod resume;

pub use kind::{ALL_KINDS, kind_name};
pub use memory::{GuestMemory, Unbacked};
pub use read::ReadExit;
pub use registers::Registers;
pub use resume::{Fault, MonitorEnd, Resume, StopReason};
