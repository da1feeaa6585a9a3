//! What an SVM CPU can do, and whether the firmware lets it
//! `[APM 2, "Enabling SVM" and "SVM-Lock", rev. 3.42; APM 3, "CPUID Fn8000_000A", rev. 3.36]`.
//!
//! Owns the names of the features and the reading of VM_CR. Does not own what Skerry
//! demands of them: that is ring 0's.

bitflags::bitflags! {
    /// The features of CPUID leaf 8000000Ah, EDX, that Skerry uses.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    #[repr(transparent)]
    pub struct Features: u32 {
        /// Nested paging.
        const NESTED_PAGING = 1 << 0;
        /// The VMCB tells the next instruction's address.
        const NRIP_SAVE = 1 << 3;
        /// Clean bits count.
        const CLEAN_BITS = 1 << 5;
        /// The TLB can be flushed for one ASID.
        const FLUSH_BY_ASID = 1 << 6;
        /// Exits tell operands and instruction bytes.
        const DECODE_ASSISTS = 1 << 7;
        /// A loop of PAUSE exits.
        const PAUSE_FILTER = 1 << 10;
    }
}

/// The extended leaf with the SVM bit, in ECX.
pub const FEATURE_LEAF: u32 = 0x8000_0001;
/// The SVM bit of [`FEATURE_LEAF`].
pub const FEATURE_LEAF_SVM: u32 = 1 << 2;
/// The leaf of revision, ASIDs and [`Features`].
pub const SVM_LEAF: u32 = 0x8000_000a;

/// What CPUID leaf 8000000Ah says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// What the CPU has.
    pub features: Features,
    /// How many ASIDs it has; 0 is the host's.
    pub asids: u32,
}

impl Capabilities {
    /// From the leaf's EBX and EDX.
    #[must_use]
    pub const fn new(ebx: u32, edx: u32) -> Self {
        Self {
            features: Features::from_bits_truncate(edx),
            asids: ebx,
        }
    }
}

/// What the firmware has decided in VM_CR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SvmLock {
    /// EFER.SVME may be set.
    On,
    /// SVMDIS is set, but may be cleared: by writing this value.
    Open(u64),
    /// SVMDIS is set and locked.
    Off,
}

/// Bit 3 of VM_CR: SVMDIS cannot be changed.
pub const VM_CR_LOCK: u64 = 1 << 3;
/// Bit 4 of VM_CR: EFER.SVME cannot be set.
pub const VM_CR_SVMDIS: u64 = 1 << 4;

/// Judges the value of VM_CR.
#[must_use]
pub const fn svm_lock(vm_cr: u64) -> SvmLock {
    match (vm_cr & VM_CR_SVMDIS != 0, vm_cr & VM_CR_LOCK != 0) {
        (false, _) => SvmLock::On,
        (true, false) => SvmLock::Open(vm_cr & !VM_CR_SVMDIS),
        (true, true) => SvmLock::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_disable_bit_that_is_locked_is_final() {
        assert_eq!(svm_lock(0), SvmLock::On);
        assert_eq!(svm_lock(0b0_1000), SvmLock::On, "locked on");
        assert_eq!(svm_lock(0b1_0001), SvmLock::Open(1));
        assert_eq!(svm_lock(0b1_1000), SvmLock::Off);
    }

    #[test]
    fn qemus_own_cpu_has_nested_paging_and_sixteen_asids_and_little_else() {
        // CPUID 8000000Ah of QEMU 7.2's `-cpu max` without KVM.
        let capabilities = Capabilities::new(0x10, 0x1001_0001);
        let features = capabilities.features;
        assert_eq!(features, Features::NESTED_PAGING);
        assert_eq!(capabilities.asids, 16);
    }
}
