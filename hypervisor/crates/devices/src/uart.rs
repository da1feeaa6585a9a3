//! A 16550A UART as a pure register model.
//!
//! Owns the eight registers, the receive FIFO and the causes of its interrupt, after
//! `[National Semiconductor PC16550D data sheet, June 1995]`. Transmission takes no time:
//! the transmitter is always empty again before the next access. The same holds for the
//! receive line, so characters below the trigger level time out at once.
//!
//! Does not own addresses or the interrupt line: [`crate::Platform`] maps it to COM1 and,
//! if asked, to memory. As on PCs, OUT2 gates the interrupt to the controller.

mod fifo;
#[cfg(test)]
mod tests;

use crate::line::Level;
use fifo::Fifo;

mod ier {
    pub(super) const RECEIVED: u8 = 1 << 0;
    pub(super) const THR_EMPTY: u8 = 1 << 1;
    pub(super) const LINE_STATUS: u8 = 1 << 2;
    pub(super) const MODEM_STATUS: u8 = 1 << 3;
    pub(super) const ALL: u8 = 0x0f;
}

mod iir {
    pub(super) const NONE: u8 = 0x01;
    pub(super) const MODEM_STATUS: u8 = 0x00;
    pub(super) const THR_EMPTY: u8 = 0x02;
    pub(super) const RECEIVED: u8 = 0x04;
    pub(super) const LINE_STATUS: u8 = 0x06;
    pub(super) const TIMEOUT: u8 = 0x0c;
    pub(super) const FIFOS_ENABLED: u8 = 0xc0;
}

mod lcr {
    pub(super) const DIVISOR_LATCH: u8 = 1 << 7;
}

mod mcr {
    pub(super) const DTR: u8 = 1 << 0;
    pub(super) const RTS: u8 = 1 << 1;
    pub(super) const OUT1: u8 = 1 << 2;
    pub(super) const OUT2: u8 = 1 << 3;
    pub(super) const LOOP: u8 = 1 << 4;
    pub(super) const ALL: u8 = 0x1f;
}

mod lsr {
    pub(super) const DATA_READY: u8 = 1 << 0;
    pub(super) const OVERRUN: u8 = 1 << 1;
    /// The transmitter holding register and the transmitter are empty.
    pub(super) const EMPTY: u8 = 0x60;
}

mod msr {
    pub(super) const CTS: u8 = 1 << 4;
    pub(super) const DSR: u8 = 1 << 5;
    pub(super) const RI: u8 = 1 << 6;
    pub(super) const DCD: u8 = 1 << 7;
    pub(super) const LINES: u8 = 0xf0;
    pub(super) const CHANGES: u8 = 0x0f;
    /// Somebody is always there at the other end.
    pub(super) const CONNECTED: u8 = CTS | DSR | DCD;
}

/// One of the eight registers, by its offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Register {
    /// 0: receiver buffer, transmitter holding, or divisor latch (low).
    Data,
    /// 1: interrupt enable, or divisor latch (high).
    InterruptEnable,
    /// 2: interrupt identification (read), FIFO control (write).
    Identification,
    /// 3: line control.
    LineControl,
    /// 4: modem control.
    ModemControl,
    /// 5: line status.
    LineStatus,
    /// 6: modem status.
    ModemStatus,
    /// 7: scratch.
    Scratch,
}

impl Register {
    /// The register at the low three bits of `offset`.
    #[inline]
    pub(crate) fn at(offset: u16) -> Self {
        match offset & 7 {
            0 => Self::Data,
            1 => Self::InterruptEnable,
            2 => Self::Identification,
            3 => Self::LineControl,
            4 => Self::ModemControl,
            5 => Self::LineStatus,
            6 => Self::ModemStatus,
            _ => Self::Scratch,
        }
    }
}

/// What a write did outside the registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Written {
    /// Nothing but what the registers show.
    Quiet,
    /// This byte left on the line. The interrupt for an empty transmitter, if it was up,
    /// went away with the write and came back when the byte was out.
    Sent(u8),
}

/// The UART.
#[derive(Clone, Debug)]
pub(crate) struct Uart {
    received: Fifo,
    interrupt_enable: u8,
    line_control: u8,
    modem_control: u8,
    modem_status: u8,
    scratch: u8,
    divisor: u16,
    overrun: bool,
    /// The transmitter became empty and nobody was told.
    transmitter_news: bool,
}

impl Uart {
    /// A UART after its reset `["Reset Configuration"]`, a terminal connected.
    pub(crate) fn new() -> Self {
        Self {
            received: Fifo::new(),
            interrupt_enable: 0,
            line_control: 0,
            modem_control: 0,
            modem_status: msr::CONNECTED,
            scratch: 0,
            divisor: 1,
            overrun: false,
            transmitter_news: false,
        }
    }

    /// The level of its interrupt line behind the OUT2 gate; in loopback mode the pin OUT2
    /// is inactive whatever MCR says.
    #[inline]
    pub(crate) fn interrupt(&self) -> Level {
        let gate = self.modem_control & (mcr::OUT2 | mcr::LOOP) == mcr::OUT2;
        Level::from(gate && self.interrupt_enable != 0 && self.cause() != iir::NONE)
    }

