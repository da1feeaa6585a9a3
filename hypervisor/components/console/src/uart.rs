//! A 16550A UART, driven by its interrupt `[National Semiconductor PC16550D data sheet, June
//! 1995]`.
//!
//! Owns the order of register accesses. Ring 0 has set the line up (rate, frame, FIFOs); here
//! only its interrupts are. Does not own the way to the registers ([`Registers`]).

use crate::transmit::Transmit;
use alloc::collections::VecDeque;

/// A register, by its offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Register {
    /// Receiver buffer, transmitter holding.
    Data = 0,
    /// Which interrupts are wanted.
    InterruptEnable = 1,
    /// What interrupts.
    InterruptIdentification = 2,
    /// The terminal's lines, and the gate of the interrupt.
    ModemControl = 4,
    /// What is ready.
    LineStatus = 5,
}

const RECEIVED: u8 = 1 << 0;
const THR_EMPTY: u8 = 1 << 1;
const NO_INTERRUPT: u8 = 1 << 0;
const FIFOS_ENABLED: u8 = 0xc0;
/// DTR, RTS, and OUT2, which on PCs lets the interrupt through.
const TERMINAL_READY: u8 = 0x0b;
const DATA_READY: u8 = 1 << 0;
const HOLDING_EMPTY: u8 = 1 << 5;
const TRANSMITTER_EMPTY: u8 = 1 << 6;
/// What a port reads where nobody is.
const ABSENT: u8 = 0xff;
const FIFO_BYTES: usize = 16;
/// Typed bytes that are kept; what comes beyond is lost, as on any terminal.
const TYPED_BYTES: usize = 256;

/// How often [`put`] looks whether there is room.
const PATIENCE: u32 = 100_000;

/// The way to the registers.
pub trait Registers {
    /// Reads one.
    fn read(&mut self, register: Register) -> u8;
    /// Writes one.
    fn write(&mut self, register: Register, value: u8);
    /// Writes bytes to [`Register::Data`] in turn, a FIFO full at most.
    fn write_data(&mut self, bytes: &[u8]);
}

/// The UART with the buffers before and behind it.
#[derive(Debug)]
pub struct Uart<R> {
    registers: R,
    is_present: bool,
    fifo_bytes: usize,
    /// What is to be sent.
    pub output: Transmit,
    typed: VecDeque<u8>,
}

impl<R: Registers> Uart<R> {
    /// The UART with its interrupts on. Where there is none, output is dropped.
    pub fn start(mut registers: R) -> Self {
        let is_present = registers.read(Register::LineStatus) != ABSENT;
        let identification = registers.read(Register::InterruptIdentification);
        let has_fifos = identification & FIFOS_ENABLED == FIFOS_ENABLED;
        if is_present {
            registers.write(Register::ModemControl, TERMINAL_READY);
            registers.write(Register::InterruptEnable, RECEIVED | THR_EMPTY);
        }
        Self {
            registers,
            is_present,
            fifo_bytes: if has_fifos { FIFO_BYTES } else { 1 },
            output: Transmit::new(),
            typed: VecDeque::with_capacity(TYPED_BYTES),
        }
    }

    /// Serves the interrupt until the UART has no more to say: its line is edge-triggered, so
    /// a cause that is left would be the last one heard of.
    pub fn serve(&mut self) {
        if !self.is_present {
            return;
        }
        self.receive();
        self.send();
        while self.registers.read(Register::InterruptIdentification) & NO_INTERRUPT == 0 {
            self.receive();
            self.send();
        }
    }

    /// Sends what the UART has room for: a FIFO full, if that is empty.
    pub fn send(&mut self) {
        if !self.is_present {
            self.output.forget(usize::MAX);
            return;
        }
        if self.output.is_empty() || self.status() & HOLDING_EMPTY == 0 {
            return;
        }
        let bytes = self.output.front(self.fifo_bytes);
        let count = bytes.len();
        self.registers.write_data(bytes);
        self.output.forget(count);
    }

    /// The next typed byte.
    pub fn typed(&mut self) -> Option<u8> {
        self.typed.pop_front()
    }

    /// Whether the last byte has left the UART.
    pub fn is_drained(&mut self) -> bool {
        self.output.is_empty() && (!self.is_present || self.status() & TRANSMITTER_EMPTY != 0)
    }

    fn status(&mut self) -> u8 {
        self.registers.read(Register::LineStatus)
    }

    fn receive(&mut self) {
        for _ in 0..FIFO_BYTES {
            if self.status() & DATA_READY == 0 {
                return;
            }
            let byte = self.registers.read(Register::Data);
            if self.typed.len() < TYPED_BYTES {
                self.typed.push_back(byte);
            }
        }
    }
}

