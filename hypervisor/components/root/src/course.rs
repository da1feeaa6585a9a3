//! What becomes of a VM when its VMM ends: the policy, as a state machine.
//!
//! Owns how often a VM was started again, and how it has ended at last. Does not own the
//! objects of ring 0 that a life is made of (`life`). Used by `vm`.

use skerry_abi::{ComponentRecord, EndCause};
use skerry_manifest::{OnExit, VmManifest};
use skerry_verdict::{MonitorEnd, StopReason};

/// What follows the end of a life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Another life.
    Restart,
    /// Nothing: the VM has ended.
    Stay,
}

/// A VM's way through its lives.
#[derive(Clone, Debug)]
pub struct Course {
    on_exit: OnExit,
    max_restarts: u32,
    background: bool,
    restarts: u32,
    ended: Option<StopReason>,
}

impl Course {
    /// At the start of the first life, with the policy of the manifest.
    pub fn new(vm: &VmManifest) -> Self {
        Self {
            on_exit: vm.on_exit,
            max_restarts: vm.max_restarts,
            background: vm.background,
            restarts: 0,
            ended: None,
        }
    }

    /// A life is over, by itself or, if there is a reason `meant`, because we ended it. Counts
    /// what follows; a VM that has ended stays as it is.
    pub fn life_over(&mut self, reason: StopReason, meant: Option<StopReason>) -> Next {
        if self.is_alive() && meant.is_none() && self.wants_restart(reason) {
            self.restarts = self.restarts.saturating_add(1);
            return Next::Restart;
        }
        self.end(reason);
        Next::Stay
    }

    /// There is no other life, whatever the policy says. The first reason stands.
    pub fn end(&mut self, reason: StopReason) {
        self.ended.get_or_insert(reason);
    }

    /// An image that cannot be started cannot be started the second time either.
    fn wants_restart(&self, reason: StopReason) -> bool {
        self.on_exit == OnExit::Restart
            && reason.status() != 0
            && reason != StopReason::Image
            && self.restarts < self.max_restarts
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether the machine waits for its end.
    pub fn is_awaited(&self) -> bool {
        self.is_alive() && !self.background
    }

    /// How often it was started again.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// How it has ended.
    pub fn ended(&self) -> Option<StopReason> {
        self.ended
    }
}

/// Why a life is over, by what ring 0 tells of its component; `meant` is why we ended it, if
/// we did.
pub fn reason(record: &ComponentRecord, meant: Option<StopReason>) -> StopReason {
    let end = match EndCause::from_word(record.cause) {
        EndCause::None | EndCause::Killed => return meant.unwrap_or(StopReason::Operator),
        EndCause::Own => return StopReason::decode(record.code, record.value),
        EndCause::OutOfMemory => return StopReason::OutOfMemory,
        EndCause::BadAccess => MonitorEnd::BadAccess(record.value),
        EndCause::StackOverflow => MonitorEnd::StackOverflow,
        EndCause::Exception => MonitorEnd::Exception(record.code as u8),
        EndCause::Hung => MonitorEnd::Hung,
    };
    StopReason::Monitor(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(change: impl FnOnce(&mut VmManifest)) -> Course {
        let mut vm = VmManifest::new("a".into(), 1 << 20, "kernel".into());
        change(&mut vm);
        Course::new(&vm)
    }

    fn restarting(max_restarts: u32) -> Course {
        course(|vm| {
            vm.on_exit = OnExit::Restart;
            vm.max_restarts = max_restarts;
        })
    }

    #[test]
    fn a_vm_that_fails_starts_again_as_often_as_its_manifest_says() {
        let mut course = restarting(2);
        assert_eq!(
            course.life_over(StopReason::TripleFault, None),
            Next::Restart
        );
        let panicked = StopReason::Monitor(MonitorEnd::Panicked);
        assert_eq!(course.life_over(panicked, None), Next::Restart);
        assert!(course.is_alive() && course.is_awaited());
        assert_eq!(course.life_over(StopReason::ResetAsked, None), Next::Stay);
        assert_eq!(course.ended(), Some(StopReason::ResetAsked));
        assert_eq!((course.restarts(), course.is_awaited()), (2, false));
    }

    #[test]
    fn success_and_the_operator_are_the_end_of_a_restarting_vm() {
        for reason in [
            StopReason::Shutdown(0),
            StopReason::PoweredOff,
            StopReason::Halted,
            StopReason::Operator,
            StopReason::Dismissed,
            StopReason::Image,
        ] {
            assert_eq!(
                restarting(9).life_over(reason, None),
                Next::Stay,
                "{reason}"
            );
        }
    }

    #[test]
    fn a_vm_that_fails_just_when_we_end_it_does_not_start_again() {
        let mut course = restarting(9);
        let meant = Some(StopReason::Operator);
        assert_eq!(course.life_over(StopReason::TripleFault, meant), Next::Stay);
        assert_eq!(course.ended(), Some(StopReason::TripleFault));
    }

    #[test]
    fn without_a_policy_the_first_end_is_the_last_and_its_reason_stands() {
        let mut course = course(|_| {});
        assert_eq!(course.life_over(StopReason::TripleFault, None), Next::Stay);
        course.end(StopReason::Dismissed);
        assert_eq!(course.life_over(StopReason::Shutdown(0), None), Next::Stay);
        assert_eq!(course.ended(), Some(StopReason::TripleFault));
    }

    #[test]
    fn nobody_waits_for_a_vm_in_the_background() {
        let course = course(|vm| vm.background = true);
        assert!(course.is_alive() && !course.is_awaited());
    }

    #[test]
    fn every_cause_has_a_reason_of_its_own() {
        let told = |cause: EndCause, meant| {
            let record = ComponentRecord {
                cause: cause as u32,
                code: 6,
                value: 0x1234,
                ..ComponentRecord::default()
            };
            reason(&record, meant)
        };
        let meant = Some(StopReason::Dismissed);
        assert_eq!(told(EndCause::Killed, meant), StopReason::Dismissed);
        assert_eq!(told(EndCause::Killed, None), StopReason::Operator);
        // What it said before we could end it stands.
        assert_eq!(told(EndCause::Own, meant), StopReason::EntryFailed(0x1234));
        let monitor = |end| StopReason::Monitor(end);
        assert_eq!(
            told(EndCause::BadAccess, None),
            monitor(MonitorEnd::BadAccess(0x1234))
        );
        assert_eq!(
            told(EndCause::Exception, None),
            monitor(MonitorEnd::Exception(6))
        );
        assert_eq!(
            told(EndCause::StackOverflow, None),
            monitor(MonitorEnd::StackOverflow)
        );
        assert_eq!(told(EndCause::Hung, None), monitor(MonitorEnd::Hung));
        assert_eq!(told(EndCause::OutOfMemory, None), StopReason::OutOfMemory);
    }
}
