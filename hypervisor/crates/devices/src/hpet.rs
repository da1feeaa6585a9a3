//! The HPET: one counter of 10 MHz and three comparators that interrupt.
//!
//! Owns the registers of the page at FED00000h, and which lines to the I/O APIC the
//! comparators move. The first comparator can be periodic. There is no legacy replacement
//! (the PIT and the clock keep their lines) and no interrupt by message; the capabilities
//! say so. Registers are read and written by four or eight bytes, aligned; anything else meets
//! no register.
//!
//! After `[IA-PC HPET (High Precision Event Timers) Specification, rev. 1.0a]`. Does not own
//! the present time, nor the lines' other ends.

mod comparator;
#[cfg(test)]
mod tests;

use skerry_words::{Tsc, Width};

use crate::ioapic::Pin;
use crate::line::Level;
use crate::timebase::Timebase;
use comparator::Comparator;

/// The counter's frequency, the slowest that the specification allows. A time-stamp counter
/// that is slower still makes this one as slow.
const COUNTER_HZ: u64 = 10_000_000;
/// A tick of it in femtoseconds.
const PERIOD_FS: u64 = 100_000_000;
const COMPARATORS: usize = 3;

/// Offsets of the registers in the page.
mod offset {
    pub(super) const CAPABILITIES: u16 = 0x000;
    pub(super) const CONFIGURATION: u16 = 0x010;
    pub(super) const STATUS: u16 = 0x020;
    pub(super) const COUNTER: u16 = 0x0f0;
    pub(super) const COMPARATORS: u16 = 0x100;
    pub(super) const COMPARATOR_BYTES: u16 = 0x20;
    /// In a comparator's block.
    pub(super) const SETTINGS: u16 = 0x00;
    pub(super) const VALUE: u16 = 0x08;
}

/// Revision 1, a counter of 64 bits, the last comparator's number, the period.
const CAPABILITIES: u64 =
    PERIOD_FS << 32 | VENDOR << 16 | 1 << 13 | (COMPARATORS as u64 - 1) << 8 | 1;
/// Intel's, whose specification it is.
const VENDOR: u64 = 0x8086;
/// The counter runs, and comparators interrupt.
const ENABLE: u64 = 1 << 0;

/// The block.
#[derive(Clone, Debug)]
pub(crate) struct Hpet {
    clock: Timebase,
    /// While the counter runs, how far it is before `clock`; while it stands, what it shows.
    counter: u64,
    runs: bool,
    /// Level-triggered comparators that have interrupted, by bit.
    status: u32,
    comparators: [Comparator; COMPARATORS],
    /// The counter when the comparators were last looked at.
    seen: u64,
    deadline: Tsc,
    /// Which pins are active, by bit.
    active: u32,
}

/// What moves at the I/O APIC: pins, by bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub(crate) struct Moves {
    pulsed: u32,
    risen: u32,
    fallen: u32,
}

impl Moves {
    /// The pins with an edge.
    pub(crate) fn pulses(self) -> impl Iterator<Item = Pin> {
        pins(self.pulsed)
    }

    /// The pins with a new level.
    pub(crate) fn levels(self) -> impl Iterator<Item = (Pin, Level)> {
        let risen = pins(self.risen).map(|pin| (pin, Level::High));
        risen.chain(pins(self.fallen).map(|pin| (pin, Level::Low)))
    }
}

fn pins(bits: u32) -> impl Iterator<Item = Pin> {
    (0..32).filter(move |bit| bits & (1 << bit) != 0).map(Pin)
}

impl Hpet {
    /// As after reset: the counter stands at 0.
    pub(crate) fn new(tsc_hz: u64, now: Tsc) -> Self {
        Self {
            clock: Timebase::new(COUNTER_HZ, tsc_hz, now),
            counter: 0,
            runs: false,
            status: 0,
            comparators: [Comparator::PERIODIC, Comparator::SINGLE, Comparator::SINGLE],
            seen: 0,
            deadline: Tsc::NEVER,
            active: 0,
        }
    }

    /// When [`Hpet::advance`] has something to do.
    pub(crate) fn deadline(&self) -> Tsc {
        self.deadline
    }

    /// Lets the comparators see the counter up to `now`.
    pub(crate) fn advance(&mut self, now: Tsc) -> Moves {
        let pulsed = self.compare(now);
        self.refresh_deadline(now);
        self.moves(pulsed)
    }

    /// A register, or a half of one; `None` where there is none.
    pub(crate) fn read(&self, at: u16, width: Width, now: Tsc) -> Option<u64> {
        let shift = shift(at, width)?;
        let value = self.register(at & !7, now)? >> shift;
        Some(value & width.mask())
    }

