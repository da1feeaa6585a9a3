//! Non-maskable interrupts on AMD-V, which does not keep account of those that a VMM injects.
//!
//! Owns that account: after an injected NMI no other is to come until IRET, so IRET is
//! intercepted. That exit comes before the instruction is carried out; if another NMI waits, the
//! one instruction is stepped over by the trap flag, which IRET replaces by the flags it pops. The
//! VMM sees all of it as what blocks events and as a window, as on VT-x
//! `[APM 2, "Interrupt and Exception Injection" and "Virtualizing NMI", rev. 3.42]`.

use super::vmcb::Vmcb;
use skerry_manual::svm::{Intercepts3, VmcbRead, field};
use skerry_words::Shadow;

const TRAP_FLAG: u64 = 1 << 8;
/// The exit codes of IRET and of a debug exception.
const IRET: u64 = 0x74;
const DEBUG: u64 = 0x41;

/// The account of one vCPU.
#[derive(Clone, Copy, Debug)]
pub struct Nmi {
    last: Last,
    /// What blocks events besides what the CPU says; something unless the next NMI may come.
    pub blocks: Shadow,
}

/// Where a vCPU is with its last NMI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Last {
    /// It is served.
    Over,
    /// It is being served.
    Served,
    /// The IRET at this address ends its service.
    Leaving(u64),
    /// The same, and the next exit follows that IRET at once. DR6 was this before.
    Stepping(u64, u64),
}

impl Nmi {
    /// There has been none.
    pub const NONE: Self = Self {
        last: Last::Over,
        blocks: Shadow::empty(),
    };

    /// One is injected.
    #[cold]
    pub fn begin(&mut self, vmcb: &mut Vmcb) {
        self.last = Last::Served;
        self.blocks = Shadow::NMI;
        watch_iret(vmcb, Intercepts3::IRET);
    }

    /// Forgets about it, at a reset.
    pub fn forget(&mut self, vmcb: &mut Vmcb) {
        *self = Self::NONE;
        watch_iret(vmcb, Intercepts3::empty());
    }

    /// The VMM wants an exit as soon as the next one may come.
    pub fn ask_for_window(&mut self, vmcb: &mut Vmcb) {
        if let Last::Leaving(iret) = self.last {
            self.last = Last::Stepping(iret, vmcb.view().read(field::DR6));
            set_trap_flag(vmcb, TRAP_FLAG);
        }
    }

    /// After an exit that has not been looked at, while one is being served.
    #[cold]
    #[inline(never)]
    pub fn after_exit(&mut self, vmcb: &mut Vmcb) {
        let (code, rip) = (
            vmcb.view().read(field::EXIT_CODE),
            vmcb.view().read(field::RIP),
        );
        match self.last {
            Last::Served if code == IRET => {
                watch_iret(vmcb, Intercepts3::empty());
                self.leave(rip);
            }
            Last::Stepping(iret, _) if iret == rip => {
                set_trap_flag(vmcb, 0);
                self.leave(iret);
            }
            Last::Leaving(iret) if iret == rip => {}
            Last::Served => {}
            Last::Stepping(_, dr6) => {
                *self = Self::NONE;
                if code == DEBUG {
                    unstep(vmcb, dr6);
                }
            }
            Last::Leaving(_) | Last::Over => *self = Self::NONE,
        }
    }

    fn leave(&mut self, iret: u64) {
        self.last = Last::Leaving(iret);
        self.blocks = Shadow::MOV_SS;
    }
}

/// The IRET is done, and the trap behind it is nobody's but ours: it was a window.
fn unstep(vmcb: &mut Vmcb, dr6: u64) {
    // SAFETY: the guest's own register, as it was.
    unsafe { vmcb.write(field::DR6, dr6) };
    // SAFETY: what the CPU has written there is read by nobody but us.
    unsafe { vmcb.write(field::EXIT_CODE, IRET) };
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
