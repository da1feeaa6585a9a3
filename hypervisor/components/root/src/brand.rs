//! The CPU's own name for itself.

use alloc::string::String;
use skerry_component::cpuid;

/// EAX, EBX, ECX and EDX of a CPUID leaf.
type Leaf = [u32; 4];

/// The brand string of CPUID leaves 80000002h to 80000004h, or the vendor's twelve letters
/// where the CPU has none `[SDM 2A, "CPUID—CPU Identification", ed. 085]`.
fn brand(leaf: impl Fn(u32) -> Leaf) -> String {
    let [most, ..] = leaf(0x8000_0000);
    let leaves = if most >= 0x8000_0004 {
        [0x8000_0002, 0x8000_0003, 0x8000_0004].map(&leaf)
    } else {
        let [_, first, last, middle] = leaf(0);
        [[first, middle, last, 0], [0; 4], [0; 4]]
    };
    let bytes = leaves.into_iter().flatten().flat_map(u32::to_le_bytes);
    let text: String = bytes
        .take_while(|byte| *byte != 0)
        .map(char::from)
        .collect();
    String::from(text.trim())
}

/// The brand of the CPU this runs on. Ring 3 may ask too.
pub fn of_this_cpu() -> String {
    brand(|leaf| cpuid::leaf(leaf, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[u8; 16]) -> Leaf {
        core::array::from_fn(|word| {
            u32::from_le_bytes(core::array::from_fn(|byte| text[word * 4 + byte]))
        })
    }

    #[test]
    fn three_leaves_make_a_name_without_the_blanks_around() {
        let leaf = |leaf| match leaf {
            0x8000_0000 => [0x8000_0008, 0, 0, 0],
            0x8000_0002 => words(b"      A CPU that"),
            0x8000_0003 => words(b" counts to three"),
            0x8000_0004 => words(b"   \0not this    "),
            _ => [u32::MAX; 4],
        };
        assert_eq!(brand(leaf), "A CPU that counts to three");
    }

    #[test]
    fn a_cpu_without_a_name_is_called_by_its_vendor() {
        let [_, first, last, middle] = words(b"....GenuntelineI");
        let leaf = |leaf| match leaf {
            0 => [1, first, last, middle],
            _ => [0; 4],
        };
        assert_eq!(brand(leaf), "GenuineIntel");
    }
}
