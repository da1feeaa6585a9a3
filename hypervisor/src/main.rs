//! Skerry's ring 0: a table of contents, and the order in which things start.
#![no_std]
#![no_main]
// Nobody links against a binary: here `pub` marks what a module offers the others.
#![allow(unreachable_pub)]

extern crate alloc;

mod boot;
mod console;
mod cpu;
mod log;
mod mem;
mod panic;
mod power;
mod run;
mod serial;
mod virt;
mod vm;

use bootloader_api::BootInfo;

/// Where all ways of booting meet, on our own stack, interrupts off.
fn main(boot: &'static mut BootInfo) -> ! {
    serial::start();
    log::start();
    cpu::start_tables();
    let started = boot::Started::new(boot);
    let bundle = mem::start(boot);
    cpu::start_time();
    let ticks = cpu::tsc::now().since(started.entry);
    ::log::info!("bundle of {} bytes; booted in {ticks} ticks", bundle.len());
    run::start(bundle, started)
}
