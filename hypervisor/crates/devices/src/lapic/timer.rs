//! The APIC timer: one-shot, periodic, or at a value of the time-stamp counter.
//!
//! Owns the counting, by the time it started and without ticking; the timer's entry of the
//! local vector table, as its mode and mask are there; and the time it is due
//! `[SDM 3A, "APIC Timer", ed. 085]`. Does not own the registers in the page, nor IRR.
//!
//! Between one-shot and periodic mode the count goes on; into and out of TSC-deadline mode
//! the timer is disarmed. The manual says both that every change disarms and that only these
//! do; CPUs do the latter, and guests rely on it. A new divisor lets the count go on from
//! where it is.

use skerry_words::{Tsc, Vector};

use super::lvt::MASKED;

/// The mode bits of the timer's entry.
const MODE: u32 = 3 << 17;
const ONE_SHOT: u32 = 0;
const PERIODIC: u32 = 1 << 17;
const TSC_DEADLINE: u32 = 2 << 17;
const TSC_DEADLINE_MASKED: u32 = TSC_DEADLINE | MASKED;

/// A periodic timer wakes nobody sooner than this after it expired: some times what it costs
/// to interrupt a guest, so that a period of a few ticks leaves the guest time to do
/// anything. Its counting is not touched; periods in between count as one.
pub(super) const SHORTEST_WAKE_TSC: u64 = 4096;

/// The timer.
#[derive(Clone, Debug)]
pub(super) struct Timer {
    /// The timer's entry of the local vector table.
    lvt: u32,
    /// The initial count.
    initial: u32,
    /// The divisor is two to the power of this, 0 to 7.
    shift: u32,
    /// When the count stood at `count`.
    start: Tsc,
    /// The count at `start`; 0 if it stands still.
    count: u32,
    /// IA32_TSC_DEADLINE.
    target: u64,
    /// When the count reaches 0, or the deadline.
    due: Tsc,
    /// When somebody should look: `due` or a little later, never if masked.
    wake: Tsc,
}

impl Timer {
    /// Masked and still, dividing by two.
    pub(super) const fn new() -> Self {
        Self {
            lvt: MASKED,
            initial: 0,
            shift: 1,
            start: Tsc(0),
            count: 0,
            target: 0,
            due: Tsc::NEVER,
            wake: Tsc::NEVER,
        }
    }

    #[inline]
    pub(super) fn is_due(&self, now: Tsc) -> bool {
        now >= self.due
    }

    #[inline]
    pub(super) fn wake(&self) -> Tsc {
        self.wake
    }

    /// IA32_TSC_DEADLINE, 0 if not armed.
    pub(super) fn target(&self) -> u64 {
        self.target
    }

    pub(super) fn initial(&self) -> u32 {
        self.initial
    }

    /// The current count at `now`, which is not past the time it is due.
    pub(super) fn current(&self, now: Tsc) -> u32 {
        let ticks = now.since(self.start).unbounded_shr(self.shift);
        let left = u64::from(self.count).saturating_sub(ticks);
        left as u32
    }

    /// The time has come: what interrupts the CPU, if the entry is not masked.
    pub(super) fn elapse(&mut self, now: Tsc) -> Option<Vector> {
        if self.due == Tsc::NEVER {
            return None;
        }
        if self.lvt & MODE == PERIODIC {
            self.start_next_period(now);
        } else {
            self.stand_still();
        }
        (self.lvt & MASKED == 0).then_some(Vector(self.lvt as u8))
    }

    /// Begins the period that `now` lies in. Those that nobody saw are gone.
    fn start_next_period(&mut self, now: Tsc) {
        let period = u64::from(self.initial).max(1).unbounded_shl(self.shift);
        let late = now.since(self.due);
        let missed = if late < period {
            0
        } else {
            late.checked_rem(period)
                .map_or(0, |part| late.saturating_sub(part))
        };
        self.count_from(self.initial, self.due.after(missed));
        self.wake = self.wake.max(now.after(SHORTEST_WAKE_TSC));
    }

    /// Counts down from `count`, reached at `start`.
    fn count_from(&mut self, count: u32, start: Tsc) {
        self.count = count;
        self.start = start;
        self.due = match count {
            0 => Tsc::NEVER,
            _ => start.after(u64::from(count).unbounded_shl(self.shift)),
        };
        self.refresh_wake();
    }

    /// Nothing is counted or armed.
    fn stand_still(&mut self) {
        self.count = 0;
        self.target = 0;
        self.due = Tsc::NEVER;
        self.wake = Tsc::NEVER;
    }

    #[inline]
    fn refresh_wake(&mut self) {
        self.wake = if self.lvt & MASKED == 0 {
            self.due
        } else {
            Tsc::NEVER
        };
    }

    fn counts(lvt: u32) -> bool {
        matches!(lvt & MODE, ONE_SHOT | PERIODIC)
    }

    /// Writes the entry of the local vector table, its bits already those that are kept.
    pub(super) fn set_lvt(&mut self, lvt: u32) {
        let same = lvt & MODE == self.lvt & MODE;
        let goes_on = same || Self::counts(lvt) && Self::counts(self.lvt);
        self.lvt = lvt;
        if goes_on {
            self.refresh_wake();
        } else {
            self.initial = 0;
            self.stand_still();
        }
    }

    /// Writes the initial count, which starts the count; 0 stops it. Without effect in a mode
    /// that does not count.
    pub(super) fn set_initial(&mut self, count: u32, now: Tsc) {
        if Self::counts(self.lvt) {
            self.initial = count;
            self.count_from(count, now);
        }
    }

    /// Writes the divide configuration: bits 3, 1 and 0 are 0 for 2, ... 6 for 128, 7 for 1.
    pub(super) fn set_divide(&mut self, value: u32, now: Tsc) {
        let left = self.current(now);
        let code = (value >> 1) & 4 | value & 3;
        self.shift = code.wrapping_add(1) & 7;
        if Self::counts(self.lvt) {
            self.count_from(left, now);
        }
    }

    /// Writes IA32_TSC_DEADLINE. Without effect in another mode.
    #[inline]
    pub(super) fn set_target(&mut self, target: u64, due: Tsc) {
        let due = if target == 0 { Tsc::NEVER } else { due };
        let wake = match self.lvt & (MODE | MASKED) {
            // Nearly always.
            TSC_DEADLINE => due,
            TSC_DEADLINE_MASKED => Tsc::NEVER,
            _ => return,
        };
        (self.target, self.due, self.wake) = (target, due, wake);
    }
}
