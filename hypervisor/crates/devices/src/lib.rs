//! The bus and the devices of one virtual machine.
//!
//! Owns the register models of the PC: UARTs, interrupt controllers, timers, clock, keyboard
//! controller, power management, debug and test ports; and the [`Platform`] that routes each
//! port or memory access to one of them and their interrupt lines to the CPUs.
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

extern crate alloc;
#[cfg(test)]
extern crate std;

mod bus;
mod chipset;
mod fw_cfg;
mod hpet;
mod ioapic;
mod keyboard;
pub mod lapic;
mod line;
mod message;
mod pic;
mod pit;
mod platform;
mod pm;
mod rtc;
mod test_device;
mod timebase;
mod uart;

#[cfg(test)]
mod tests;

pub use message::Message;
pub use platform::{Effect, Platform, PlatformConfig, TestDevices};
