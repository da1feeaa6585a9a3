//! Host memory as data: which frames exist, and which of them are free.
//!
//! Owns the arithmetic on the firmware's memory map ([`spans`]) and the frame allocator's
//! bookkeeping ([`Frames`]). Does not own memory: nothing here touches a frame, so all of
//! it runs in a host test. Called by ring 0's `boot` and `mem`.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

#[cfg(test)]
extern crate std;

mod allocator;
mod block;
pub mod spans;

pub use allocator::{Frames, FreeError, Statistics};
pub use block::{BLOCK_FRAMES, Block};
pub use spans::Span;
