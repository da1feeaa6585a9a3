//! Switching the machine off, in the way `root` says.
//!
//! Owns the list of port writes; knows no engine. Before `root` has said it, and where its
//! writes have no effect, the CPU is stopped for good.

use heapless::Vec;

use skerry_abi::OffWrite;
use spin::Mutex;
use x86_64::instructions::{hlt, interrupts, port::Port};

/// How many writes there are at most.
pub const MOST_WRITES: usize = 32;

static WRITES: Mutex<Vec<OffWrite, MOST_WRITES>> = Mutex::new(Vec::new());

/// Says how this machine is switched off: by these writes, of which there are at most
/// [`MOST_WRITES`].
pub fn install(writes: &[OffWrite]) {
    *WRITES.lock() = Vec::from_slice(writes).unwrap_or_default();
}

/// Sends all output, then switches the machine off.
pub fn off() -> ! {
    crate::log::print_again();
    crate::serial::flush();
    cut()
}

/// Switches the machine off; output not yet sent is lost.
pub fn cut() -> ! {
    // Held only while `install` runs, which nothing interrupts.
    for write in WRITES.try_lock().iter().flat_map(|writes| writes.iter()) {
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

fn play(write: OffWrite) {
    match write.width_bytes {
        1 => out(write.port, write.value as u8),
        2 => out(write.port, write.value as u16),
        _ => out(write.port, write.value),
    }
}

fn out<T: x86_64::structures::port::PortWrite>(port: u16, value: T) {
    // SAFETY: `root` says that these writes end the machine; nothing runs
    // after them.
    unsafe { Port::new(port).write(value) }
}
