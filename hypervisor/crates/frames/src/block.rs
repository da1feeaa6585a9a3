//! One 2 MiB block of host memory: which of its 512 frames are free.
//!
//! Owns a bitmap and its summary. Does not own the lists blocks hang in: see
//! `allocator`. All methods are O(1) and touch one or two words.

/// Frames in a block: 512 of 4 KiB make one 2 MiB page.
pub const BLOCK_FRAMES: u64 = 512;

/// No block: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

/// The bookkeeping for one 2 MiB block, 80 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Block {
    /// One bit a frame; set is free.
    free: [u64; 8],
    /// Bit `n` set: word `n` of `free` is not 0.
    words: u8,
    /// Given out as a whole.
    pub(crate) large: bool,
    /// How many bits of `free` are set.
    count: u16,
    /// How many frames were ever added.
    added: u16,
    /// Neighbours in the list that the block hangs in.
    pub(crate) previous: u32,
    pub(crate) next: u32,
}

impl Block {
    /// A block without any memory.
    pub const ABSENT: Self = Self {
        free: [0; 8],
        words: 0,
        large: false,
        count: 0,
        added: 0,
        previous: NONE,
        next: NONE,
    };

    /// Whether every one of its 512 frames is free.
    pub(crate) const fn is_whole(&self) -> bool {
        self.count as u64 == BLOCK_FRAMES
    }

    /// Whether none of its frames is free.
    pub(crate) const fn is_exhausted(&self) -> bool {
        self.count == 0
    }

    /// Gives out the lowest free frame, by its number in the block.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let word = self.words.trailing_zeros();
        let bits = self.free.get_mut(word as usize)?;
        let bit = bits.trailing_zeros();
        *bits &= bits.wrapping_sub(1);
        if *bits == 0 {
            self.words &= self.words.wrapping_sub(1);
        }
        self.count = self.count.wrapping_sub(1);
        Some(word.wrapping_mul(64).wrapping_add(bit))
    }

    /// Takes frame `number` back; false if it is free already or was never added.
    pub(crate) fn put(&mut self, number: u32) -> bool {
        let word = (number >> 6) & 7;
        let bit = 1u64 << (number & 63);
        let Some(bits) = self.free.get_mut(word as usize) else {
            return false;
        };
        if *bits & bit != 0 || self.count == self.added {
            return false;
        }
        *bits |= bit;
        self.words |= 1 << word;
        self.count = self.count.wrapping_add(1);
        true
    }

    /// Adds frame `number` as a free one; false if it was there.
    pub(crate) fn add(&mut self, number: u32) -> bool {
        self.added = self.added.saturating_add(1);
        let new = self.put(number);
        if !new {
            self.added = self.added.saturating_sub(1);
        }
        new
    }

    /// Adds all 512 frames at once to an absent block.
    pub(crate) fn add_all(&mut self) {
        self.fill();
        self.added = self.count;
    }

    /// Gives out all 512 frames at once.
    pub(crate) fn take_all(&mut self) {
        self.free = [0; 8];
        self.words = 0;
        self.count = 0;
    }

    /// Takes all 512 frames back at once.
    pub(crate) fn fill(&mut self) {
        self.free = [u64::MAX; 8];
        self.words = u8::MAX;
        self.count = BLOCK_FRAMES as u16;
    }
}
