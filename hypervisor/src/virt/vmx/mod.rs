//! Intel VT-x: one virtual CPU and its VMCS.
//!
//! Owns the order of an entry: changed state, event, windows, timer, VMRESUME; and of an
//! exit: reason, decode, the groups it needs. Rooms: `insn` the instructions, `setup`
//! switching on and constant fields, `vmcs` state groups, `enter` the assembly, `bitmap`
//! ports and MSRs, `apic` what the CPU does about a local APIC.

mod apic;
pub mod bitmap;
mod enter;
mod insn;
pub mod setup;
mod vmcs;

use super::Exit;
use super::context::{Context, record_debug_exception};
use super::state_page::StatePage;
use crate::cpu;
use crate::mem::OwnedFrame;
use apic::{Apic, Pages};
use insn::{vmread, vmwrite};
use setup::Vmx;
use skerry_manual::Frequent;
use skerry_manual::vmx::{self, Field, PrimaryControls, field};
use skerry_second_stage::{Ept, SecondStage};
use skerry_words::{
    Event, EventKind, EventWord, ExitKind, ExitWords, GuestState, Hpa, MsrIndex, StateGroups, Tsc,
    Vector, VmExit,
};
use vmcs::{ControlRegisters, Current};

/// One virtual CPU.
pub struct Vcpu {
    /// The page it shares with its VMM.
    pub state: StatePage,
    region: OwnedFrame,
    registers: OwnedFrame,
    apic: Option<Apic>,
    control: ControlRegisters,
    pub(super) context: Context,
    launched: u64,
    primary: u32,
    windows: u64,
    vpid: u16,
    timer_shift: u32,
    cr2: Cr2,
    reports_left: u8,
}

/// Whether the CPU's CR2 is the guest's, which no VMCS field keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cr2 {
    /// It is.
    Guests,
    /// The VMM's page fault has changed it.
    Lost,
}

/// How often a vCPU whose entry is refused has that logged.
const REPORTS: u8 = 2;

impl Vcpu {
    /// A vCPU with VPID `index + 1`; `None` without frames for VMCS and FPU state. Its guest has
    /// the page `apic_access` at `fee00000`.
    pub fn new(
        vmx: &Vmx,
        index: u16,
        (stage, apic_access): (&SecondStage<Ept>, Option<Hpa>),
        host_cr3: u64,
    ) -> Option<Self> {
        let region = vmx.new_vmcs()?;
        let registers = OwnedFrame::zeroed()?;
        let pages = Pages {
            registers: registers.start(),
            access: apic_access,
        };
        let mut vcpu = Self {
            state: StatePage::new()?,
            region,
            registers,
            apic: None,
            control: setup::control_registers(0, 0),
            context: Context::new(vmx.switch)?,
            launched: 0,
            primary: vmx.controls.primary,
            windows: 0,
            vpid: index.wrapping_add(1),
            timer_shift: vmx.capabilities.timer_shift(),
            cr2: Cr2::Lost,
            reports_left: REPORTS,
        };
        vcpu.clear();
        vcpu.make_current();
        // SAFETY: the VMCS is current and was just cleared.
        unsafe { vmx.write_constant_fields(vcpu.vpid, eptp(stage)) };
        // SAFETY: as above, and the pages live as long as vCPU and guest.
        vcpu.apic = unsafe { Apic::new(vmx, pages) };
        // SAFETY: as above.
        unsafe { setup::write_host_state(host_cr3) };
        // SAFETY: as above.
        unsafe { vcpu.control.write_masks() };
        insn::invvpid_single(vcpu.vpid);
        vcpu.clear();
        Some(vcpu)
    }

    /// Which bits of CR0 and CR4 the guest may change without an exit.
    pub fn permit(&mut self, cr0: u64, cr4: u64) {
        self.control = setup::control_registers(cr0, cr4);
        self.make_current();
        // SAFETY: the VMCS is current, and its guest has not run.
        unsafe { self.control.write_masks() };
    }

    /// The CPU's CR2 is no longer the guest's.
    pub fn cr2_is_lost(&mut self) {
        self.cr2 = Cr2::Lost;
    }

