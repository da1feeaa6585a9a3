//! Sentences out of COM1, polled.
//!
//! Owns the first 16550's transmit side. Polling is bounded: an absent UART reads all ones
//! and looks ready, a broken one loses characters but never hangs the stub.

use crate::port;
use core::fmt;

/// COM1's first port.
pub const COM1: u16 = 0x3f8;
const LINE_STATUS: u16 = COM1 + 5;
const TRANSMIT_READY: u8 = 0x20;
const TRANSMIT_IDLE: u8 = 0x40;
const POLLS: u32 = 100_000;

/// 115200 baud, 8N1, FIFO on, interrupts off
/// `[TI PC16550D, "Registers", rev. June 1995]`.
pub(crate) fn set_up() {
    for (register, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 7), (4, 3)] {
        port::write8(COM1 + register, value);
    }
}

/// Sends one byte.
pub fn put(byte: u8) {
    wait(TRANSMIT_READY);
    port::write8(COM1, byte);
}

/// Waits until the last byte has left.
pub fn drain() {
    wait(TRANSMIT_IDLE);
}

fn wait(bit: u8) {
    (0..POLLS).find(|_| port::read8(LINE_STATUS) & bit != 0);
}

/// COM1 as a formatter's target.
#[derive(Debug)]
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(put);
        Ok(())
    }
}

/// Prints to COM1.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => {{
        use core::fmt::Write as _;
        // The console never reports an error.
        let _ = write!($crate::console::Console, $($text)*);
    }};
}

/// Prints a line to COM1.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($text:tt)*) => {{
        $crate::print!($($text)*);
        $crate::print!("\n");
    }};
}
