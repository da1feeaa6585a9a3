//! Which vCPU runs next on one physical CPU, and for how long.
//!
//! Owns the shares: a vCPU of weight 200 gets twice the time of one of weight 100, whoever
//! sleeps costs nothing, and whoever spins gets its share and no more. Each runnable vCPU
//! has a virtual time, its ticks divided by its weight; the one furthest behind is next,
//! and runs for one *turn*: a time slice scaled by its weight, the same virtual time for
//! everybody. So virtual times of the runnable stay within one turn of each other.
//!
//! Does not own time, timers or vCPUs: the run loop of a physical CPU calls it, tells it
//! the ticks that passed, and sets the preemption timer. Same calls, same answers: no
//! clock, no randomness.
//!
//! The order of calls after a vCPU has run: [`Scheduler::charge`] first, then
//! [`Scheduler::sleep`] or [`Scheduler::yield_now`] if it asked, then
//! [`Scheduler::wake`] for those whose event came, then [`Scheduler::pick`].
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

extern crate alloc;

mod share;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use share::{Share, VirtualTime};

/// A vCPU by its place in one [`Scheduler`]. A removed one's is given out again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VcpuId(pub usize);

/// The weight that gets exactly one time slice a turn.
pub const DEFAULT_WEIGHT: u32 = 100;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Readiness {
    Runnable,
    Asleep,
}

/// One vCPU as the scheduler sees it.
#[derive(Clone, Debug)]
struct Slot {
    share: Share,
    readiness: Readiness,
    /// What is left of its turn, in ticks; 0 outside a turn.
    turn_left: u64,
}

/// The vCPUs of one physical CPU.
#[derive(Clone, Debug)]
pub struct Scheduler {
    slots: Vec<Option<Slot>>,
    /// Where the runnable vCPU furthest behind is, or was last: it only goes forward.
    floor: VirtualTime,
    /// Whose turn it is.
    current: Option<VcpuId>,
    runnable: usize,
    slice_tsc: u64,
}

impl Scheduler {
    /// No vCPUs yet; a turn of one with [`DEFAULT_WEIGHT`] shall last `slice_tsc` ticks
    /// (at least 1, at most 2^48).
    #[must_use]
    pub fn new(slice_tsc: u64) -> Self {
        Self {
            slots: Vec::new(),
            floor: VirtualTime::default(),
            current: None,
            runnable: 0,
            slice_tsc: slice_tsc.clamp(1, share::MOST_TICKS),
        }
    }

    /// Takes in a runnable vCPU. It starts just behind the one that is next, so that
    /// leaving and joining again gains nothing. A weight of 0 counts as 1.
    pub fn add(&mut self, weight: u32) -> VcpuId {
        self.settle();
        let slot = Slot {
            share: Share::new(weight, self.slice_tsc, self.floor.next()),
            readiness: Readiness::Runnable,
            turn_left: 0,
        };
        self.runnable = self.runnable.saturating_add(1);
        if let Some(index) = self.slots.iter().position(Option::is_none) {
            self.slots.splice(index..=index, [Some(slot)]);
            return VcpuId(index);
        }
        self.slots.push(Some(slot));
        VcpuId(self.slots.len().saturating_sub(1))
    }

    /// Forgets a vCPU.
    pub fn remove(&mut self, id: VcpuId) {
        self.sleep(id);
        if let Some(slot) = self.slots.get_mut(id.0) {
            *slot = None;
        }
    }

    /// Its event came: it is runnable. It has at most one turn of credit for its sleep,
    /// and cuts the current turn short if that one is further on than it is.
    pub fn wake(&mut self, id: VcpuId) {
        self.settle();
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        if slot.readiness == Readiness::Runnable {
            return;
        }
        slot.readiness = Readiness::Runnable;
        let woken = slot.share.at;
        self.runnable = self.runnable.saturating_add(1);
        if let Some(current) = self.current.and_then(|current| self.slot_mut(current))
            && woken.is_before(current.share.at)
        {
            current.turn_left = 0;
        }
    }

