//! What the two vendors' exits have in common.
//!
//! Called by the tests that hold one decode against the other.

use skerry_words::{MemoryAccess, VmExit};

/// What both tell: AMD-V neither acknowledges interrupts nor tells linear addresses.
pub fn common(exit: VmExit) -> VmExit {
    match exit {
        VmExit::HostInterrupt(_) => VmExit::HostInterrupt(None),
        VmExit::Memory(access) => VmExit::Memory(MemoryAccess {
            gva: None,
            ..access
        }),
        other => other,
    }
}
