//! A line on the log for each exit, with the raw fields its decode reads.
//!
//! Owns the lines' form, `exit FIELD=VALUE ...`. `cargo xtask record` makes recordings of
//! them, which `skerry-manual` decodes in its tests. Only in builds with the feature
//! `record`: called by both backends right after the decode.
//!
//! Two kinds of exit are left out: the host's own (a line causes UART interrupts, these
//! exits, and those lines), and the guest's console, which would drown the rest.

use skerry_manual::svm::caps::Features;
use skerry_manual::svm::{self, VmcbRead};
use skerry_manual::vmx::{self, VmcsRead};
use skerry_words::{PortAccess, VmExit};

/// Records an exit on VT-x.
pub fn vmx(exit: &VmExit, vmcs: &impl VmcsRead) {
    use vmx::field;
    if is_left_out(exit) {
        return;
    }
    log::info!(
        "exit rip={:#x} reason={:#x} qualification={:#x} guest-physical={:#x} \
         guest-linear={:#x} instruction={:#x} interruption={:#x} error-code={:#x} length={:#x}",
        vmcs.read(field::GUEST_RIP),
        vmcs.read(field::EXIT_REASON),
        vmcs.read(field::EXIT_QUALIFICATION),
        vmcs.read(field::GUEST_PHYSICAL_ADDRESS),
        vmcs.read(field::GUEST_LINEAR_ADDRESS),
        vmcs.read(field::EXIT_INSTRUCTION_INFORMATION),
        vmcs.read(field::EXIT_INTERRUPTION_INFORMATION),
        vmcs.read(field::EXIT_INTERRUPTION_ERROR_CODE),
        vmcs.read(field::EXIT_INSTRUCTION_LENGTH),
    );
}

/// Records an exit on AMD-V, of a CPU with these features.
pub fn svm(exit: &VmExit, features: Features, vmcb: &impl VmcbRead) {
    use svm::field;
    if is_left_out(exit) {
        return;
    }
    log::info!(
        "exit rip={:#x} features={:#x} code={:#x} info1={:#x} info2={:#x} interrupted={:#x} \
         next-rip={:#x}",
        vmcb.read(field::RIP),
        features.bits(),
        vmcb.read(field::EXIT_CODE),
        vmcb.read(field::EXIT_INFO_1),
        vmcb.read(field::EXIT_INFO_2),
        vmcb.read(field::EXIT_INTERRUPT_INFORMATION),
        vmcb.read(field::NEXT_RIP),
    );
}

fn is_left_out(exit: &VmExit) -> bool {
    match exit {
        VmExit::HostInterrupt(_) | VmExit::HostNmi | VmExit::Timer => true,
        VmExit::Port(PortAccess { port, .. }) => (0x3f8..=0x3ff).contains(&port.0),
        _ => false,
    }
}
