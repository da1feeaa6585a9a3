//! Why the CPU has refused to enter a guest, in the words of its manual.
//!
//! Owns asking ring 0 for the state that was refused, and the lines about it. Does not own the
//! checks. Used by `vm`, while the life that has ended still has its vCPU.

use crate::log;
use skerry_abi::Handle;
use skerry_component::{calls, cpuid};
use skerry_entry_checks::{Told, asked};

/// The leaf with the widths of addresses.
const ADDRESS_SIZES: u32 = 0x8000_0008;

/// Says which checks the vCPU's state does not pass. Of AMD-V ring 0 has said it itself.
pub fn of_refused_entry(vcpu: Handle, reason: u32) {
    let mut fields = asked();
    if calls::vcpu_fields(vcpu, &mut fields).unwrap_or(0) == 0 {
        return;
    }
    let [widths, ..] = cpuid::leaf(ADDRESS_SIZES, 0);
    log::error(format_args!(
        "VM entry refused by the CPU, reason {reason}; checks that fail:"
    ));
    let told = Told {
        values: &fields,
        widths,
    };
    told.each_failure(|failure| log::error(format_args!("  {failure}")));
}