    /// The most urgent enabled cause, as IIR shows it.
    fn cause(&self) -> u8 {
        let enabled = self.interrupt_enable;
        if enabled & ier::LINE_STATUS != 0 && self.overrun {
            iir::LINE_STATUS
        } else if enabled & ier::RECEIVED != 0 && self.received.at_trigger() {
            iir::RECEIVED
        } else if enabled & ier::RECEIVED != 0 && !self.received.is_empty() {
            iir::TIMEOUT
        } else if enabled & ier::THR_EMPTY != 0 && self.transmitter_news {
            iir::THR_EMPTY
        } else if enabled & ier::MODEM_STATUS != 0 && self.modem_status & msr::CHANGES != 0 {
            iir::MODEM_STATUS
        } else {
            iir::NONE
        }
    }

    /// Reads a register, with the side effects reading has.
    #[inline]
    pub(crate) fn read(&mut self, register: Register) -> u8 {
        match register {
            Register::LineStatus => self.read_line_status(),
            Register::Data if self.latch_open() => self.divisor.to_le_bytes()[0],
            Register::Data => self.received.pop(),
            Register::InterruptEnable if self.latch_open() => self.divisor.to_le_bytes()[1],
            Register::InterruptEnable => self.interrupt_enable,
            Register::Identification => self.identify(),
            Register::LineControl => self.line_control,
            Register::ModemControl => self.modem_control,
            Register::ModemStatus => self.read_modem_status(),
            Register::Scratch => self.scratch,
        }
    }

    fn latch_open(&self) -> bool {
        self.line_control & lcr::DIVISOR_LATCH != 0
    }

    #[inline]
    fn read_line_status(&mut self) -> u8 {
        let mut status = lsr::EMPTY;
        if !self.received.is_empty() {
            status |= lsr::DATA_READY;
        }
        if core::mem::take(&mut self.overrun) {
            status |= lsr::OVERRUN;
        }
        status
    }

    /// Reading IIR takes back the empty-transmitter interrupt if it is the one shown.
    fn identify(&mut self) -> u8 {
        let cause = self.cause();
        if cause == iir::THR_EMPTY {
            self.transmitter_news = false;
        }
        if self.received.enabled() {
            cause | iir::FIFOS_ENABLED
        } else {
            cause
        }
    }

    fn read_modem_status(&mut self) -> u8 {
        let status = self.modem_status;
        self.modem_status &= msr::LINES;
        status
    }

    /// Writes a register. Status registers ignore writes.
    #[inline]
    pub(crate) fn write(&mut self, register: Register, value: u8) -> Written {
        match register {
            Register::Data if self.latch_open() => {
                self.divisor = (self.divisor & 0xff00) | u16::from(value);
            }
            Register::Data => return self.transmit(value),
            Register::InterruptEnable if self.latch_open() => {
                self.divisor = (self.divisor & 0x00ff) | (u16::from(value) << 8);
            }
            Register::InterruptEnable => self.enable(value & ier::ALL),
            Register::Identification => self.received.control(value),
            Register::LineControl => self.line_control = value,
            Register::ModemControl => self.control_modem(value & mcr::ALL),
            Register::Scratch => self.scratch = value,
            Register::LineStatus | Register::ModemStatus => {}
        }
        Written::Quiet
    }

    fn transmit(&mut self, byte: u8) -> Written {
        self.transmitter_news = true;
        if self.modem_control & mcr::LOOP == 0 {
            return Written::Sent(byte);
        }
        if !self.received.push(byte) {
            self.received.overrun(byte);
            self.overrun = true;
        }
        Written::Quiet
    }

    /// Enabling the empty-transmitter interrupt raises it at once, as the transmitter is
    /// empty. Without this, Linux's driver waits for ever for its first interrupt.
    fn enable(&mut self, enabled: u8) {
        if (enabled ^ self.interrupt_enable) & ier::THR_EMPTY != 0 {
            self.transmitter_news = enabled & ier::THR_EMPTY != 0;
        }
        self.interrupt_enable = enabled;
    }

    /// MCR: in loopback mode its low four bits are the modem's lines.
    fn control_modem(&mut self, control: u8) {
        self.modem_control = control;
        let lines = if control & mcr::LOOP != 0 {
            looped_lines(control)
        } else {
            msr::CONNECTED
        };
        let changed = (lines ^ self.modem_status) & msr::LINES;
        // RI counts when it ends; the other three whenever they move.
        let news = (changed & !msr::RI) | (changed & !lines & msr::RI);
        self.modem_status = lines | (self.modem_status & msr::CHANGES) | (news >> 4);
    }

    /// Takes bytes off the line as far as there is room; how many it took. Nothing is
    /// received in loopback mode, and nothing is ever overrun from here.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> usize {
        if self.modem_control & mcr::LOOP != 0 {
            return 0;
        }
        bytes
            .iter()
            .take_while(|&&byte| self.received.push(byte))
            .count()
    }
}

/// RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD `["Modem Control Register"]`.
fn looped_lines(control: u8) -> u8 {
    [
        (mcr::RTS, msr::CTS),
        (mcr::DTR, msr::DSR),
        (mcr::OUT1, msr::RI),
        (mcr::OUT2, msr::DCD),
    ]
    .iter()
    .filter(|(output, _)| control & output != 0)
    .fold(0, |lines, (_, input)| lines | input)
}
