//! The calls that the console makes.

use crate::relay::Outside;
use crate::uart::{Register, Registers};
use skerry_abi::layout::console_bits;
use skerry_abi::{Handle, own};
use skerry_component::calls;
use skerry_words::{Port, Width};

const COM1: u16 = 0x3f8;

/// Has the UART's line interrupt us once.
pub fn open_line() {
    // Cannot be refused: `root` has granted the line.
    let _ = calls::line_wait(own::CONSOLE_LINE, console_bits::UART);
}

/// The registers of COM1.
#[derive(Clone, Copy, Debug)]
pub struct Com1;

impl Com1 {
    const fn port(register: Register) -> Port {
        Port(COM1.saturating_add(register as u16))
    }
}

impl Registers for Com1 {
    fn read(&mut self, register: Register) -> u8 {
        let value = calls::port_read(own::CONSOLE_PORTS, Self::port(register), Width::Byte);
        // Without the right to it, it is as absent.
        value.map_or(u8::MAX, |value| value as u8)
    }

    fn write(&mut self, register: Register, value: u8) {
        let port = Self::port(register);
        let _ = calls::port_write(own::CONSOLE_PORTS, port, Width::Byte, u32::from(value));
    }

    fn write_data(&mut self, bytes: &[u8]) {
        let port = Self::port(Register::Data);
        let _ = calls::port_write_bytes(own::CONSOLE_PORTS, port, bytes);
    }
}

/// Ring 0 and the other components.
#[derive(Clone, Copy, Debug)]
pub struct Ring0;

impl Outside for Ring0 {
    fn read_log(&mut self, into: &mut [u8]) -> usize {
        calls::log_read(own::CONSOLE_LOG, into).unwrap_or(0)
    }

    fn wake(&mut self, vmm: Handle) {
        // Refused when the VMM has just ended.
        let _ = calls::notify(vmm);
    }

    fn close(&mut self, handle: Handle) {
        let _ = calls::handle_close(handle);
    }

    fn tell_root(&mut self) {
        let _ = calls::notify(own::CONSOLE_ROOT);
    }
}

/// The line of a panic of our own, straight to the UART.
pub fn last_words(text: &str) {
    let (start, end) = ("\nskerry: error: console: ", "\n");
    for byte in [start, text, end].into_iter().flat_map(str::bytes) {
        crate::uart::put(&mut Com1, byte);
    }
}
