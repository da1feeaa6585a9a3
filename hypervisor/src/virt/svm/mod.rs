//! AMD-V: one virtual CPU and its VMCB.
//!
//! Owns the order of an entry: changed state, event, window, timer, VMRUN; and of an exit:
//! code, decode, the groups it needs. Rooms: `insn` the instructions, `setup` switching on
//! and constant fields, `vmcb` state groups, `enter` the assembly, `bitmap` ports and MSRs,
//! `asid` who owns which TLB tag, `interrupt` interrupts and their window, `nmi` the account of
//! NMIs.
//!
//! There is no preemption timer: the host's local APIC interrupts at the limit. An
//! interrupt that ends a run is not acknowledged by the exit; it is served here, before the
//! exit is told.

mod asid;
pub mod bitmap;
mod enter;
mod insn;
mod interrupt;
mod nmi;
pub mod setup;
mod vmcb;

use super::Exit;
use super::context::Context;
use super::state_page::StatePage;
use crate::cpu;
use crate::mem::OwnedFrame;
use asid::Asid;
use interrupt::{VirtualInterrupt, Window};
use nmi::Nmi;
use setup::Svm;
use skerry_manual::Frequent;
use skerry_manual::svm::caps::Features;
use skerry_manual::svm::field::tlb_control;
use skerry_manual::svm::{self, CleanBits, VmcbRead, checks, event, field};
use skerry_second_stage::{Npt, SecondStage};
use skerry_words::{
    Event, EventKind, EventWord, ExitKind, ExitWords, Gpr, GuestState, Hpa, PortAccess,
    StateGroups, Tsc, Vector, VmExit,
};
use vmcb::Vmcb;

/// The groups that the consistency checks look at.
const JUDGED: StateGroups = StateGroups::CONTROL
    .union(StateGroups::SEGMENTS)
    .union(StateGroups::DEBUG);

/// The CPUID leaf that shows XCR0.
const EXTENDED_STATE_LEAF: u32 = 0xd;

/// One virtual CPU.
pub struct Vcpu {
    /// The page it shares with its VMM.
    pub state: StatePage,
    vmcb: Vmcb,
    pub(super) context: Context,
    registers: OwnedFrame,
    host: Hpa,
    features: Features,
    clean_after: CleanBits,
    asid: Asid,
    chores: Chores,
    windows: u64,
    interrupt: VirtualInterrupt,
    nmi: Nmi,
    reports_left: u8,
}

/// How often a vCPU whose entry is refused has the reasons logged.
const REPORTS: u8 = 2;

bitflags::bitflags! {
    /// What an entry has to do besides, or the one after it to undo.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Chores: u8 {
        /// This entry drops the guest's translations.
        const FLUSH = 1 << 0;
        /// The last entry has dropped them, and would do so again.
        const FLUSHED = 1 << 1;
        /// This entry delivers an event.
        const INJECT = 1 << 2;
        /// The last entry has delivered one.
        const INJECTED = 1 << 3;
        /// The VMM has set a state that no guest can have.
        const REFUSE = 1 << 4;
    }
}

impl Vcpu {
    /// A vCPU with the number `index`; `None` without frames for VMCB and FPU state.
    pub fn new(svm: &Svm, index: u16, stage: &SecondStage<Npt>) -> Option<Self> {
        let asid = Asid::of(index, svm.capabilities.asids);
        let mut vcpu = Self {
            state: StatePage::new()?,
            vmcb: Vmcb::new()?,
            context: Context::new(svm.switch)?,
            registers: OwnedFrame::zeroed()?,
            host: svm.host(),
            features: svm.capabilities.features,
            clean_after: vmcb::clean_after(svm.capabilities.features),
            asid,
            chores: Chores::FLUSH,
            windows: 0,
            interrupt: VirtualInterrupt::NONE,
            nmi: Nmi::NONE,
            reports_left: REPORTS,
        };
        // SAFETY: the VMCB is new, and never runs before `reset`.
        unsafe { svm.write_constant_fields(&mut vcpu.vmcb, asid.tag()) };
        vcpu.reset(stage);
        Some(vcpu)
    }

