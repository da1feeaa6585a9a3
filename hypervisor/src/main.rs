//! Skerry's ring 0: a table of contents, and the order in which things start.
#![no_std]
#![no_main]

extern crate alloc;

mod boot;
mod calls;
mod cpu;
mod log;
mod machine;
mod mem;
mod object;
mod panic;
mod power;
mod serial;
mod virt;

use bootloader_api::BootInfo;

/// Where all ways of booting meet, on our own stack, interrupts off.
fn main(boot: &'static mut BootInfo) -> ! {
    serial::start();
    log::start();
    cpu::start_tables();
    let started = boot::Started::recorded();
    let bundle = mem::start(boot);
    cpu::start_time();
    let free_mib = mem::statistics().free_frames >> 8;
    let ticks = cpu::tsc::now().since(started.entry);
    let bytes = bundle.bytes();
    ::log::info!("booted in {ticks} ticks; {free_mib} MiB free, bundle of {bytes} bytes");
    machine::start(bundle, started)
}
