//! One VM's answers to its exits.
//!
//! Owns what has an opinion about a guest: its CPUID leaves, model-specific registers,
//! control-register rules, hypercall table and devices. Takes a [`VmExit`], gives a
//! [`Resume`]; everything in between is the [`GuestState`] page and guest memory.
//!
//! Does not own hardware, memory or time: ring 0 calls [`Vmm::answer`] and says what time
//! it is. The same code runs in host tests and in ring 3.
//!
//! [`VmExit`]: skerry_words::VmExit
//! [`Resume`]: skerry_verdict::Resume
//! [`GuestState`]: skerry_words::GuestState
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

mod answer;
mod apic;
mod control;
mod cpu;
pub mod cpuid;
mod fault;
mod hypercall;
mod interrupts;
mod io;
mod msr;
mod smp;
mod vector;
mod vmm;
mod xstate;

pub use control::{permitted_cr0, permitted_cr4};
pub use cpuid::{CpuidRegisters, CpuidTable, GuestAbilities, View};
pub use hypercall::{HYPERCALL_VERSION, SIGNATURE};
pub use smp::Switched;
pub use vector::VectorState;
pub use vmm::{Refusals, Vmm, VmmConfig};
