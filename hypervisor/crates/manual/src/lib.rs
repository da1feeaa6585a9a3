//! The processor manuals as data.
//!
//! Owns what the vendors' books say and nothing else: the VMCS and VMCB fields and control
//! bits, the decode of an exit, the capability MSRs, the checks of a VM entry, and the names of
//! MSRs and CPUID leaves.
//!
//! Does not own hardware access (ring 0 reads behind [`vmx::VmcsRead`] and
//! [`svm::VmcbRead`]) nor any
//! answer to a guest (that is the VMM's).
//!
//! Called by ring 0's `virt` and by the VMM's CPUID and MSR policy.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

pub mod cpuid;
pub mod msr;
pub mod svm;
pub mod vmx;
