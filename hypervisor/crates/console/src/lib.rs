//! One host serial line shared by the consoles of all VMs.
//!
//! Owns the rule how lines of several guests and of the host come out on one line without
//! mixing ([`Mux`]), and the escape key that steers the keyboard ([`Key`]).
//!
//! Does not own the line: bytes go to a sink the caller gives and come from whoever reads
//! the keyboard. Ring 0's console code calls it.
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
#[cfg(test)]
extern crate std;

mod keys;
mod mux;
#[cfg(test)]
mod tests;

pub use keys::Key;
pub use mux::{LINE_BYTES, Mux};