    /// Everything as at power-on, with what the page says to start from.
    pub fn reset(&mut self, stage: &SecondStage<Ept>) {
        self.state.dirty = StateGroups::all();
        self.context.reset(&self.state);
        self.make_current();
        // SAFETY: the tables of `stage` are complete and belong to this VM.
        unsafe { vmwrite(field::EPT_POINTER, eptp(stage)) };
        // SAFETY: no event is under way.
        unsafe { vmwrite(field::ENTRY_INTERRUPTION_INFORMATION, 0) };
        insn::invept_single(eptp(stage));
        insn::invvpid_single(self.vpid);
        self.clear();
    }

    /// Makes this vCPU the one on this CPU.
    pub fn load(&mut self) {
        self.make_current();
        self.context.load();
        self.cr2 = Cr2::Lost;
    }

    /// Takes it off this CPU. Its VMCS stays active there: only a CPU of its own would
    /// ask for VMCLEAR before another CPU may load it.
    pub fn unload(&mut self) {
        self.context.unload();
    }

    /// Runs the guest until it exits, at `limit` at the latest.
    #[inline(always)]
    pub fn enter(&mut self, now: Tsc, limit: Tsc) -> Exit {
        self.prepare(now, limit);
        let state: *mut GuestState = &mut *self.state;
        // SAFETY: this VMCS is current, set up by `new`, `launched` is its launch state,
        // `state` lives in its box, and interrupts are off outside `cpu::idle`.
        let refused = unsafe { enter::enter(state, self.launched) };
        if refused != 0 {
            return Exit::Other(self.refused_entry());
        }
        self.launched = 1;
        self.take_exit()
    }

    /// The pages it shares with its VMM: state and APIC.
    pub fn pages(&self) -> [Hpa; 2] {
        [self.state.start(), self.registers.start()]
    }

    /// What it holds of host memory: VMCS, FPU state, shared pages, itself.
    pub fn bytes(&self) -> u64 {
        4 * 4096 + size_of::<Self>() as u64
    }

    /// Fills the state that the VMM needs for a memory access.
    pub fn complete(&mut self) {
        vmcs::fill_for_memory(&mut self.state, &self.control);
    }

    #[inline(always)]
    fn prepare(&mut self, now: Tsc, limit: Tsc) {
        let state = &mut *self.state;
        let dirty = state.dirty;
        if dirty == StateGroups::INSTRUCTION {
            // SAFETY: this VMCS is current; guest fields are checked by the CPU on entry.
            unsafe { vmwrite(field::GUEST_RIP, state.rip) };
            state.dirty = StateGroups::empty();
        } else if !dirty.is_empty() {
            self.write_dirty();
        }
        if self.cr2 == Cr2::Lost {
            self.context.set_cr2(self.state.cr2);
            self.cr2 = Cr2::Guests;
        }
        if self.state.inject.is_some() {
            self.inject();
        }
        self.ask_for_windows();
        let ticks = limit.0.wrapping_sub(now.0) >> self.timer_shift;
        // SAFETY: a shorter time than asked for is corrected by the loop that asked: so is one
        // that 32 bits cannot hold.
        unsafe { vmwrite(field::PREEMPTION_TIMER_VALUE, ticks & u64::from(u32::MAX)) };
    }

    #[inline(never)]
    fn write_dirty(&mut self) {
        self.write_own();
        // SAFETY: this VMCS is current; guest fields are checked by the CPU on entry.
        unsafe { vmcs::write_back(&mut self.state, &mut self.control) };
    }

