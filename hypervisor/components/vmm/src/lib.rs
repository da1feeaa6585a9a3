//! A VMM without its system calls: what can be tested on any host.
//!
//! Owns the loop around [`skerry_vmm::Vmm`] ([`Monitor`]), the manners of its console
//! ([`console`]), the start of a guest from its image ([`load`]), and what a start page says
//! ([`start`]). Does not own how a VM's exits are answered (`skerry_vmm`), nor how ring 0 is
//! asked (`main.rs`, by [`Ring0`]).
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

extern crate alloc;

pub mod console;
pub mod load;
mod monitor;
pub mod start;

pub use monitor::{Monitor, Ring0, Run};
