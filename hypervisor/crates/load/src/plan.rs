//! The plan itself, and the one place that keeps its promises.
//!
//! [`Builder`] takes every part a loader places. It refuses what leaves the VM's RAM or
//! lies over another part, so no loader can make a plan that does.

use alloc::{borrow::Cow, boxed::Box, collections::BTreeMap, vec::Vec};
use core::ops::Range;

use skerry_words::{Gpa, GuestState, PAGE_BYTES};

use crate::layout::{self, HOLE_START, MIB};
use crate::{LoadError, Part};

/// Bytes for one place in guest memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece<'a> {
    /// Where the first byte goes.
    pub at: Gpa,
    /// The bytes.
    pub bytes: Cow<'a, [u8]>,
    /// How many zeros follow them.
    pub zero_bytes: u64,
}

/// How to start a guest. All pieces lie in RAM and none over another; what they do not
/// fill is expected to be zero.
#[derive(Clone, Debug)]
pub struct LoadPlan<'a> {
    /// What goes into memory.
    pub pieces: Vec<Piece<'a>>,
    /// The vCPU's state at its first instruction.
    pub entry: Box<GuestState>,
}

/// A plan in the making.
pub(crate) struct Builder<'a> {
    memory_bytes: u64,
    pieces: Vec<Piece<'a>>,
    /// Taken ranges: start to end and owner.
    taken: BTreeMap<u64, (u64, Part)>,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(memory_bytes: u64) -> Self {
        Self {
            memory_bytes,
            pieces: Vec::new(),
            taken: BTreeMap::new(),
        }
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Puts `bytes` at `at`, with zeros up to `span_bytes` in all.
    pub(crate) fn place(
        &mut self,
        part: Part,
        at: Gpa,
        bytes: impl Into<Cow<'a, [u8]>>,
        span_bytes: u64,
    ) -> Result<(), LoadError> {
        let bytes = bytes.into();
        self.reserve(part, at, span_bytes.max(bytes.len() as u64))?;
        self.push(at, bytes, span_bytes);
        Ok(())
    }

    /// Puts `bytes` at `at`, in a range that was reserved before.
    pub(crate) fn push(&mut self, at: Gpa, bytes: impl Into<Cow<'a, [u8]>>, span_bytes: u64) {
        let bytes = bytes.into();
        let zero_bytes = span_bytes.saturating_sub(bytes.len() as u64);
        self.pieces.push(Piece {
            at,
            bytes,
            zero_bytes,
        });
    }

    /// Takes `span_bytes` from `at` on for `part`.
    pub(crate) fn reserve(
        &mut self,
        part: Part,
        at: Gpa,
        span_bytes: u64,
    ) -> Result<(), LoadError> {
        let end = at.0.saturating_add(span_bytes);
        let range = at.0..end;
        let inside = |ram: Range<Gpa>| ram.start.0 <= range.start && range.end <= ram.end.0;
        if end == u64::MAX || !layout::ram(self.memory_bytes).any(inside) {
            return Err(LoadError::OutsideRam {
                part,
                start: at.0,
                end,
                memory_bytes: self.memory_bytes,
            });
        }
        if let Some((_, first)) = self.taken_in(&range) {
            return Err(LoadError::Overlap {
                first,
                second: part,
                start: at.0,
            });
        }
        self.taken.insert(at.0, (end, part));
        Ok(())
    }

    /// Puts the initrd as high as it goes, on a page of its own between 1 MiB and
    /// `ceiling`.
    pub(crate) fn place_initrd(&mut self, bytes: &'a [u8], ceiling: u64) -> Result<Gpa, LoadError> {
        let span_bytes = bytes.len() as u64;
        let ceiling = ceiling.min(HOLE_START);
        let mut top = ceiling.min(self.memory_bytes);
        while let Some(start) = top.checked_sub(span_bytes).map(|at| Gpa(at).page_start().0) {
            if start < MIB {
                break;
            }
            match self.taken_in(&(start..top)) {
                Some((below, _)) => top = below,
                None => {
                    self.place(Part::Initrd, Gpa(start), bytes, span_bytes)?;
                    return Ok(Gpa(start));
                }
            }
        }
        Err(LoadError::InitrdDoesNotFit {
            initrd_bytes: span_bytes,
            memory_bytes: self.memory_bytes,
            needed_bytes: self.room_for(span_bytes).filter(|end| *end <= ceiling),
        })
    }

    pub(crate) fn finish(self, entry: Box<GuestState>) -> LoadPlan<'a> {
        LoadPlan {
            pieces: self.pieces,
            entry,
        }
    }

    /// The start and owner of the highest part that shares an address with `range`. Taken
    /// ranges do not overlap, so the last one that starts before its end also ends last.
    fn taken_in(&self, range: &Range<u64>) -> Option<(u64, Part)> {
        let (start, (end, part)) = self.taken.range(..range.end).next_back()?;
        (*end > range.start).then_some((*start, *part))
    }

    /// Where RAM would have to end to hold so many bytes above everything taken.
    fn room_for(&self, span_bytes: u64) -> Option<u64> {
        let highest = self.taken.values().map(|(end, _)| *end).max().unwrap_or(0);
        highest
            .max(MIB)
            .checked_next_multiple_of(PAGE_BYTES)?
            .checked_add(span_bytes)
    }
}
