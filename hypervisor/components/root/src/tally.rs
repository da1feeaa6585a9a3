//! What a VM has used in all its lives.
//!
//! Owns the sums. Counters go on over restarts; memory is that of the last life, taken before
//! it is given back. What a VMM has counted itself may be a lie, and is only ever shown.

use core::sync::atomic::Ordering;
use skerry_abi::{ComponentRecord, VcpuRecord};
use skerry_pages::VmPage;
use skerry_verdict::{ALL_KINDS, kind_name};
use skerry_words::EXIT_KINDS;

/// The sums of one VM.
#[derive(Clone, Debug)]
pub struct Tally {
    exits: [u64; EXIT_KINDS],
    /// Ticks spent in the guest.
    pub guest_tsc: u64,
    /// Ticks spent in ring 0 and in the VMM on its behalf.
    pub host_tsc: u64,
    refused: [u64; 3],
    /// Guest RAM that was backed.
    pub resident_bytes: u64,
    /// Second-stage tables.
    pub second_stage_bytes: u64,
    /// What else was held for the VM, in ring 0 and by its VMM.
    pub overhead_bytes: u64,
}

/// What `refused` counts, in its order.
const REFUSED: [&str; 3] = ["msr", "instruction", "absent"];

impl Tally {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            exits: [0; EXIT_KINDS],
            guest_tsc: 0,
            host_tsc: 0,
            refused: [0; 3],
            resident_bytes: 0,
            second_stage_bytes: 0,
            overhead_bytes: 0,
        }
    }

    /// Adds a life that is over.
    pub fn add(&mut self, vcpu: &VcpuRecord, component: &ComponentRecord, page: &VmPage) {
        add_each(&mut self.exits, &vcpu.exits);
        self.guest_tsc = self.guest_tsc.saturating_add(vcpu.guest_tsc);
        self.host_tsc = self.host_tsc.saturating_add(vcpu.host_tsc);
        let counted = [
            &page.refused_msrs,
            &page.refused_instructions,
            &page.absent_accesses,
        ];
        add_each(
            &mut self.refused,
            &counted.map(|count| count.load(Ordering::Relaxed)),
        );
        self.resident_bytes = vcpu.resident_bytes;
        self.second_stage_bytes = vcpu.second_stage_bytes;
        self.overhead_bytes = vcpu.overhead_bytes.saturating_add(component.own_bytes);
    }

    /// The kinds of exit that happened, with how often.
    pub fn exits(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let names = ALL_KINDS.into_iter().map(kind_name);
        nonzero(names, &self.exits)
    }

    /// What the guest asked for in vain, with how often.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        nonzero(REFUSED.into_iter(), &self.refused)
    }
}

fn add_each(sums: &mut [u64], counts: &[u64]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum = sum.saturating_add(*count);
    }
}

fn nonzero<'a>(
    names: impl Iterator<Item = &'static str> + 'a,
    counts: &'a [u64],
) -> impl Iterator<Item = (&'static str, u64)> + 'a {
    names
        .zip(counts.iter().copied())
        .filter(|(_, count)| *count != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use skerry_words::ExitKind;

    fn vm_page() -> VmPage {
        VmPage::empty()
    }

    #[test]
    fn counters_go_on_over_lives_and_memory_is_the_last_lifes() {
        let page = vm_page();
        page.absent_accesses.store(2, Ordering::Relaxed);
        let component = ComponentRecord {
            own_bytes: 100,
            ..ComponentRecord::default()
        };
        let mut first = VcpuRecord {
            guest_tsc: 10,
            host_tsc: 3,
            resident_bytes: 4096,
            second_stage_bytes: 8192,
            overhead_bytes: 7,
            ..VcpuRecord::default()
        };
        first.exits[ExitKind::Hlt as usize] = 5;
        let second = VcpuRecord {
            resident_bytes: 12_288,
            ..first
        };
        let mut tally = Tally::new();
        tally.add(&first, &component, &page);
        tally.add(&second, &component, &page);
        assert_eq!((tally.guest_tsc, tally.host_tsc), (20, 6));
        assert_eq!((tally.resident_bytes, tally.overhead_bytes), (12_288, 107));
        assert_eq!(tally.exits().collect::<Vec<_>>(), [("hlt", 10)]);
        assert_eq!(tally.refused().collect::<Vec<_>>(), [("absent", 4)]);
    }

    #[test]
    fn a_vmm_that_lies_about_its_counts_overflows_nothing() {
        let page = vm_page();
        page.refused_msrs.store(u64::MAX, Ordering::Relaxed);
        let mut tally = Tally::new();
        for _ in 0..2 {
            tally.add(&VcpuRecord::default(), &ComponentRecord::default(), &page);
        }
        assert_eq!(tally.refused().collect::<Vec<_>>(), [("msr", u64::MAX)]);
    }
}
