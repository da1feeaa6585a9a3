//! The physical CPU: its tables, interrupts, clocks and model-specific registers.
//!
//! Owns what ring 0 sets up once per CPU. Does not own memory (`mem`) or guests (`virt`).
//! Ring 0 runs with interrupts off; only `idle::wait_until` opens a window for them. Those
//! that come while a guest or a component runs end its run.

pub mod apic;
pub mod features;
pub mod gdt;
pub mod idle;
mod idt;
pub mod interrupt;
pub mod msr;
mod pic;
mod registers;
pub mod ring3;
pub mod stack;
mod trap;
pub mod tsc;

/// Loads our segments and interrupt table: from here on faults are reported.
pub fn start_tables() {
    gdt::load();
    idt::load();
    features::report_machine_checks();
    features::enable_vectors();
    features::shut_out_ring3();
}

/// Starts clocks and interrupt controllers; needs `mem`.
pub fn start_time() {
    tsc::calibrate();
    pic::start();
    apic::start();
}
