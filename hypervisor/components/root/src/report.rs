//! What is told at the end: one report for each VM, one for the host.
//!
//! Owns which number goes where. The lines' form is `skerry_manifest::report`'s.

use crate::course::Course;
use crate::tally::Tally;
use alloc::format;
use alloc::string::String;
use skerry_abi::MachineRecord;
use skerry_manifest::VmManifest;
use skerry_manifest::report::{HostReport, VmReport};
use skerry_verdict::StopReason;

/// The report on a VM that has ended.
pub fn of_vm(vm: &VmManifest, course: &Course, tally: &Tally) -> VmReport {
    let named = |(name, count)| (String::from(name), count);
    let ended = course.ended();
    VmReport {
        name: vm.name.clone(),
        stop: ended.map_or_else(String::new, |reason| format!("{reason}")),
        status: ended.map_or(0, StopReason::status),
        ended: ended.is_some_and(|reason| reason != StopReason::Dismissed),
        restarts: course.restarts(),
        exits: tally.exits().map(named).collect(),
        guest_tsc: tally.guest_tsc,
        host_tsc: tally.host_tsc,
        memory_bytes: vm.memory_bytes,
        resident_bytes: tally.resident_bytes,
        second_stage_bytes: tally.second_stage_bytes,
        overhead_bytes: tally.overhead_bytes,
        refused: tally.refused().map(named).collect(),
    }
}

/// The report on the host. `services_bytes` is what `root` and the console hold, `free_before`
/// the frames that were free before the first VM was made.
pub fn of_host(
    machine: &MachineRecord,
    cpu: String,
    services_bytes: u64,
    free_before: u64,
) -> HostReport {
    HostReport {
        backend: String::from(backend(machine)),
        cpu,
        tsc_hz: machine.tsc_hz,
        first_guest_tsc: machine.first_guest_tsc,
        image_bytes: machine.image_bytes,
        resident_bytes: machine.resident_bytes.saturating_add(services_bytes),
        total_tsc: machine.total_tsc,
        idle_tsc: machine.idle_tsc,
        lost_frames: free_before
            .cast_signed()
            .saturating_sub(machine.free_frames.cast_signed()),
    }
}

/// The name of what runs the guests.
pub fn backend(machine: &MachineRecord) -> &'static str {
    match machine.backend {
        1 => "VT-x/EPT",
        2 => "AMD-V/NPT",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm() -> VmManifest {
        VmManifest::new("a".into(), 1 << 20, "kernel".into())
    }

    fn report(reason: StopReason) -> VmReport {
        let mut course = Course::new(&vm());
        course.end(reason);
        of_vm(&vm(), &course, &Tally::new())
    }

    #[test]
    fn a_vm_that_ended_has_its_reason_and_status() {
        let report = report(StopReason::Shutdown(3));
        assert_eq!(report.stop, "shutdown with status 3");
        assert_eq!((report.status, report.ended), (3, true));
        assert!(report.exits.is_empty() && report.refused.is_empty());
    }

    #[test]
    fn a_dismissed_vm_has_not_ended_of_itself() {
        let report = report(StopReason::Dismissed);
        assert_eq!((report.status, report.ended), (0, false));
    }

    #[test]
    fn frames_are_lost_or_won_against_the_number_before_the_first_vm() {
        let machine = MachineRecord {
            free_frames: 90,
            resident_bytes: 1000,
            ..MachineRecord::default()
        };
        let lost = of_host(&machine, String::new(), 24, 93);
        assert_eq!((lost.lost_frames, lost.resident_bytes), (3, 1024));
        assert_eq!(of_host(&machine, String::new(), 0, 88).lost_frames, -2);
    }
}
