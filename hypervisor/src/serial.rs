//! COM1 before there is a console, and when there is none any more: byte by byte, waiting.
//!
//! Owns the UART until the console component programs it; a panic takes it back. Called by
//! `log` and `panic`.

use core::fmt;

use spin::Mutex;
use uart_16550::{BaudRate, Config, Uart16550, backend::PioBackend, spec::registers::LSR};

const COM1: u16 = 0x3f8;
/// Looks at a UART that is never ready before the byte is given up.
const PATIENCE: u32 = 1 << 20;

static UART: Mutex<Option<Uart16550<PioBackend>>> = Mutex::new(None);

/// Sets the UART up: 115200 baud, 8N1, FIFOs. Without one, output is dropped.
pub fn start() {
    // SAFETY: COM1's ports are nobody else's yet; on a machine without it, reads give all
    // ones and `init` says so.
    let uart = unsafe { Uart16550::new_port(COM1) };
    let config = Config {
        baud_rate: BaudRate::Baud115200,
        ..Config::DEFAULT
    };
    *UART.lock() = uart
        .ok()
        .and_then(|mut uart| uart.init(config).ok().map(|()| uart));
}

/// Puts `bytes` out, in order.
pub fn write(mut bytes: &[u8]) {
    let mut uart = UART.lock();
    let Some(uart) = uart.as_mut() else { return };
    let mut patience = PATIENCE;
    while !bytes.is_empty() && patience > 0 {
        patience -= 1;
        if uart.ready_to_send().is_ok() {
            let sent = uart.send_bytes(bytes);
            bytes = bytes.get(sent..).unwrap_or_default();
            patience = PATIENCE;
        }
    }
}

/// Waits until the last byte has left the UART.
pub fn flush() {
    if let Some(uart) = UART.lock().as_mut() {
        let mut patience = PATIENCE;
        while patience > 0 && !uart.lsr().contains(LSR::TRANSMITTER_EMPTY) {
            patience -= 1;
            core::hint::spin_loop();
        }
    }
}

/// For the panic path: whoever holds the UART never comes back.
///
/// # Safety
/// The caller never returns.
pub unsafe fn seize() {
    // SAFETY: the caller's promise: the holder of the lock will not run again.
    unsafe { UART.force_unlock() };
}

/// [`write()`] for formatted text.
pub struct Writer;

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write(text.as_bytes());
        Ok(())
    }
}
