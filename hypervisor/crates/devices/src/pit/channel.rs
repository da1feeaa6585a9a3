//! One counter of the 8254 timer.
//!
//! Owns the modes, the count at any tick, the level of OUT and the edges to come, all
//! computed from the tick at which counting began: nothing runs between two accesses.
//! After `[Intel 8254 data sheet, order 231164-005]`. Does not own time: callers bring
//! ticks of the 1.193182 MHz clock, which never go back.
//!
//! Simplified: in mode 3 a new count takes over at the end of the period, not of the half
//! period; between an access and the clock pulse after it, OUT and count may be those that
//! the pulse will load.

mod reads;

use super::divide::Divisor;

/// What a counter does `["Mode Definitions"]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// 0: OUT rises when the count ends.
    TerminalCount,
    /// 1: a gate trigger gives a low pulse as long as the count.
    OneShot,
    /// 2: OUT is low for the last clock of each period.
    RateGenerator,
    /// 3: OUT is high for half of each period.
    SquareWave,
    /// 4: OUT is low for one clock when the count ends.
    SoftwareStrobe,
    /// 5: the same after a gate trigger.
    HardwareStrobe,
}

impl Mode {
    /// From bits 3 to 1 of a control word; the top one does not count for modes 2 and 3.
    fn of(control: u8) -> Self {
        match (control >> 1) & 7 {
            0 => Self::TerminalCount,
            1 => Self::OneShot,
            2 | 6 => Self::RateGenerator,
            4 => Self::SoftwareStrobe,
            5 => Self::HardwareStrobe,
            _ => Self::SquareWave,
        }
    }
}

/// How far the counting element is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Run {
    /// A control word came and no (whole) count yet.
    Unset,
    /// A count came; modes 1 and 5 wait for their trigger.
    Armed,
    /// The count was, or will be, loaded at tick `start`.
    Counting { start: u64 },
    /// The gate holds it, `elapsed` ticks after `start`.
    Held { start: u64, elapsed: u64 },
}

/// A new count that waits for the end of the period or for a trigger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Successor {
    count: Divisor,
    at: u64,
}

impl Successor {
    fn at_trigger(count: Divisor) -> Self {
        Self {
            count,
            at: u64::MAX,
        }
    }
}

/// The level of a counter's GATE input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gate {
    Low,
    High,
}

/// One counter.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    /// Bits 5 to 0 of the last control word: access, mode, BCD.
    control: u8,
    mode: Mode,
    gate: Gate,
    /// The count of the period under way, 1 to 65536.
    count: Divisor,
    run: Run,
    successor: Option<Successor>,
    /// The low byte of a count whose high byte is still to come.
    low_byte: Option<u8>,
    /// The next read of a two-byte count gives the high byte.
    high_byte_next: bool,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
}

impl Channel {
    const BCD: u8 = 1;
    const ACCESS: u8 = 0x30;
    const ACCESS_LOW: u8 = 0x10;
    const ACCESS_HIGH: u8 = 0x20;

    /// A counter in mode 2 that started with `count` at tick 0.
    pub(crate) fn running(gate: Gate, count: u32) -> Self {
        Self {
            control: 0x34,
            mode: Mode::RateGenerator,
            gate,
            count: Divisor::new(count),
            run: match gate {
                Gate::High => Run::Counting { start: 0 },
                Gate::Low => Run::Held {
                    start: 0,
                    elapsed: 0,
                },
            },
            successor: None,
            low_byte: None,
            high_byte_next: false,
            latched_count: None,
            latched_status: None,
        }
    }

    /// A control word for this counter.
    pub(crate) fn write_control(&mut self, control: u8) {
        self.control = control & 0x3f;
        self.mode = Mode::of(control);
        self.run = Run::Unset;
        self.successor = None;
        self.low_byte = None;
        self.high_byte_next = false;
        self.latched_count = None;
        self.latched_status = None;
    }

    /// A byte of the count.
    pub(crate) fn write(&mut self, byte: u8, tick: u64) {
        self.sync(tick);
        match (self.control & Self::ACCESS, self.low_byte) {
            (Self::ACCESS_LOW, _) => self.load(u16::from(byte), tick),
            (Self::ACCESS_HIGH, _) => self.load(u16::from_be_bytes([byte, 0]), tick),
            (_, None) => {
                self.low_byte = Some(byte);
                // The first byte stops a mode 0 count and sets OUT low at once.
                if self.mode == Mode::TerminalCount {
                    self.run = Run::Unset;
                }
            }
            (_, Some(low)) => {
                self.low_byte = None;
                self.load(u16::from_le_bytes([low, byte]), tick);
            }
        }
    }

