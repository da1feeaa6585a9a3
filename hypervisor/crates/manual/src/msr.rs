//! The indices of the model-specific registers Skerry knows by name
//! `[SDM 4, "Architectural MSRs", ed. 085; APM 2, "MSR Cross-Reference", rev. 3.42]`.
//!
//! Owns names and the bits of a few registers. What a guest gets is the VMM's policy.

use skerry_words::MsrIndex;

macro_rules! msrs {
    ($($index:literal $name:ident $doc:literal)*) => {
        $(
            #[doc = $doc]
            pub const $name: MsrIndex = MsrIndex($index);
        )*
        #[cfg(test)]
        const ALL: &[(MsrIndex, &str)] = &[$(($name, stringify!($name)),)*];
    };
}

msrs! {
    0x0000_0000 P5_MC_ADDR "Machine-check address of the Pentium."
    0x0000_0001 P5_MC_TYPE "Machine-check type of the Pentium."
    0x0000_0010 TSC "Time-stamp counter."
    0x0000_0017 PLATFORM_ID "Platform ID."
    0x0000_001b APIC_BASE "Local APIC base, enable and mode."
    0x0000_002a EBL_CR_POWERON "Power-on configuration."
    0x0000_0034 SMI_COUNT "Number of SMIs since reset."
    0x0000_003a FEATURE_CONTROL "VMX lock; see [`crate::vmx::caps::vmx_lock`]."
    0x0000_003b TSC_ADJUST "What software added to the TSC."
    0x0000_0048 SPEC_CTRL "Speculation control."
    0x0000_0049 PRED_CMD "Prediction command: IBPB."
    0x0000_004e PPIN_CTL "Protected processor number, control."
    0x0000_004f PPIN "Protected processor number."
    0x0000_0079 BIOS_UPDT_TRIG "Microcode update trigger."
    0x0000_008b BIOS_SIGN_ID "Microcode revision in the high half."
    0x0000_00ce PLATFORM_INFO "Base ratio, CPUID faulting."
    0x0000_00cf CORE_CAPABILITIES "Split-lock detection and the like."
    0x0000_00e1 UMWAIT_CONTROL "Longest UMWAIT."
    0x0000_00e7 MPERF "Reference cycles."
    0x0000_00e8 APERF "Actual cycles."
    0x0000_00fe MTRR_CAP "What the MTRRs can do."
    0x0000_010a ARCH_CAPABILITIES "Which speculation bugs are absent."
    0x0000_010b FLUSH_CMD "L1D flush."
    0x0000_0122 TSX_CTRL "TSX control."
    0x0000_0140 MISC_FEATURE_ENABLES "CPUID faulting, ring-3 MWAIT."
    0x0000_0174 SYSENTER_CS "SYSENTER code segment."
    0x0000_0175 SYSENTER_ESP "SYSENTER stack pointer."
    0x0000_0176 SYSENTER_EIP "SYSENTER instruction pointer."
    0x0000_0179 MCG_CAP "Machine-check banks."
    0x0000_017a MCG_STATUS "Machine-check status."
    0x0000_017b MCG_CTL "Machine-check control."
    0x0000_0186 PERFEVTSEL0 "First performance event select."
    0x0000_0198 PERF_STATUS "Current performance state."
    0x0000_0199 PERF_CTL "Wanted performance state."
    0x0000_019a CLOCK_MODULATION "Clock modulation."
    0x0000_019b THERM_INTERRUPT "Thermal interrupt."
    0x0000_019c THERM_STATUS "Thermal status."
    0x0000_01a0 MISC_ENABLE "Fast strings, MONITOR, CPUID limit and others."
    0x0000_01a2 TEMPERATURE_TARGET "Temperature target."
    0x0000_01b0 ENERGY_PERF_BIAS "Energy or performance."
    0x0000_01d9 DEBUGCTL "Branch trace, LBR, BTF."
    0x0000_01db LAST_BRANCH_FROM "Last branch, from."
    0x0000_01dc LAST_BRANCH_TO "Last branch, to."
    0x0000_0200 MTRR_PHYS_BASE0 "First variable MTRR; base and mask alternate."
    0x0000_0250 MTRR_FIX_64K_00000 "Fixed MTRR, 0 to 512 KiB."
    0x0000_0258 MTRR_FIX_16K_80000 "Fixed MTRR, from 512 KiB."
    0x0000_0259 MTRR_FIX_16K_A0000 "Fixed MTRR, from 640 KiB."
    0x0000_0268 MTRR_FIX_4K_C0000 "First of eight fixed MTRRs, from 768 KiB."
    0x0000_026f MTRR_FIX_4K_F8000 "Last of them."
    0x0000_0277 PAT "Page attribute table."
    0x0000_02ff MTRR_DEF_TYPE "MTRR enable and default type."
    0x0000_0345 PERF_CAPABILITIES "Performance monitoring capabilities."
    0x0000_038d FIXED_CTR_CTRL "Fixed counters, control."
    0x0000_038f PERF_GLOBAL_CTRL "Performance counters, enable."
    0x0000_0400 MC0_CTL "First machine-check bank."
    0x0000_0480 VMX_BASIC "VMCS revision, size and memory type."
    0x0000_0481 VMX_PINBASED_CTLS "Allowed pin-based controls."
    0x0000_0482 VMX_PROCBASED_CTLS "Allowed primary processor-based controls."
    0x0000_0483 VMX_EXIT_CTLS "Allowed VM-exit controls."
    0x0000_0484 VMX_ENTRY_CTLS "Allowed VM-entry controls."
    0x0000_0485 VMX_MISC "Timer rate, activity states and others."
    0x0000_0486 VMX_CR0_FIXED0 "CR0 bits that must be 1."
    0x0000_0487 VMX_CR0_FIXED1 "CR0 bits that may be 1."
    0x0000_0488 VMX_CR4_FIXED0 "CR4 bits that must be 1."
    0x0000_0489 VMX_CR4_FIXED1 "CR4 bits that may be 1."
    0x0000_048a VMX_VMCS_ENUM "Highest VMCS field index."
    0x0000_048b VMX_PROCBASED_CTLS2 "Allowed secondary processor-based controls."
    0x0000_048c VMX_EPT_VPID_CAP "EPT and VPID capabilities."
    0x0000_048d VMX_TRUE_PINBASED_CTLS "As 481h, with default-1 bits told truly."
    0x0000_048e VMX_TRUE_PROCBASED_CTLS "As 482h, with default-1 bits told truly."
    0x0000_048f VMX_TRUE_EXIT_CTLS "As 483h, with default-1 bits told truly."
    0x0000_0490 VMX_TRUE_ENTRY_CTLS "As 484h, with default-1 bits told truly."
    0x0000_0491 VMX_VMFUNC "Allowed VM functions."
    0x0000_0492 VMX_PROCBASED_CTLS3 "Allowed tertiary processor-based controls (64 bits)."
    0x0000_0493 VMX_EXIT_CTLS2 "Allowed secondary VM-exit controls (64 bits)."
    0x0000_0606 RAPL_POWER_UNIT "Units of the energy counters."
    0x0000_064e PPERF "Productive performance count."
    0x0000_06e0 TSC_DEADLINE "When the local APIC's timer fires."
    0x0000_0770 PM_ENABLE "Hardware performance states."
    0x0000_0800 X2APIC_FIRST "First x2APIC register."
    0x0000_08ff X2APIC_LAST "Last x2APIC register."
    0x0000_0d90 BNDCFGS "MPX bounds, supervisor."
    0x0000_0da0 XSS "Supervisor state of XSAVES."
    0x4b56_4d00 KVM_WALL_CLOCK_NEW "KVM's wall clock (refused: we are not KVM)."
    0xc000_0080 EFER "Extended feature enable: SCE, LME, LMA, NXE."
    0xc000_0081 STAR "SYSCALL segments."
    0xc000_0082 LSTAR "SYSCALL target, 64-bit."
    0xc000_0083 CSTAR "SYSCALL target, compatibility mode."
    0xc000_0084 FMASK "SYSCALL flag mask."
    0xc000_0100 FS_BASE "FS base."
    0xc000_0101 GS_BASE "GS base."
    0xc000_0102 KERNEL_GS_BASE "The GS base SWAPGS brings."
    0xc000_0103 TSC_AUX "What RDTSCP and RDPID tell."
    0xc001_0015 AMD_HWCR "Hardware configuration (AMD)."
    0xc001_001f AMD_NB_CFG "Northbridge configuration (AMD)."
    0xc001_0114 AMD_VM_CR "SVM lock (AMD)."
    0xc001_0117 AMD_VM_HSAVE_PA "Host save area (AMD)."
    0xc001_1029 AMD_DE_CFG "LFENCE and others (AMD)."
}

