//! The local vector table, and the two pins LINT0 and LINT1.
//!
//! Owns what an entry keeps, the masks an APIC that software disabled has everywhere, and
//! what a level on a pin leads to `[SDM 3A, "Local Vector Table", ed. 085]`. Does not own the
//! timer's counting (`timer`) nor errors (`error`). The sensors and counters behind the two
//! other entries do not exist.

use core::ops::{Deref, DerefMut};

use skerry_words::{ApicPage, Tsc, Vector};

use super::register::{
    self, INITIAL_COUNT, LVT_LINT0, LVT_LINT1, LVT_TIMER, REMOTE_IRR, SOFTWARE_ENABLE, SPURIOUS,
};
use super::{Acceptance, LocalApic, Trigger};

/// An entry's mask bit.
pub(super) const MASKED: u32 = 1 << 16;
/// An entry's delivery mode.
const DELIVERY: u32 = 7 << 8;
const FIXED: u32 = 0;
const SYSTEM_MANAGEMENT: u32 = 2 << 8;
/// Delivery mode NMI.
pub(super) const NON_MASKABLE: u32 = 4 << 8;
const INIT: u32 = 5 << 8;
/// Delivery mode ExtINT: the 8259A pair has the vector.
pub(super) const EXTERNAL: u32 = 7 << 8;
/// A pin is level-sensitive.
const LEVEL_TRIGGERED: u32 = 1 << 15;

/// One of the two pins for interrupts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lint {
    /// INTR of a CPU whose APIC is disabled.
    Lint0,
    /// NMI of a CPU whose APIC is disabled.
    Lint1,
}

/// The level of a pin. Wires here are not inverted, so the polarity bits change nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PinLevel {
    /// Nobody wants anything.
    #[default]
    Released,
    /// Somebody does.
    Asserted,
}

/// What a pin asks of this APIC's own CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum LocalEvent {
    /// Nothing, or an interrupt that is now in IRR.
    None,
    /// An NMI.
    Nmi,
    /// An SMI.
    Smi,
    /// An INIT.
    Init,
}

/// The levels of the pins.
#[derive(Clone, Debug, Default)]
pub(super) struct Pins {
    lint0: PinLevel,
    lint1: PinLevel,
    /// The level-triggered interrupt of LINT0 that is not yet served: its remote IRR.
    served: Option<Vector>,
}

impl Pins {
    /// Forgets what is being served; wires keep their levels over a reset.
    pub(super) fn forget_service(&mut self) {
        self.served = None;
    }

    /// Sets a level; the one it was before.
    fn set(&mut self, which: Lint, level: PinLevel) -> PinLevel {
        match which {
            Lint::Lint0 => core::mem::replace(&mut self.lint0, level),
            Lint::Lint1 => core::mem::replace(&mut self.lint1, level),
        }
    }
}

impl<P: Deref<Target = ApicPage>> LocalApic<P> {
    /// Whether the CPU takes interrupts from the 8259A pair, if its output is wired to this
    /// vCPU's LINT0: the pin is ExtINT and not masked, or the APIC is disabled globally.
    #[inline]
    #[must_use]
    pub fn takes_external(&self) -> bool {
        !self.is_enabled() || self.page.get(LVT_LINT0) & (MASKED | DELIVERY) == EXTERNAL
    }
}

impl<P: DerefMut<Target = ApicPage>> LocalApic<P> {
    /// A pin has this level now. ExtINT is not for here: see [`LocalApic::takes_external`].
    pub fn lint(&mut self, which: Lint, level: PinLevel) -> LocalEvent {
        let before = self.pins.set(which, level);
        if !self.is_enabled() {
            return match (which, before, level) {
                (Lint::Lint1, PinLevel::Released, PinLevel::Asserted) => LocalEvent::Nmi,
                _ => LocalEvent::None,
            };
        }
        if which == Lint::Lint0 {
            self.offer_level();
        }
        if before == PinLevel::Asserted || level == PinLevel::Released {
            return LocalEvent::None;
        }
        self.pin_rose(which)
    }

    /// An edge on a pin.
    fn pin_rose(&mut self, which: Lint) -> LocalEvent {
        let (lvt, levels) = match which {
            Lint::Lint0 => (self.page.get(LVT_LINT0), LEVEL_TRIGGERED),
            // Always edges, whatever its trigger mode says.
            Lint::Lint1 => (self.page.get(LVT_LINT1), 0),
        };
        if lvt & MASKED != 0 {
            return LocalEvent::None;
        }
        match lvt & DELIVERY {
            FIXED if lvt & levels == 0 => {
                self.accept(Vector(lvt as u8), Trigger::Edge);
                LocalEvent::None
            }
            SYSTEM_MANAGEMENT => LocalEvent::Smi,
            NON_MASKABLE => LocalEvent::Nmi,
            INIT => LocalEvent::Init,
            _ => LocalEvent::None,
        }
    }

    /// Requests the interrupt of a level-sensitive LINT0, if it is asserted and not yet being
    /// served.
    fn offer_level(&mut self) {
        let lvt = self.page.get(LVT_LINT0);
        let wanted = lvt & (MASKED | DELIVERY | LEVEL_TRIGGERED) == FIXED | LEVEL_TRIGGERED;
        let free = self.pins.served.is_none() && self.pins.lint0 == PinLevel::Asserted;
        if !wanted || !free {
            return;
        }
        let vector = Vector(lvt as u8);
        if self.accept(vector, Trigger::Level) == Acceptance::Taken {
            self.pins.served = Some(vector);
            self.page.set(LVT_LINT0, lvt | REMOTE_IRR);
        }
    }

    /// A level-triggered interrupt is served.
    pub(super) fn pin_served(&mut self, vector: Vector) {
        if self.pins.served == Some(vector) {
            self.pins.served = None;
            let lvt = self.page.get(LVT_LINT0);
            self.page.set(LVT_LINT0, lvt & !REMOTE_IRR);
            self.offer_level();
        }
    }

    /// Writes an entry. Its read-only bits stay, and the mask cannot be taken off while
    /// software has the APIC disabled.
    pub(super) fn set_lvt(&mut self, offset: u16, value: u32, now: Tsc) {
        let mut lvt = value & register::kept(offset);
        if self.page.get(SPURIOUS) & SOFTWARE_ENABLE == 0 {
            lvt |= MASKED;
        }
        match offset {
            LVT_TIMER => {
                self.expire(now);
                self.timer.set_lvt(lvt);
                self.page.set(INITIAL_COUNT, self.timer.initial());
                self.page.set(LVT_TIMER, lvt);
            }
            LVT_LINT0 => self.set_lint0(lvt),
            _ => self.page.set(offset, lvt),
        }
    }

    fn set_lint0(&mut self, lvt: u32) {
        if lvt & LEVEL_TRIGGERED == 0 {
            self.pins.served = None;
        }
        let remote = match self.pins.served {
            Some(_) => REMOTE_IRR,
            None => 0,
        };
        self.page.set(LVT_LINT0, lvt | remote);
        self.offer_level();
    }

    /// Writes the spurious-interrupt vector register. Without its enable bit every entry of
    /// the local vector table is masked, and stays so when the bit is set again
    /// `[SDM 3A, "Local APIC State After It Has Been Software Disabled", ed. 085]`.
    pub(super) fn set_spurious(&mut self, value: u32, now: Tsc) {
        self.expire(now);
        self.page.set(SPURIOUS, value & register::kept(SPURIOUS));
        if value & SOFTWARE_ENABLE == 0 {
            for offset in register::LVT {
                self.set_lvt(offset, self.page.get(offset), now);
            }
        }
    }
}
