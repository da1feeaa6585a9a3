//! The indices of the model-specific registers that ring 0 uses for virtualization
//! `[SDM 4, "Architectural MSRs", ed. 085; APM 2, "MSR Cross-Reference", rev. 3.42]`.
//!
//! Owns names and the bits of IA32_EFER. What a guest gets is the VMM's policy.

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
    0x0000_003a FEATURE_CONTROL "VMX lock; see [`crate::vmx::caps::vmx_lock`]."
    0x0000_0277 PAT "Page attribute table."
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
    0x0000_048b VMX_PROCBASED_CTLS2 "Allowed secondary processor-based controls."
    0x0000_048c VMX_EPT_VPID_CAP "EPT and VPID capabilities."
    0x0000_048d VMX_TRUE_PINBASED_CTLS "As 481h, with default-1 bits told truly."
    0x0000_048e VMX_TRUE_PROCBASED_CTLS "As 482h, with default-1 bits told truly."
    0x0000_048f VMX_TRUE_EXIT_CTLS "As 483h, with default-1 bits told truly."
    0x0000_0490 VMX_TRUE_ENTRY_CTLS "As 484h, with default-1 bits told truly."
    0x0000_0491 VMX_VMFUNC "Allowed VM functions."
    0x0000_0492 VMX_PROCBASED_CTLS3 "Allowed tertiary processor-based controls (64 bits)."
    0xc000_0080 EFER "Extended feature enable: SCE, LME, LMA, NXE."
    0xc001_0114 AMD_VM_CR "SVM lock (AMD)."
    0xc001_0117 AMD_VM_HSAVE_PA "Host save area (AMD)."
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
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_those_others_read_in_the_manual() {
        let pairs = [
            (FEATURE_CONTROL, x86::msr::IA32_FEATURE_CONTROL),
            (PAT, x86::msr::IA32_PAT),
            (VMX_BASIC, x86::msr::IA32_VMX_BASIC),
            (VMX_EPT_VPID_CAP, x86::msr::IA32_VMX_EPT_VPID_CAP),
            (VMX_TRUE_ENTRY_CTLS, x86::msr::IA32_VMX_TRUE_ENTRY_CTLS),
            (EFER, x86::msr::IA32_EFER),
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
}
