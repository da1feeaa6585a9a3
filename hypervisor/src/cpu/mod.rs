//! The physical CPU: its tables, interrupts, clocks and model-specific registers.
//!
//! Owns what ring 0 sets up once per CPU. Does not own memory (`mem`) or guests (`virt`).
//! Everything runs with interrupts off; only `idle::wait_until` opens a window for them,
//! and a VM exit acknowledges those that came while a guest ran.

pub mod apic;
mod brand;
pub mod features;
pub mod gdt;
pub mod idle;
mod idt;
pub mod interrupt;
pub mod msr;
mod pic;
pub mod stack;
mod trap;
pub mod tsc;

pub use brand::brand;

/// Loads our segments and interrupt table: from here on faults are reported.
pub fn start_tables() {
    gdt::load();
    idt::load();
    features::report_machine_checks();
    features::enable_vectors();
}

/// Starts clocks and interrupt controllers; needs `mem`.
pub fn start_time() {
    tsc::calibrate();
    pic::start();
    apic::start();
    crate::serial::start_interrupts();
}
