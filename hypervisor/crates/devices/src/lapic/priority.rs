//! From a request to the end of its service: IRR, ISR and the priorities between them.
//!
//! Owns the acceptance of fixed interrupts, the processor's priority, acknowledgement and end
//! of interrupt, and what VT-x is told for virtual-interrupt delivery
//! `[SDM 3A, "Handling Interrupts", ed. 085; SDM 3C, "APIC Virtualization and Virtual
//! Interrupts", ed. 085]`. Does not own where requests come from.
//!
//! With [`Delivery::Software`] what follows from the page is kept up to date beside it. With
//! [`Delivery::Hardware`] it is read from the page each time, and the page is the whole truth:
//! the CPU's RVI and SVI are the highest vectors of IRR and ISR, so nothing needs to be taken
//! back from the VMCS.

use core::ops::{Deref, DerefMut};

use skerry_words::{ApicPage, Vector};

use super::register::{IN_SERVICE, PROCESSOR_PRIORITY, REQUESTED, TASK_PRIORITY, TRIGGER_MODE};
use super::vectors::{self, Summary};
use super::{Action, Delivery, LocalApic, error};

/// The vectors no interrupt may have are below this one
/// `[SDM 3A, "Valid Interrupt Vectors", ed. 085]`.
const FIRST_LEGAL: u8 = 16;

/// How an interrupt was triggered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// By an edge.
    Edge,
    /// By a level: its source waits for the end of its service.
    Level,
}

/// What became of an interrupt message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acceptance {
    /// It is in IRR.
    Taken,
    /// It is gone: the APIC is disabled, or the vector is below 16.
    Dropped,
}

/// What follows from the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Standing {
    requested: Summary,
    in_service: Summary,
    /// The highest vector in IRR, or 0.
    top: u8,
    /// The highest vector in ISR, or 0.
    served: u8,
    /// PPR.
    processor: u8,
}

impl Standing {
    /// Nothing requested or in service, priority 0.
    pub(super) const IDLE: Self = Self {
        requested: Summary::EMPTY,
        in_service: Summary::EMPTY,
        top: 0,
        served: 0,
        processor: 0,
    };

    pub(super) fn scan(page: &ApicPage) -> Self {
        let requested = Summary::scan(page, REQUESTED);
        let in_service = Summary::scan(page, IN_SERVICE);
        let served = in_service.highest(page, IN_SERVICE);
        Self {
            requested,
            in_service,
            top: requested.highest(page, REQUESTED),
            served,
            processor: processor_priority(page.get(TASK_PRIORITY) as u8, served),
        }
    }

    /// Whether the highest request's class is above the processor's.
    #[inline]
    fn is_pending(self) -> bool {
        self.top & 0xf0 > self.processor
    }

    /// The task priority or the highest vector in service has changed.
    #[inline]
    fn settle(&mut self, page: &mut ApicPage) {
        self.processor = processor_priority(page.get(TASK_PRIORITY) as u8, self.served);
        page.set(PROCESSOR_PRIORITY, u32::from(self.processor));
    }
}

/// PPR: the higher class of task and service; the task's sub-class where the task's class is
/// not the lower one `[SDM 3A, "Task and Processor Priorities", ed. 085]`.
#[inline]
fn processor_priority(task: u8, served: u8) -> u8 {
    let class = served & 0xf0;
    if task & 0xf0 >= class { task } else { class }
}

impl<P: Deref<Target = ApicPage>> LocalApic<P> {
    #[inline]
    fn standing(&self) -> Standing {
        match self.config.delivery {
            Delivery::Software => self.standing,
            Delivery::Hardware => Standing::scan(&self.page),
        }
    }

    /// Whether an interrupt waits that the priorities let through: what wakes a halted vCPU
    /// whose interrupts are enabled, and with [`Delivery::Software`] what is to be injected.
    #[inline]
    #[must_use]
    pub fn pending(&self) -> bool {
        self.standing().is_pending()
    }

    /// The guest interrupt status of the VMCS: RVI in bits 7 to 0, SVI in bits 15 to 8
    /// `[SDM 3C, "Guest Non-Register State", ed. 085]`.
    #[must_use]
    pub fn interrupt_status(&self) -> u16 {
        let standing = self.standing();
        u16::from(standing.top) | u16::from(standing.served) << 8
    }

    /// CR8: the class of the task priority, 0 to 15.
    #[inline]
    #[must_use]
    pub fn tpr(&self) -> u8 {
        self.page.get(TASK_PRIORITY) as u8 >> 4
    }

    /// The TPR threshold of VT-x: the class below which CR8 has to fall before the request
    /// that waits can be delivered; 0 if none waits for that
    /// `[SDM 3C, "TPR Virtualization", ed. 085]`. Where CR8 is not intercepted, writes to it
    /// matter only while this is not 0.
    #[inline]
    #[must_use]
    pub fn tpr_threshold(&self) -> u8 {
        let class = self.standing().top >> 4;
        if class > self.tpr() { 0 } else { class }
    }

