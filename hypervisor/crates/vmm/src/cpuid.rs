//! The CPUID leaves a guest sees.
//!
//! Built once per VM from the physical CPU's leaves: a feature is shown only where it
//! works in a guest, so every mask below is a promise. An exit is a table look-up.
//! Bits are those of `[SDM 2A, "CPUID—CPU Identification", ed. 085]` and
//! `[APM 3, "Obtaining Processor Information Via the CPUID Instruction", rev. 3.36]`.

use alloc::vec::Vec;
use skerry_verdict::Registers;
use skerry_words::{Gpr, GuestState};

use crate::hypercall::{HYPERCALL_VERSION, SIGNATURE};
use crate::xstate;

mod view;

pub use view::View;

/// EAX, EBX, ECX, EDX of one leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuidRegisters {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

/// First leaf of the hypervisor range.
pub const HYPERVISOR_BASE: u32 = 0x4000_0000;
/// The last leaf of that range: the clock's rate.
const TIMING_LEAF: usize = 0x10;
const EXTENDED_BASE: u32 = 0x8000_0000;
const HIGHEST_BASIC: u32 = 0x16;
const HIGHEST_EXTENDED: u32 = 8;
const XSTATE_LEAF: u32 = 0xd;
const TOPOLOGY_LEAF: u32 = 0xb;
const AMD_TOPOLOGY_LEAF: u32 = 0x8000_001e;

/// Leaf 1 ECX: SSE3, PCLMULQDQ, SSSE3, FMA, CX16, PCID, SSE4.1, SSE4.2, MOVBE, POPCNT, AES,
/// XSAVE, AVX, F16C. Not RDRAND: its values differ from run to run.
const LEAF1_ECX: u32 = (1 << 0)
    | (1 << 1)
    | (1 << 9)
    | (1 << 12)
    | (1 << 13)
    | (1 << 17)
    | (1 << 19)
    | (1 << 20)
    | (1 << 22)
    | (1 << 23)
    | (1 << 25)
    | (1 << 26)
    | (1 << 28)
    | (1 << 29);
const LEAF1_ECX_XSAVE: u32 = 1 << 26;
const LEAF1_ECX_OSXSAVE: u32 = 1 << 27;
/// x2APIC, TSC-deadline timer, hypervisor.
const LEAF1_ECX_VIRTUAL: u32 = (1 << 21) | (1 << 24) | (1 << 31);
const LEAF1_EDX_APIC: u32 = 1 << 9;
const LEAF1_EDX_HTT: u32 = 1 << 28;
/// Leaf 1 EDX: FPU, VME, DE, PSE, TSC, MSR, PAE, CX8, SEP, PGE, CMOV, PAT, PSE36, CLFSH, MMX,
/// FXSR, SSE, SSE2, SS. Not MTRR, MCE, MCA: there are none in the virtual platform.
const LEAF1_EDX: u32 = 0x1f
    | (1 << 5)
    | (1 << 6)
    | (1 << 8)
    | (1 << 11)
    | (1 << 13)
    | (1 << 15)
    | (1 << 16)
    | (1 << 17)
    | (1 << 19)
    | (1 << 23)
    | (1 << 24)
    | (1 << 25)
    | (1 << 26)
    | (1 << 27);
/// Leaf 7 EBX: FSGSBASE, BMI1, AVX2, FDP, SMEP, BMI2, ERMS, INVPCID, FCS/FDS, AVX512F, DQ,
/// ADX, SMAP, IFMA, CLFLUSHOPT, CLWB, CD, SHA, BW, VL. Not RDSEED, HLE, RTM, MPX, PQM, SGX.
const LEAF7_EBX: u32 = (1 << 0)
    | (1 << 3)
    | (1 << 5)
    | (1 << 6)
    | (1 << 7)
    | (1 << 8)
    | (1 << 9)
    | (1 << 10)
    | (1 << 13)
    | (1 << 16)
    | (1 << 17)
    | (1 << 19)
    | (1 << 20)
    | (1 << 21)
    | (1 << 23)
    | (1 << 24)
    | (1 << 28)
    | (1 << 29)
    | (1 << 30)
    | (1 << 31);
