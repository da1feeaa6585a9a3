//! The bus and the devices of one virtual machine.
//!
//! Owns the register models of the legacy PC: UARTs, interrupt controllers, timer, clock,
//! keyboard controller, debug ports; and the [`Platform`] that routes each port or memory
//! access to one of them and their interrupt lines to the CPU.
//!
//! Does not own guest memory, instruction decoding or what an [`Effect`] leads to. The VMM
//! calls it, once per access; time comes in as an argument, nothing here reads a clock.
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

mod bus;
mod chipset;
mod keyboard;
pub mod lapic;
mod line;
mod pic;
mod pit;
mod platform;
mod rtc;
mod timebase;
mod uart;

#[cfg(test)]
mod tests;

pub use lapic::LocalApic;
pub use platform::{Effect, Platform, PlatformConfig};
