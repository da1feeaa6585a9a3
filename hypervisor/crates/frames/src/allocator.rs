//! The frame allocator: single frames and 2 MiB blocks, both in O(1).
//!
//! Owns two lists of blocks: `whole` (all 512 frames free) and `partial` (some are). A
//! single frame comes from a partial block while there is one, so whole blocks stay whole;
//! a block whose last frame comes back is whole again. Free frames themselves are never
//! touched, so setting up costs nothing per frame.
//!
//! Does not own the `Block` array: the caller lends one entry for every 2 MiB from
//! address 0 up to the end of its memory.

use skerry_words::HostFrame;

use crate::Span;
use crate::block::{BLOCK_FRAMES, Block, NONE};

/// How much memory there is, in frames of 4 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Frames the allocator was given.
    pub total_frames: u64,
    /// Frames free now, those in whole blocks included.
    pub free_frames: u64,
}

/// A frame came back that is not out: a bug of whoever gave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FreeError {
    /// This frame is free already, or was never the allocator's.
    NotAllocated(HostFrame),
    /// This frame belongs to a block that is out as a whole, or the other way round.
    WrongSize(HostFrame),
}

impl core::fmt::Display for FreeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotAllocated(frame) => write!(f, "frame {:#x} is not allocated", frame.0),
            Self::WrongSize(frame) => {
                write!(f, "frame {:#x} was allocated in another size", frame.0)
            }
        }
    }
}

impl core::error::Error for FreeError {}

/// The allocator over a lent array of blocks.
#[derive(Debug)]
pub struct Frames<'a> {
    blocks: &'a mut [Block],
    whole: u32,
    partial: u32,
    statistics: Statistics,
}

impl<'a> Frames<'a> {
    /// An allocator without memory; `blocks` must all be [`Block::ABSENT`].
    #[must_use]
    pub const fn new(blocks: &'a mut [Block]) -> Self {
        Self {
            blocks,
            whole: NONE,
            partial: NONE,
            statistics: Statistics {
                total_frames: 0,
                free_frames: 0,
            },
        }
    }

    /// How many [`Block`]s memory up to `end` needs.
    #[must_use]
    pub const fn blocks_up_to(end: skerry_words::Hpa) -> u64 {
        (end.frame().0).div_ceil(BLOCK_FRAMES)
    }

    /// How much memory there is.
    #[must_use]
    pub const fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Gives the whole pages of `span` to the allocator. Memory beyond the lent blocks and
    /// frames it has already are left out. Spans with higher addresses are best added
    /// first: what is added last is given out first.
    pub fn add(&mut self, span: Span) {
        let span = span.shrunk_to_pages();
        let mut end = span.end.frame().0;
        while end > span.start.frame().0 {
            let block_start = end.wrapping_sub(1) & !(BLOCK_FRAMES.wrapping_sub(1));
            let start = block_start.max(span.start.frame().0);
            self.add_in_block(start, end);
            end = start;
        }
    }

    fn add_in_block(&mut self, start: u64, end: u64) {
        let (index, first) = split(HostFrame(start));
        let bytes = end.wrapping_sub(start);
        let Some(block) = self.blocks.get_mut(index as usize) else {
            return;
        };
        let before = *block;
        let mut added = 0u64;
        if bytes == BLOCK_FRAMES && before.is_exhausted() && !before.large {
            block.add_all();
            added = BLOCK_FRAMES;
        } else {
            for number in (first..).take(bytes as usize) {
                added = added.wrapping_add(u64::from(block.add(number)));
            }
        }
        self.statistics.total_frames = self.statistics.total_frames.wrapping_add(added);
        self.statistics.free_frames = self.statistics.free_frames.wrapping_add(added);
        self.relink(index, before);
    }