const LEAF7_EBX_AVX512: u32 = (1 << 16) | (1 << 17) | (1 << 21) | (1 << 28) | (1 << 30) | (1 << 31);
/// IA32_TSC_ADJUST is the VMM's.
const LEAF7_EBX_TSC_ADJUST: u32 = 1 << 1;
const LEAF7_EBX_INVPCID: u32 = 1 << 10;
/// Leaf 7 ECX: AVX512 VBMI, UMIP, PKU, VBMI2, GFNI, VAES, VPCLMULQDQ, VNNI, BITALG, VPOPCNTDQ,
/// RDPID, PKS.
const LEAF7_ECX: u32 = (1 << 1)
    | (1 << 2)
    | (1 << 3)
    | (1 << 6)
    | (1 << 8)
    | (1 << 9)
    | (1 << 10)
    | (1 << 11)
    | (1 << 12)
    | (1 << 14)
    | (1 << 22)
    | (1 << 31);
const LEAF7_ECX_PKU: u32 = 1 << 3;
const LEAF7_ECX_OSPKE: u32 = 1 << 4;
const LEAF7_ECX_RDPID: u32 = 1 << 22;
/// Leaf 7 EDX: fast short REP MOV.
const LEAF7_EDX: u32 = 1 << 4;
/// Leaf Dh.1 EAX: XSAVEOPT, XSAVEC, XGETBV with ECX = 1. Not XSAVES.
const LEAF_D1_EAX: u32 = 0b111;
/// Leaf 80000001h ECX: LAHF, ABM, SSE4A, misaligned SSE, PREFETCHW.
const EXTENDED1_ECX: u32 = (1 << 0) | (1 << 5) | (1 << 6) | (1 << 7) | (1 << 8);
/// Leaf 80000001h EDX: SYSCALL, NX, MMXEXT, 1 GiB pages, RDTSCP, LM, and the copies of leaf 1
/// that AMD keeps here.
const EXTENDED1_EDX: u32 =
    (1 << 11) | (1 << 20) | (1 << 22) | (1 << 26) | (1 << 27) | (1 << 29) | AMD_COPIES;
const EXTENDED1_EDX_RDTSCP: u32 = 1 << 27;
const AMD_COPIES: u32 = 0x0183_f1ff & LEAF1_EDX;

/// What the virtualization hardware lets a guest execute, beyond what CPUID tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GuestAbilities {
    /// RDTSCP and RDPID work in a guest.
    pub rdtscp: bool,
    /// INVPCID works in a guest.
    pub invpcid: bool,
}

/// The leaves of one VM.
#[derive(Clone, Debug)]
pub struct CpuidTable {
    basic: Vec<CpuidRegisters>,
    extended: Vec<CpuidRegisters>,
    hypervisor: [CpuidRegisters; TIMING_LEAF + 1],
    cache: Vec<CpuidRegisters>,
    xstate: xstate::Layout,
    xstate_features: u32,
    is_intel: bool,
    vcpus: u32,
    id_bits: u32,
}

impl CpuidTable {
    /// Builds the table from the physical CPU's `leaf(leaf, subleaf)` and the frequency of
    /// the time-stamp counter in Hz.
    pub fn new(
        leaf: &mut impl FnMut(u32, u32) -> CpuidRegisters,
        abilities: GuestAbilities,
        tsc_hz: u64,
        vcpus: u32,
    ) -> Self {
        let highest = leaf(0, 0).eax.min(HIGHEST_BASIC);
        let xstate = xstate::Layout::new(leaf);
        let mut basic: Vec<_> = (0..=highest)
            .map(|number| basic_leaf(number, leaf(number, 0), abilities, xstate, (tsc_hz, vcpus)))
            .collect();
        if let Some(first) = basic.first_mut() {
            first.eax = highest;
        }
        let top = leaf(EXTENDED_BASE, 0).eax & 0xffff;
        let extended = (0..=top.min(HIGHEST_EXTENDED))
            .map(|number| {
                let host = leaf(EXTENDED_BASE | number, 0);
                extended_leaf(number, host, abilities, vcpus)
            })
            .collect();
        let cache = (0..4)
            .map(|subleaf| private_cache(leaf(4, subleaf)))
            .collect();
        let features = leaf(XSTATE_LEAF, 1).eax & LEAF_D1_EAX;
        let is_intel = leaf(0, 0).ecx == u32::from_le_bytes(*b"ntel");
        let hypervisor = hypervisor_leaves(tsc_hz);
        Self {
            basic,
            extended,
            hypervisor,
            cache,
            xstate,
            xstate_features: features,
            is_intel,
            vcpus,
            id_bits: vcpus.max(1).next_power_of_two().trailing_zeros(),
        }
    }

