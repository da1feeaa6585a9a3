//! The pages that components share: rings of bytes, what a VMM is told and tells, and what
//! `root` and the console tell each other.
//!
//! Owns their shapes; ring 0 knows none of them. Where they are mapped stands at
//! [`skerry_abi::layout`]; who is given which is `root`'s affair. Called by every component.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

mod ring;
mod share;

pub use ring::{ConsolePage, INPUT_BYTES, OUTPUT_BYTES, Ring};
pub use share::{
    CMDLINE_BYTES, ControlPage, ControlVm, MOST_MODULES, ModulePlace, StartPage, VmPage,
};
