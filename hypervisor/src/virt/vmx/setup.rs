//! Switching VT-x on, and a VMCS made ready for its first entry.
//!
//! Owns the demands Skerry has on the CPU (each checked against the capability MSRs before
//! use) and the VMCS fields that never change afterwards. Called once per CPU and once per
//! vCPU.

use super::bitmap::{self, ApicMsrs};
use super::{apic, enter, insn, vmcs::ControlRegisters};
use crate::cpu;
use crate::mem::OwnedFrame;
use crate::virt::TscAux;
use crate::virt::context::{Switch, SystemMsrs};
use core::fmt;
use skerry_manual::msr;
use skerry_manual::vmx::caps::{self, Capabilities, EptVpid, Missing, VmxLock};
use skerry_manual::vmx::{
    EntryControls, ExitControls, Field, PinControls, PrimaryControls, SecondaryControls, field,
};
use skerry_words::Hpa;
use x86_64::instructions::tables::{sgdt, sidt};
use x86_64::registers::control::{Cr0, Cr4};

/// Why VT-x cannot be used here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The firmware has switched it off and locked that.
    Locked(u64),
    /// The CPU lacks a control Skerry needs.
    Missing(Missing),
    /// VMXON itself failed.
    VmxonFailed,
    /// No memory for the VMXON region or the bitmaps.
    OutOfMemory,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(value) => write!(
                f,
                "VT-x is locked off: IA32_FEATURE_CONTROL (MSR 0x3a) reads {value:#x}, bit 2 \
                 (VMX outside SMX) is 0; switch it on in the firmware's set-up"
            ),
            Self::Missing(missing) => write!(f, "VT-x lacks {missing}"),
            Self::VmxonFailed => write!(f, "VMXON failed though all its conditions hold"),
            Self::OutOfMemory => write!(f, "no memory left for the VMXON region"),
        }
    }
}

/// VT-x of this CPU, switched on.
pub struct Vmx {
    pub(super) capabilities: Capabilities,
    pub(super) controls: Controls,
    pub(super) switch: Switch,
    io_bitmaps: [OwnedFrame; 2],
    msr_bitmaps: [OwnedFrame; 2],
    virtualizes_apic: bool,
}

/// The control words every VMCS starts with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Controls {
    pin: u32,
    pub(super) primary: u32,
    secondary: u32,
    exit: u32,
    entry: u32,
}

const PIN: PinControls = PinControls::EXTERNAL_INTERRUPT_EXITING
    .union(PinControls::NMI_EXITING)
    .union(PinControls::VIRTUAL_NMIS)
    .union(PinControls::ACTIVATE_PREEMPTION_TIMER);
const PRIMARY: PrimaryControls = PrimaryControls::USE_TSC_OFFSETTING
    .union(PrimaryControls::HLT_EXITING)
    .union(PrimaryControls::MWAIT_EXITING)
    .union(PrimaryControls::MONITOR_EXITING)
    .union(PrimaryControls::RDPMC_EXITING)
    .union(PrimaryControls::CR8_LOAD_EXITING)
    .union(PrimaryControls::CR8_STORE_EXITING)
    .union(PrimaryControls::USE_IO_BITMAPS)
    .union(PrimaryControls::USE_MSR_BITMAPS)
    .union(PrimaryControls::ACTIVATE_SECONDARY_CONTROLS);
const SECONDARY: SecondaryControls = SecondaryControls::ENABLE_EPT
    .union(SecondaryControls::ENABLE_VPID)
    .union(SecondaryControls::UNRESTRICTED_GUEST);
/// RDRAND and RDSEED are hidden in CPUID; where the CPU can refuse them too, it does.
const SECONDARY_OPTIONAL: SecondaryControls = SecondaryControls::ENABLE_RDTSCP
    .union(SecondaryControls::ENABLE_INVPCID)
    .union(SecondaryControls::PAUSE_LOOP_EXITING)
    .union(SecondaryControls::RDRAND_EXITING)
    .union(SecondaryControls::RDSEED_EXITING);
