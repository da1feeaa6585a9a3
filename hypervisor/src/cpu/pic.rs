//! The 8259 interrupt controller pair: COM1's line is all we use of it.
//!
//! Owns remapping it out of the exceptions' vectors, the mask and the end of interrupt.
//! `[8259A datasheet, "Initialization Command Words"]`

use x86_64::instructions::port::Port;

use super::interrupt::PIC_BASE;

/// COM1's line.
pub(super) const COM1_LINE: u8 = 4;

const COMMAND: [u16; 2] = [0x20, 0xa0];
const DATA: [u16; 2] = [0x21, 0xa1];
const END_OF_INTERRUPT: u8 = 0x20;
const READ_IN_SERVICE: u8 = 0x0b;

/// Vectors 20h to 2fh, everything masked but COM1.
pub(super) fn start() {
    let cascade = [1 << 2, 2];
    for chip in [0, 1] {
        write(COMMAND[chip], 0x11);
        write(DATA[chip], PIC_BASE + 8 * chip as u8);
        write(DATA[chip], cascade[chip]);
        write(DATA[chip], 0x01);
    }
    write(DATA[0], !(1 << COM1_LINE));
    write(DATA[1], 0xff);
}

/// What [`end`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// The line was in service.
    Served,
    /// The line had fallen again before it was acknowledged; only lines 7 and 15 do that.
    Spurious,
}

/// Ends the interrupt of `line`.
pub(super) fn end(line: u8) -> Ended {
    let chip = usize::from(line >= 8);
    let spurious = line % 8 == 7 && in_service(chip) & 0x80 == 0;
    if chip == 1 {
        write(COMMAND[0], END_OF_INTERRUPT);
    }
    if spurious {
        return Ended::Spurious;
    }
    write(COMMAND[chip], END_OF_INTERRUPT);
    Ended::Served
}

fn in_service(chip: usize) -> u8 {
    write(COMMAND[chip], READ_IN_SERVICE);
    // SAFETY: the PIC's port; no memory is behind it.
    unsafe { Port::new(COMMAND[chip]).read() }
}

fn write(port: u16, value: u8) {
    // SAFETY: only the PICs' ports; what they interrupt has a handler.
    unsafe { Port::new(port).write(value) }
}
