//! External interrupts on AMD-V: the VMCB's virtual interrupt, which serves two ends.
//!
//! Owns that field and its intercept. Unintercepted, it is the interrupt that the VMM injects: the
//! CPU takes it before the guest's next instruction and clears the request itself. A physical
//! interrupt comes first; then the exit finds the request as it was. Intercepted, it is the
//! window: an exit as soon as the guest could take an interrupt. Where both are asked for at once,
//! the interrupt goes the way of the other events
//! `[APM 2, "Virtual Interrupts" and "Injecting Virtual (INTR) Interrupts", rev. 3.42]`.

use super::vmcb::Vmcb;
use skerry_manual::svm::field::{self, virtual_interrupt};
use skerry_manual::svm::{Intercepts3, VmcbRead};
use skerry_words::{Event, EventKind, EventWord, GuestState, Vector};

/// Neither an interrupt nor a window.
const NONE: u64 = virtual_interrupt::MASKING;
/// A request, whatever the guest's priority is: that is the VMM's affair.
const REQUEST: u64 = NONE | virtual_interrupt::IGNORE_TPR | virtual_interrupt::PENDING;

/// Whether an exit is asked for as soon as the guest can take an interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Window {
    /// Nothing waits.
    Unasked,
    /// Something does.
    Asked,
}

/// What is asked of one vCPU's virtual interrupt.
#[derive(Clone, Copy, Debug)]
pub struct VirtualInterrupt {
    window: Window,
    offered: EventWord,
}

impl VirtualInterrupt {
    /// Nothing.
    pub const NONE: Self = Self {
        window: Window::Unasked,
        offered: EventWord::NONE,
    };

    /// Forgets about both, at a reset.
    pub fn forget(&mut self, vmcb: &mut Vmcb) {
        self.offered = EventWord::NONE;
        self.set_window(vmcb, Window::Unasked);
    }

    /// Asks for a window, or no longer.
    pub fn set_window(&mut self, vmcb: &mut Vmcb, window: Window) {
        self.window = window;
        let (intercept, what) = match window {
            Window::Unasked => (Intercepts3::empty(), NONE),
            Window::Asked => (Intercepts3::VIRTUAL_INTERRUPT, REQUEST),
        };
        let others = vmcb.view().read(field::INTERCEPT_3)
            & !u64::from(Intercepts3::VIRTUAL_INTERRUPT.bits());
        // SAFETY: one more or one less intercept, which the VMM understands.
        unsafe { vmcb.write(field::INTERCEPT_3, others | u64::from(intercept.bits())) };
        request(vmcb, what);
    }

    /// Hands the interrupt `vector` to the CPU if this way is open: the guest can take one, and no
    /// window is asked for.
    pub fn offer(&mut self, vmcb: &mut Vmcb, vector: Vector) -> bool {
        if self.window == Window::Asked || !takes_interrupts(vmcb) {
            return false;
        }
        self.offered = EventWord::encode(Event {
            kind: EventKind::Interrupt,
            vector,
            error_code: None,
        });
        request(vmcb, REQUEST | virtual_interrupt::vector(vector));
        true
    }

    /// After an exit that may have come first: takes back what has not been taken.
    #[inline(always)]
    pub fn take_back(&mut self, vmcb: &mut Vmcb) -> EventWord {
        if self.offered.is_some() {
            self.take_back_offered(vmcb)
        } else {
            EventWord::NONE
        }
    }

    #[inline(never)]
    fn take_back_offered(&mut self, vmcb: &mut Vmcb) -> EventWord {
        let word = core::mem::replace(&mut self.offered, EventWord::NONE);
        let asked = vmcb.view().read(field::VIRTUAL_INTERRUPT);
        // A window may have been asked for since.
        if self.window == Window::Asked || asked & virtual_interrupt::PENDING == 0 {
            return EventWord::NONE;
        }
        request(vmcb, NONE);
        word
    }
}

fn request(vmcb: &mut Vmcb, what: u64) {
    // SAFETY: masking stays on, so physical interrupts still exit; the vector is the guest's.
    unsafe { vmcb.write(field::VIRTUAL_INTERRUPT, what) };
}

fn takes_interrupts(vmcb: &Vmcb) -> bool {
    let vmcb = vmcb.view();
    vmcb.read(field::RFLAGS) & GuestState::INTERRUPT_FLAG != 0
        && vmcb.read(field::INTERRUPT_STATE) & field::INTERRUPT_SHADOW == 0
}
