//! Virtual CPUs on whatever virtualization hardware this machine has.
//!
//! Owns the choice of the vendor and one type over both: nothing above knows which. A
//! backend is a module with the same room names and an arm in each `match` here.

mod context;
mod own_msrs;
#[cfg(feature = "record")]
mod record;
mod registers;
mod state_page;
mod svm;
pub mod tables;
mod vmx;

use crate::cpu;
use core::fmt;
use skerry_second_stage::{Ept, Npt, PageSize, SecondStage};
use skerry_words::{ExitKind, ExtendedState, Hpa, MemoryAccess, Tsc, VmExit};

pub use own_msrs::TscAux;
pub use state_page::StateView;

/// Why this machine cannot run guests: one line that names the bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The CPU has neither vendor's virtualization.
    Neither,
    /// It has VT-x, and this is in the way.
    Vmx(vmx::setup::Refusal),
    /// It has AMD-V, and this is in the way.
    Svm(svm::setup::Refusal),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Neither => write!(
                f,
                "no VT-x and no AMD-V: CPUID leaf 1 ECX bit 5 (VMX) and leaf 0x80000001 ECX \
                 bit 2 (SVM) are 0"
            ),
            Self::Vmx(refusal) => refusal.fmt(f),
            Self::Svm(refusal) => refusal.fmt(f),
        }
    }
}

/// The virtualization hardware of this CPU, switched on.
pub enum Backend {
    /// Intel VT-x with EPT.
    Vmx(vmx::setup::Vmx),
    /// AMD-V with NPT.
    Svm(svm::setup::Svm),
}

/// One VM's second-stage tables, in the format of the backend.
pub enum Stage {
    /// Intel's extended page tables.
    Ept(SecondStage<Ept>),
    /// AMD's nested page tables.
    Npt(SecondStage<Npt>),
}

/// What an entry came to.
pub enum Exit {
    /// A frequent one for the VMM, of this kind: the page has all of it but the time.
    Told(ExitKind),
    /// An access to memory that the second stage does not allow.
    Memory(MemoryAccess),
    /// Any other.
    Other(VmExit),
}

impl From<VmExit> for Exit {
    fn from(exit: VmExit) -> Self {
        match exit {
            VmExit::Memory(access) => Self::Memory(access),
            other => Self::Other(other),
        }
    }
}

/// One virtual CPU.
pub enum Vcpu {
    /// On VT-x.
    Vmx(vmx::Vcpu),
    /// On AMD-V.
    Svm(svm::Vcpu),
}

impl Backend {
    /// Finds the hardware, checks that all Skerry needs is there, and switches it on.
    ///
    /// # Errors
    /// [`Refusal`] names the first thing that is missing or locked off.
    pub fn detect() -> Result<Self, Refusal> {
        if vmx::setup::is_there() {
            vmx::setup::Vmx::enable()
                .map(Self::Vmx)
                .map_err(Refusal::Vmx)
        } else if svm::setup::is_there() {
            svm::setup::Svm::enable()
                .map(Self::Svm)
                .map_err(Refusal::Svm)
        } else {
            Err(Refusal::Neither)
        }
    }

    /// Its number in the machine's record.
    pub fn number(&self) -> u32 {
        match self {
            Self::Vmx(_) => 1,
            Self::Svm(_) => 2,
        }
    }

    /// What it does for guests beyond what CPUID tells: bit 0 RDTSCP, bit 1 INVPCID, bit 2 their
    /// local APIC.
    pub fn abilities(&self) -> u32 {
        match self {
            Self::Vmx(vmx) => vmx.abilities(),
            Self::Svm(svm) => svm.abilities(),
        }
    }

    /// Whether guests need a page at `fee00000` for the CPU to look after.
    pub fn virtualizes_apic(&self) -> bool {
        match self {
            Self::Vmx(vmx) => vmx.virtualizes_apic(),
            Self::Svm(_) => false,
        }
    }

    /// The largest page its second stage can have.
    pub fn largest_page(&self) -> PageSize {
        match self {
            Self::Vmx(vmx) if vmx.has_gib_pages() => PageSize::Gib1,
            Self::Svm(_) if cpu::features::large_pages_1g() => PageSize::Gib1,
            Self::Vmx(_) | Self::Svm(_) => PageSize::Mib2,
        }
    }

    /// Empty second-stage tables; `None` without a frame.
    pub fn new_stage(&self) -> Option<Stage> {
        match self {
            Self::Vmx(_) => SecondStage::new(&mut tables::Frames).map(Stage::Ept),
            Self::Svm(_) => SecondStage::new(&mut tables::Frames).map(Stage::Npt),
        }
    }