    /// The bits a guest may set in XCR0.
    #[must_use]
    pub fn permitted_xcr0(&self) -> u64 {
        self.xstate.permitted()
    }

    pub(crate) fn xstate(&self) -> &xstate::Layout {
        &self.xstate
    }

    /// One leaf, as one vCPU sees it.
    #[must_use]
    pub fn look_up(&self, leaf: u32, subleaf: u32, view: View) -> CpuidRegisters {
        let Some(registers) = self.entry(leaf).copied() else {
            return self.out_of_range();
        };
        match leaf {
            1 => view.features(with_osxsave(registers, view.cr4)),
            TOPOLOGY_LEAF => self.topology(subleaf, view),
            AMD_TOPOLOGY_LEAF => view.amd_topology(),
            4 => self
                .cache
                .get(subleaf as usize)
                .copied()
                .unwrap_or_default(),
            7 if subleaf > 0 => CpuidRegisters::default(),
            7 => with_ospke(registers, view.cr4),
            XSTATE_LEAF => self.xstate_leaf(subleaf, view.xcr0),
            _ => registers,
        }
    }

    /// Intel answers a leaf past the end with the highest basic leaf, AMD with zeros
    /// `[SDM 2A, "CPUID—CPU Identification", ed. 085]`.
    fn out_of_range(&self) -> CpuidRegisters {
        match self.basic.last() {
            Some(last) if self.is_intel => *last,
            _ => CpuidRegisters::default(),
        }
    }

    fn xstate_leaf(&self, subleaf: u32, xcr0: u64) -> CpuidRegisters {
        match subleaf {
            0 => self.xstate.leaf(xcr0),
            1 => CpuidRegisters {
                eax: self.xstate_features,
                ..CpuidRegisters::default()
            },
            _ => self.xstate.component(subleaf),
        }
    }

    /// A basic leaf as it stands in the table.
    pub(crate) fn leaf(&self, number: u32) -> CpuidRegisters {
        self.basic.get(number as usize).copied().unwrap_or_default()
    }

    /// Answers a CPUID exit, if its leaf is the same for everybody.
    #[inline]
    pub fn answer_plain(&self, state: &mut GuestState) -> bool {
        let Some(registers) = self.plain(state.get(Gpr::Rax) as u32) else {
            return false;
        };
        put(state, registers);
        state.advance();
        true
    }

    /// Answers any CPUID exit.
    pub fn answer(&self, state: &mut GuestState, view: View) {
        let leaf = state.get(Gpr::Rax) as u32;
        let subleaf = state.get(Gpr::Rcx) as u32;
        let registers = self.look_up(leaf, subleaf, view);
        put(state, &registers);
        state.advance();
    }

    /// The guest's physical-address width in bits.
    #[must_use]
    pub fn physical_address_bits(&self) -> u8 {
        let widths = self.extended.get(8).copied().unwrap_or_default();
        match widths.eax as u8 {
            0 => 36,
            bits => bits.min(52),
        }
    }

