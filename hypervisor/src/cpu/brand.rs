//! The CPU's own name for itself.

use alloc::string::String;
use core::arch::x86_64::__cpuid;

/// The brand string of CPUID leaves 80000002h to 80000004h, or the vendor's twelve letters
/// where the CPU has none `[SDM 2A, "CPUID—CPU Identification", ed. 085]`.
pub fn brand() -> String {
    let leaves = if __cpuid(0x8000_0000).eax >= 0x8000_0004 {
        [0x8000_0002, 0x8000_0003, 0x8000_0004].map(|leaf| {
            let words = __cpuid(leaf);
            [words.eax, words.ebx, words.ecx, words.edx]
        })
    } else {
        let vendor = __cpuid(0);
        [[vendor.ebx, vendor.edx, vendor.ecx, 0], [0; 4], [0; 4]]
    };
    let bytes = leaves.into_iter().flatten().flat_map(u32::to_le_bytes);
    let text: String = bytes
        .take_while(|byte| *byte != 0)
        .map(char::from)
        .collect();
    String::from(text.trim())
}