    /// A vCPU with the number `index` that runs on `stage`, where the page `apic_access` may be at
    /// `fee00000`, and whose exits go on in the address space of `host_cr3`; `None` without
    /// frames.
    ///
    /// # Panics
    /// If `stage` is another backend's.
    pub fn new_vcpu(
        &self,
        index: u16,
        (stage, apic_access): (&Stage, Option<Hpa>),
        host_cr3: u64,
    ) -> Option<Vcpu> {
        match (self, stage) {
            (Self::Vmx(vmx), Stage::Ept(stage)) => {
                vmx::Vcpu::new(vmx, index, (stage, apic_access), host_cr3).map(Vcpu::Vmx)
            }
            (Self::Svm(svm), Stage::Npt(stage)) => svm::Vcpu::new(svm, index, stage).map(Vcpu::Svm),
            (Self::Vmx(_), Stage::Npt(_)) | (Self::Svm(_), Stage::Ept(_)) => foreign_stage(),
        }
    }
}

impl Vcpu {
    /// A view of the page it shares with its VMM.
    pub fn view(&self) -> StateView {
        match self {
            Self::Vmx(vcpu) => vcpu.state.view(),
            Self::Svm(vcpu) => vcpu.state.view(),
        }
    }

    /// The pages it shares with its VMM: state and APIC.
    pub fn pages(&self) -> [Hpa; 2] {
        match self {
            Self::Vmx(vcpu) => vcpu.pages(),
            Self::Svm(vcpu) => vcpu.pages(),
        }
    }

    /// Which bits of CR0 and CR4 the guest may change without an exit.
    pub fn permit(&mut self, cr0: u64, cr4: u64) {
        match self {
            Self::Vmx(vcpu) => vcpu.permit(cr0, cr4),
            // A VMCB intercepts registers, not bits: all writes exit.
            Self::Svm(_) => {}
        }
    }

    /// Something else has changed CR2.
    pub fn cr2_is_lost(&mut self) {
        match self {
            Self::Vmx(vcpu) => vcpu.cr2_is_lost(),
            // The CPU switches it, with the VMCB.
            Self::Svm(_) => {}
        }
    }

    /// Puts its state on this CPU. Only one vCPU at a time is loaded.
    pub fn load(&mut self) {
        match self {
            Self::Vmx(vcpu) => vcpu.load(),
            Self::Svm(vcpu) => vcpu.load(),
        }
    }

    /// Takes its state off this CPU.
    pub fn unload(&mut self) {
        match self {
            Self::Vmx(vcpu) => vcpu.unload(),
            Self::Svm(vcpu) => vcpu.unload(),
        }
    }

    /// Runs the guest from `now` until it exits, or until `limit` at the latest, which is
    /// later than `now`. It must be loaded.
    /// The end of its time is an exit of its own on VT-x, a host interrupt on AMD-V.
    #[inline(always)]
    pub fn enter(&mut self, now: Tsc, limit: Tsc) -> Exit {
        match self {
            Self::Vmx(vcpu) => vcpu.enter(now, limit),
            Self::Svm(vcpu) => vcpu.enter(limit),
        }
    }

    /// Fills what the VMM needs for a memory access, which was just returned by [`Vcpu::enter`].
    /// Left out there, since most of them only ask for memory.
    #[inline]
    pub fn complete(&mut self) {
        match self {
            Self::Vmx(vcpu) => vcpu.complete(),
            Self::Svm(vcpu) => vcpu.complete(),
        }
    }

    /// Everything as at power-on, with what the page says to start from. It must not be loaded.
    ///
    /// # Panics
    /// If `stage` is another backend's.
    pub fn reset(&mut self, stage: &Stage) {
        match (self, stage) {
            (Self::Vmx(vcpu), Stage::Ept(stage)) => vcpu.reset(stage),
            (Self::Svm(vcpu), Stage::Npt(stage)) => vcpu.reset(stage),
            (Self::Vmx(_), Stage::Npt(_)) | (Self::Svm(_), Stage::Ept(_)) => foreign_stage(),
        }
    }

    /// Copies its extended state out; gives its XCR0, 0 where there is none. It must not be
    /// loaded.
    pub fn save(&mut self, into: &mut ExtendedState) -> u64 {
        self.context().save(into)
    }

    /// Makes a copy its extended state, if the CPU will load it; whether it will. It must have
    /// been loaded, and must not be any more.
    pub fn restore(&mut self, from: &ExtendedState) -> bool {
        self.context().restore(from)
    }

    fn context(&mut self) -> &mut context::Context {
        match self {
            Self::Vmx(vcpu) => &mut vcpu.context,
            Self::Svm(vcpu) => &mut vcpu.context,
        }
    }

    /// The value of a VMCS field, or of a capability of VT-x, by its name in the calls; `None`
    /// where there is no VMCS. It must not be loaded.
    pub fn field(&mut self, name: u64) -> Option<u64> {
        match self {
            Self::Vmx(vcpu) => Some(vcpu.field(name)),
            Self::Svm(_) => None,
        }
    }

    /// What it holds of host memory, in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Vmx(vcpu) => vcpu.bytes(),
            Self::Svm(vcpu) => vcpu.bytes(),
        }
    }
}

/// There is one backend on a machine, and it makes all stages.
fn foreign_stage() -> ! {
    panic!("second-stage tables in another backend's format")
}
