//! Switching AMD-V on, and a VMCB made ready for its first entry.
//!
//! Owns the demands Skerry has on the CPU (nested paging; everything else is used where it
//! is there) and the VMCB fields that never change afterwards. Called once per CPU and once
//! per vCPU.
//!
//! Not asked for, since the hardware's own answer is the right one for the guest: CR3, debug
//! registers, INVLPG, task switches. Writes to CR0 that change more than TS and MP exit, so
//! that the VMM's rules hold where an emulated CPU lets forbidden combinations pass.
//! RDRAND and RDSEED cannot be refused on this hardware, only hidden in CPUID.

use super::vmcb::Vmcb;
use super::{bitmap, insn};
use crate::cpu;
use crate::mem::{OwnedFrame, OwnedRun};
use crate::virt::TscAux;
use crate::virt::context::{Switch, SystemMsrs};
use core::fmt;
use skerry_manual::msr;
use skerry_manual::svm::caps::{self, Capabilities, Features, SvmLock};
use skerry_manual::svm::{Intercepts3, Intercepts4, field};
use skerry_words::Hpa;
use x86_64::registers::model_specific::{Efer, EferFlags};

/// Why AMD-V cannot be used here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The firmware has switched it off and locked that.
    Locked(u64),
    /// The CPU has no nested paging.
    NoNestedPaging(u32),
    /// The CPU has no ASID for guests.
    NoAsids(u32),
    /// No memory for the host's save area or the permission maps.
    OutOfMemory,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(value) => write!(
                f,
                "AMD-V is locked off: VM_CR (MSR 0xc0010114) reads {value:#x}, bits 4 (SVMDIS) \
                 and 3 (LOCK) are 1; switch it on in the firmware's set-up"
            ),
            Self::NoNestedPaging(edx) => write!(
                f,
                "AMD-V lacks nested paging: CPUID leaf 0x8000000a EDX reads {edx:#x}, bit 0 (NP) \
                 is 0"
            ),
            Self::NoAsids(count) => write!(
                f,
                "AMD-V has no address-space identifiers for guests: CPUID leaf 0x8000000a EBX \
                 reads {count:#x}"
            ),
            Self::OutOfMemory => write!(f, "no memory left for the host's save area"),
        }
    }
}

/// AMD-V of this CPU, switched on.
pub struct Svm {
    pub(super) capabilities: Capabilities,
    pub(super) switch: Switch,
    io_map: OwnedRun,
    msr_map: OwnedRun,
    host: OwnedFrame,
}

const INTERCEPTS_3: Intercepts3 = Intercepts3::INTERRUPT
    .union(Intercepts3::NMI)
    .union(Intercepts3::INIT)
    .union(Intercepts3::CR0_SELECTIVE)
    .union(Intercepts3::RDPMC)
    .union(Intercepts3::CPUID)
    .union(Intercepts3::INVD)
    .union(Intercepts3::HLT)
    .union(Intercepts3::INVLPGA)
    .union(Intercepts3::IO_PROTECTION)
    .union(Intercepts3::MSR_PROTECTION)
    .union(Intercepts3::FERR_FREEZE)
    .union(Intercepts3::SHUTDOWN);
const INTERCEPTS_4: Intercepts4 = Intercepts4::VMRUN
    .union(Intercepts4::VMMCALL)
    .union(Intercepts4::VMLOAD)
    .union(Intercepts4::VMSAVE)
    .union(Intercepts4::STGI)
    .union(Intercepts4::CLGI)
    .union(Intercepts4::SKINIT)
    .union(Intercepts4::WBINVD)
    .union(Intercepts4::MONITOR)
    .union(Intercepts4::MWAIT)
    .union(Intercepts4::XSETBV)
    .union(Intercepts4::RDPRU);
/// CR8: the VMM's, as on VT-x.
const CR_READS: u64 = 1 << 8;
/// CR4, some of whose bits are not the guest's to set, and CR8.
const CR_WRITES: u64 = (1 << 4) | (1 << 8);
/// As on VT-x: `#DB` and `#AC`, which a guest can raise without end, and `#MC`.
const EXCEPTIONS: u64 = (1 << 1) | (1 << 17) | (1 << 18);
/// PAUSEs of one loop before the guest's slice goes to others, and cycles between two.
const PAUSE_COUNT: u64 = 3000;
const PAUSE_THRESHOLD: u64 = 128;

/// Whether this CPU has AMD-V at all.
pub fn is_there() -> bool {
    let leaf = |number| core::arch::x86_64::__cpuid(number);
    leaf(0x8000_0000).eax >= caps::FEATURE_LEAF
        && leaf(caps::FEATURE_LEAF).ecx & caps::FEATURE_LEAF_SVM != 0
}