    /// Gives out one frame, its content unspecified.
    #[inline]
    pub fn allocate(&mut self) -> Option<HostFrame> {
        let index = if self.partial == NONE {
            self.whole
        } else {
            self.partial
        };
        let block = self.blocks.get_mut(index as usize)?;
        let was_whole = block.is_whole();
        let number = block.take()?;
        let exhausted = block.is_exhausted();
        self.statistics.free_frames = self.statistics.free_frames.wrapping_sub(1);
        if was_whole {
            self.unlink(List::Whole, index);
            self.link(List::Partial, index);
        } else if exhausted {
            self.unlink(List::Partial, index);
        }
        Some(join(index, number))
    }

    /// Gives out 512 contiguous frames that start on a 2 MiB boundary.
    pub fn allocate_large(&mut self) -> Option<HostFrame> {
        let index = self.whole;
        self.take_block(index)?;
        Some(join(index, 0))
    }

    /// Gives out 512 contiguous blocks that start on a 1 GiB boundary. Each of them comes
    /// back on its own, by [`Frames::free_large`]. Looks through all blocks.
    pub fn allocate_gib(&mut self) -> Option<HostFrame> {
        const GIB_BLOCKS: usize = 512;
        let mut gibs = self.blocks.chunks_exact(GIB_BLOCKS);
        let gib = gibs.position(|blocks| blocks.iter().all(Block::is_whole))?;
        let first = gib.wrapping_mul(GIB_BLOCKS) as u32;
        for index in (first..).take(GIB_BLOCKS) {
            self.take_block(index)?;
        }
        Some(join(first, 0))
    }

    /// Takes a whole block out of its list; all its frames are out then.
    fn take_block(&mut self, index: u32) -> Option<()> {
        let block = self.blocks.get_mut(index as usize)?;
        block.take_all();
        block.large = true;
        self.statistics.free_frames = self.statistics.free_frames.wrapping_sub(BLOCK_FRAMES);
        self.unlink(List::Whole, index);
        Some(())
    }

    /// Takes one frame back.
    ///
    /// # Errors
    /// [`FreeError`] if that frame is not out on its own; nothing has changed then.
    #[inline]
    pub fn free(&mut self, frame: HostFrame) -> Result<(), FreeError> {
        let (index, number) = split(frame);
        let block = self
            .blocks
            .get_mut(index as usize)
            .ok_or(FreeError::NotAllocated(frame))?;
        if block.large {
            return Err(FreeError::WrongSize(frame));
        }
        let was_exhausted = block.is_exhausted();
        if !block.put(number) {
            return Err(FreeError::NotAllocated(frame));
        }
        let whole = block.is_whole();
        self.statistics.free_frames = self.statistics.free_frames.wrapping_add(1);
        if was_exhausted {
            self.link(List::Partial, index);
        } else if whole {
            self.unlink(List::Partial, index);
            self.link(List::Whole, index);
        }
        Ok(())
    }

    /// Takes a 2 MiB block back, by its first frame.
    ///
    /// # Errors
    /// [`FreeError`] if that frame does not start a block that is out as a whole.
    pub fn free_large(&mut self, frame: HostFrame) -> Result<(), FreeError> {
        let (index, number) = split(frame);
        let block = self
            .blocks
            .get_mut(index as usize)
            .ok_or(FreeError::NotAllocated(frame))?;
        if !block.large || number != 0 {
            return Err(FreeError::WrongSize(frame));
        }
        block.large = false;
        block.fill();
        self.statistics.free_frames = self.statistics.free_frames.wrapping_add(BLOCK_FRAMES);
        self.link(List::Whole, index);
        Ok(())
    }

    /// Moves a block whose frames changed from the list it was in to the one it belongs in.
    fn relink(&mut self, index: u32, before: Block) {
        let Some(after) = self.blocks.get(index as usize).copied() else {
            return;
        };
        let (from, to) = (List::of(&before), List::of(&after));
        if from != to {
            if let Some(list) = from {
                self.unlink(list, index);
            }
            if let Some(list) = to {
                self.link(list, index);
            }
        }
    }