/// Ticks between two PAUSEs of one loop, at most, and how long such a loop waits for another
/// vCPU before that gets its turn.
const PAUSE_GAP_TSC: u64 = 128;
const PAUSE_WINDOW_TSC: u64 = 4096;
const EXIT: ExitControls = ExitControls::HOST_ADDRESS_SPACE_SIZE
    .union(ExitControls::SAVE_DEBUG_CONTROLS)
    .union(ExitControls::ACKNOWLEDGE_INTERRUPT_ON_EXIT)
    .union(ExitControls::SAVE_PAT)
    .union(ExitControls::LOAD_PAT)
    .union(ExitControls::SAVE_EFER)
    .union(ExitControls::LOAD_EFER);
const ENTRY: EntryControls = EntryControls::LOAD_DEBUG_CONTROLS
    .union(EntryControls::LOAD_PAT)
    .union(EntryControls::LOAD_EFER);

/// Exceptions that exit though the guest handles them: `#DB` and `#AC`, since a guest can
/// make their delivery raise them again without end and the CPU takes no interrupt
/// meanwhile (CVE-2015-8104, CVE-2015-5307); `#MC`, since it is the host's.
const EXCEPTIONS: u64 = (1 << 1) | (1 << 17) | (1 << 18);

impl Controls {
    fn choose(capabilities: &Capabilities) -> Result<Self, Missing> {
        Ok(Self {
            pin: capabilities.pin(PIN, PinControls::empty())?.bits(),
            primary: capabilities
                .primary(PRIMARY, PrimaryControls::empty())?
                .bits(),
            secondary: capabilities
                .secondary(SECONDARY, SECONDARY_OPTIONAL)?
                .bits(),
            exit: capabilities.exit(EXIT, ExitControls::empty())?.bits(),
            entry: capabilities.entry(ENTRY, EntryControls::empty())?.bits(),
        })
    }

    fn has(&self, control: SecondaryControls) -> bool {
        SecondaryControls::from_bits_retain(self.secondary).contains(control)
    }

    pub(super) fn secondary(&self) -> u32 {
        self.secondary
    }

    fn tsc_aux(&self) -> TscAux {
        if self.has(SecondaryControls::ENABLE_RDTSCP) {
            TscAux::Guest
        } else {
            TscAux::Absent
        }
    }
}

const EPT: EptVpid = EptVpid::WALK_4
    .union(EptVpid::WRITE_BACK)
    .union(EptVpid::PAGES_2M)
    .union(EptVpid::INVEPT)
    .union(EptVpid::INVEPT_SINGLE)
    .union(EptVpid::INVVPID)
    .union(EptVpid::INVVPID_SINGLE);

/// Whether this CPU has VT-x at all.
pub fn is_there() -> bool {
    const VMX: u32 = 1 << 5;
    core::arch::x86_64::__cpuid(1).ecx & VMX != 0
}

impl Vmx {
    /// Checks everything, then executes VMXON
    /// `[SDM 3C, "Enabling and Entering VMX Operation", ed. 085]`.
    ///
    /// # Errors
    /// The first thing that is missing, by name.
    pub fn enable() -> Result<Self, Refusal> {
        unlock()?;
        let capabilities = Capabilities::read(cpu::msr::read);
        let controls = Controls::choose(&capabilities).map_err(Refusal::Missing)?;
        capabilities.ept_vpid(EPT).map_err(Refusal::Missing)?;
        enter_vmx_operation(&capabilities)?;
        Self::with_bitmaps(capabilities, controls).ok_or(Refusal::OutOfMemory)
    }

    fn with_bitmaps(capabilities: Capabilities, controls: Controls) -> Option<Self> {
        // All ones: every port exits.
        let io_bitmaps = [OwnedFrame::ones()?, OwnedFrame::ones()?];
        let tsc_aux = controls.tsc_aux();
        let msr_bitmaps = [
            bitmap::msr_bitmaps(tsc_aux, ApicMsrs::Exit)?,
            bitmap::msr_bitmaps(tsc_aux, ApicMsrs::Virtual)?,
        ];
        let switch = Switch::enable(controls.tsc_aux(), SystemMsrs::Context);
        Some(Self {
            virtualizes_apic: can_virtualize_apic(&capabilities),
            capabilities,
            controls,
            switch,
            io_bitmaps,
            msr_bitmaps,
        })
    }

