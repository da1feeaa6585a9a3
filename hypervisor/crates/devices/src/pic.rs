//! The two 8259A interrupt controllers of a PC, one behind the other.
//!
//! Owns the cascade, the edge/level registers 4D0h and 4D1h and the cached state of the
//! CPU's interrupt pin. Does not own the devices' lines: [`crate::Platform`] moves them.
//!
//! Wiring is fixed as on every PC (the slave on IR2 of the master), so ICW3 is taken and
//! has no effect; level or edge is chosen by 4D0h and 4D1h alone, and ICW1's LTIM ignored
//! `[Intel 82371AB (PIIX4), "ELCR1", "ICW1", order 290562-001]`.

mod chip;
#[cfg(test)]
mod tests;

use skerry_words::Vector;

use crate::line::{IrqLine, Level};
pub(crate) use chip::Register;
use chip::{Acknowledged, Chip};

/// The master's input that carries the slave's requests.
const CASCADE: u8 = 2;

/// Which lines may be level-triggered: not the timer, keyboard, cascade, clock and FPU
/// `[Intel 82371AB (PIIX4), "ELCR1", "ELCR2", order 290562-001]`.
const MASTER_LEVEL_LINES: u8 = 0xf8;
const SLAVE_LEVEL_LINES: u8 = 0xde;

/// Which of the two controllers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    /// Ports 20h, 21h, 4D0h; lines 0 to 7.
    Master,
    /// Ports A0h, A1h, 4D1h; lines 8 to 15.
    Slave,
}

impl Which {
    fn of(line: IrqLine) -> Self {
        if line.0 < 8 {
            Self::Master
        } else {
            Self::Slave
        }
    }
}

/// The pair.
#[derive(Clone, Debug)]
pub(crate) struct Pic {
    master: Chip,
    slave: Chip,
    /// The level of the CPU's INTR pin.
    pending: bool,
}

impl Pic {
    /// As firmware leaves it: vectors 08h and 70h, everything masked.
    pub(crate) fn new() -> Self {
        Self {
            master: Chip::new(0x08, 1 << CASCADE),
            slave: Chip::new(0x70, 0),
            pending: false,
        }
    }

    /// Whether an interrupt waits for the CPU.
    #[inline]
    pub(crate) fn pending(&self) -> bool {
        self.pending
    }

    /// Whether an edge on `line` of the master would change anything: it is not masked and
    /// not already waiting.
    #[inline]
    pub(crate) fn listens(&self, line: IrqLine) -> bool {
        self.master.listens(1_u8.unbounded_shl(u32::from(line.0)))
    }

    /// Moves a device's line; whether that changed anything.
    #[inline]
    pub(crate) fn set_line(&mut self, line: IrqLine, level: Level) -> bool {
        let bit = 1_u8.unbounded_shl(u32::from(line.0 & 7));
        let which = Which::of(line);
        let moved = self.chip(which).set_line(bit, level);
        if moved {
            self.settle(which);
        }
        moved
    }

    /// A short pulse on a line, for edges whose wire is low again before anybody looks: the
    /// request waits until the CPU takes it.
    pub(crate) fn pulse(&mut self, line: IrqLine) {
        let which = Which::of(line);
        self.chip(which)
            .pulse(1_u8.unbounded_shl(u32::from(line.0 & 7)));
        self.settle(which);
    }

    /// The CPU's two INTA cycles: the vector of the most urgent request. Without any, the
    /// master answers with its IR7, and no bit is set in service
    /// `[Intel 8259A, "Edge and Level Triggered Modes", order 231468-003]`.
    pub(crate) fn acknowledge(&mut self) -> Vector {
        let vector = match self.master.acknowledge() {
            Acknowledged::Level(CASCADE) => self.slave.acknowledge_vector(),
            Acknowledged::Level(level) => self.master.vector(level),
            Acknowledged::Nothing => self.master.vector(chip::DEFAULT_LEVEL),
        };
        self.settle(Which::Slave);
        vector
    }

    /// A read of one of a chip's two registers. In poll mode it takes a request.
    pub(crate) fn read(&mut self, which: Which, register: Register) -> u8 {
        let chip = self.chip(which);
        let takes = chip.polls();
        let value = chip.read(register);
        if takes {
            self.settle(which);
        }
        value
    }

    /// A write to one of a chip's two registers.
    pub(crate) fn write(&mut self, which: Which, register: Register, value: u8) {
        self.chip(which).write(register, value);
        self.settle(which);
    }

    /// The edge/level register.
    pub(crate) fn read_edge_level(&self, which: Which) -> u8 {
        match which {
            Which::Master => self.master.level_triggered,
            Which::Slave => self.slave.level_triggered,
        }
    }

    /// Sets the edge/level register; bits of lines that are always edges stay 0.
    pub(crate) fn write_edge_level(&mut self, which: Which, value: u8) {
        match which {
            Which::Master => self.master.level_triggered = value & MASTER_LEVEL_LINES,
            Which::Slave => self.slave.level_triggered = value & SLAVE_LEVEL_LINES,
        }
        self.settle(which);
    }

    fn chip(&mut self, which: Which) -> &mut Chip {
        match which {
            Which::Master => &mut self.master,
            Which::Slave => &mut self.slave,
        }
    }

    /// Carries a changed chip's output on: the slave's to the master, the master's to the
    /// CPU.
    fn settle(&mut self, changed: Which) {
        if changed == Which::Slave {
            let slave = Level::from(self.slave.request().is_some());
            self.master.set_line(1 << CASCADE, slave);
        }
        self.pending = self.master.request().is_some();
    }
}