    /// Everything as at power-on, with what the page says to start from.
    pub fn reset(&mut self, stage: &SecondStage<Npt>) {
        self.state.dirty = StateGroups::all();
        self.context.reset(&self.state);
        let values = [
            (field::NESTED_CR3, Npt::pointer(stage.root())),
            (field::DR6, 0xffff_0ff0),
            (field::EVENT_INJECTION, 0),
        ];
        // SAFETY: the tables of `stage` are complete and belong to this VM.
        unsafe { self.vmcb.write_all(&values) };
        self.nmi.forget(&mut self.vmcb);
        self.interrupt.forget(&mut self.vmcb);
        self.windows = 0;
        self.chores = Chores::FLUSH;
    }

    /// Makes this vCPU the one on this CPU.
    pub fn load(&mut self) {
        self.context.load();
        if self.asid.was_anothers() {
            self.chores |= Chores::FLUSH;
        }
    }

    /// Takes it off this CPU.
    pub fn unload(&mut self) {
        self.state.xcr0 = self.context.xcr0(self.state.xcr0);
        self.context.unload();
    }

    /// Runs the guest until it exits, at `limit` at the latest.
    #[inline(always)]
    pub fn enter(&mut self, limit: Tsc) -> Exit {
        self.prepare();
        if self.chores.contains(Chores::REFUSE) {
            return Exit::Other(self.refused_entry());
        }
        cpu::apic::interrupt_by(limit);
        let state: *mut GuestState = &mut *self.state;
        // SAFETY: this VMCB is set up by `new`, `host` was filled on this CPU, `state` lives
        // in its box, and interrupts are off outside `cpu::idle`.
        unsafe { enter::enter(state, self.vmcb.start().0, self.host.0) };
        self.take_exit()
    }

    /// The pages it shares with its VMM: state and APIC.
    pub fn pages(&self) -> [Hpa; 2] {
        [self.state.start(), self.registers.start()]
    }

    /// What it holds of host memory: VMCB, FPU state, shared pages, itself.
    pub fn bytes(&self) -> u64 {
        4 * 4096 + size_of::<Self>() as u64
    }

    /// Fills the state that the VMM needs for a memory access.
    #[inline(always)]
    pub fn complete(&mut self) {
        let vmcb = self.vmcb.view();
        let state = &mut *self.state;
        vmcb.fill_for_memory(state, self.nmi.blocks);
        state.instruction_bytes = svm::plain_bytes(self.features, state.rip, &vmcb);
    }

    #[inline(always)]
    fn prepare(&mut self) {
        if !self.state.dirty.is_empty() {
            self.write_dirty();
        }
        // SAFETY: the guest's own register; any value is the guest's affair.
        unsafe { self.vmcb.write(field::RAX, self.state.gpr[0]) };
        if both(self.state.interrupt_window, self.state.nmi_window) != self.windows {
            self.ask_for_window();
        }
        if self.state.inject.is_some() {
            self.inject();
        }
        if !self.chores.is_empty() {
            self.see_to_chores();
        }
        self.vmcb.seal(self.clean_after);
    }

    #[inline(always)]
    fn write_dirty(&mut self) {
        let dirty = self.state.dirty;
        if dirty != StateGroups::INSTRUCTION {
            self.before_rare_write(dirty);
        }
        // SAFETY: guest fields are checked by the CPU on entry.
        unsafe { self.vmcb.write_back(&mut self.state) };
        if dirty != StateGroups::INSTRUCTION && dirty.intersects(JUDGED) {
            self.judge();
        }
    }

    /// A VMM may have set anything. Not every CPU that refuses an entry gets back to the host in
    /// one piece, so what the manual forbids is not even tried.
    #[cold]
    fn judge(&mut self) {
        let fails = checks::failed(&self.vmcb.view(), physical_bits()).next();
        self.chores.set(Chores::REFUSE, fails.is_some());
    }

    #[cold]
    fn refused_entry(&mut self) -> VmExit {
        self.report_failed_entry();
        self.state.valid = StateGroups::empty();
        VmExit::EntryFailed(u32::MAX)
    }