    /// What guests can execute beyond what CPUID tells.
    pub fn abilities(&self) -> u32 {
        let offered = [
            SecondaryControls::ENABLE_RDTSCP,
            SecondaryControls::ENABLE_INVPCID,
        ];
        let apic = u32::from(self.virtualizes_apic) << 2;
        (0..)
            .zip(offered)
            .filter(|(_, control)| self.controls.has(*control))
            .fold(apic, |bits, (bit, _)| bits | 1 << bit)
    }

    /// Whether the CPU can look after the guest's local APIC.
    pub fn virtualizes_apic(&self) -> bool {
        self.virtualizes_apic
    }

    /// The MSR bitmaps without and with the MSRs of the x2APIC.
    pub(super) fn msr_bitmaps(&self) -> [Hpa; 2] {
        self.msr_bitmaps.each_ref().map(OwnedFrame::start)
    }

    /// Whether the second stage may use 1 GiB pages.
    pub fn has_gib_pages(&self) -> bool {
        self.capabilities.ept_vpid(EptVpid::PAGES_1G).is_ok()
    }

    /// A frame with an empty VMCS.
    pub(super) fn new_vmcs(&self) -> Option<OwnedFrame> {
        stamped(&self.capabilities)
    }

    /// Writes every field of the current VMCS that stays as it is.
    ///
    /// # Safety
    /// The VMCS is this vCPU's and clear; `eptp` points at complete tables of its VM.
    pub(super) unsafe fn write_constant_fields(&self, vpid: u16, eptp: u64) {
        let controls = self.controls;
        let [io_a, io_b] = self.io_bitmaps.each_ref().map(|frame| frame.start().0);
        let values = [
            (field::PIN_CONTROLS, u64::from(controls.pin)),
            (field::PRIMARY_CONTROLS, u64::from(controls.primary)),
            (field::SECONDARY_CONTROLS, u64::from(controls.secondary)),
            (field::EXIT_CONTROLS, u64::from(controls.exit)),
            (field::ENTRY_CONTROLS, u64::from(controls.entry)),
            (field::EXCEPTION_BITMAP, EXCEPTIONS),
            (field::PAGE_FAULT_ERROR_CODE_MASK, 0),
            (field::PAGE_FAULT_ERROR_CODE_MATCH, 0),
            (field::CR3_TARGET_COUNT, 0),
            (field::EXIT_MSR_STORE_COUNT, 0),
            (field::EXIT_MSR_LOAD_COUNT, 0),
            (field::ENTRY_MSR_LOAD_COUNT, 0),
            (field::ENTRY_INTERRUPTION_INFORMATION, 0),
            (field::IO_BITMAP_A, io_a),
            (field::IO_BITMAP_B, io_b),
            (field::MSR_BITMAPS, self.msr_bitmaps()[0].0),
            (field::VPID, u64::from(vpid)),
            (field::EPT_POINTER, eptp),
            (field::VMCS_LINK_POINTER, u64::MAX),
            (field::GUEST_DEBUGCTL, 0),
        ];
        // SAFETY: the control words are what the capability MSRs allow, the addresses are
        // frames of this backend that live as long as it.
        unsafe { write_all(&values) };
        if controls.has(SecondaryControls::PAUSE_LOOP_EXITING) {
            let limits = [
                (field::PLE_GAP, PAUSE_GAP_TSC),
                (field::PLE_WINDOW, PAUSE_WINDOW_TSC),
            ];
            // SAFETY: a CPU with that control has these fields; any value is right for them.
            unsafe { write_all(&limits) };
        }
    }
}

fn can_virtualize_apic(capabilities: &Capabilities) -> bool {
    capabilities
        .primary(PRIMARY.union(apic::PRIMARY), PrimaryControls::empty())
        .is_ok()
        && capabilities
            .secondary(SECONDARY.union(apic::SECONDARY), SecondaryControls::empty())
            .is_ok()
}

/// Writes each value to its field.
///
/// # Safety
/// As for [`insn::vmwrite`], for each pair.
unsafe fn write_all(values: &[(Field, u64)]) {
    for (field, value) in values {
        // SAFETY: by the caller's promise for each pair.
        unsafe { insn::vmwrite(*field, *value) };
    }
}