    /// Writes the groups that are not in the VMCS.
    fn write_own(&mut self) {
        let dirty = self.state.dirty;
        if dirty.contains(StateGroups::TSC) {
            // SAFETY: the offset changes what the guest reads and nothing else.
            unsafe { vmwrite(field::TSC_OFFSET, self.state.tsc_offset) };
        }
        if dirty.contains(StateGroups::APIC) {
            self.set_apic_mode();
        }
        if dirty.contains(StateGroups::INTERRUPTS) && self.apic.is_some() {
            // SAFETY: this VMCS is current.
            unsafe { Apic::set_status(&self.state) };
        }
        if dirty.contains(StateGroups::XCR0) {
            self.context.set_xcr0(self.state.xcr0);
        }
        if dirty.contains(StateGroups::CR2) {
            self.context.set_cr2(self.state.cr2);
        }
        if dirty.contains(StateGroups::DEBUG_STATUS) {
            // An injected exception does not change DR6, as one of the CPU's own would.
            record_debug_exception(self.state.debug_status & GuestState::SINGLE_STEP);
        }
    }

    #[cold]
    fn set_apic_mode(&mut self) {
        let Some(apic) = self.apic else { return };
        let primary = PrimaryControls::from_bits_retain(self.primary);
        // SAFETY: this VMCS is current.
        self.primary = unsafe { apic.set_mode(&self.state, primary) }.bits();
        self.change_windows();
    }

    /// Hands the pending event to the CPU, in the form its mode allows.
    fn inject(&mut self) {
        let word = core::mem::take(&mut self.state.inject);
        let Some(event) = word.decode() else { return };
        let information = self.interruption(word, &event);
        // SAFETY: the CPU checks the event on entry and refuses what does not fit.
        unsafe { vmwrite(field::ENTRY_INTERRUPTION_INFORMATION, information) };
        // SAFETY: as above.
        unsafe { vmwrite(field::ENTRY_EXCEPTION_ERROR_CODE, word.0 >> 32) };
        // SAFETY: as above.
        unsafe {
            vmwrite(
                field::ENTRY_INSTRUCTION_LENGTH,
                u64::from(self.state.instruction_bytes),
            )
        };
    }

    /// Real mode delivers no error codes: the CPU refuses them with CR0.PE off.
    fn interruption(&self, word: EventWord, event: &Event) -> u64 {
        const ERROR_CODE: u64 = 1 << 11;
        let information = word.0 & 0x8000_0fff;
        let real_mode = event.error_code.is_some() && vmread(field::GUEST_CR0) & 1 == 0;
        if real_mode {
            information & !ERROR_CODE
        } else {
            information
        }
    }

    #[inline(always)]
    fn ask_for_windows(&mut self) {
        let wanted = both(self.state.interrupt_window, self.state.nmi_window);
        if wanted != self.windows {
            self.windows = wanted;
            self.change_windows();
        }
    }

    fn change_windows(&mut self) {
        let mut wanted = PrimaryControls::from_bits_retain(self.primary)
            - PrimaryControls::INTERRUPT_WINDOW_EXITING
            - PrimaryControls::NMI_WINDOW_EXITING;
        if self.state.interrupt_window != 0 {
            wanted |= PrimaryControls::INTERRUPT_WINDOW_EXITING;
        }
        if self.state.nmi_window != 0 {
            wanted |= PrimaryControls::NMI_WINDOW_EXITING;
        }
        self.primary = wanted.bits();
        // SAFETY: both windows are allowed by the capability MSRs of any CPU with virtual
        // NMIs, which `setup` demands.
        unsafe { vmwrite(field::PRIMARY_CONTROLS, u64::from(self.primary)) };
    }

    #[inline(always)]
    fn take_exit(&mut self) -> Exit {
        let reason = vmread(field::EXIT_REASON) as u32;
        if cfg!(feature = "record") {
            return self.take_other(reason).into();
        }
        match vmx::frequent(reason, &Current) {
            Some(Frequent::Plain(kind)) => {
                vmcs::fill_plain(&mut self.state, kind, &self.control);
                self.state.exit = ExitWords::plain(kind);
                Exit::Told(kind)
            }
            Some(Frequent::Port(access)) => {
                vmcs::fill(&mut self.state, StateGroups::INSTRUCTION, &self.control);
                self.state.exit = ExitWords::encode(&VmExit::Port(access));
                Exit::Told(ExitKind::Port)
            }
            Some(Frequent::Memory(access)) => {
                self.keep_interrupted_event();
                Exit::Memory(access)
            }
            None => Exit::Other(self.take_other(reason)),
        }
    }

