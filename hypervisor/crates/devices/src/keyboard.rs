//! The 8042 keyboard controller, with neither keyboard nor mouse plugged in.
//!
//! Owns ports 60h and 64h: status, self-tests, the command byte, the output port with the
//! CPU's reset line. Every command is answered at once, so that a driver's probe finds out
//! without running into its timeouts; a byte to the missing keyboard or mouse gets the
//! controller's own time-out report (FEh, status bit 6).
//!
//! After `[IBM AT Technical Reference, "Keyboard Controller (8042)", 1986]`; mouse commands
//! after `[IBM PS/2 Hardware Interface Technical Reference, "Keyboard/Auxiliary Device
//! Controller", 1988]`. Does not own the lines IRQ1 and IRQ12, nor port 92h. The A20 gate
//! is always open, as in today's PCs, and reads as open whatever is written.

#[cfg(test)]
mod tests;

use crate::line::Level;

mod status {
    pub(super) const OUTPUT_FULL: u8 = 1 << 0;
    pub(super) const SYSTEM: u8 = 1 << 2;
    pub(super) const LAST_WAS_COMMAND: u8 = 1 << 3;
    pub(super) const UNLOCKED: u8 = 1 << 4;
    pub(super) const MOUSE_DATA: u8 = 1 << 5;
    pub(super) const TIMEOUT: u8 = 1 << 6;
}

mod command_byte {
    pub(super) const KEYBOARD_INTERRUPT: u8 = 1 << 0;
    pub(super) const MOUSE_INTERRUPT: u8 = 1 << 1;
    pub(super) const SYSTEM: u8 = 1 << 2;
    pub(super) const KEYBOARD_OFF: u8 = 1 << 4;
    pub(super) const MOUSE_OFF: u8 = 1 << 5;
    pub(super) const TRANSLATE: u8 = 1 << 6;
    /// What firmware leaves.
    pub(super) const FIRMWARE: u8 = KEYBOARD_INTERRUPT | SYSTEM | MOUSE_OFF | TRANSLATE;
}

mod output_port {
    /// Low pulls the CPU's reset line.
    pub(super) const NOT_RESET: u8 = 1 << 0;
    pub(super) const A20: u8 = 1 << 1;
}

const SELF_TEST_PASSED: u8 = 0x55;
const INTERFACE_GOOD: u8 = 0x00;
/// The mouse's clock line never moves: nothing is wired to it.
const CLOCK_STUCK_HIGH: u8 = 0x02;
/// What the controller reports for a device that does not answer.
const NO_ANSWER: u8 = 0xfe;

/// Where the next byte written to port 60h goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Parameter {
    Keyboard,
    CommandByte,
    Memory,
    OutputPort,
    KeyboardBuffer,
    MouseBuffer,
    Mouse,
}

/// What a write did outside the controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Written {
    Quiet,
    /// The reset line was pulled.
    Reset,
}

/// The controller.
#[derive(Clone, Debug)]
pub(crate) struct Keyboard {
    output: u8,
    status: u8,
    command_byte: u8,
    parameter: Parameter,
}

impl Keyboard {
    /// As firmware leaves it, after its self-test.
    pub(crate) fn new() -> Self {
        Self {
            output: 0,
            status: status::UNLOCKED | status::SYSTEM,
            command_byte: command_byte::FIRMWARE,
            parameter: Parameter::Keyboard,
        }
    }

    /// Line IRQ1: keyboard data waits and its interrupt is enabled.
    pub(crate) fn keyboard_interrupt(&self) -> Level {
        let full = self.status & (status::OUTPUT_FULL | status::MOUSE_DATA) == status::OUTPUT_FULL;
        Level::from(full && self.command_byte & command_byte::KEYBOARD_INTERRUPT != 0)
    }

    /// Line IRQ12: mouse data waits and its interrupt is enabled.
    pub(crate) fn mouse_interrupt(&self) -> Level {
        let both = status::OUTPUT_FULL | status::MOUSE_DATA;
        let full = self.status & both == both;
        Level::from(full && self.command_byte & command_byte::MOUSE_INTERRUPT != 0)
    }

