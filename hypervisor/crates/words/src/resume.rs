//! What a VMM answers, and why a VM ends.

use crate::Vector;

/// A fault that goes to the guest: the architectural answer to what is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// `#UD`, vector 6: the instruction does not exist on this virtual CPU.
    UndefinedInstruction,
    /// `#GP`, vector 13, with its error code (0 for most).
    GeneralProtection(u32),
    /// `#PF`, vector 14: the faulting linear address (goes to CR2) and the error code.
    Page(u64, u32),
    /// `#SS`, vector 12, with its error code.
    Stack(u32),
    /// `#DB`, vector 1.
    Debug,
}

impl Fault {
    /// Its vector and error code.
    #[must_use]
    pub const fn vector(self) -> (Vector, Option<u32>) {
        match self {
            Self::UndefinedInstruction => (Vector(6), None),
            Self::GeneralProtection(code) => (Vector(13), Some(code)),
            Self::Page(_, code) => (Vector(14), Some(code)),
            Self::Stack(code) => (Vector(12), Some(code)),
            Self::Debug => (Vector(1), None),
        }
    }
}

/// The VMM's answer to an exit: what ring 0 shall do with the vCPU now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    /// Enter it again, with what the page says.
    Enter,
    /// It sleeps until an event is pending or its deadline comes.
    Halt,
    /// It gives the rest of its time slice to others.
    Yield,
    /// The machine is reset: memory and devices as at first start.
    Reset,
    /// It has ended.
    Stop(StopReason),
}

/// Why a VM ended. Every end has one; the summary prints it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopReason {
    /// The guest asked to end, by the shutdown hypercall, with this status (0 is success).
    Shutdown(u32),
    /// The guest wrote this value to the debug-exit port; its status is `value`.
    DebugExit(u32),
    /// The guest executed HLT with interrupts off: it can never wake.
    Halted,
    /// The guest's CPU shut down on a triple fault.
    TripleFault,
    /// The guest asked for a reset (keyboard controller, port CF9h) and the manifest says stop.
    ResetAsked,
    /// The CPU refused to enter the guest: its state is invalid (VMX instruction error or
    /// basic exit reason).
    EntryFailed(u32),
    /// An instruction on unbacked memory that the emulator does not know, at this address.
    Emulation(u64),
    /// An exit this hypervisor has no answer for (basic exit reason or exit code).
    UnknownExit(u32),
    /// The host had no memory left to back the guest's.
    OutOfMemory,
    /// The operator ended it from the console.
    Operator,
    /// It was still running when every other VM had ended and the manifest says not to wait.
    Dismissed,
}

impl StopReason {
    /// The status a script sees: 0 for an end the guest asked for with success.
    #[must_use]
    pub const fn status(self) -> u32 {
        match self {
            Self::Shutdown(status) | Self::DebugExit(status) => status,
            Self::Halted | Self::Operator | Self::Dismissed => 0,
            Self::TripleFault
            | Self::ResetAsked
            | Self::EntryFailed(_)
            | Self::Emulation(_)
            | Self::UnknownExit(_)
            | Self::OutOfMemory => 1,
        }
    }
}

impl core::fmt::Display for StopReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Shutdown(status) => write!(f, "shutdown with status {status}"),
            Self::DebugExit(value) => write!(f, "debug exit with value {value}"),
            Self::Halted => write!(f, "halted with interrupts off"),
            Self::TripleFault => write!(f, "triple fault"),
            Self::ResetAsked => write!(f, "reset asked for"),
            Self::EntryFailed(code) => write!(f, "entry refused by the CPU, code {code:#x}"),
            Self::Emulation(rip) => write!(f, "instruction not emulated at {rip:#x}"),
            Self::UnknownExit(code) => write!(f, "exit without an answer, reason {code:#x}"),
            Self::OutOfMemory => write!(f, "host memory exhausted"),
            Self::Operator => write!(f, "ended by the operator"),
            Self::Dismissed => write!(f, "dismissed when the others had ended"),
        }
    }
}