    /// Changed control registers change what cached translations mean.
    #[cold]
    fn before_rare_write(&mut self, dirty: StateGroups) {
        if dirty.contains(StateGroups::TSC) {
            // SAFETY: the offset changes what the guest reads and nothing else.
            unsafe { self.vmcb.write(field::TSC_OFFSET, self.state.tsc_offset) };
        }
        if dirty.contains(StateGroups::XCR0) {
            self.context.set_xcr0(self.state.xcr0);
        }
        if dirty.contains(StateGroups::CONTROL) {
            self.chores |= Chores::FLUSH;
        }
        if dirty.contains(StateGroups::DEBUG_STATUS) {
            let bits = self.state.debug_status & GuestState::SINGLE_STEP;
            let status = self.vmcb.view().read(field::DR6) | bits;
            // SAFETY: one defined bit more in the guest's own register.
            unsafe { self.vmcb.write(field::DR6, status) };
        }
    }

    /// Hands the pending event to the CPU, in the form its mode allows.
    fn inject(&mut self) {
        let word = core::mem::take(&mut self.state.inject);
        match word.decode() {
            Some(event) if event.kind == EventKind::Interrupt => {
                if self.interrupt.offer(&mut self.vmcb, event.vector) {
                    return;
                }
            }
            Some(event) if event.kind == EventKind::Nmi => self.nmi.begin(&mut self.vmcb),
            Some(_) | None => {}
        }
        let event = event::injection(word, self.vmcb.view().read(field::CR0));
        // SAFETY: the CPU checks the event on entry and refuses what does not fit.
        unsafe { self.vmcb.write(field::EVENT_INJECTION, event) };
        self.chores |= Chores::INJECT;
    }

    /// For NMIs there is no window but the end of the last one's service: see `nmi`.
    fn ask_for_window(&mut self) {
        // Kept as not asked for: it is good for one entry.
        self.windows = both(self.state.interrupt_window, 0);
        if self.state.nmi_window != 0 {
            self.nmi.ask_for_window(&mut self.vmcb);
        }
        let window = if self.state.interrupt_window != 0 {
            Window::Asked
        } else {
            Window::Unasked
        };
        self.interrupt.set_window(&mut self.vmcb, window);
    }

    /// Sets what only this entry does, and takes back what only the last one did.
    #[cold]
    fn see_to_chores(&mut self) {
        let chores = core::mem::replace(&mut self.chores, Chores::empty());
        self.chores |= chores & Chores::REFUSE;
        if chores.contains(Chores::FLUSH) {
            self.chores |= Chores::FLUSHED;
            let by_asid = self.features.contains(Features::FLUSH_BY_ASID);
            self.control_tlb(if by_asid {
                tlb_control::FLUSH_ASID
            } else {
                tlb_control::FLUSH_ALL
            });
        } else if chores.contains(Chores::FLUSHED) {
            self.control_tlb(tlb_control::KEEP);
        }
        if chores.contains(Chores::INJECT) {
            self.chores |= Chores::INJECTED;
        } else if chores.contains(Chores::INJECTED) {
            // SAFETY: no event is to be delivered.
            unsafe { self.vmcb.write(field::EVENT_INJECTION, 0) };
        }
    }

    fn control_tlb(&mut self, what: u64) {
        // SAFETY: dropping cached translations is always allowed, and keeping them is right
        // after an entry that has dropped what had to go.
        unsafe { self.vmcb.write(field::TLB_CONTROL, what) };
    }

    #[inline(always)]
    fn take_exit(&mut self) -> Exit {
        if !self.nmi.blocks.is_empty() {
            self.nmi.after_exit(&mut self.vmcb);
        }
        let vmcb = self.vmcb.view();
        let code = vmcb.read(field::EXIT_CODE);
        if cfg!(feature = "record") {
            return self.take_other(code).into();
        }
        match svm::frequent(code, &vmcb) {
            Some(Frequent::Plain(kind)) if !is_extended_state_query(kind, &vmcb) => {
                self.take_plain(kind)
            }
            Some(Frequent::Port(access)) => self.take_port(access),
            Some(Frequent::Memory(access)) => {
                // The next entry writes it, whether or not the VMM has been asked.
                self.state.gpr[Gpr::Rax as usize] = vmcb.read(field::RAX);
                self.keep_interrupted_event();
                Exit::Memory(access)
            }
            Some(Frequent::Plain(_)) | None => Exit::Other(self.take_other(code)),
        }
    }