    /// Port 64h.
    pub(crate) fn read_status(&self) -> u8 {
        self.status
    }

    /// Port 60h: the output buffer, which is empty afterwards.
    pub(crate) fn read_data(&mut self) -> u8 {
        self.status &= !(status::OUTPUT_FULL | status::MOUSE_DATA | status::TIMEOUT);
        self.output
    }

    /// A command, written to port 64h. Those that do not exist are ignored.
    pub(crate) fn write_command(&mut self, command: u8) -> Written {
        self.status |= status::LAST_WAS_COMMAND;
        self.parameter = Parameter::Keyboard;
        match command {
            0x20 => self.answer(self.command_byte),
            0x21..=0x3f => self.answer(0),
            0x60 => self.parameter = Parameter::CommandByte,
            0x61..=0x7f => self.parameter = Parameter::Memory,
            0xa7 => self.command_byte |= command_byte::MOUSE_OFF,
            0xa8 => self.command_byte &= !command_byte::MOUSE_OFF,
            0xa9 => self.answer(CLOCK_STUCK_HIGH),
            0xaa => self.test(),
            0xab => self.answer(INTERFACE_GOOD),
            0xad => self.command_byte |= command_byte::KEYBOARD_OFF,
            0xae => self.command_byte &= !command_byte::KEYBOARD_OFF,
            // Input port and test inputs: all jumpers open, both clocks idle.
            0xc0 => self.answer(0xff),
            0xe0 => self.answer(0x00),
            0xd0 => self.answer(output_port::NOT_RESET | output_port::A20),
            0xd1 => self.parameter = Parameter::OutputPort,
            0xd2 => self.parameter = Parameter::KeyboardBuffer,
            0xd3 => self.parameter = Parameter::MouseBuffer,
            0xd4 => self.parameter = Parameter::Mouse,
            // Pulses the output port's bits that are 0 in the low four; bit 0 is reset.
            0xf0..=0xff if command & output_port::NOT_RESET == 0 => return Written::Reset,
            _ => {}
        }
        Written::Quiet
    }

    /// A byte written to port 60h.
    pub(crate) fn write_data(&mut self, value: u8) -> Written {
        self.status &= !status::LAST_WAS_COMMAND;
        match core::mem::replace(&mut self.parameter, Parameter::Keyboard) {
            Parameter::CommandByte => self.set_command_byte(value),
            Parameter::Memory => {}
            Parameter::OutputPort if value & output_port::NOT_RESET == 0 => return Written::Reset,
            Parameter::OutputPort => {}
            // Without a mouse, a byte for its buffer comes back as the keyboard's: this is
            // how Linux's i8042 driver learns at once that there is none.
            Parameter::KeyboardBuffer | Parameter::MouseBuffer => self.answer(value),
            Parameter::Keyboard => self.report(status::TIMEOUT),
            Parameter::Mouse => self.report(status::TIMEOUT | status::MOUSE_DATA),
        }
        Written::Quiet
    }

    fn set_command_byte(&mut self, value: u8) {
        self.command_byte = value;
        self.status &= !status::SYSTEM;
        if value & command_byte::SYSTEM != 0 {
            self.status |= status::SYSTEM;
        }
    }

    /// The self-test also disables both devices.
    fn test(&mut self) {
        self.command_byte |= command_byte::KEYBOARD_OFF | command_byte::MOUSE_OFF;
        self.status |= status::SYSTEM;
        self.answer(SELF_TEST_PASSED);
    }

    fn answer(&mut self, byte: u8) {
        self.output = byte;
        self.status &= !(status::MOUSE_DATA | status::TIMEOUT);
        self.status |= status::OUTPUT_FULL;
    }

    fn report(&mut self, flags: u8) {
        self.answer(NO_ANSWER);
        self.status |= flags;
    }
}