    /// It waits for an event, and costs nothing until it is woken.
    pub fn sleep(&mut self, id: VcpuId) {
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        slot.turn_left = 0;
        if slot.readiness == Readiness::Runnable {
            slot.readiness = Readiness::Asleep;
            self.runnable = self.runnable.saturating_sub(1);
        }
    }

    /// Whose turn it is: the current one's while its turn lasts, else that of the runnable
    /// vCPU furthest behind, of equals the one with the lowest id. `None`: all sleep.
    pub fn pick(&mut self) -> Option<VcpuId> {
        if let Some(id) = self.current
            && self.slot_mut(id).is_some_and(|slot| slot.turn_left != 0)
        {
            return Some(id);
        }
        self.current = self.settle();
        let id = self.current?;
        let slot = self.slot_mut(id)?;
        slot.turn_left = slot.share.turn_ticks();
        Some(id)
    }

    /// It has run for `ticks`.
    #[inline]
    pub fn charge(&mut self, id: VcpuId, ticks: u64) {
        if let Some(slot) = self.slot_mut(id) {
            slot.share.charge(ticks);
            slot.turn_left = slot.turn_left.saturating_sub(ticks);
        }
    }

    /// It gives the rest of its turn away, as if it had used it.
    pub fn yield_now(&mut self, id: VcpuId) {
        if let Some(slot) = self.slot_mut(id) {
            slot.share.charge(slot.turn_left);
            slot.share.at = slot.share.at.next();
            slot.turn_left = 0;
        }
    }

    /// How many ticks it may run now: the rest of its turn, `u64::MAX` if nobody else is
    /// runnable, 0 if it is not its turn.
    #[inline]
    #[must_use]
    pub fn slice(&self, id: VcpuId) -> u64 {
        match self.slots.get(id.0) {
            Some(Some(slot)) if slot.readiness == Readiness::Runnable && self.runnable == 1 => {
                u64::MAX
            }
            Some(Some(slot)) => slot.turn_left,
            Some(None) | None => 0,
        }
    }

    /// How many vCPUs are runnable, the running one included.
    #[inline]
    #[must_use]
    pub fn runnable(&self) -> usize {
        self.runnable
    }

    #[inline]
    fn slot_mut(&mut self, id: VcpuId) -> Option<&mut Slot> {
        self.slots.get_mut(id.0)?.as_mut()
    }

    fn furthest_behind(&self) -> Option<(VcpuId, VirtualTime)> {
        if self.runnable == 0 {
            return None;
        }
        let mut best: Option<(VcpuId, VirtualTime)> = None;
        for (index, slot) in self.slots.iter().enumerate() {
            if let Some(slot) = slot
                && slot.readiness == Readiness::Runnable
                && best.is_none_or(|(_, at)| slot.share.at.is_before(at))
            {
                best = Some((VcpuId(index), slot.share.at));
            }
        }
        best
    }

    /// Moves the floor up to the runnable vCPU furthest behind, and the sleepers after it,
    /// one turn back at most. So no stored time is ever far from the floor, and comparing
    /// them is safe when the counter wraps. While the floor stands still, so do the sleepers:
    /// one that falls asleep is no further behind it. Gives the vCPU furthest behind.
    fn settle(&mut self) -> Option<VcpuId> {
        let (id, at) = self.furthest_behind()?;
        let floor = self.floor.later(at);
        if floor != self.floor {
            self.floor = floor;
            self.pull_sleepers();
        }
        Some(id)
    }

    fn pull_sleepers(&mut self) {
        let oldest = self.floor.back(self.slice_tsc);
        for slot in self.slots.iter_mut().flatten() {
            if slot.readiness == Readiness::Asleep {
                slot.share.at = slot.share.at.later(oldest);
            }
        }
    }
}
