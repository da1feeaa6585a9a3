//! What the CPU is: CPUID, which ring 3 may execute.

/// EAX, EBX, ECX and EDX of a leaf; zeros on a host of another architecture.
#[must_use]
pub fn leaf(leaf: u32, subleaf: u32) -> [u32; 4] {
    #[cfg(target_arch = "x86_64")]
    {
        let registers = core::arch::x86_64::__cpuid_count(leaf, subleaf);
        [registers.eax, registers.ebx, registers.ecx, registers.edx]
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (leaf, subleaf);
        [0; 4]
    }
}