    #[inline(always)]
    fn take_other(&mut self, reason: u32) -> VmExit {
        let exit = vmx::decode(reason, &Current);
        #[cfg(feature = "record")]
        super::record::vmx(&exit, &Current);
        if matches!(exit, VmExit::Memory(_)) {
            self.keep_interrupted_event();
            return exit;
        }
        vmcs::fill(&mut self.state, vmx::groups(&exit), &self.control);
        self.keep_interrupted_event();
        match exit {
            VmExit::Exception(event) => self.before_exception(event),
            VmExit::EntryFailed(reason) => self.report_failed_entry(reason),
            _ => {}
        }
        exit
    }

    /// An event whose delivery this exit interrupted is delivered again on the next entry
    /// `[SDM 3C, "Information for VM Exits During Event Delivery", ed. 085]`.
    #[inline(always)]
    fn keep_interrupted_event(&mut self) {
        const VALID: u64 = 1 << 31;
        const ERROR_CODE: u64 = 1 << 11;
        let vectoring = vmread(field::IDT_VECTORING_INFORMATION);
        if vectoring & VALID != 0 {
            let mut word = vectoring & 0x8000_0fff;
            if word & ERROR_CODE != 0 {
                word |= vmread(field::IDT_VECTORING_ERROR_CODE) << 32;
            }
            self.state.inject = EventWord(word);
        }
    }

    /// An exception that exits has not been recorded in DR6 and has not unblocked NMIs; a
    /// machine check is the host's and ends it.
    fn before_exception(&mut self, event: Event) {
        const DEBUG: EventKind = EventKind::Exception;
        match event {
            Event {
                vector: Vector(1),
                kind: DEBUG,
                ..
            } => {
                record_debug_exception(vmread(field::EXIT_QUALIFICATION) & 0x0001_e00f);
            }
            Event {
                vector: Vector(18), ..
            } => {
                panic!("machine check while a guest ran");
            }
            _ => {}
        }
    }

    #[cold]
    fn refused_entry(&mut self) -> VmExit {
        let error = vmread(field::INSTRUCTION_ERROR) as u32;
        self.report_failed_entry(error);
        self.state.valid = StateGroups::empty();
        VmExit::EntryFailed(error)
    }

    /// Which of the manual's checks the state does not pass, `root` finds out.
    #[cold]
    fn report_failed_entry(&mut self, reason: u32) {
        // A VMM could have ring 0 write its log full.
        let Some(left) = self.reports_left.checked_sub(1) else {
            return;
        };
        self.reports_left = left;
        log::error!("VM entry refused by the CPU, reason {reason}");
    }

    /// A field of its VMCS by its encoding, or a capability MSR by its index with bit 63; 0 for
    /// what this CPU does not have, or is neither.
    pub fn field(&mut self, name: u64) -> u64 {
        const CAPABILITY: u64 = 1 << 63;
        if let Ok(encoding) = u32::try_from(name) {
            self.make_current();
            return insn::vmread_or_zero(Field::new(encoding));
        }
        match name ^ CAPABILITY {
            index @ 0x480..=0x493 => cpu::msr::try_read(MsrIndex(index as u32)).unwrap_or(0),
            _ => 0,
        }
    }

    fn make_current(&mut self) {
        // SAFETY: `region` is a frame of this vCPU's own with a VMCS made by `new`.
        let outcome = unsafe { insn::vmptrld(self.region.start()) };
        assert!(outcome.is_ok(), "VMPTRLD refused VMCS {:?}", self.region);
    }

    fn clear(&mut self) {
        // SAFETY: as in `make_current`.
        let outcome = unsafe { insn::vmclear(self.region.start()) };
        assert!(outcome.is_ok(), "VMCLEAR refused VMCS {:?}", self.region);
        self.launched = 0;
    }
}

impl Drop for Vcpu {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Two neighbouring words of the page as one, so that one look tells whether either changed.
#[inline(always)]
fn both(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn eptp(stage: &SecondStage<Ept>) -> u64 {
    Ept::pointer(stage.root())
}