    fn head(&mut self, list: List) -> &mut u32 {
        match list {
            List::Whole => &mut self.whole,
            List::Partial => &mut self.partial,
        }
    }

    fn link(&mut self, list: List, index: u32) {
        let next = core::mem::replace(self.head(list), index);
        if let Some(block) = self.blocks.get_mut(index as usize) {
            block.previous = NONE;
            block.next = next;
        }
        if let Some(block) = self.blocks.get_mut(next as usize) {
            block.previous = index;
        }
    }

    fn unlink(&mut self, list: List, index: u32) {
        let Some(&Block { previous, next, .. }) = self.blocks.get(index as usize) else {
            return;
        };
        match self.blocks.get_mut(previous as usize) {
            Some(block) => block.next = next,
            None => *self.head(list) = next,
        }
        if let Some(block) = self.blocks.get_mut(next as usize) {
            block.previous = previous;
        }
    }
}

/// The list a block hangs in; exhausted blocks hang in none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum List {
    Whole,
    Partial,
}

impl List {
    const fn of(block: &Block) -> Option<Self> {
        if block.is_whole() {
            Some(Self::Whole)
        } else if block.is_exhausted() {
            None
        } else {
            Some(Self::Partial)
        }
    }
}

/// A frame's block, and its number in there. Blocks past 2^32 are nobody's.
const fn split(frame: HostFrame) -> (u32, u32) {
    let index = frame.0 / BLOCK_FRAMES;
    let index = if index < NONE as u64 {
        index as u32
    } else {
        NONE
    };
    (index, (frame.0 % BLOCK_FRAMES) as u32)
}