    /// The table's entry for a leaf.
    #[inline(always)]
    fn entry(&self, leaf: u32) -> Option<&CpuidRegisters> {
        // The most frequent first.
        if let Some(registers) = self.basic.get(leaf as usize) {
            return Some(registers);
        }
        match leaf >> 28 {
            4 => self.hypervisor.get((leaf & 0x0fff_ffff) as usize),
            8 => self.extended.get((leaf & 0x0fff_ffff) as usize),
            _ => None,
        }
    }

    /// The entry of a leaf that is the same whatever the subleaf and the guest's state.
    #[inline(always)]
    fn plain(&self, leaf: u32) -> Option<&CpuidRegisters> {
        match leaf {
            1 | 4 | 7 | TOPOLOGY_LEAF | XSTATE_LEAF | AMD_TOPOLOGY_LEAF => None,
            _ => self.entry(leaf),
        }
    }
}

#[inline(always)]
fn put(state: &mut GuestState, registers: &CpuidRegisters) {
    state.set(Gpr::Rax, u64::from(registers.eax));
    state.set(Gpr::Rbx, u64::from(registers.ebx));
    state.set(Gpr::Rcx, u64::from(registers.ecx));
    state.set(Gpr::Rdx, u64::from(registers.edx));
}

fn with_osxsave(mut registers: CpuidRegisters, cr4: u64) -> CpuidRegisters {
    if cr4 & crate::control::CR4_OSXSAVE != 0 {
        registers.ecx |= LEAF1_ECX_OSXSAVE;
    }
    registers
}

fn with_ospke(mut registers: CpuidRegisters, cr4: u64) -> CpuidRegisters {
    if cr4 & crate::control::CR4_PKE != 0 {
        registers.ecx |= LEAF7_ECX_OSPKE;
    }
    registers
}

fn basic_leaf(
    number: u32,
    host: CpuidRegisters,
    abilities: GuestAbilities,
    xstate: xstate::Layout,
    (tsc_hz, vcpus): (u64, u32),
) -> CpuidRegisters {
    match number {
        0 | 2 => host,
        1 => feature_leaf(host, xstate, vcpus),
        7 => structured_leaf(host, abilities, xstate),
        // Filled by subleaf: cache parameters and extended state.
        4 | XSTATE_LEAF => CpuidRegisters::default(),
        0x15 => tsc_leaf(tsc_hz),
        0x16 => frequency_leaf(tsc_hz),
        // Serial number, MONITOR, power, PMU, topology, trace: not in this virtual CPU.
        _ => CpuidRegisters::default(),
    }
}

/// Leaf 1: CLFLUSH line size as the host's, as many logical processors as vCPUs. The local APIC
/// with its x2APIC mode and TSC-deadline timer is the VMM's, so every vCPU has it.
fn feature_leaf(host: CpuidRegisters, xstate: xstate::Layout, vcpus: u32) -> CpuidRegisters {
    let mut ecx = (host.ecx & LEAF1_ECX) | LEAF1_ECX_VIRTUAL;
    if xstate.permitted() == 0 {
        ecx &= !LEAF1_ECX_XSAVE;
    }
    let several = if vcpus > 1 { LEAF1_EDX_HTT } else { 0 };
    CpuidRegisters {
        eax: host.eax,
        ebx: (host.ebx & 0xff00) | vcpus.clamp(1, 0xff) << 16,
        ecx,
        edx: (host.edx & LEAF1_EDX) | LEAF1_EDX_APIC | several,
    }
}

fn structured_leaf(
    host: CpuidRegisters,
    abilities: GuestAbilities,
    xstate: xstate::Layout,
) -> CpuidRegisters {
    let mut ebx = (host.ebx & LEAF7_EBX) | LEAF7_EBX_TSC_ADJUST;
    let mut ecx = host.ecx & LEAF7_ECX;
    if !abilities.invpcid {
        ebx &= !LEAF7_EBX_INVPCID;
    }
    if !abilities.rdtscp {
        ecx &= !LEAF7_ECX_RDPID;
    }
    if !xstate.has_pkru() {
        ecx &= !LEAF7_ECX_PKU;
    }
    if !xstate.has_avx512() {
        ebx &= !LEAF7_EBX_AVX512;
    }
    CpuidRegisters {
        eax: 0,
        ebx,
        ecx,
        edx: host.edx & LEAF7_EDX,
    }
}

