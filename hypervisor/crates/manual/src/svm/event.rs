//! Events as the VMCB has them, and what differs from the words' encoding.
//!
//! Owns the translation of EVENTINJ and EXITINTINFO. The encodings are the same but for
//! software interrupts `[APM 2, "Event Injection" and "EXITINTINFO Pseudo-Code",
//! rev. 3.42]`.

use skerry_words::{Event, EventKind, EventWord, Vector};

const ERROR_CODE: u64 = 1 << 11;
const MEANINGFUL: u64 = 0xffff_ffff_8000_0fff;

/// EVENTINJ for `word`, or 0 for none. Real mode pushes no error codes, so the CPU is
/// given none with `cr0.PE` off; VT-x's kinds of software exception become exceptions.
#[must_use]
pub fn injection(word: EventWord, cr0: u64) -> u64 {
    const PROTECTED: u64 = 1;
    let Some(event) = word.decode() else { return 0 };
    let kind = match event.kind {
        EventKind::PrivilegedSoftwareException | EventKind::SoftwareException => {
            EventKind::Exception
        }
        kind @ (EventKind::Interrupt
        | EventKind::Nmi
        | EventKind::Exception
        | EventKind::SoftwareInterrupt) => kind,
    };
    let error_code = event.error_code.filter(|_| cr0 & PROTECTED != 0);
    EventWord::encode(Event {
        kind,
        error_code,
        ..event
    })
    .0
}

/// The event to deliver again after an exit with this EXITINTINFO. INT n, INT3 and INTO
/// are left out: RIP is still at them, so the guest executes them again.
#[inline]
#[must_use]
pub fn interrupted(information: u64) -> EventWord {
    let word = EventWord(information & MEANINGFUL);
    if word.is_some() {
        interrupted_some(word)
    } else {
        EventWord::NONE
    }
}

#[cold]
fn interrupted_some(word: EventWord) -> EventWord {
    match word.decode() {
        Some(Event {
            kind: EventKind::Exception,
            vector: Vector(3 | 4),
            ..
        }) => EventWord::NONE,
        Some(Event {
            kind: EventKind::Interrupt | EventKind::Nmi,
            ..
        }) => EventWord(word.0 & 0xffff_ffff & !ERROR_CODE),
        Some(Event {
            kind: EventKind::Exception,
            ..
        }) => without_stale_error_code(word),
        Some(Event { .. }) | None => EventWord::NONE,
    }
}

fn without_stale_error_code(word: EventWord) -> EventWord {
    if word.0 & ERROR_CODE != 0 {
        word
    } else {
        EventWord(word.0 & 0xffff_ffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(kind: EventKind, vector: u8, error_code: Option<u32>) -> EventWord {
        EventWord::encode(Event {
            kind,
            vector: Vector(vector),
            error_code,
        })
    }

    #[test]
    fn a_page_fault_keeps_its_error_code_in_protected_mode_only() {
        let fault = word(EventKind::Exception, 14, Some(2));
        assert_eq!(injection(fault, 1), 0x2_8000_0b0e);
        assert_eq!(injection(fault, 0), 0x8000_030e);
        assert_eq!(injection(EventWord::NONE, 1), 0);
    }

    #[test]
    fn software_interrupts_are_executed_again_and_all_else_is_delivered_again() {
        assert_eq!(interrupted(0x8000_0480), EventWord::NONE, "INT 80h");
        assert_eq!(interrupted(0x8000_0303), EventWord::NONE, "INT3");
        assert_eq!(interrupted(0x0000_0020), EventWord::NONE, "not valid");
        assert_eq!(
            interrupted(0x8000_0020),
            word(EventKind::Interrupt, 0x20, None)
        );
        assert_eq!(interrupted(0x8000_0202), word(EventKind::Nmi, 2, None));
        let fault = interrupted(0x10_8000_0b0e);
        assert_eq!(fault, word(EventKind::Exception, 14, Some(0x10)));
    }

    #[test]
    fn an_error_code_without_its_bit_is_nobodys() {
        assert_eq!(
            interrupted(0x77_8000_0306),
            word(EventKind::Exception, 6, None)
        );
    }
}
