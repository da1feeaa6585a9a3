//! Several vCPUs under one VMM: whose turn it is.
//!
//! Owns the vCPUs, which of them the VMM runs now, and the turns they take when more than one
//! has something to do. A VM has one share of the real CPU, whatever the number of its vCPUs, and
//! one VMM, which runs them one after the other: no two vCPUs of a VM ever run at once, so no
//! device needs a lock. Does not own the switch of registers, which is ring 0's.

use alloc::vec::Vec;
use core::ops::DerefMut;
use skerry_verdict::Resume;
use skerry_words::{ApicPage, GuestState, StateGroups, Tsc};

use crate::Vmm;
use crate::cpu::{Activity, Cpu, External, Start};

/// A turn is this fraction of a second, if another vCPU of the VM waits for its own.
const TURNS_PER_SECOND: u64 = 2000;

/// The vCPUs of a VM. There is always one that is current.
pub(crate) struct Cpus<P> {
    first: Cpu<P>,
    others: Vec<Cpu<P>>,
    index: usize,
}

impl<P> Cpus<P> {
    /// These vCPUs, the first of them current.
    pub(crate) fn new(first: Cpu<P>, others: Vec<Cpu<P>>) -> Self {
        Self {
            first,
            others,
            index: 0,
        }
    }

    /// Whether the first is the only one.
    #[inline]
    pub(crate) fn is_one(&self) -> bool {
        self.others.is_empty()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.others.len().saturating_add(1)
    }

    /// Which one is current.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Makes another one current; nothing if there is none with this index.
    pub(crate) fn select(&mut self, index: usize) {
        if index < self.count() {
            self.index = index;
        }
    }

    /// The current one.
    #[inline]
    pub(crate) fn current(&self) -> &Cpu<P> {
        let other = self.index.checked_sub(1);
        let other = other.and_then(|index| self.others.get(index));
        other.unwrap_or(&self.first)
    }

    /// The current one.
    #[inline]
    pub(crate) fn current_mut(&mut self) -> &mut Cpu<P> {
        let other = self.index.checked_sub(1);
        match other.and_then(|index| self.others.get_mut(index)) {
            Some(cpu) => cpu,
            None => &mut self.first,
        }
    }

    /// The one with this index.
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut Cpu<P>> {
        match index.checked_sub(1) {
            None => Some(&mut self.first),
            Some(other) => self.others.get_mut(other),
        }
    }

    /// All, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Cpu<P>> {
        core::iter::once(&self.first).chain(&self.others)
    }
}

impl<P: DerefMut<Target = ApicPage>> Vmm<P> {
    /// The vCPU that has something to do and comes next behind the current one, if one has; the
    /// current one itself comes last.
    #[must_use]
    pub fn next_to_run(&self) -> Option<usize> {
        if self.cpus.is_one() {
            // What waits for it has made it run already.
            return (self.cpus.current().activity == Activity::Running).then_some(0);
        }
        let current = self.cpus.index();
        let runnable = |first: usize, end: usize| {
            let cpus = self.cpus.iter().enumerate().take(end).skip(first);
            let mut cpus = cpus.filter(|(index, cpu)| cpu.is_runnable(self.external_for(*index)));
            cpus.next().map(|(index, _)| index)
        };
        let behind = current.saturating_add(1);
        runnable(behind, usize::MAX).or_else(|| runnable(0, behind))
    }

    /// Which vCPU is run and answered for.
    #[must_use]
    pub fn index(&self) -> usize {
        self.cpus.index()
    }

    /// Makes another vCPU the one that is run and answered for. `state` is its page; what it is to
    /// start from, if it starts, stands there then, and ring 0 is to be told.
    pub fn switch_to(&mut self, index: usize, state: &mut GuestState, now: Tsc) -> Switched {
        self.cpus.select(index);
        self.find_apic(state);
        self.attention = true;
        self.turn_ends = now.after(self.turn_tsc);
        match self.cpus.current_mut().start.take() {
            Some(start) => {
                self.start(start, state);
                Switched::Starts
            }
            None => Switched::GoesOn,
        }
    }

    fn start(&mut self, start: Start, state: &mut GuestState) {
        *state = GuestState::at_reset();
        if let Start::AtPage(page) = start {
            let base = u64::from(page.0) << 12;
            if let Some(code) = state.segments.get_mut(skerry_words::Segment::Cs as usize) {
                code.selector = u16::from(page.0) << 8;
                code.base = base;
            }
            state.rip = 0;
        }
        self.prepare(state);
    }

    /// Puts what does not come from an image into the state a vCPU starts from.
    pub fn prepare(&mut self, state: &mut GuestState) {
        state.tsc_offset = self.cpus.current().tsc_offset;
        state.eoi_exits = [0; 4];
        state.interrupt_status = 0;
        self.find_apic(state);
        state.dirty = StateGroups::all();
        self.attention = true;
    }

    /// How long a turn is: without another vCPU that waits for its own, for ever. One that is to
    /// start over does not go on.
    pub(crate) fn turn(&mut self, now: Tsc) -> Resume {
        let current = self.cpus.current();
        if current.activity != Activity::Running || current.start.is_some() {
            return Resume::Halt;
        }
        if self.cpus.is_one() {
            return Resume::Enter;
        }
        if self.next_to_run() == Some(self.cpus.index()) {
            self.turn_ends = Tsc::NEVER;
            return Resume::Enter;
        }
        if self.turn_ends == Tsc::NEVER {
            self.turn_ends = now.after(self.turn_tsc);
        }
        if now >= self.turn_ends {
            return Resume::Yield;
        }
        self.deadline = self.deadline.min(self.turn_ends);
        self.attention = true;
        Resume::Enter
    }

    /// The ticks of a turn.
    pub(crate) fn turn_tsc(tsc_hz: u64) -> u64 {
        tsc_hz.div_euclid(TURNS_PER_SECOND)
    }

    /// The 8259 pair's interrupt, if it is for the vCPU with this index: it is wired to the first.
    pub(crate) fn external_for(&self, index: usize) -> External {
        let pending = index == 0 && self.platform.interrupt_pending();
        if pending && self.cpus.first.apic.takes_external() {
            External::Pending
        } else {
            External::None
        }
    }
}

impl<P: DerefMut<Target = ApicPage>> Cpus<P> {
    /// The earliest deadline of their timers.
    pub(crate) fn deadline(&self) -> Tsc {
        let first = self.first.apic.deadline();
        let others = self.others.iter().map(|cpu| cpu.apic.deadline());
        others.fold(first, Tsc::min)
    }

    /// Lets their timers run up to `now`.
    pub(crate) fn expire(&mut self, now: Tsc) {
        self.first.apic.expire(now);
        for cpu in &mut self.others {
            cpu.apic.expire(now);
        }
    }
}

/// What a vCPU does that has become the current one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Switched {
    /// It goes on from its state.
    GoesOn,
    /// It starts from its state as after a reset: ring 0 must take all of it.
    Starts,
}