const fn join(index: u32, number: u32) -> HostFrame {
    HostFrame(((index as u64) << 9) | number as u64)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use skerry_words::Hpa;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    const BLOCK_BYTES: u64 = BLOCK_FRAMES * 4096;

    fn span(first_frame: u64, end_frame: u64) -> Span {
        Span {
            start: HostFrame(first_frame).start(),
            end: HostFrame(end_frame).start(),
        }
    }

    #[test]
    fn single_frames_come_from_broken_blocks_before_a_whole_one_is_broken() {
        let mut blocks = [Block::ABSENT; 2];
        let mut frames = Frames::new(&mut blocks);
        frames.add(span(510, 1024));
        assert_eq!(frames.allocate(), Some(HostFrame(510)));
        assert_eq!(frames.allocate(), Some(HostFrame(511)));
        assert_eq!(frames.allocate(), Some(HostFrame(512)));
        assert_eq!(frames.allocate_large(), None);
        frames.free(HostFrame(512)).unwrap();
        assert_eq!(frames.allocate_large(), Some(HostFrame(512)));
        assert_eq!(frames.allocate(), None);
    }

    #[test]
    fn a_gib_is_whole_aligned_and_comes_back_block_by_block() {
        let mut blocks = [Block::ABSENT; 1024];
        let mut frames = Frames::new(&mut blocks);
        frames.add(span(512, 512 * 1024));
        let one = frames.allocate().unwrap();
        assert_eq!(
            frames.allocate_gib(),
            Some(HostFrame(512 * 512)),
            "the first GiB is not whole"
        );
        assert_eq!(frames.allocate_gib(), None);
        assert_eq!(frames.statistics().free_frames, 511 * 512 - 1);
        for block in 512..1024 {
            frames.free_large(HostFrame(block * 512)).unwrap();
        }
        frames.free(one).unwrap();
        assert_eq!(frames.statistics().free_frames, 1023 * 512);
    }

    #[test]
    fn a_frame_cannot_be_freed_twice_nor_in_another_size() {
        let mut blocks = [Block::ABSENT; 2];
        let mut frames = Frames::new(&mut blocks);
        frames.add(span(0, 512));
        let one = frames.allocate().unwrap();
        assert_eq!(frames.free_large(one), Err(FreeError::WrongSize(one)));
        frames.free(one).unwrap();
        assert_eq!(frames.free(one), Err(FreeError::NotAllocated(one)));
        let large = frames.allocate_large().unwrap();
        assert_eq!(frames.free(large), Err(FreeError::WrongSize(large)));
        frames.free_large(large).unwrap();
        assert_eq!(frames.free_large(large), Err(FreeError::WrongSize(large)));
    }

    #[test]
    fn frames_outside_the_memory_are_refused() {
        let mut blocks = [Block::ABSENT; 1];
        let mut frames = Frames::new(&mut blocks);
        frames.add(span(0, 4096));
        assert_eq!(frames.statistics().total_frames, 512);
        for outside in [512, u64::MAX, u64::from(u32::MAX) << 9] {
            let outside = HostFrame(outside);
            assert_eq!(frames.free(outside), Err(FreeError::NotAllocated(outside)));
        }
    }

    #[test]
    fn memory_added_twice_exists_once() {
        let mut blocks = [Block::ABSENT; 2];
        let mut frames = Frames::new(&mut blocks);
        frames.add(span(500, 520));
        frames.add(span(510, 530));
        frames.add(span(0, 1024));
        frames.add(span(0, 1024));
        let mut seen = BTreeSet::new();
        while let Some(frame) = frames.allocate() {
            assert!(seen.insert(frame));
        }
        assert_eq!(seen.len(), 1024);
    }

    #[test]
    fn the_bookkeeping_covers_the_last_partial_block() {
        assert_eq!(Frames::blocks_up_to(Hpa(BLOCK_BYTES)), 1);
        assert_eq!(Frames::blocks_up_to(Hpa(BLOCK_BYTES + 4096)), 2);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Allocate,
        AllocateLarge,
        Free(usize),
        FreeLarge(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => Just(Step::Allocate),
            1 => Just(Step::AllocateLarge),
            5 => any::<usize>().prop_map(Step::Free),
            1 => any::<usize>().prop_map(Step::FreeLarge),
        ];
        proptest::collection::vec(step, 0..1500)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn no_frame_is_ever_out_twice_and_none_is_lost(
            start in 0u64..600, frames_added in 0u64..1500, steps in steps(),
        ) {
            let mut blocks = [Block::ABSENT; 4];
            let mut frames = Frames::new(&mut blocks);
            let memory = span(start, (start + frames_added).min(2048));
            frames.add(memory);
            let mut free: BTreeSet<u64> =
                (memory.start.frame().0..memory.end.frame().0).collect();
            let (mut out, mut large) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Allocate => match frames.allocate() {
                        Some(frame) => {
                            prop_assert!(free.remove(&frame.0));
                            out.push(frame);
                        }
                        None => prop_assert!(free.is_empty()),
                    },
                    Step::AllocateLarge => match frames.allocate_large() {
                        Some(frame) => {
                            prop_assert_eq!(frame.0 % 512, 0);
                            for one in frame.0..frame.0 + 512 {
                                prop_assert!(free.remove(&one));
                            }
                            large.push(frame);
                        }
                        None => {
                            let whole = |n: u64| free.range(n * 512..n * 512 + 512).count() == 512;
                            prop_assert!(!(0..4).any(whole));
                        }
                    },
                    Step::Free(pick) if !out.is_empty() => {
                        let frame = out.swap_remove(pick % out.len());
                        prop_assert_eq!(frames.free(frame), Ok(()));
                        prop_assert!(free.insert(frame.0));
                    }
                    Step::FreeLarge(pick) if !large.is_empty() => {
                        let frame = large.swap_remove(pick % large.len());
                        prop_assert_eq!(frames.free_large(frame), Ok(()));
                        free.extend(frame.0..frame.0 + 512);
                    }
                    Step::Free(_) | Step::FreeLarge(_) => {}
                }
                prop_assert_eq!(frames.statistics().free_frames, free.len() as u64);
            }
        }
    }
}
