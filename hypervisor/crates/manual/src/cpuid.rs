//! CPUID leaves and feature bits by name
//! `[SDM 2A, "CPUID\u{2014}CPU Identification", ed. 085]`.
//!
//! Owns names only: which features a guest sees is the VMM's policy.

/// A feature's place: leaf, subleaf, register and bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature {
    /// The leaf in EAX.
    pub leaf: u32,
    /// The subleaf in ECX.
    pub subleaf: u32,
    /// The register that holds the bit.
    pub register: Register,
    /// The bit's number, 0 to 31.
    pub bit: u8,
}

/// A result register of CPUID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the architecture's names
pub enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

impl Feature {
    /// The bit as a mask of its register.
    #[must_use]
    pub const fn mask(self) -> u32 {
        1_u32.wrapping_shl(self.bit as u32)
    }
}

/// Leaf numbers.
pub mod leaf {
    /// Highest basic leaf and vendor.
    pub const VENDOR: u32 = 0x0;
    /// Family, model, stepping and features.
    pub const FEATURES: u32 = 0x1;
    /// Caches and TLBs by descriptor bytes.
    pub const CACHE_DESCRIPTORS: u32 = 0x2;
    /// Caches by subleaf.
    pub const CACHES: u32 = 0x4;
    /// MONITOR and MWAIT.
    pub const MONITOR: u32 = 0x5;
    /// Thermal and power management.
    pub const POWER: u32 = 0x6;
    /// Structured extended features.
    pub const EXTENDED_FEATURES: u32 = 0x7;
    /// Performance monitoring.
    pub const PERFORMANCE: u32 = 0xa;
    /// Topology.
    pub const TOPOLOGY: u32 = 0xb;
    /// Sizes and components of XSAVE.
    pub const XSAVE: u32 = 0xd;
    /// Ratio of TSC to crystal clock.
    pub const TSC_CLOCK: u32 = 0x15;
    /// Processor frequencies in MHz.
    pub const FREQUENCY: u32 = 0x16;
    /// Topology, second version.
    pub const TOPOLOGY_V2: u32 = 0x1f;
    /// Highest hypervisor leaf and the hypervisor's signature
    /// `[APM 3, "CPUID Fn4000_0000-FF", rev. 3.36]`.
    pub const HYPERVISOR: u32 = 0x4000_0000;
    /// Highest extended leaf.
    pub const EXTENDED: u32 = 0x8000_0000;
    /// Extended features.
    pub const EXTENDED_PROCESSOR: u32 = 0x8000_0001;
    /// First of three leaves with the brand string.
    pub const BRAND: u32 = 0x8000_0002;
    /// Advanced power management: the invariant TSC.
    pub const ADVANCED_POWER: u32 = 0x8000_0007;
    /// Address sizes: physical in EAX 7:0, linear in 15:8.
    pub const ADDRESS_SIZES: u32 = 0x8000_0008;
    /// SVM (AMD).
    pub const SVM: u32 = 0x8000_000a;
}

macro_rules! features {
    ($($leaf:literal $subleaf:literal $register:ident { $($bit:literal $name:ident)* })*) => {
        $($(
            #[doc = concat!(
                "Leaf ", stringify!($leaf), ", subleaf ", stringify!($subleaf), ", ",
                stringify!($register), " bit ", stringify!($bit), "."
            )]
            pub const $name: Feature = Feature {
                leaf: $leaf,
                subleaf: $subleaf,
                register: Register::$register,
                bit: $bit,
            };
        )*)*
        /// Every feature here with its name.
        pub const FEATURES: &[(Feature, &str)] = &[$($(($name, stringify!($name)),)*)*];
    };
}