/// Bits of IA32_EFER `[SDM 3A, "Extended Feature Enable Register", ed. 085]`.
pub mod efer {
    /// SYSCALL and SYSRET exist.
    pub const SCE: u64 = 1 << 0;
    /// Long mode goes on with paging.
    pub const LME: u64 = 1 << 8;
    /// Long mode is on.
    pub const LMA: u64 = 1 << 10;
    /// The execute-disable bit counts.
    pub const NXE: u64 = 1 << 11;
    /// SVM is on (AMD).
    pub const SVME: u64 = 1 << 12;
    /// Every bit Intel defines.
    pub const INTEL: u64 = SCE | LME | LMA | NXE;
}

/// Bits of IA32_APIC_BASE `[SDM 3A, "Local APIC Status and Location", ed. 085]`.
pub mod apic_base {
    /// This is the bootstrap processor.
    pub const BSP: u64 = 1 << 8;
    /// x2APIC mode.
    pub const X2APIC: u64 = 1 << 10;
    /// The local APIC is on.
    pub const ENABLE: u64 = 1 << 11;
}

/// Bits of IA32_MISC_ENABLE `[SDM 4, "Architectural MSRs", ed. 085]`.
pub mod misc_enable {
    /// Fast strings.
    pub const FAST_STRINGS: u64 = 1 << 0;
    /// Branch trace storage is absent.
    pub const BTS_UNAVAILABLE: u64 = 1 << 11;
    /// Processor event-based sampling is absent.
    pub const PEBS_UNAVAILABLE: u64 = 1 << 12;
    /// MONITOR and MWAIT exist.
    pub const MONITOR: u64 = 1 << 18;
}

