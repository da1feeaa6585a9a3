//! Interrupts: from the devices and the vCPUs to the vCPU whose exit is being answered.
//!
//! Owns the way of a message from the I/O APIC or a local APIC to the APICs it is for, and the
//! choice of what is injected next: NMI, the 8259 pair's, the local APIC's. Where the CPU
//! delivers from the APIC page itself, it is only told that the page has changed. All of it is
//! behind one look at [`Vmm::attention`] on the frequent path.

use core::ops::DerefMut;
use skerry_devices::lapic::{Action, Ipi, Trigger, route};
use skerry_verdict::{Registers, Resume};
use skerry_words::{
    ApicPage, Event, EventKind, EventWord, GuestState, Shadow, StateGroups, Tsc, Vector,
};

use crate::Vmm;
use crate::cpu::{Activity, External, Nmi};

/// What waits for a vCPU and is to be delivered by an injected event.
enum Next {
    Nothing,
    Nmi,
    Interrupt,
}

impl<P: DerefMut<Target = ApicPage>> Vmm<P> {
    /// After an answer: what waits is delivered if the guest can take it, else a window is asked
    /// for; the next deadline is told. While nothing needs attention, windows stay as they are.
    #[inline(always)]
    pub(crate) fn settle(&mut self, state: &mut GuestState, now: Tsc) -> Resume {
        if self.attention {
            return self.settle_rarely(state, now);
        }
        state.deadline = self.deadline;
        Resume::Enter
    }

    #[inline(never)]
    pub(crate) fn settle_rarely(&mut self, state: &mut GuestState, now: Tsc) -> Resume {
        if self.platform.has_messages() {
            self.route_messages(now);
        }
        self.deliver(state, now);
        // A window for interrupts comes by itself. That for NMIs is asked for anew after each answer.
        self.attention = state.nmi_window != 0 || self.cpus.current().activity != Activity::Running;
        self.refresh_deadline();
        if state.nmi_window != 0 && !state.shadow.contains(Shadow::NMI) {
            // The CPU may have no window for what is blocked no longer than an instruction.
            self.deadline = Tsc(0);
        }
        let resume = self.turn(now);
        state.deadline = self.deadline;
        resume
    }

    /// Carries the messages of the I/O APIC to the local APICs.
    #[inline(never)]
    fn route_messages(&mut self, now: Tsc) {
        while let Some(message) = self.platform.take_message(now) {
            if let Some(ipi) = message.ipi() {
                self.send(ipi, message.trigger);
            }
        }
    }

    /// Does what a local APIC asks for.
    #[inline]
    pub(crate) fn act(&mut self, action: Action, state: &GuestState, now: Tsc) {
        if action == Action::None {
            self.look_at_requests(state);
        } else {
            self.act_outside(action, now);
        }
    }

    /// Does what the writes of one instruction to the local APIC's page asked for, the last of which
    /// wants `last`.
    #[inline(always)]
    pub(crate) fn act_on_writes(&mut self, last: Option<Action>, state: &GuestState, now: Tsc) {
        if !self.apic_actions.is_empty() {
            self.act_on_earlier(state, now);
        }
        if let Some(action) = last {
            self.act(action, state, now);
        }
    }

    #[cold]
    fn act_on_earlier(&mut self, state: &GuestState, now: Tsc) {
        for action in core::mem::take(&mut self.apic_actions) {
            self.act(action, state, now);
        }
    }

    #[inline(never)]
    fn act_outside(&mut self, action: Action, now: Tsc) {
        self.attention = true;
        match action {
            Action::None | Action::Setting => {}
            Action::Ipi(ipi) => self.send(ipi, Trigger::Edge),
            Action::EndOfInterrupt(vector) => self.platform.end_of_interrupt(vector, now),
        }
    }

    fn send(&mut self, ipi: Ipi, trigger: Trigger) {
        let targets = route(
            ipi,
            self.cpus.index(),
            self.cpus.iter().map(|cpu| &cpu.apic),
        );
        for target in targets {
            if let Some(cpu) = self.cpus.get_mut(target) {
                cpu.take(ipi.mode, trigger);
            }
        }
    }

    /// When the VMM wants to be asked though the guest does nothing: the earliest of all timers.
    pub(crate) fn refresh_deadline(&mut self) {
        self.apic_deadline = self.cpus.deadline();
        self.deadline = self.platform.next_deadline().min(self.apic_deadline);
    }

    /// Lets all timers run up to `now`.
    pub(crate) fn expire(&mut self, now: Tsc) {
        self.platform.expire(now);
        self.cpus.expire(now);
        self.attention = true;
    }

    fn deliver(&mut self, state: &mut GuestState, now: Tsc) {
        state.interrupt_window = 0;
        state.nmi_window = 0;
        if self.is_assisted() {
            self.tell_of_page(state);
        }
        let external = self.external_for(self.cpus.index());
        let cpu = self.cpus.current_mut();
        if cpu.activity != Activity::Running && cpu.is_runnable(external) {
            cpu.activity = Activity::Running;
        }
        match self.next(external) {
            Next::Nothing => return,
            Next::Nmi if takes_nmi(state) => {
                self.cpus.current_mut().nmi = Nmi::None;
                inject(state, EventKind::Nmi, Vector(2));
            }
            Next::Nmi => {
                state.nmi_window = 1;
                return;
            }
            Next::Interrupt if state.takes_interrupts() => {
                if let Some(vector) = self.acknowledge(external, now) {
                    self.interrupts = self.interrupts.wrapping_add(1);
                    inject(state, EventKind::Interrupt, vector);
                }
            }
            Next::Interrupt => {
                state.interrupt_window = 1;
                return;
            }
        }
        // Another may wait behind the one that is delivered.
        let external = self.external_for(self.cpus.index());
        state.interrupt_window = u32::from(matches!(self.next(external), Next::Interrupt));
    }

    fn next(&self, external: External) -> Next {
        let cpu = self.cpus.current();
        if cpu.nmi == Nmi::Pending {
            Next::Nmi
        } else if external == External::Pending || !self.is_assisted() && cpu.apic.pending() {
            Next::Interrupt
        } else {
            Next::Nothing
        }
    }

    fn acknowledge(&mut self, external: External, now: Tsc) -> Option<Vector> {
        if external == External::Pending {
            return self.platform.acknowledge(now);
        }
        self.cpus.current_mut().apic.acknowledge()
    }

    /// Tells the CPU what has changed in the page behind its back.
    fn tell_of_page(&mut self, state: &mut GuestState) {
        let apic = &mut self.cpus.current_mut().apic;
        if let Some(status) = apic.take_interrupt_status() {
            state.interrupt_status = u32::from(status);
            state.dirty |= StateGroups::INTERRUPTS;
        }
        if let Some(exits) = apic.take_end_of_interrupt_exits() {
            state.eoi_exits = exits;
            state.dirty |= StateGroups::APIC;
        }
    }
}

fn inject(state: &mut GuestState, kind: EventKind, vector: Vector) {
    state.inject = EventWord::encode(Event {
        kind,
        vector,
        error_code: None,
    });
}

fn takes_nmi(state: &GuestState) -> bool {
    !state.inject.is_some() && state.shadow.is_empty()
}
