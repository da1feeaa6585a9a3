//! A fault on its way to the guest, and what becomes of two that meet.
//!
//! Owns the rules of double and triple faults `[SDM 3A, "Interrupt 8—Double Fault Exception
//! (#DF)", table "Conditions for Generating a Double Fault", ed. 085]`. Without them a guest
//! whose exception table is out of reach would fault for ever.

use skerry_verdict::{Fault, Registers, Resume, StopReason};
use skerry_words::{Event, EventKind, EventWord, GuestState, Vector};

const DOUBLE_FAULT: Vector = Vector(8);

/// How an exception counts when another meets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Benign,
    Contributory,
    Page,
    Double,
}

impl Class {
    fn of(vector: Vector) -> Self {
        match vector.0 {
            0 | 10..=13 => Self::Contributory,
            14 => Self::Page,
            8 => Self::Double,
            _ => Self::Benign,
        }
    }
}

/// Delivers `fault` on the next entry. If it came up while another exception was being
/// delivered, the two may make a double fault, or end the VM as a triple fault.
pub(crate) fn inject(fault: Fault, state: &mut GuestState) -> Resume {
    let before = match state.inject.decode() {
        Some(Event {
            kind: EventKind::Exception,
            vector,
            ..
        }) => Class::of(vector),
        _ => Class::Benign,
    };
    match (before, Class::of(fault.vector().0)) {
        (Class::Double, Class::Contributory | Class::Page) => Resume::Stop(StopReason::TripleFault),
        (Class::Contributory, Class::Contributory)
        | (Class::Page, Class::Contributory | Class::Page) => {
            let kind = EventKind::Exception;
            let double = Event {
                kind,
                vector: DOUBLE_FAULT,
                error_code: Some(0),
            };
            state.inject = EventWord::encode(double);
            Resume::Enter
        }
        _ => {
            state.inject_fault(fault);
            Resume::Enter
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GP: Fault = Fault::GeneralProtection(0);
    const PF: Fault = Fault::Page(0x1000, 0);

    fn vectors(faults: &[Fault]) -> Option<u8> {
        let mut state = GuestState::at_reset();
        for fault in faults {
            if inject(*fault, &mut state) != Resume::Enter {
                return None;
            }
        }
        state.inject.decode().map(|event| event.vector.0)
    }

    #[test]
    fn benign_and_first_faults_are_delivered_as_they_are() {
        assert_eq!(vectors(&[PF]), Some(14));
        assert_eq!(vectors(&[Fault::UndefinedInstruction, GP]), Some(13));
        assert_eq!(
            vectors(&[GP, PF]),
            Some(14),
            "a page fault after a contributory one"
        );
    }

    #[test]
    fn two_that_may_not_meet_make_a_double_fault_and_a_third_ends_the_vm() {
        assert_eq!(vectors(&[PF, PF]), Some(8));
        assert_eq!(vectors(&[PF, GP]), Some(8));
        assert_eq!(vectors(&[GP, Fault::Stack(0)]), Some(8));
        assert_eq!(vectors(&[PF, PF, PF]), None);
        assert_eq!(vectors(&[GP, GP, GP]), None);
    }
}