impl Svm {
    /// Switches AMD-V on, on a CPU that has it `[APM 2, "Enabling SVM", rev. 3.42]`.
    ///
    /// # Errors
    /// The first thing that is missing, by name.
    pub fn enable() -> Result<Self, Refusal> {
        unlock()?;
        let leaf = core::arch::x86_64::__cpuid(caps::SVM_LEAF);
        let capabilities = Capabilities::new(leaf.ebx, leaf.edx);
        if !capabilities.features.contains(Features::NESTED_PAGING) {
            return Err(Refusal::NoNestedPaging(leaf.edx));
        }
        if capabilities.asids < 2 {
            return Err(Refusal::NoAsids(leaf.ebx));
        }
        // SAFETY: allows the SVM instructions; nothing else changes.
        unsafe { Efer::update(|efer| *efer |= EferFlags::SECURE_VIRTUAL_MACHINE_ENABLE) };
        Self::with_memory(capabilities).ok_or(Refusal::OutOfMemory)
    }

    fn with_memory(capabilities: Capabilities) -> Option<Self> {
        let save_area = OwnedFrame::zeroed()?;
        // SAFETY: a frame for the CPU alone, kept for ever.
        unsafe { cpu::msr::write(msr::AMD_VM_HSAVE_PA, save_area.start().0) };
        core::mem::forget(save_area);
        let host = OwnedFrame::zeroed()?;
        // SAFETY: SVME is on, and the frame is ours.
        unsafe { insn::vmsave(host.start()) };
        let tsc_aux = tsc_aux();
        Some(Self {
            capabilities,
            switch: Switch::enable(tsc_aux, SystemMsrs::ControlBlock),
            io_map: bitmap::io_map()?,
            msr_map: bitmap::msr_map(tsc_aux)?,
            host,
        })
    }

    /// What guests can execute beyond what CPUID tells: there is nothing to switch on.
    pub fn abilities(&self) -> u32 {
        let rdtscp = tsc_aux() == TscAux::Guest;
        u32::from(rdtscp) | 1 << 1
    }

    /// Where VMLOAD finds the host's own state.
    pub(super) fn host(&self) -> Hpa {
        self.host.start()
    }

    /// Writes every field of a VMCB that stays as it is.
    ///
    /// # Safety
    /// The VMCB is a vCPU's that does not run, and `asid` is that vCPU's.
    pub(super) unsafe fn write_constant_fields(&self, vmcb: &mut Vmcb, asid: u32) {
        let pauses = self.capabilities.features.contains(Features::PAUSE_FILTER);
        let pause = if pauses {
            Intercepts3::PAUSE
        } else {
            Intercepts3::empty()
        };
        let values = [
            (field::INTERCEPT_CR_READ, CR_READS),
            (field::INTERCEPT_CR_WRITE, CR_WRITES),
            (field::INTERCEPT_EXCEPTIONS, EXCEPTIONS),
            (
                field::INTERCEPT_3,
                u64::from(INTERCEPTS_3.union(pause).bits()),
            ),
            (field::INTERCEPT_4, u64::from(INTERCEPTS_4.bits())),
            (field::PAUSE_COUNT, PAUSE_COUNT),
            (field::PAUSE_THRESHOLD, PAUSE_THRESHOLD),
            (field::IOPM_BASE, self.io_map.start().0),
            (field::MSRPM_BASE, self.msr_map.start().0),
            (field::GUEST_ASID, u64::from(asid)),
            (field::NESTED_CONTROL, field::NESTED_PAGING),
        ];
        // SAFETY: the maps are frames of this backend that live as long as it, and the
        // intercepts keep the host's own events from the guest.
        unsafe { vmcb.write_all(&values) };
    }
}

fn unlock() -> Result<(), Refusal> {
    // CPUs without the register cannot be locked.
    let value = cpu::msr::try_read(msr::AMD_VM_CR).unwrap_or(0);
    match caps::svm_lock(value) {
        SvmLock::On => Ok(()),
        SvmLock::Off => Err(Refusal::Locked(value)),
        SvmLock::Open(cleared) => {
            // SAFETY: the register is not locked, and only SVMDIS changes.
            unsafe { cpu::msr::write(msr::AMD_VM_CR, cleared) };
            Ok(())
        }
    }
}

/// RDTSCP, or RDPID, which reads the same MSR.
fn tsc_aux() -> TscAux {
    const RDTSCP: u32 = 1 << 27;
    if core::arch::x86_64::__cpuid(caps::FEATURE_LEAF).edx & RDTSCP != 0 {
        TscAux::Guest
    } else {
        TscAux::Absent
    }
}