fn unlock() -> Result<(), Refusal> {
    let value = cpu::msr::read(msr::FEATURE_CONTROL);
    match caps::vmx_lock(value) {
        VmxLock::On => Ok(()),
        VmxLock::Off => Err(Refusal::Locked(value)),
        VmxLock::Open(locked_on) => {
            // SAFETY: the MSR is not locked, and the value keeps what the firmware set.
            unsafe { cpu::msr::write(msr::FEATURE_CONTROL, locked_on) };
            Ok(())
        }
    }
}

fn enter_vmx_operation(capabilities: &Capabilities) -> Result<(), Refusal> {
    let region = stamped(capabilities).ok_or(Refusal::OutOfMemory)?;
    // SAFETY: adds the bits VMX operation demands (NE; PE and PG are on anyway).
    unsafe { Cr0::write_raw(capabilities.cr0().adjust(Cr0::read_raw())) };
    // SAFETY: adds VMXE and nothing ring 0 does not have already.
    unsafe { Cr4::write_raw(capabilities.cr4().adjust(Cr4::read_raw())) };
    // SAFETY: the fixed bits are set, the feature control is on, the region is a fresh
    // frame with the revision identifier, kept for ever.
    unsafe { insn::vmxon(region.start()) }.map_err(|_| Refusal::VmxonFailed)?;
    core::mem::forget(region);
    Ok(())
}

/// A VMXON region or VMCS: zeros behind the revision identifier.
fn stamped(capabilities: &Capabilities) -> Option<OwnedFrame> {
    let mut frame = OwnedFrame::zeroed()?;
    frame.bytes()[..4].copy_from_slice(&capabilities.revision().to_le_bytes());
    Some(frame)
}

/// Writes the host state of the current VMCS: where and how this CPU goes on after an exit
/// `[SDM 3C, "Host-State Area", ed. 085]`.
///
/// # Safety
/// The VMCS is current on this CPU, and is entered on no other; `cr3` is that of an address space
/// that lives as long.
pub(super) unsafe fn write_host_state(cr3: u64) {
    let selectors = cpu::gdt::selectors();
    let values = [
        (field::HOST_CR0, Cr0::read_raw()),
        (field::HOST_CR3, cr3),
        (field::HOST_CR4, Cr4::read_raw()),
        (field::HOST_CS_SELECTOR, u64::from(selectors.code.0)),
        (field::HOST_SS_SELECTOR, 0),
        (field::HOST_DS_SELECTOR, 0),
        (field::HOST_ES_SELECTOR, 0),
        (field::HOST_FS_SELECTOR, 0),
        (field::HOST_GS_SELECTOR, 0),
        (field::HOST_TR_SELECTOR, u64::from(selectors.tss.0)),
        (field::HOST_FS_BASE, 0),
        (field::HOST_GS_BASE, 0),
        (field::HOST_TR_BASE, cpu::gdt::tss_base().as_u64()),
        (field::HOST_GDTR_BASE, sgdt().base.as_u64()),
        (field::HOST_IDTR_BASE, sidt().base.as_u64()),
        (field::HOST_SYSENTER_CS, 0),
        (field::HOST_SYSENTER_ESP, 0),
        (field::HOST_SYSENTER_EIP, 0),
        (field::HOST_PAT, cpu::msr::read(msr::PAT)),
        (field::HOST_EFER, cpu::msr::read(msr::EFER)),
        (field::HOST_RIP, enter::exit_address()),
    ];
    // SAFETY: read from this very CPU a moment ago, or the entry path's own label.
    unsafe { write_all(&values) };
}

/// The bits of CR4 that a guest may at most change without an exit: those that matter to itself
/// alone. VMXE and SMXE are not among them, nor what Skerry does not know.
const CR4_MOST: u64 = 0x0037_0fbf;

/// The masks for a guest with these permitted bits.
pub(super) fn control_registers(cr0: u64, cr4: u64) -> ControlRegisters {
    ControlRegisters::new(cr0, cr4 & CR4_MOST)
}
