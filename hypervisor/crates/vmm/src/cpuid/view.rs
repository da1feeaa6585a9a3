//! The leaves that differ between the vCPUs of a VM, and from time to time.
//!
//! Owns who a vCPU is and where it stands among the others. Does not own the leaves that are the
//! same for all (`cpuid`).

use super::leaves::{LEAF1_ECX_OSXSAVE, LEAF1_EDX_APIC, LEAF7_ECX_OSPKE};
use super::{CpuidRegisters, CpuidTable};
use crate::control::{CR4_OSXSAVE, CR4_PKE};

/// What differs between the vCPUs of a VM, and from time to time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// Its CR4.
    pub cr4: u64,
    /// Its XCR0.
    pub xcr0: u64,
    /// Its x2APIC ID.
    pub apic_id: u32,
    /// Its IA32_APIC_BASE, which can hide the APIC.
    pub apic_base: u64,
}

impl View {
    /// Leaf 1: the ID, whether XSAVE is on, and the APIC if it is enabled
    /// `[SDM 3A, "Local APIC Status and Location", ed. 085]`.
    pub(super) fn features(self, mut registers: CpuidRegisters) -> CpuidRegisters {
        const ENABLED: u64 = 1 << 11;
        registers.ebx |= self.apic_id << 24;
        if self.cr4 & CR4_OSXSAVE != 0 {
            registers.ecx |= LEAF1_ECX_OSXSAVE;
        }
        if self.apic_base & ENABLED == 0 {
            registers.edx &= !LEAF1_EDX_APIC;
        }
        registers
    }

    /// Leaf 7: whether protection keys are on.
    pub(super) fn more_features(self, mut registers: CpuidRegisters) -> CpuidRegisters {
        if self.cr4 & CR4_PKE != 0 {
            registers.ecx |= LEAF7_ECX_OSPKE;
        }
        registers
    }

    /// Leaf 8000001Eh: the ID again, and which core that is
    /// `[APM 3, "Extended APIC ID, Core Identifiers and Node Identifiers", rev. 3.36]`.
    pub(super) fn amd_topology(self) -> CpuidRegisters {
        CpuidRegisters {
            eax: self.apic_id,
            ebx: self.apic_id & 0xff,
            ..CpuidRegisters::default()
        }
    }
}

impl CpuidTable {
    /// Leaf Bh: every vCPU is a core of its own, of one package
    /// `[SDM 3A, "Hierarchical Mapping of CPUID Extended Topology Leaf", ed. 085]`.
    pub(super) fn topology(&self, subleaf: u32, view: View) -> CpuidRegisters {
        const THREAD: u32 = 1 << 8;
        const CORE: u32 = 2 << 8;
        let (eax, ebx, kind) = match subleaf {
            0 => (0, 1, THREAD),
            1 => (self.id_bits, self.vcpus, CORE),
            _ => (0, 0, 0),
        };
        CpuidRegisters {
            eax,
            ebx,
            ecx: kind | subleaf & 0xff,
            edx: view.apic_id,
        }
    }
}
