//! Virtual CPUs on whatever virtualization hardware this machine has.
//!
//! Owns the choice of the vendor and one type over both: nothing above knows which. A
//! second backend is a second module with the same room names and one more arm here.

mod context;
pub mod tables;
mod vmx;

use skerry_second_stage::{Ept, SecondStage};
use skerry_vmm::GuestAbilities;
use skerry_words::{GuestState, Tsc, VmExit};

pub use vmx::bitmap::TscAux;

/// Why this machine cannot run guests: one line that names the bit.
pub use vmx::setup::Refusal;

/// The virtualization hardware of this CPU, switched on.
pub enum Backend {
    /// Intel VT-x with EPT.
    Vmx(vmx::setup::Vmx),
}

/// One VM's second-stage tables, in the format of the backend.
pub enum Stage {
    /// Intel's extended page tables.
    Ept(SecondStage<Ept>),
}

/// One virtual CPU.
pub enum Vcpu {
    /// On VT-x.
    Vmx(vmx::Vcpu),
}

impl Backend {
    /// Finds the hardware, checks that all Skerry needs is there, and switches it on.
    ///
    /// # Errors
    /// [`Refusal`] names the first thing that is missing or locked off.
    pub fn detect() -> Result<Self, Refusal> {
        vmx::setup::Vmx::enable().map(Self::Vmx)
    }

    /// Its name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Vmx(_) => "VT-x/EPT",
        }
    }

    /// What guests can execute on it beyond what CPUID tells.
    pub fn abilities(&self) -> GuestAbilities {
        match self {
            Self::Vmx(vmx) => vmx.abilities(),
        }
    }

    /// Empty second-stage tables; `None` without a frame.
    pub fn new_stage(&self) -> Option<Stage> {
        match self {
            Self::Vmx(_) => SecondStage::new(&mut tables::Frames).map(Stage::Ept),
        }
    }

    /// A vCPU with the number `index` that runs on `stage`; `None` without frames.
    pub fn new_vcpu(&self, index: u16, stage: &Stage, permitted: Permitted) -> Option<Vcpu> {
        match (self, stage) {
            (Self::Vmx(vmx), Stage::Ept(stage)) => {
                vmx::Vcpu::new(vmx, index, stage, permitted).map(Vcpu::Vmx)
            }
        }
    }
}

/// The control-register bits a guest changes without an exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Permitted {
    /// Of CR0.
    pub cr0: u64,
    /// Of CR4.
    pub cr4: u64,
}

impl Vcpu {
    /// The page it shares with its VMM.
    #[inline(always)]
    pub fn state(&mut self) -> &mut GuestState {
        match self {
            Self::Vmx(vcpu) => &mut vcpu.state,
        }
    }

    /// Puts its state on this CPU. Only one vCPU at a time is loaded.
    pub fn load(&mut self) {
        match self {
            Self::Vmx(vcpu) => vcpu.load(),
        }
    }

    /// Takes its state off this CPU.
    pub fn unload(&mut self) {
        match self {
            Self::Vmx(vcpu) => vcpu.unload(),
        }
    }

    /// Runs the guest until it exits, or until `limit` at the latest. It must be loaded.
    #[inline(always)]
    pub fn enter(&mut self, limit: Tsc) -> VmExit {
        match self {
            Self::Vmx(vcpu) => vcpu.enter(limit),
        }
    }

    /// Everything as at power-on, with `state` to start from and other second-stage tables.
    /// It must not be loaded.
    pub fn reset(&mut self, state: &GuestState, stage: &Stage) {
        match (self, stage) {
            (Self::Vmx(vcpu), Stage::Ept(stage)) => vcpu.reset(state, stage),
        }
    }

    /// What it holds of host memory, in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Vmx(vcpu) => vcpu.bytes(),
        }
    }
}
