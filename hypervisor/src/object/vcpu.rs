//! A vCPU: the hardware's, whose VMM it has, and what it has used.

use super::component::Component;
use super::guest::Guest;
use crate::virt;
use skerry_abi::VcpuRecord;
use skerry_rights::Id;

use super::meter::Meter;
use skerry_words::{ExitWords, Tsc, VmExit};

/// Who looks after a vCPU's local APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Apic {
    /// Its VMM alone.
    Software,
    /// The CPU, where it can and the VMM lets it.
    Hardware,
}

/// One virtual CPU of a guest.
pub struct Vcpu {
    /// The hardware's part.
    pub hardware: virt::Vcpu,
    view: virt::StateView,
    /// Whose memory it runs on.
    pub guest: Id<Guest>,
    /// Whose calls run it.
    pub component: Id<Component>,
    /// What it has used.
    pub meter: Meter,
    /// Whether it has been given a state to start from.
    pub is_reset: bool,
}

impl Vcpu {
    /// One that has not run, nor been given a state.
    pub fn new(hardware: virt::Vcpu, guest: Id<Guest>, component: Id<Component>) -> Self {
        Self {
            view: hardware.view(),
            hardware,
            guest,
            component,
            meter: Meter::new(),
            is_reset: false,
        }
    }

    /// When its VMM wants to be asked again.
    #[inline(always)]
    pub fn deadline(&self) -> Tsc {
        // SAFETY: `hardware` has the page, and lives as long as this.
        unsafe { self.view.deadline() }
    }

    /// Tells its VMM of an exit that came at `now`.
    #[inline(always)]
    pub fn tell(&mut self, exit: &VmExit, now: Tsc) {
        // SAFETY: as above.
        unsafe { self.view.tell(ExitWords::encode(exit), now) };
    }

    /// Tells its VMM when the exit came that its hardware has told it of.
    #[inline(always)]
    pub fn told_at(&mut self, now: Tsc) {
        // SAFETY: as above.
        unsafe { self.view.told_at(now) };
    }

    /// What there is to tell of it; its component has run for `run_tsc` ticks in all.
    pub fn record(&self, guest: &Guest, run_tsc: u64) -> VcpuRecord {
        VcpuRecord {
            exits: *self.meter.exits(),
            guest_tsc: self.meter.guest_tsc(),
            host_tsc: run_tsc.saturating_sub(self.meter.guest_tsc()),
            resident_bytes: guest.resident_bytes(),
            second_stage_bytes: guest.table_bytes(),
            overhead_bytes: self.hardware.bytes() + size_of::<Self>() as u64,
        }
    }
}
