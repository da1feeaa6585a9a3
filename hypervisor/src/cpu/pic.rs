//! The 8259 interrupt controller pair: one line is open for each driver that waits for it.
//!
//! Owns remapping it out of the exceptions' vectors, the masks and the end of interrupt.
//! `[8259A datasheet, "Initialization Command Words"]`

use x86_64::instructions::port::Port;

use super::interrupt::PIC_BASE;

/// The line of the first chip that the second is on.
const CASCADE: u8 = 2;

const COMMAND: [u16; 2] = [0x20, 0xa0];
const DATA: [u16; 2] = [0x21, 0xa1];
const END_OF_INTERRUPT: u8 = 0x20;
const READ_IN_SERVICE: u8 = 0x0b;

/// Vectors 20h to 2fh, every line closed.
pub(super) fn start() {
    let cascade = [1 << 2, 2];
    for chip in [0, 1] {
        write(COMMAND[chip], 0x11);
        write(DATA[chip], PIC_BASE + 8 * chip as u8);
        write(DATA[chip], cascade[chip]);
        write(DATA[chip], 0x01);
    }
    write(DATA[0], !(1 << CASCADE));
    write(DATA[1], 0xff);
}

/// Opens a line, 0 to 15.
pub(super) fn open(line: u8) {
    let chip = usize::from(line >= 8);
    write(DATA[chip], read(DATA[chip]) & !(1 << (line % 8)));
}

/// Closes a line that has interrupted, and ends the interrupt.
pub(super) fn close(line: u8) -> Ended {
    let chip = usize::from(line >= 8);
    write(DATA[chip], read(DATA[chip]) | 1 << (line % 8));
    end(line)
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
fn end(line: u8) -> Ended {
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
    read(COMMAND[chip])
}

fn read(port: u16) -> u8 {
    // SAFETY: only the PICs' ports; no memory is behind them.
    unsafe { Port::new(port).read() }
}

fn write(port: u16, value: u8) {
    // SAFETY: only the PICs' ports; what they interrupt has a handler.
    unsafe { Port::new(port).write(value) }
}
