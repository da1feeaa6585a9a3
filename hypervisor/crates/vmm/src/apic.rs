//! The current vCPU's local APIC, as its exits reach it.
//!
//! Owns the way from an access to the page at its base, and from what the CPU tells of that page
//! where it looks after it, to the registers' model. MSRs come by `msr`. Does not own what the
//! registers mean (`skerry_devices::lapic`), nor who gets what they send (`interrupts`).

use alloc::vec::Vec;
use core::ops::DerefMut;
use skerry_devices::lapic::{Action, Delivery, Mode};
use skerry_emulate::MmioTarget;
use skerry_verdict::Registers;
use skerry_words::{ApicMode, ApicPage, Gpa, GuestState, StateGroups, Tsc, Vector, Width};

use crate::Vmm;
use crate::cpu::Cpu;
use crate::msr::{self, Frequent};

/// Whether a WRMSR was one of the frequent ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Often {
    /// It was, and has been answered.
    Answered,
    /// Not: nothing has been done.
    Left,
}

/// No page: no address has these bits.
pub(crate) const NOWHERE: Gpa = Gpa(u64::MAX);

impl<P: DerefMut<Target = ApicPage>> Vmm<P> {
    /// Looks where the current vCPU's local APIC is now, and says in `state` how far the CPU shall
    /// look after it.
    pub(crate) fn find_apic(&mut self, state: &mut GuestState) {
        self.apic_page = match self.cpus.current().apic.mode() {
            Mode::Xapic { base } => base,
            Mode::X2apic | Mode::Disabled => NOWHERE,
        };
        state.apic_mode = self.assistance();
        state.dirty |= StateGroups::APIC;
    }

    /// How far the CPU shall look after the current vCPU's page.
    fn assistance(&self) -> ApicMode {
        self.cpus.current().assistance(self.config.delivery)
    }

    /// Whether the CPU delivers from the current vCPU's APIC page.
    pub(crate) fn is_assisted(&self) -> bool {
        self.assistance() != ApicMode::SOFTWARE
    }

    /// WRMSR of what a system writes at each interrupt: one to itself, the end of one, the timer's
    /// deadline. All others are left to `msr`.
    #[inline(always)]
    pub(crate) fn write_often(&mut self, state: &mut GuestState, now: Tsc) -> Often {
        let delivery = self.config.delivery;
        let cpu = self.cpus.current_mut();
        match msr::frequent(state, cpu) {
            Some(Frequent::SelfIpi(vector)) => cpu.apic.send_self(vector),
            Some(Frequent::EndOfInterrupt) => {
                let action = cpu.apic.end_of_interrupt();
                if action != Action::None {
                    self.act(action, state, now);
                    state.advance();
                    return Often::Answered;
                }
            }
            Some(Frequent::Deadline(value)) => {
                msr::arm(cpu, value, now);
                // It may now be too early, which costs an exit, but not too late.
                let due = cpu.apic.deadline();
                self.apic_deadline = self.apic_deadline.min(due);
                self.deadline = self.deadline.min(due);
            }
            None => return Often::Left,
        }
        self.attention |= cpu.has_news(delivery, state);
        state.advance();
        Often::Answered
    }

    /// A request of the current vCPU's may have come or gone.
    #[inline(always)]
    pub(crate) fn look_at_requests(&mut self, state: &GuestState) {
        let delivery = self.config.delivery;
        self.attention |= self.cpus.current().has_news(delivery, state);
    }

    /// The guest has written a register, and the CPU has put the value into the page.
    pub(crate) fn apic_written(&mut self, offset: u16, state: &GuestState, now: Tsc) {
        let action = self.cpus.current_mut().apic.written(offset, now);
        self.act(action, state, now);
    }

    /// The CPU has ended an interrupt whose end somebody wants to know of.
    pub(crate) fn apic_ended(&mut self, vector: Vector, state: &GuestState, now: Tsc) {
        let action = self.cpus.current_mut().apic.end_of_interrupt_seen(vector);
        self.act(action, state, now);
    }
}

/// The page of one vCPU's local APIC, as the instruction emulator reaches it.
pub(crate) struct ApicBus<'a, P> {
    cpu: &'a mut Cpu<P>,
    page: Gpa,
    now: Tsc,
    /// What the last write wants done, if there was one.
    pub(crate) last: Option<Action>,
    /// What those before want: a repeated string instruction writes more than once.
    before: &'a mut Vec<Action>,
}

impl<'a, P> ApicBus<'a, P> {
    /// The page at `page`, at `now`; what all writes but the last want goes to `before`.
    pub(crate) fn new(
        cpu: &'a mut Cpu<P>,
        before: &'a mut Vec<Action>,
        page: Gpa,
        now: Tsc,
    ) -> Self {
        Self {
            cpu,
            page,
            now,
            last: None,
            before,
        }
    }
}

impl<P: DerefMut<Target = ApicPage>> MmioTarget for ApicBus<'_, P> {
    fn read(&mut self, at: Gpa, width: Width) -> u64 {
        if at.page_start() != self.page {
            return width.mask();
        }
        let offset = at.page_offset() as u16;
        self.cpu.apic_read(offset, width, self.now)
    }

    fn write(&mut self, at: Gpa, width: Width, value: u64) {
        if at.page_start() == self.page {
            let offset = at.page_offset() as u16;
            let action = self.cpu.apic_write(offset, width, value, self.now);
            if let Some(before) = self.last.replace(action) {
                self.before.push(before);
            }
        }
    }
}

impl<P: DerefMut<Target = ApicPage>> Cpu<P> {
    /// How far the CPU shall look after the page, where this is who delivers.
    #[inline(always)]
    fn assistance(&self, delivery: Delivery) -> ApicMode {
        match delivery {
            Delivery::Hardware => self.apic_mode(),
            Delivery::Software => ApicMode::SOFTWARE,
        }
    }

    /// Whether what it requests wants attention. Only a change does: while a window is asked for,
    /// what waits is looked at when it opens; and the CPU sees to what it knows of.
    #[inline(always)]
    fn has_news(&self, delivery: Delivery, state: &GuestState) -> bool {
        if self.assistance(delivery) == ApicMode::SOFTWARE {
            self.apic.pending() != (state.interrupt_window != 0)
        } else {
            self.apic.has_changed()
        }
    }

    /// Reads the APIC's page: a narrow access takes its part of the word, a wide one two words.
    pub(crate) fn apic_read(&mut self, offset: u16, width: Width, now: Tsc) -> u64 {
        let low = u64::from(self.apic.read(offset, now));
        let shift = u32::from(offset & 3).wrapping_mul(8);
        match width {
            Width::Byte | Width::Word | Width::Dword => low.unbounded_shr(shift) & width.mask(),
            Width::Qword => {
                let high = self.apic.read(offset.saturating_add(4), now);
                low | u64::from(high) << 32
            }
        }
    }

    /// Writes to the APIC's page: only whole words are registers
    /// `[SDM 3A, "The Local APIC Block Diagram", ed. 085]`.
    pub(crate) fn apic_write(&mut self, offset: u16, width: Width, value: u64, now: Tsc) -> Action {
        match width {
            Width::Dword | Width::Qword => self.apic.write(offset, value as u32, now),
            Width::Byte | Width::Word => Action::None,
        }
    }
}
