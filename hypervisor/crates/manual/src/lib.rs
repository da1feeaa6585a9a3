//! The processor manuals as data.
//!
//! Owns what the vendors' books say and nothing else: the VMCS and VMCB fields and control
//! bits that Skerry uses, the decode of an exit, the capability MSRs, and the checks of a VMCB.
//!
//! Does not own hardware access (ring 0 reads behind [`vmx::VmcsRead`] and
//! [`svm::VmcbRead`]), nor any answer to a guest (that is the VMM's), nor why a CPU refuses a
//! VMCS (`skerry-entry-checks`).
//!
//! Called by ring 0's `virt`.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

pub mod msr;
pub mod svm;
pub mod vmx;
