//! Who may do what: objects that can end, and tables of handles to them.
//!
//! Owns the two containers behind every right. An [`Arena`] holds the objects of one kind; an
//! [`Id`] names one of them for as long as it lives, and nothing after that, even if its place
//! is taken again. A [`Table`] is one component's handles. Does not own what the objects are:
//! ring 0 does, and calls it.
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

mod arena;
mod table;

pub use arena::{Arena, Id};
pub use table::Table;