features! {
    0x1 0 Ecx {
        0 SSE3 1 PCLMULQDQ 2 DTES64 3 MONITOR 4 DS_CPL 5 VMX 6 SMX 7 EIST 8 TM2 9 SSSE3
        11 SDBG 12 FMA 13 CX16 14 XTPR 15 PDCM 17 PCID 18 DCA 19 SSE41 20 SSE42 21 X2APIC
        22 MOVBE 23 POPCNT 24 TSC_DEADLINE 25 AES 26 XSAVE 27 OSXSAVE 28 AVX 29 F16C
        30 RDRAND 31 HYPERVISOR
    }
    0x1 0 Edx {
        0 FPU 1 VME 2 DE 3 PSE 4 TSC 5 MSR 6 PAE 7 MCE 8 CX8 9 APIC 11 SEP 12 MTRR 13 PGE
        14 MCA 15 CMOV 16 PAT 17 PSE36 18 PSN 19 CLFLUSH 21 DS 22 ACPI 23 MMX 24 FXSR
        25 SSE 26 SSE2 27 SELF_SNOOP 28 HTT 29 TM 31 PBE
    }
    0x6 0 Eax { 2 ARAT }
    0x7 0 Ebx {
        0 FSGSBASE 1 TSC_ADJUST 2 SGX 3 BMI1 4 HLE 5 AVX2 7 SMEP 8 BMI2 9 ERMS 10 INVPCID
        11 RTM 12 RDT_M 14 MPX 15 RDT_A 16 AVX512F 17 AVX512DQ 18 RDSEED 19 ADX 20 SMAP
        21 AVX512_IFMA 23 CLFLUSHOPT 24 CLWB 25 PROCESSOR_TRACE 28 AVX512CD 29 SHA
        30 AVX512BW 31 AVX512VL
    }
    0x7 0 Ecx {
        0 PREFETCHWT1 1 AVX512_VBMI 2 UMIP 3 PKU 4 OSPKE 5 WAITPKG 6 AVX512_VBMI2
        7 CET_SS 8 GFNI 9 VAES 10 VPCLMULQDQ 11 AVX512_VNNI 12 AVX512_BITALG 13 TME
        14 AVX512_VPOPCNTDQ 16 LA57 22 RDPID 23 KEY_LOCKER 24 BUS_LOCK_DETECT 25 CLDEMOTE
        27 MOVDIRI 28 MOVDIR64B 29 ENQCMD 30 SGX_LC 31 PKS
    }
    0x7 0 Edx {
        4 FSRM 5 UINTR 10 MD_CLEAR 14 SERIALIZE 16 TSXLDTRK 18 PCONFIG 19 ARCH_LBR
        20 CET_IBT 26 IBRS_IBPB 27 STIBP 28 L1D_FLUSH 29 ARCH_CAPABILITIES
        30 CORE_CAPABILITIES 31 SSBD
    }
    0xd 1 Eax { 0 XSAVEOPT 1 XSAVEC 2 XGETBV_1 3 XSAVES 4 XFD }
    0x8000_0001 0 Ecx {
        0 LAHF64 2 SVM 3 EXTENDED_APIC 5 LZCNT 6 SSE4A 8 PREFETCHW 9 OSVW 16 FMA4
        22 TOPOLOGY_EXTENSIONS 28 PERF_LLC 29 MWAITX
    }
    0x8000_0001 0 Edx { 11 SYSCALL 20 NX 25 FFXSR 26 PAGE_1G 27 RDTSCP 29 LONG_MODE }
    0x8000_0007 0 Edx { 8 INVARIANT_TSC }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raw_cpuid::{CpuId, CpuIdReader, CpuIdResult};

    /// A CPU of which one feature bit is set and every leaf exists.
    #[derive(Clone)]
    struct Only(Feature);

    impl CpuIdReader for Only {
        fn cpuid2(&self, eax: u32, ecx: u32) -> CpuIdResult {
            let mut result = CpuIdResult {
                eax: if eax & 0xffff == 0 { eax | 0x1f } else { 0 },
                ebx: 0,
                ecx: 0,
                edx: 0,
            };
            if eax == 0 {
                (result.ebx, result.edx, result.ecx) = (0x756e_6547, 0x4965_6e69, 0x6c65_746e);
            }
            if (eax, ecx) == (self.0.leaf, self.0.subleaf) {
                match self.0.register {
                    Register::Eax => result.eax |= self.0.mask(),
                    Register::Ebx => result.ebx |= self.0.mask(),
                    Register::Ecx => result.ecx |= self.0.mask(),
                    Register::Edx => result.edx |= self.0.mask(),
                }
            }
            result
        }
    }

    macro_rules! agrees {
        ($leaf:ident: $($feature:ident $test:ident)*) => {
            $(
                let info = CpuId::with_cpuid_reader(Only($feature)).$leaf();
                assert!(info.is_some_and(|info| info.$test()), stringify!($feature));
            )*
        };
    }

    #[test]
    fn feature_bits_are_where_another_reader_of_the_manual_looks() {
        agrees!(get_feature_info:
            SSE3 has_sse3 MONITOR has_monitor_mwait VMX has_vmx SMX has_smx PDCM has_pdcm
            PCID has_pcid X2APIC has_x2apic TSC_DEADLINE has_tsc_deadline XSAVE has_xsave
            OSXSAVE has_oxsave RDRAND has_rdrand HYPERVISOR has_hypervisor MCE has_mce
            APIC has_apic MTRR has_mtrr PAT has_pat DS has_ds ACPI has_acpi HTT has_htt
            TM has_tm MCA has_mca PSE36 has_pse36 SEP has_sysenter_sysexit TM2 has_tm2);
        agrees!(get_extended_feature_info:
            FSGSBASE has_fsgsbase TSC_ADJUST has_tsc_adjust_msr SGX has_sgx SMEP has_smep
            INVPCID has_invpcid RTM has_rtm MPX has_mpx RDSEED has_rdseed SMAP has_smap
            PROCESSOR_TRACE has_processor_trace AVX512F has_avx512f UMIP has_umip
            PKU has_pku LA57 has_la57 RDPID has_rdpid CET_SS has_cet_ss);
        agrees!(get_extended_processor_and_feature_identifiers:
            LAHF64 has_lahf_sahf LZCNT has_lzcnt NX has_execute_disable
            PAGE_1G has_1gib_pages RDTSCP has_rdtscp LONG_MODE has_64bit_mode
            SYSCALL has_syscall_sysret);
        agrees!(get_advanced_power_mgmt_info: INVARIANT_TSC has_invariant_tsc);
        agrees!(get_thermal_power_info: ARAT has_arat);
    }

    #[test]
    fn no_bit_has_two_names() {
        for (index, (feature, name)) in FEATURES.iter().enumerate() {
            for (other, other_name) in FEATURES.iter().skip(index + 1) {
                assert_ne!(feature, other, "{name} and {other_name}");
            }
        }
    }
}