    /// How busy the vCPU is, for lowest-priority arbitration: the higher of its processor
    /// priority and the class of its highest request. Chip sets differ in this; of vCPUs that
    /// are equally busy [`super::route`] takes the first.
    #[must_use]
    pub fn priority(&self) -> u8 {
        let standing = self.standing();
        standing.processor.max(standing.top & 0xf0)
    }
}

impl<P: DerefMut<Target = ApicPage>> LocalApic<P> {
    /// A fixed or lowest-priority interrupt arrives, from an I/O APIC, another vCPU or the
    /// local vector table `[SDM 3A, "Interrupt Acceptance for Fixed Interrupts", ed. 085]`.
    #[inline]
    pub fn accept(&mut self, vector: Vector, trigger: Trigger) -> Acceptance {
        if vector.0 < FIRST_LEGAL {
            self.detect(error::RECEIVED_ILLEGAL_VECTOR);
            return Acceptance::Dropped;
        }
        if !self.takes_fixed() {
            return Acceptance::Dropped;
        }
        self.standing
            .requested
            .set(&mut self.page, REQUESTED, vector.0);
        self.standing.top = self.standing.top.max(vector.0);
        self.status_changed = true;
        let was_level = vectors::has(&self.page, TRIGGER_MODE, vector.0);
        if was_level != (trigger == Trigger::Level) {
            vectors::toggle(&mut self.page, TRIGGER_MODE, vector.0);
            self.exits_changed = true;
        }
        Acceptance::Taken
    }

    /// The CPU takes the highest request if the priorities let it through; it is in service
    /// from here on.
    pub fn acknowledge(&mut self) -> Option<Vector> {
        let mut standing = self.standing();
        if !standing.is_pending() {
            return None;
        }
        let vector = standing.top;
        let page = &mut *self.page;
        standing.requested.clear(page, REQUESTED, vector);
        standing.top = standing.requested.highest(page, REQUESTED);
        standing.in_service.set(page, IN_SERVICE, vector);
        standing.served = vector;
        standing.settle(page);
        self.standing = standing;
        self.status_changed = true;
        Some(Vector(vector))
    }

    /// A write to the EOI register: the highest vector in service is served
    /// `[SDM 3A, "Signaling Interrupt Servicing Completion", ed. 085]`.
    #[inline]
    pub fn end_of_interrupt(&mut self) -> Action {
        let mut standing = self.standing();
        let vector = standing.served;
        if vector == 0 {
            return Action::None;
        }
        let page = &mut *self.page;
        standing.in_service.clear(page, IN_SERVICE, vector);
        standing.served = standing.in_service.highest(page, IN_SERVICE);
        standing.settle(page);
        self.standing = standing;
        self.status_changed = true;
        self.end_of_interrupt_seen(Vector(vector))
    }

    /// A virtualized-EOI exit: the CPU has taken the vector out of ISR
    /// `[SDM 3C, "EOI Virtualization", ed. 085]`.
    #[inline]
    pub fn end_of_interrupt_seen(&mut self, vector: Vector) -> Action {
        if !vectors::has(&self.page, TRIGGER_MODE, vector.0) {
            return Action::None;
        }
        self.pin_served(vector);
        Action::EndOfInterrupt(vector)
    }

    /// MOV to CR8; bits 7 to 4 of `class` are not looked at. It works in every mode, and while
    /// the APIC is disabled `[SDM 3A, "Task Priority in IA-32e Mode", ed. 085]`.
    #[inline]
    pub fn set_tpr(&mut self, class: u8) {
        self.set_task_priority(u32::from(class << 4));
    }

    /// Sets TPR and what follows from it.
    #[inline]
    pub(super) fn set_task_priority(&mut self, value: u32) {
        let mut standing = self.standing();
        self.page.set(TASK_PRIORITY, value & 0xff);
        standing.settle(&mut self.page);
        self.standing = standing;
    }

    /// Whether one of the next two has something to tell.
    #[inline]
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.status_changed | self.exits_changed
    }

    /// [`LocalApic::interrupt_status`], if the model has changed IRR or ISR since the last
    /// call: then the VMCS has an old value.
    #[inline]
    pub fn take_interrupt_status(&mut self) -> Option<u16> {
        if !core::mem::take(&mut self.status_changed) {
            return None;
        }
        Some(self.interrupt_status())
    }

    /// The EOI-exit bitmap of the VMCS, vector 0 in bit 0 of the first word, if it changed
    /// since the last call: the vectors whose last request was level-triggered
    /// `[SDM 3C, "Controls for APIC Virtualization", ed. 085]`.
    pub fn take_end_of_interrupt_exits(&mut self) -> Option<[u64; 4]> {
        if !core::mem::take(&mut self.exits_changed) {
            return None;
        }
        Some([0_u16, 0x20, 0x40, 0x60].map(|at| {
            let low = self.page.get(TRIGGER_MODE | at);
            let high = self.page.get(TRIGGER_MODE | at | 0x10);
            u64::from(low) | u64::from(high) << 32
        }))
    }
}