/// Sends one byte past all buffers, for who has no other way left.
pub fn put(registers: &mut impl Registers, byte: u8) {
    for _ in 0..PATIENCE {
        if registers.read(Register::LineStatus) & HOLDING_EMPTY != 0 {
            break;
        }
    }
    registers.write(Register::Data, byte);
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// A UART as the data sheet has it, with a line that moves when the test says so.
    #[derive(Debug, Default)]
    pub struct Fake {
        is_absent: bool,
        has_no_fifos: bool,
        enabled: u8,
        modem: u8,
        fifo: VecDeque<u8>,
        received: VecDeque<u8>,
        /// The transmitter became empty and nobody was told.
        empty_news: bool,
        line: Vec<u8>,
    }

    impl Fake {
        /// No UART at all.
        pub fn absent() -> Self {
            Self {
                is_absent: true,
                ..Self::default()
            }
        }

        /// The line takes all that is in the FIFO.
        pub fn transmit(&mut self) {
            self.line.extend(self.fifo.drain(..));
            self.empty_news = true;
        }

        fn interrupts(&self) -> bool {
            let received = self.enabled & 1 != 0 && !self.received.is_empty();
            let empty = self.enabled & 2 != 0 && self.empty_news;
            self.modem & 8 != 0 && (received || empty)
        }
    }

    impl Registers for Fake {
        fn read(&mut self, register: Register) -> u8 {
            if self.is_absent {
                return 0xff;
            }
            match register {
                Register::Data => self.received.pop_front().unwrap_or(0),
                Register::LineStatus => {
                    let ready = u8::from(!self.received.is_empty());
                    let empty = if self.fifo.is_empty() { 0x60 } else { 0 };
                    ready | empty
                }
                Register::InterruptIdentification => {
                    let fifos = if self.has_no_fifos { 0 } else { 0xc0 };
                    let pending = self.interrupts();
                    if pending && self.received.is_empty() {
                        self.empty_news = false;
                    }
                    fifos | u8::from(!pending)
                }
                Register::InterruptEnable => self.enabled,
                Register::ModemControl => self.modem,
            }
        }

        fn write(&mut self, register: Register, value: u8) {
            match register {
                Register::InterruptEnable => {
                    self.enabled = value;
                    self.empty_news |= value & 2 != 0 && self.fifo.is_empty();
                }
                Register::ModemControl => self.modem = value,
                Register::Data => self.write_data(&[value]),
                Register::InterruptIdentification | Register::LineStatus => {
                    unreachable!("{register:?} is not to be written")
                }
            }
        }

        fn write_data(&mut self, bytes: &[u8]) {
            let most = if self.has_no_fifos { 1 } else { 16 };
            assert!(self.fifo.len() + bytes.len() <= most, "the FIFO overflows");
            self.fifo.extend(bytes);
            self.empty_news = false;
        }
    }

    impl Uart<Fake> {
        /// Lets the line move, and serves the interrupts, until nothing is left to be sent.
        pub fn run(&mut self) {
            for _ in 0..=crate::transmit::TRANSMIT_BYTES {
                if self.is_drained() {
                    return;
                }
                self.run_once();
            }
        }

        /// The same for one FIFO full.
        pub fn run_once(&mut self) {
            self.registers.transmit();
            if self.registers.interrupts() {
                self.serve();
            }
        }

        pub fn line(&self) -> &[u8] {
            &self.registers.line
        }

        pub fn type_bytes(&mut self, bytes: &[u8]) {
            self.registers.received.extend(bytes);
            self.serve();
        }
    }

    fn text(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| at as u8).collect()
    }

    #[test]
    fn a_long_text_goes_out_whole_by_interrupts_alone() {
        for has_no_fifos in [false, true] {
            let mut uart = Uart::start(Fake {
                has_no_fifos,
                ..Fake::default()
            });
            uart.serve();
            uart.output.push(&text(1000));
            uart.send();
            uart.run();
            assert_eq!(uart.line(), text(1000));
            assert!(uart.is_drained());
        }
    }

    #[test]
    fn what_is_still_in_the_uart_is_not_on_the_line() {
        let mut uart = Uart::start(Fake::default());
        uart.output.push(b"ab");
        uart.send();
        assert!(uart.output.is_empty() && !uart.is_drained());
        uart.registers.transmit();
        assert!(uart.is_drained());
    }

    #[test]
    fn serving_leaves_no_cause_behind_and_no_more_typed_bytes_than_fit() {
        let mut uart = Uart::start(Fake::default());
        uart.type_bytes(&text(300));
        assert!(!uart.registers.interrupts());
        let typed: Vec<u8> = core::iter::from_fn(|| uart.typed()).collect();
        assert_eq!(typed, text(TYPED_BYTES));
    }

    #[test]
    fn where_no_uart_is_output_vanishes_and_nobody_waits() {
        let mut uart = Uart::start(Fake::absent());
        uart.output.push(b"lost");
        uart.send();
        uart.serve();
        assert!(uart.is_drained() && uart.typed().is_none());
    }
}