    /// A whole count: the clock pulse after this one loads it, or later what comes after.
    fn load(&mut self, raw: u16, tick: u64) {
        let count = Divisor::new(self.decode(raw));
        match self.mode {
            Mode::TerminalCount | Mode::SoftwareStrobe => self.start_with(count, tick),
            Mode::RateGenerator | Mode::SquareWave => self.load_periodic(count, tick),
            Mode::OneShot | Mode::HardwareStrobe => self.load_triggered(count, tick),
        }
    }

    /// Modes 2 and 3: the first count starts, later ones wait for the end of the period.
    fn load_periodic(&mut self, count: Divisor, tick: u64) {
        match self.run {
            Run::Unset | Run::Armed => self.start_with(count, tick),
            Run::Counting { start } | Run::Held { start, .. } if tick < start => {
                self.count = count;
            }
            Run::Counting { start } => {
                let at = start.saturating_add(self.count.round_up_past(tick.wrapping_sub(start)));
                self.successor = Some(Successor { count, at });
            }
            Run::Held { .. } => self.successor = Some(Successor::at_trigger(count)),
        }
    }

    /// Modes 1 and 5: a count waits for the gate.
    fn load_triggered(&mut self, count: Divisor, tick: u64) {
        match self.run {
            Run::Unset | Run::Armed => {
                self.count = count;
                self.run = Run::Armed;
            }
            Run::Counting { start } | Run::Held { start, .. } if tick < start => {
                self.count = count;
            }
            Run::Counting { .. } | Run::Held { .. } => {
                self.successor = Some(Successor::at_trigger(count));
            }
        }
    }

    fn start_with(&mut self, count: Divisor, tick: u64) {
        let start = tick.saturating_add(1);
        self.count = count;
        self.run = match self.gate {
            Gate::High => Run::Counting { start },
            Gate::Low => Run::Held { start, elapsed: 0 },
        };
    }

    /// Moves the gate `["Gate Pin Operations Summary"]`.
    pub(crate) fn set_gate(&mut self, gate: Gate, tick: u64) {
        self.sync(tick);
        if gate == self.gate {
            return;
        }
        self.gate = gate;
        match gate {
            Gate::High => self.gate_rises(tick),
            Gate::Low => self.gate_falls(tick),
        }
    }

    fn gate_falls(&mut self, tick: u64) {
        let triggered = matches!(self.mode, Mode::OneShot | Mode::HardwareStrobe);
        if let (Run::Counting { start }, false) = (self.run, triggered) {
            self.run = Run::Held {
                start,
                elapsed: tick.saturating_sub(start),
            };
            // The period will not end; what waits for it waits for the trigger now.
            let waiting = self.successor.map(|successor| successor.count);
            self.successor = waiting.map(Successor::at_trigger);
        }
    }

    fn gate_rises(&mut self, tick: u64) {
        match (self.mode, self.run) {
            (_, Run::Unset) => {}
            (Mode::TerminalCount | Mode::SoftwareStrobe, Run::Held { start, elapsed }) => {
                self.run = Run::Counting {
                    start: start.max(tick.saturating_sub(elapsed)),
                };
            }
            (Mode::TerminalCount | Mode::SoftwareStrobe, Run::Armed | Run::Counting { .. }) => {}
            (
                Mode::OneShot | Mode::HardwareStrobe | Mode::RateGenerator | Mode::SquareWave,
                Run::Armed | Run::Counting { .. } | Run::Held { .. },
            ) => self.trigger(tick),
        }
    }

    /// The next clock pulse loads the count anew.
    fn trigger(&mut self, tick: u64) {
        if let Some(successor) = self.successor.take() {
            self.count = successor.count;
        }
        self.run = Run::Counting {
            start: tick.saturating_add(1),
        };
    }

    /// Lets a new count take over whose time has come.
    pub(crate) fn sync(&mut self, tick: u64) {
        if let Some(successor) = self.successor
            && tick >= successor.at
        {
            self.count = successor.count;
            self.run = Run::Counting {
                start: successor.at,
            };
            self.successor = None;
        }
    }

    /// The first tick after `tick` (and after all [`Channel::sync`]) at which OUT rises by
    /// itself.
    pub(crate) fn next_rise(&self, tick: u64) -> Option<u64> {
        let Run::Counting { start } = self.run else {
            return None;
        };
        let end = start.saturating_add(u64::from(self.count.get()));
        let rise = match self.mode {
            Mode::TerminalCount | Mode::OneShot => end,
            Mode::SoftwareStrobe | Mode::HardwareStrobe => end.saturating_add(1),
            // A period of 1 is not allowed in these modes; OUT never moves.
            Mode::RateGenerator | Mode::SquareWave if self.count.get() == 1 => return None,
            Mode::RateGenerator | Mode::SquareWave if tick < start => end,
            Mode::RateGenerator | Mode::SquareWave => {
                start.saturating_add(self.count.round_up_past(tick.wrapping_sub(start)))
            }
        };
        (rise > tick).then_some(rise)
    }
}
