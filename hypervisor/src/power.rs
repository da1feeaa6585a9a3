//! Switching the machine off, in the way its manifest says.
//!
//! Owns the list of port writes; knows no engine. Before a manifest is read, and where
//! its writes have no effect, the CPU is stopped for good.

use alloc::vec::Vec;

use skerry_manifest::PortWrite;
use spin::Once;
use x86_64::instructions::{hlt, interrupts, port::Port};

static WRITES: Once<Vec<PortWrite>> = Once::new();

/// Says how this machine is switched off, once.
pub fn install(writes: Vec<PortWrite>) {
    WRITES.call_once(|| writes);
}

/// Sends all output, then switches the machine off.
pub fn off() -> ! {
    crate::serial::flush();
    cut()
}

/// Switches the machine off; output not yet sent is lost.
pub fn cut() -> ! {
    for write in WRITES.get().into_iter().flatten() {
        play(*write);
    }
    halt()
}

/// Stops the CPU for good.
fn halt() -> ! {
    interrupts::disable();
    loop {
        hlt();
    }
}

fn play(write: PortWrite) {
    match write.width_bytes {
        1 => out(write.port, write.value as u8),
        2 => out(write.port, write.value as u16),
        _ => out(write.port, write.value),
    }
}

fn out<T: x86_64::structures::port::PortWrite>(port: u16, value: T) {
    // SAFETY: the manifest's author says that these writes end the machine; nothing runs
    // after them.
    unsafe { Port::new(port).write(value) }
}
