//! What a VMM answers, and why a VM ends.

use skerry_words::Vector;

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
    /// `#DE`, vector 0: a division without a quotient, or with one too long.
    DivideError,
    /// `#NM`, vector 7: the operating system has not yet given the task its FPU.
    DeviceNotAvailable,
    /// `#MF`, vector 16: an x87 instruction before has failed.
    FloatingPoint,
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
            Self::DivideError => (Vector(0), None),
            Self::DeviceNotAvailable => (Vector(7), None),
            Self::FloatingPoint => (Vector(16), None),
        }
    }
}

/// The VMM's answer to an exit: what shall be done with the vCPU now.
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
    /// The guest switched its machine off, as its firmware's tables say how.
    PoweredOff,
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
    /// Its image cannot be started.
    Image,
    /// Its VMM came to an end of its own, with the guest in the middle of its work.
    Monitor(MonitorEnd),
}

/// How a VMM failed its guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MonitorEnd {
    /// It panicked.
    Panicked,
    /// It used up its heap.
    HeapExhausted,
    /// It accessed this address, which is not its own.
    BadAccess(u64),
    /// It overflowed its stack.
    StackOverflow,
    /// It raised this exception.
    Exception(u8),
    /// It computed without end.
    Hung,
    /// It ended with a code that means nothing.
    Unknown(u64),
}

impl core::fmt::Display for MonitorEnd {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Panicked => write!(f, "panicked"),
            Self::HeapExhausted => write!(f, "used up its heap"),
            Self::BadAccess(address) => write!(f, "accessed {address:#x}, which is not its own"),
            Self::StackOverflow => write!(f, "overflowed its stack"),
            Self::Exception(vector) => write!(f, "raised exception {vector}"),
            Self::Hung => write!(f, "computed without end"),
            Self::Unknown(code) => write!(f, "ended with code {code:#x}"),
        }
    }
}

impl StopReason {
    /// The status a script sees: 0 for an end the guest asked for with success.
    #[must_use]
    pub const fn status(self) -> u32 {
        match self {
            Self::Shutdown(status) | Self::DebugExit(status) => status,
            Self::PoweredOff | Self::Halted | Self::Operator | Self::Dismissed => 0,
            Self::TripleFault
            | Self::ResetAsked
            | Self::EntryFailed(_)
            | Self::Emulation(_)
            | Self::UnknownExit(_)
            | Self::OutOfMemory
            | Self::Image
            | Self::Monitor(_) => 1,
        }
    }

    /// The reason as the two numbers with which a VMM ends. Those that are not for a VMM to
    /// say have none.
    #[must_use]
    pub const fn encode(self) -> Option<(u64, u64)> {
        Some(match self {
            Self::Shutdown(status) => (1, status as u64),
            Self::DebugExit(value) => (2, value as u64),
            Self::Halted => (3, 0),
            Self::TripleFault => (4, 0),
            Self::ResetAsked => (5, 0),
            Self::EntryFailed(code) => (6, code as u64),
            Self::Emulation(rip) => (7, rip),
            Self::UnknownExit(code) => (8, code as u64),
            Self::Image => (9, 0),
            Self::Monitor(MonitorEnd::Panicked) => (10, 0),
            Self::Monitor(MonitorEnd::HeapExhausted) => (11, 0),
            Self::PoweredOff => (12, 0),
            Self::OutOfMemory | Self::Operator | Self::Dismissed | Self::Monitor(_) => return None,
        })
    }

    /// Reads what [`StopReason::encode`] gave. The numbers are a VMM's, which may lie: of its
    /// own end, and no other.
    #[must_use]
    pub const fn decode(code: u64, value: u64) -> Self {
        match code {
            1 => Self::Shutdown(value as u32),
            2 => Self::DebugExit(value as u32),
            3 => Self::Halted,
            4 => Self::TripleFault,
            5 => Self::ResetAsked,
            6 => Self::EntryFailed(value as u32),
            7 => Self::Emulation(value),
            8 => Self::UnknownExit(value as u32),
            9 => Self::Image,
            10 => Self::Monitor(MonitorEnd::Panicked),
            11 => Self::Monitor(MonitorEnd::HeapExhausted),
            12 => Self::PoweredOff,
            _ => Self::Monitor(MonitorEnd::Unknown(code)),
        }
    }
}

impl core::fmt::Display for StopReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Shutdown(status) => write!(f, "shutdown with status {status}"),
            Self::DebugExit(value) => write!(f, "debug exit with value {value}"),
            Self::PoweredOff => write!(f, "powered off"),
            Self::Halted => write!(f, "halted with interrupts off"),
            Self::TripleFault => write!(f, "triple fault"),
            Self::ResetAsked => write!(f, "reset asked for"),
            Self::EntryFailed(code) => write!(f, "entry refused by the CPU, code {code:#x}"),
            Self::Emulation(rip) => write!(f, "instruction not emulated at {rip:#x}"),
            Self::UnknownExit(code) => write!(f, "exit without an answer, reason {code:#x}"),
            Self::OutOfMemory => write!(f, "host memory exhausted"),
            Self::Operator => write!(f, "ended by the operator"),
            Self::Dismissed => write!(f, "dismissed when the others had ended"),
            Self::Image => write!(f, "its image cannot be started"),
            Self::Monitor(end) => write!(f, "its VMM {end}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_vmm_says_of_its_end_is_read_as_it_was_said() {
        for reason in [
            StopReason::Shutdown(7),
            StopReason::DebugExit(u32::MAX),
            StopReason::PoweredOff,
            StopReason::Halted,
            StopReason::TripleFault,
            StopReason::ResetAsked,
            StopReason::EntryFailed(0x8000_0021),
            StopReason::Emulation(u64::MAX),
            StopReason::UnknownExit(3),
            StopReason::Image,
            StopReason::Monitor(MonitorEnd::Panicked),
            StopReason::Monitor(MonitorEnd::HeapExhausted),
        ] {
            let encoded = reason.encode();
            assert_eq!(
                encoded.map(|(code, value)| StopReason::decode(code, value)),
                Some(reason)
            );
        }
    }

    #[test]
    fn a_vmm_cannot_speak_for_the_operator_or_for_ring_0() {
        for reason in [
            StopReason::Operator,
            StopReason::Dismissed,
            StopReason::OutOfMemory,
        ] {
            assert_eq!(reason.encode(), None);
        }
        assert_eq!(StopReason::decode(99, 0).status(), 1);
    }
}