/// Whether all eight entries of an IA32_PAT value are memory types: 0, 1 and 4 to 7
/// `[SDM 3A, "IA32_PAT MSR", ed. 085]`.
#[must_use]
pub fn pat_is_valid(pat: u64) -> bool {
    pat.to_le_bytes()
        .iter()
        .all(|kind| matches!(kind, 0 | 1 | 4..=7))
}

/// Whether `address` is canonical with `bits` of linear address (48 or 57).
#[must_use]
pub const fn is_canonical(address: u64, bits: u32) -> bool {
    let unused = 64_u32.saturating_sub(bits);
    let extended = ((address as i64).wrapping_shl(unused)).wrapping_shr(unused);
    extended as u64 == address
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_those_others_read_in_the_manual() {
        let pairs = [
            (APIC_BASE, x86::msr::IA32_APIC_BASE),
            (FEATURE_CONTROL, x86::msr::IA32_FEATURE_CONTROL),
            (SYSENTER_CS, x86::msr::IA32_SYSENTER_CS),
            (MISC_ENABLE, x86::msr::IA32_MISC_ENABLE),
            (DEBUGCTL, x86::msr::IA32_DEBUGCTL),
            (PAT, x86::msr::IA32_PAT),
            (MTRR_DEF_TYPE, x86::msr::IA32_MTRR_DEF_TYPE),
            (VMX_BASIC, x86::msr::IA32_VMX_BASIC),
            (VMX_EPT_VPID_CAP, x86::msr::IA32_VMX_EPT_VPID_CAP),
            (VMX_TRUE_ENTRY_CTLS, x86::msr::IA32_VMX_TRUE_ENTRY_CTLS),
            (TSC_DEADLINE, x86::msr::IA32_TSC_DEADLINE),
            (EFER, x86::msr::IA32_EFER),
            (LSTAR, x86::msr::IA32_LSTAR),
            (KERNEL_GS_BASE, x86::msr::IA32_KERNEL_GSBASE),
            (TSC_AUX, x86::msr::IA32_TSC_AUX),
        ];
        for (ours, theirs) in pairs {
            assert_eq!(ours.0, theirs);
        }
    }

    #[test]
    fn indices_rise_so_none_is_named_twice() {
        for pair in ALL.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{} {}", pair[0].1, pair[1].1);
        }
    }

    #[test]
    fn canonical_addresses_extend_their_top_bit() {
        for good in [0, 0x7fff_ffff_ffff, 0xffff_8000_0000_0000, u64::MAX] {
            assert!(is_canonical(good, 48));
        }
        assert!(!is_canonical(0x8000_0000_0000, 48));
        assert!(!is_canonical(0xfffe_8000_0000_0000, 48));
        assert!(is_canonical(0x00ff_ffff_ffff_ffff, 57));
        assert!(!is_canonical(0x0100_0000_0000_0000, 57));
    }

    #[test]
    fn memory_types_2_and_3_are_no_pat_entries() {
        assert!(pat_is_valid(0x0007_0406_0007_0406));
        assert!(!pat_is_valid(0x0007_0406_0007_0402));
        assert!(!pat_is_valid(0x0307_0406_0007_0406));
    }
}
