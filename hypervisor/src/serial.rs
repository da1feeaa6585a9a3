//! COM1: everything that comes out of the machine, and the keyboard's way in.
//!
//! Owns the UART and a buffer for each direction. Output is written as far as the UART has
//! room and buffered beyond that; the UART's interrupt sends the rest, so nobody waits for
//! a slow line unless the buffer is full. Input waits in its buffer for [`read`].
//! Called by `log` and `panic`, the console of the run loop, and `cpu::interrupt`.

use core::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use heapless::Deque;
use spin::Mutex;
use uart_16550::{
    BaudRate, Config, Uart16550,
    backend::PioBackend,
    spec::{
        FIFO_SIZE,
        registers::{IER, LSR},
    },
};

const COM1: u16 = 0x3f8;
const OUTPUT_BYTES: usize = 16 << 10;
const INPUT_BYTES: usize = 256;

struct Serial {
    uart: Option<Uart16550<PioBackend>>,
    output: Deque<u8, OUTPUT_BYTES>,
    input: Deque<u8, INPUT_BYTES>,
}

static SERIAL: Mutex<Serial> = Mutex::new(Serial {
    uart: None,
    output: Deque::new(),
    input: Deque::new(),
});

/// Bytes in the input buffer.
static INPUT: AtomicUsize = AtomicUsize::new(0);

/// Sets the UART up: 115200 baud, 8N1, FIFOs. Without one, output is dropped.
pub fn start() {
    // SAFETY: COM1's ports are nobody else's; on a machine without it, reads give all
    // ones and `init` says so.
    let uart = unsafe { Uart16550::new_port(COM1) };
    let config = Config {
        baud_rate: BaudRate::Baud115200,
        ..Config::DEFAULT
    };
    SERIAL.lock().uart = uart
        .ok()
        .and_then(|mut uart| uart.init(config).ok().map(|()| uart));
}

/// Lets the UART interrupt for input and for room for output.
pub fn start_interrupts() {
    if let Some(uart) = &mut SERIAL.lock().uart {
        uart.enable_interrupts(IER::DATA_READY | IER::THR_EMPTY);
    }
}

/// Puts `bytes` out, in order. Waits only while the buffer is full.
pub fn write(bytes: &[u8]) {
    SERIAL.lock().write(bytes);
}

/// Sends what the UART has room for; whether nothing is left.
pub fn is_drained() -> bool {
    let mut serial = SERIAL.lock();
    serial.send();
    serial.output.is_empty()
}

/// The next input byte.
pub fn read() -> Option<u8> {
    let mut serial = SERIAL.lock();
    let byte = serial.input.pop_front();
    INPUT.store(serial.input.len(), Ordering::Relaxed);
    byte
}

/// Whether [`read`] would give a byte: one load.
#[inline]
pub fn has_input() -> bool {
    INPUT.load(Ordering::Relaxed) != 0
}

/// Waits until the last byte has left the UART.
pub fn flush() {
    SERIAL.lock().flush();
}

/// Serves the UART's interrupt, until it has no more to say: its line is edge-triggered.
pub fn interrupt() {
    let mut serial = SERIAL.lock();
    serial.receive();
    serial.send();
    while serial.interrupting() {
        serial.receive();
        serial.send();
    }
    INPUT.store(serial.input.len(), Ordering::Relaxed);
}

/// For the panic path: whoever holds the UART never comes back.
///
/// # Safety
/// The caller never returns.
pub unsafe fn seize() {
    // SAFETY: the caller's promise: the holder of the lock will not run again.
    unsafe { SERIAL.force_unlock() };
}

impl Serial {
    fn write(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.output.push_back(byte).is_ok() {
                bytes = rest;
            } else {
                self.send();
            }
        }
        self.send();
    }

    /// Moves output to the UART if it has room: it then has for a FIFO full.
    fn send(&mut self) {
        let Some(uart) = &mut self.uart else {
            self.output.clear();
            return;
        };
        if self.output.is_empty() || uart.ready_to_send().is_err() {
            return;
        }
        let (front, _) = self.output.as_slices();
        let sent = uart.send_bytes(front);
        for _ in 0..sent {
            self.output.pop_front();
        }
    }

    /// Takes what has come in; when the buffer is full, it is lost, as on any terminal.
    fn receive(&mut self) {
        let Some(uart) = &mut self.uart else { return };
        for _ in 0..FIFO_SIZE {
            let Ok(byte) = uart.try_receive_byte() else {
                return;
            };
            let _lost = self.input.push_back(byte);
        }
    }

    fn interrupting(&mut self) -> bool {
        self.uart
            .as_mut()
            .is_some_and(|uart| uart.isr().has_pending_interrupt())
    }

    fn flush(&mut self) {
        while !self.output.is_empty() {
            self.send();
        }
        if let Some(uart) = &mut self.uart {
            while !uart.lsr().contains(LSR::TRANSMITTER_EMPTY) {
                core::hint::spin_loop();
            }
        }
    }
}

/// [`write()`] for formatted text.
pub struct Writer;

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write(text.as_bytes());
        Ok(())
    }
}