    /// Writes a register or a half of one; `None` where there is none.
    pub(crate) fn write(&mut self, at: u16, width: Width, value: u64, now: Tsc) -> Option<Moves> {
        let shift = shift(at, width)?;
        let mask = width.mask() << shift;
        let at = at & !7;
        let before = self.register(at, now)?;
        // What was due came before the write.
        let pulsed = self.compare(now);
        let written = value << shift & mask;
        self.set_register(at, before & !mask | written, (written, now));
        self.seen = self.count(now);
        self.refresh_deadline(now);
        Some(self.moves(pulsed))
    }

    fn count(&self, now: Tsc) -> u64 {
        if self.runs {
            self.clock.ticks(now).wrapping_add(self.counter)
        } else {
            self.counter
        }
    }

    fn set_count(&mut self, count: u64, now: Tsc) {
        self.counter = if self.runs {
            count.wrapping_sub(self.clock.ticks(now))
        } else {
            count
        };
    }

    fn register(&self, at: u16, now: Tsc) -> Option<u64> {
        match at {
            offset::CAPABILITIES => Some(CAPABILITIES),
            offset::CONFIGURATION => Some(u64::from(self.runs)),
            offset::STATUS => Some(u64::from(self.status)),
            offset::COUNTER => Some(self.count(now)),
            _ => {
                let (index, register) = comparator_at(at)?;
                let comparator = self.comparators.get(index)?;
                match register {
                    offset::SETTINGS => Some(comparator.settings()),
                    offset::VALUE => Some(comparator.value()),
                    _ => None,
                }
            }
        }
    }

    /// `whole` is the register with the written part in it, `written` that part alone.
    fn set_register(&mut self, at: u16, whole: u64, (written, now): (u64, Tsc)) {
        match at {
            offset::CONFIGURATION => {
                let count = self.count(now);
                self.runs = whole & ENABLE != 0;
                self.set_count(count, now);
            }
            // Writing ones clears.
            offset::STATUS => self.status &= !(written as u32),
            offset::COUNTER => self.set_count(whole, now),
            _ => {
                let place = comparator_at(at);
                let found = place.and_then(|(index, register)| {
                    Some((self.comparators.get_mut(index)?, register))
                });
                match found {
                    Some((comparator, offset::SETTINGS)) => comparator.set(whole),
                    Some((comparator, offset::VALUE)) => comparator.set_value(whole),
                    Some(_) | None => {}
                }
            }
        }
    }

    /// Which pins have an edge, the counter having come to where it is at `now`.
    fn compare(&mut self, now: Tsc) -> u32 {
        let count = self.count(now);
        let mut pulsed = 0;
        if self.runs {
            for (bit, comparator) in (0..).zip(&mut self.comparators) {
                if !comparator.passes(self.seen, count) || !comparator.interrupts() {
                    continue;
                }
                if comparator.is_level() {
                    self.status |= 1 << bit;
                } else {
                    pulsed |= comparator.pin_bit();
                }
            }
        }
        self.seen = count;
        pulsed
    }

    fn refresh_deadline(&mut self, now: Tsc) {
        self.deadline = Tsc::NEVER;
        if !self.runs {
            return;
        }
        let interrupting = self.comparators.iter().filter(|c| c.interrupts());
        if let Some(nearest) = interrupting.map(|c| c.distance(self.seen)).min() {
            let tick = self.clock.ticks(now).saturating_add(nearest);
            self.deadline = self.clock.when(tick);
        }
    }

    /// What `pulsed` and the present levels are to the I/O APIC.
    fn moves(&mut self, pulsed: u32) -> Moves {
        let before = self.active;
        let asserting = (0..).zip(&self.comparators).filter(|(bit, comparator)| {
            comparator.is_level() && comparator.interrupts() && self.status & (1 << bit) != 0
        });
        self.active = asserting.fold(0, |pins, (_, comparator)| pins | comparator.pin_bit());
        Moves {
            pulsed,
            risen: self.active & !before,
            fallen: before & !self.active,
        }
    }
}

/// Which comparator's register that is.
fn comparator_at(at: u16) -> Option<(usize, u16)> {
    let inside = at.checked_sub(offset::COMPARATORS)?;
    let index = usize::from(inside.checked_div(offset::COMPARATOR_BYTES)?);
    (index < COMPARATORS).then_some((index, inside & (offset::COMPARATOR_BYTES - 1)))
}

/// How far up in its register an access is.
fn shift(at: u16, width: Width) -> Option<u32> {
    match width {
        Width::Qword if at & 7 == 0 => Some(0),
        Width::Dword if at & 3 == 0 => Some(u32::from(at & 4) << 3),
        Width::Byte | Width::Word | Width::Dword | Width::Qword => None,
    }
}
