//! Sleeping until something happens.
//!
//! Owns the only place where ring 0 has interrupts on.

use skerry_words::Tsc;
use x86_64::instructions::interrupts;

use super::apic;

/// Sleeps from `now` until `deadline` or any interrupt, whichever is first; the interrupt has
/// been served on return, and interrupts are off again. [`Tsc::NEVER`] is no deadline.
pub fn wait_until(deadline: Tsc, now: Tsc) {
    if deadline <= now {
        return;
    }
    if deadline != Tsc::NEVER {
        apic::arm(deadline);
    }
    // STI takes effect after HLT has begun, so no interrupt slips in between.
    interrupts::enable_and_hlt();
    interrupts::disable();
    apic::disarm_if_armed();
}

/// Serves the interrupts that are pending, on CPUs whose VM exits do not acknowledge them.
pub fn take_interrupts() {
    interrupts::enable();
    // STI takes effect after the instruction that follows it.
    x86_64::instructions::nop();
    interrupts::disable();
}
