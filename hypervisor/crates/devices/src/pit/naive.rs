//! A counter of the 8254, simulated clock by clock: the model the tests compare with.
//!
//! Follows the mode definitions of the data sheet literally. Where the device says it
//! simplifies (mode 3 takes a new count at the end of the period) it does the same.
#![allow(clippy::arithmetic_side_effects)]

/// One counter; a count of the whole range is 0, as in the counting element itself.
#[derive(Debug)]
pub(super) struct Counter {
    mode: u8,
    range: u32,
    gate: bool,
    register: Option<u32>,
    element: u32,
    /// The count of the period under way.
    period: u32,
    pub(super) loaded: bool,
    load_next: bool,
    triggered: bool,
    expired: bool,
    pub(super) out: bool,
}

impl Counter {
    pub(super) fn new(gate: bool) -> Self {
        Self {
            mode: 0,
            range: 0x1_0000,
            gate,
            register: None,
            element: 0,
            period: 0,
            loaded: false,
            load_next: false,
            triggered: false,
            expired: false,
            out: false,
        }
    }

    pub(super) fn control(&mut self, mode: u8, range: u32) {
        *self = Self {
            mode,
            range,
            out: mode != 0,
            ..Self::new(self.gate)
        };
    }

    pub(super) fn write(&mut self, count: u32) {
        let first = self.register.is_none();
        self.register = Some(count % self.range);
        match self.mode {
            0 => {
                self.out = false;
                self.load_next = true;
            }
            4 => self.load_next = true,
            2 | 3 if first => self.load_next = true,
            _ => {}
        }
    }

    pub(super) fn set_gate(&mut self, gate: bool) {
        let rises = gate && !self.gate;
        self.gate = gate;
        if rises && self.register.is_some() && matches!(self.mode, 1 | 2 | 3 | 5) {
            self.triggered = true;
        }
        if !gate && matches!(self.mode, 2 | 3) {
            self.out = true;
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.element
    }

    fn load(&mut self) {
        self.period = self.register.unwrap();
        self.element = self.period;
        if self.mode == 3 {
            self.element &= !1;
        }
        self.loaded = true;
        self.load_next = false;
        self.triggered = false;
        self.expired = false;
        self.out = !matches!(self.mode, 0 | 1);
    }

    fn down(&mut self, by: u32) {
        self.element = (self.element + self.range - by) % self.range;
    }

    pub(super) fn clock(&mut self) {
        if self.load_next || self.triggered {
            return self.load();
        }
        let runs = self.loaded && (self.gate || matches!(self.mode, 1 | 5));
        if !runs {
            return;
        }
        match self.mode {
            0 | 1 => {
                self.down(1);
                self.out |= self.element == 0;
            }
            2 if self.element == 1 => self.load(),
            2 => {
                self.down(1);
                self.out = self.element != 1;
            }
            3 => self.square_clock(),
            _ => {
                self.down(1);
                self.out = self.element != 0 || self.expired;
                self.expired |= self.element == 0;
            }
        }
    }

    fn square_clock(&mut self) {
        let odd = self.period & 1 == 1;
        let last = if odd && self.out { 0 } else { 2 };
        if self.element != last {
            self.down(2);
        } else if self.out {
            self.out = false;
            self.element = self.period & !1;
        } else {
            self.load();
        }
    }
}
