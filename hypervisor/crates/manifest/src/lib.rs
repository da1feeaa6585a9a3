//! What the hypervisor is told to run, and what it tells back.
//!
//! Owns the [`Manifest`] (the VMs of one boot), the [`Bundle`] that carries it and the
//! guests' files into memory, and the [`report`] lines that come out of the console.
//! `cargo xtask` writes the first and reads the last; the hypervisor does the opposite.
//!
//! Does not own the TOML that people write (`xtask`), nor what the images mean
//! (`skerry-load`).
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
#[cfg(any(test, feature = "std"))]
extern crate std;

mod bundle;
mod check;
pub mod report;
mod vm;
#[cfg(any(test, feature = "std"))]
mod write;

pub use bundle::{Bundle, BundleError, COMPONENTS, MANIFEST_NAME, VERSION};
pub use check::{
    CLOCK_END_UNIX_SECONDS, CheckError, MEMORY_BYTES, MEMORY_STEP_BYTES, MONITORS, NAME_CHARS,
    VCPUS, VmError, WEIGHT,
};
pub use skerry_newc::Member;
pub use skerry_pages::MOST_MODULES;
pub use vm::{
    ApicBy, CONSOLE, ImageKind, Manifest, ModuleManifest, OnExit, PageSize, PortWrite, ROOT,
    VmManifest,
};
#[cfg(any(test, feature = "std"))]
pub use write::{WriteError, write_bundle};
