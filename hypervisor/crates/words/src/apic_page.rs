//! One vCPU's local APIC registers, as the CPU itself lays them out.
//!
//! Owns the shape of the page and nothing of what its registers mean. Each register has the
//! offset it has in xAPIC mode; on VT-x with APIC virtualization this is the virtual-APIC page,
//! which the CPU reads and writes while the guest runs
//! `[SDM 3C, "Virtual-APIC Page", ed. 085]`. Ring 0 makes it, the VMM fills it.

/// The page. Any bytes are some state of the registers.
#[repr(C, align(4096))]
#[derive(Clone, Debug)]
pub struct ApicPage {
    words: [u32; 1024],
}

const _: () = assert!(size_of::<ApicPage>() == 4096);

impl ApicPage {
    /// The word at a byte offset; 0 past the end. The offset is rounded down to a word.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, offset: u16) -> u32 {
        self.words
            .get(usize::from(offset >> 2))
            .copied()
            .unwrap_or(0)
    }

    /// Sets the word at a byte offset; nothing past the end.
    #[inline(always)]
    pub fn set(&mut self, offset: u16, value: u32) {
        if let Some(word) = self.words.get_mut(usize::from(offset >> 2)) {
            *word = value;
        }
    }
}

impl Default for ApicPage {
    fn default() -> Self {
        Self { words: [0; 1024] }
    }
}