    #[inline(always)]
    fn take_plain(&mut self, kind: ExitKind) -> Exit {
        let vmcb = self.vmcb.view();
        let state = &mut *self.state;
        // Not every CPU tells the instruction's length.
        vmcb.fill(state, StateGroups::FETCH, self.nmi.blocks);
        state.instruction_bytes = svm::plain_bytes(self.features, state.rip, &vmcb);
        state.exit = ExitWords::plain(kind);
        Exit::Told(kind)
    }

    #[inline(always)]
    fn take_port(&mut self, access: PortAccess) -> Exit {
        let vmcb = self.vmcb.view();
        let state = &mut *self.state;
        vmcb.fill(state, StateGroups::INSTRUCTION, self.nmi.blocks);
        state.instruction_bytes = svm::port_bytes(state.rip, &vmcb);
        state.exit = ExitWords::encode(&VmExit::Port(access));
        Exit::Told(ExitKind::Port)
    }

    #[inline(always)]
    fn take_other(&mut self, code: u64) -> VmExit {
        let vmcb = self.vmcb.view();
        let features = self.features;
        let exit = svm::decode(code, features, &vmcb);
        #[cfg(feature = "record")]
        super::record::svm(&exit, features, &vmcb);
        let state = &mut *self.state;
        vmcb.fill(state, svm::groups(&exit, features), self.nmi.blocks);
        state.instruction_bytes = svm::instruction_bytes(&exit, features, state.rip, &vmcb);
        self.after_rare(&exit);
        exit
    }

    /// An event whose delivery this exit interrupted is delivered again. The guest's own
    /// instructions interrupt none.
    #[inline(always)]
    fn keep_interrupted_event(&mut self) {
        let vmcb = self.vmcb.view();
        let taken_back = self.interrupt.take_back(&mut self.vmcb);
        let interrupted = event::interrupted(vmcb.read(field::EXIT_INTERRUPT_INFORMATION));
        self.state.inject = if interrupted.is_some() {
            interrupted
        } else {
            taken_back
        };
    }

    /// What the frequent exits do without.
    fn after_rare(&mut self, exit: &VmExit) {
        self.keep_interrupted_event();
        match exit {
            VmExit::HostInterrupt(_) => cpu::idle::take_interrupts(),
            // Emulated CPUs without the XSETBV intercept change XCR0 unseen.
            VmExit::Cpuid => self.state.xcr0 = self.context.xcr0(self.state.xcr0),
            VmExit::Exception(event) => self.before_exception(*event),
            VmExit::EntryFailed(_) => self.report_failed_entry(),
            _ => {}
        }
    }

    /// A machine check is the host's and ends it. A debug exception is in the VMCB's DR6
    /// already, unlike on VT-x `[APM 2, "Exception Intercepts", rev. 3.42]`.
    #[cold]
    fn before_exception(&mut self, event: Event) {
        if event.vector == Vector(18) {
            panic!("machine check while a guest ran");
        }
    }

    /// Says which of the manual's checks the state does not pass.
    #[cold]
    fn report_failed_entry(&mut self) {
        self.state.inject = EventWord::NONE;
        // A VMM could have ring 0 write its log full.
        let Some(left) = self.reports_left.checked_sub(1) else {
            return;
        };
        self.reports_left = left;
        log::error!("VMRUN refused; checks that fail:");
        for failure in checks::failed(&self.vmcb.view(), physical_bits()) {
            log::error!("  {failure}");
        }
    }
}

/// Two neighbouring words of the page as one, so that one look tells whether either changed.
#[inline(always)]
fn both(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Whether the answer depends on XCR0, of which CPUs without the XSETBV intercept do not tell.
#[inline(always)]
fn is_extended_state_query(kind: ExitKind, vmcb: &impl VmcbRead) -> bool {
    kind == ExitKind::Cpuid && vmcb.read(field::RAX) as u32 == EXTENDED_STATE_LEAF
}

fn physical_bits() -> u32 {
    core::arch::x86_64::__cpuid(0x8000_0008).eax & 0xff
}
