//! The system-call interface between ring 0 and the components in ring 3, version 1.
//!
//! Owns the numbers, the rights, the addresses and the records; both sides are built from it.
//! Does not own what a call does (ring 0's `calls`), nor how it is made (`skerry-component`),
//! nor what components tell each other (`skerry-pages`).
//!
//! # Model
//!
//! A *component* is an address space, one thread and a table of *handles*. A handle names an
//! object of ring 0 with some rights; a component can name nothing else. Objects: memory,
//! guest (a VM's RAM and second stage), vCPU, component, notification, ports, interrupt line,
//! log, machine. Who holds the *machine* can make objects; that is `root` alone, which ring 0
//! starts, and which gives every other component what it may have. When an object ends, every
//! handle to it is dead from then on.
//!
//! # Calls
//!
//! `int 0x80`. Number in RAX; arguments in RDI, RSI, RDX, R10, R8, R9. Result in RAX: negative
//! values are [`Refused`]; a second result is in RDX. All other registers are kept. Pointers
//! are to the caller's own memory; bytes are copied. Every argument is checked before
//! anything is changed.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

mod call;
mod handle;
pub mod layout;
mod record;
mod refused;

pub use call::{Call, RunEnd};
pub use handle::{Handle, ObjectKind, Rights, own};
pub use record::{
    ComponentRecord, ComponentState, EndCause, FieldValue, GuestRange, MachineRecord, MapRequest,
    OffWrite, VcpuRecord,
};
pub use refused::Refused;

/// The interface's version, which [`Call::Version`] gives.
pub const VERSION: u64 = 1;

/// The vector of a system call.
pub const CALL_VECTOR: u8 = 0x80;
