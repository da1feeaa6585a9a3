//! Non-maskable interrupts on AMD-V, which does not keep account of those that a VMM injects.
//!
//! Owns that account: after an injected NMI no other is to come until IRET, so IRET is
//! intercepted. That exit comes before the instruction is carried out; if another NMI waits, the
//! one instruction is stepped over by the trap flag, which IRET replaces by the flags it pops. The
//! VMM sees all of it as what blocks events and as a window, as on VT-x
//! `[APM 2, "Interrupt and Exception Injection" and "Virtualizing NMI", rev. 3.42]`.

use super::vmcb::Vmcb;
use skerry_manual::svm::{Intercepts3, VmcbRead, field};
use skerry_words::{GuestState, Shadow, Vector, VmExit};

const TRAP_FLAG: u64 = 1 << 8;

/// Where a vCPU is with its last NMI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nmi {
    /// The next one may come.
    Free,
    /// It is being served.
    Served,
    /// The IRET at this address ends its service.
    Leaving(u64),
    /// The same, and the next exit follows that IRET at once. DR6 was this before.
    Stepping(u64, u64),
}

impl Nmi {
    /// An NMI is injected.
    #[cold]
    pub fn begin(&mut self, vmcb: &mut Vmcb) {
        *self = Self::Served;
        watch_iret(vmcb, Intercepts3::IRET);
    }

    /// Forgets about it, at a reset.
    pub fn forget(&mut self, vmcb: &mut Vmcb) {
        *self = Self::Free;
        watch_iret(vmcb, Intercepts3::empty());
    }

    /// The VMM wants an exit as soon as the next one may come.
    pub fn ask_for_window(&mut self, vmcb: &mut Vmcb) {
        if let Self::Leaving(iret) = *self {
            *self = Self::Stepping(iret, vmcb.view().read(field::DR6));
            set_trap_flag(vmcb, TRAP_FLAG);
        }
    }

    /// After an exit: says in `state` what blocks events beside what the CPU says, and gives the
    /// exit as the VMM is to see it.
    #[cold]
    pub fn after_exit(&mut self, exit: VmExit, state: &mut GuestState, vmcb: &mut Vmcb) -> VmExit {
        match *self {
            Self::Free => {}
            Self::Served if matches!(exit, VmExit::NmiWindow) => {
                *self = Self::Leaving(state.rip);
                watch_iret(vmcb, Intercepts3::empty());
                state.shadow |= Shadow::MOV_SS;
            }
            Self::Served => state.shadow |= Shadow::NMI,
            Self::Leaving(iret) if iret == state.rip => state.shadow |= Shadow::MOV_SS,
            Self::Stepping(iret, _) if iret == state.rip => {
                *self = Self::Leaving(iret);
                set_trap_flag(vmcb, 0);
                state.rflags &= !TRAP_FLAG;
                state.shadow |= Shadow::MOV_SS;
            }
            Self::Leaving(_) => *self = Self::Free,
            Self::Stepping(_, dr6) => {
                *self = Self::Free;
                return stepped(exit, dr6, vmcb);
            }
        }
        exit
    }
}

/// The IRET is done: the trap behind it is nobody's but ours.
fn stepped(exit: VmExit, dr6: u64, vmcb: &mut Vmcb) -> VmExit {
    match exit {
        VmExit::Exception(event) if event.vector == Vector(1) => {
            // SAFETY: the guest's own register, as it was.
            unsafe { vmcb.write(field::DR6, dr6) };
            VmExit::NmiWindow
        }
        other => other,
    }
}

fn set_trap_flag(vmcb: &mut Vmcb, flag: u64) {
    let flags = vmcb.view().read(field::RFLAGS) & !TRAP_FLAG | flag;
    // SAFETY: the guest's own register; the trap exits.
    unsafe { vmcb.write(field::RFLAGS, flags) };
}

fn watch_iret(vmcb: &mut Vmcb, iret: Intercepts3) {
    let others = vmcb.view().read(field::INTERCEPT_3) & !u64::from(Intercepts3::IRET.bits());
    // SAFETY: one more or one less intercept, which this file understands.
    unsafe { vmcb.write(field::INTERCEPT_3, others | u64::from(iret.bits())) };
}