/// Leaf 15h: the time-stamp counter's frequency as a crystal of at most 2^32 - 1 Hz times a
/// small ratio, so that a guest need not calibrate it.
fn tsc_leaf(tsc_hz: u64) -> CpuidRegisters {
    const RATIO_SHIFT: u32 = 4;
    let crystal = u32::try_from(tsc_hz >> RATIO_SHIFT).unwrap_or(0);
    CpuidRegisters {
        eax: 1,
        ebx: 1 << RATIO_SHIFT,
        ecx: crystal,
        edx: 0,
    }
}

/// Leaf 16h: base and maximum frequency in MHz, bus at 100 MHz.
fn frequency_leaf(tsc_hz: u64) -> CpuidRegisters {
    let mhz = (tsc_hz.wrapping_div(1_000_000) & 0xffff) as u32;
    CpuidRegisters {
        eax: mhz,
        ebx: mhz,
        ecx: 100,
        edx: 0,
    }
}

/// A cache description shared by nobody: one core, one thread.
fn private_cache(host: CpuidRegisters) -> CpuidRegisters {
    if host.eax & 0x1f == 0 {
        return CpuidRegisters::default();
    }
    CpuidRegisters {
        eax: host.eax & 0x3fff,
        ..host
    }
}

fn extended_leaf(
    number: u32,
    host: CpuidRegisters,
    abilities: GuestAbilities,
    vcpus: u32,
) -> CpuidRegisters {
    match number {
        0 => CpuidRegisters {
            eax: EXTENDED_BASE | (host.eax & 0xffff).min(HIGHEST_EXTENDED),
            ..host
        },
        1 => {
            let mut edx = host.edx & EXTENDED1_EDX;
            if !abilities.rdtscp {
                edx &= !EXTENDED1_EDX_RDTSCP;
            }
            CpuidRegisters {
                eax: host.eax,
                ebx: 0,
                ecx: host.ecx & EXTENDED1_ECX,
                edx,
            }
        }
        // The brand string and cache descriptions.
        2..=6 => host,
        // Only the invariant time-stamp counter: all clocks of a VM are derived from it, so to a
        // guest its rate is constant whatever the host says of it.
        7 => CpuidRegisters {
            edx: 1 << 8,
            ..CpuidRegisters::default()
        },
        // Physical and linear address widths; AMD's count of cores.
        8 => CpuidRegisters {
            eax: host.eax & 0xffff,
            ecx: vcpus.saturating_sub(1) & 0xff,
            ..CpuidRegisters::default()
        },
        _ => CpuidRegisters::default(),
    }
}

/// 40000000h: the signature and highest leaf; 40000001h: the hypercall table's version;
/// 40000010h: the time-stamp counter's frequency in kHz, where hypervisors tell it by custom
/// and guests on AMD, which has no leaf 15h, can find it.
fn hypervisor_leaves(tsc_hz: u64) -> [CpuidRegisters; TIMING_LEAF + 1] {
    let word = |at: usize| {
        let mut bytes = [0; 4];
        for (to, from) in bytes.iter_mut().zip(SIGNATURE.iter().skip(at)) {
            *to = *from;
        }
        u32::from_le_bytes(bytes)
    };
    let only_eax = |eax| CpuidRegisters {
        eax,
        ..CpuidRegisters::default()
    };
    let mut leaves = [CpuidRegisters::default(); TIMING_LEAF + 1];
    leaves[0] = CpuidRegisters {
        eax: HYPERVISOR_BASE | TIMING_LEAF as u32,
        ebx: word(0),
        ecx: word(4),
        edx: word(8),
    };
    leaves[1] = only_eax(HYPERCALL_VERSION);
    leaves[TIMING_LEAF] = only_eax(u32::try_from(tsc_hz.wrapping_div(1000)).unwrap_or(0));
    leaves
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests;
