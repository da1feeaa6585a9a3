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

use skerry_words::{Access, ExitKind, Gpa, MemoryAccess, PortAccess, VmExit};

/// An exit of those that come often and tell little: decoded first and on a way of their own, so
/// that each is known for what it is throughout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frequent {
    /// CPUID, RDMSR, WRMSR, a hypercall, HLT or the window for interrupts, of which nothing else is
    /// told. None comes while an event is delivered.
    Plain(ExitKind),
    /// IN or OUT.
    Port(PortAccess),
    /// A guest-physical access that the second stage does not allow.
    Memory(MemoryAccess),
}

/// One memory access, to ask what all of them need.
pub const ANY_MEMORY_EXIT: VmExit = VmExit::Memory(MemoryAccess {
    gpa: Gpa(0),
    access: Access::Read,
    gva: None,
    during_walk: false,
});

/// An exit that has been decoded in full, as one of the frequent ones if it is.
#[cfg(test)]
pub(crate) fn as_frequent(exit: VmExit) -> Option<Frequent> {
    use ExitKind::{Cpuid, Hlt, Hypercall, InterruptWindow, Rdmsr, Wrmsr};
    const PLAIN: [ExitKind; 6] = [Cpuid, Hlt, Hypercall, InterruptWindow, Rdmsr, Wrmsr];
    if let VmExit::Port(access) = exit {
        access.string.is_none().then_some(Frequent::Port(access))
    } else if let VmExit::Memory(access) = exit {
        Some(Frequent::Memory(access))
    } else {
        let kind = exit.kind();
        PLAIN.contains(&kind).then_some(Frequent::Plain(kind))
    }
}
