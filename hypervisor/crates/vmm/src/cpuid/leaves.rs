//! What of the physical CPU's leaves a guest sees: the masks, each a promise, and the leaves built
//! by them. Does not own the table they are in, nor what differs between vCPUs (`view`).

use super::{
    CpuidRegisters, EXTENDED_BASE, GuestAbilities, HIGHEST_EXTENDED, HYPERVISOR_BASE, TIMING_LEAF,
    XSTATE_LEAF,
};
use crate::hypercall::{HYPERCALL_VERSION, SIGNATURE};
use crate::xstate;

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
pub(super) const LEAF1_ECX_OSXSAVE: u32 = 1 << 27;
/// x2APIC, TSC-deadline timer, hypervisor.
const LEAF1_ECX_VIRTUAL: u32 = (1 << 21) | (1 << 24) | (1 << 31);
pub(super) const LEAF1_EDX_APIC: u32 = 1 << 9;
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
pub(super) const LEAF7_ECX_OSPKE: u32 = 1 << 4;
const LEAF7_ECX_RDPID: u32 = 1 << 22;
/// Leaf 7 EDX: fast short REP MOV.
const LEAF7_EDX: u32 = 1 << 4;
/// Leaf Dh.1 EAX: XSAVEOPT, XSAVEC, XGETBV with ECX = 1. Not XSAVES.
pub(super) const LEAF_D1_EAX: u32 = 0b111;
/// Leaf 80000001h ECX: LAHF, ABM, SSE4A, misaligned SSE, PREFETCHW.
const EXTENDED1_ECX: u32 = (1 << 0) | (1 << 5) | (1 << 6) | (1 << 7) | (1 << 8);
/// Leaf 80000001h EDX: SYSCALL, NX, MMXEXT, 1 GiB pages, RDTSCP, LM, and the copies of leaf 1
/// that AMD keeps here.
const EXTENDED1_EDX: u32 =
    (1 << 11) | (1 << 20) | (1 << 22) | (1 << 26) | (1 << 27) | (1 << 29) | AMD_COPIES;
const EXTENDED1_EDX_RDTSCP: u32 = 1 << 27;
const AMD_COPIES: u32 = 0x0183_f1ff & LEAF1_EDX;

pub(super) fn basic_leaf(
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
pub(super) fn private_cache(host: CpuidRegisters) -> CpuidRegisters {
    if host.eax & 0x1f == 0 {
        return CpuidRegisters::default();
    }
    CpuidRegisters {
        eax: host.eax & 0x3fff,
        ..host
    }
}

pub(super) fn extended_leaf(
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
pub(super) fn hypervisor_leaves(tsc_hz: u64) -> [CpuidRegisters; TIMING_LEAF + 1] {
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
