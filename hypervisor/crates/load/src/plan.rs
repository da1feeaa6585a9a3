//! The plan itself, and the one place that keeps its promises.
//!
//! [`Builder`] takes every part a loader places. It refuses what leaves the VM's memory or
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

/// How to start a guest. All pieces lie in memory that [`crate::layout::backed`] gives, and
/// none over another; what they do not fill is expected to be zero.
#[derive(Clone, Debug)]
pub struct LoadPlan<'a> {
    /// What goes into memory.
    pub pieces: Vec<Piece<'a>>,
    /// The vCPU's state at its first instruction.
    pub entry: Box<GuestState>,
    /// What has run before it, to judge by the devices.
    pub firmware: Firmware,
}

/// How the devices are when an image is entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Firmware {
    /// As after power-on.
    #[default]
    None,
    /// As a BIOS leaves them: the 8259 pair at vectors 8h and 70h, the timer at 18.2 Hz and not
    /// masked.
    Bios,
}

/// A plan in the making.
pub(crate) struct Builder<'a> {
    memory_bytes: u64,
    rom_bytes: u64,
    pieces: Vec<Piece<'a>>,
    /// Taken ranges: start to end and owner.
    taken: BTreeMap<u64, (u64, Part)>,
}

impl<'a> Builder<'a> {
    /// Nothing placed yet, in so much memory and beside a ROM of `rom_bytes`, or 0.
    pub(crate) fn new(memory_bytes: u64, rom_bytes: u64) -> Self {
        Self {
            memory_bytes,
            rom_bytes,
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
        if span_bytes == 0 {
            return Ok(());
        }
        let end = at.0.saturating_add(span_bytes);
        let range = at.0..end;
        let inside = |ram: Range<Gpa>| ram.start.0 <= range.start && range.end <= ram.end.0;
        if end == u64::MAX || !layout::backed(self.memory_bytes, self.rom_bytes).any(inside) {
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

    /// Puts `bytes` as high as they go, on a page of their own between 1 MiB and `ceiling`.
    pub(crate) fn place_high(
        &mut self,
        part: Part,
        bytes: &'a [u8],
        ceiling: u64,
    ) -> Result<Gpa, LoadError> {
        let span_bytes = bytes.len() as u64;
        let ceiling = ceiling.min(HOLE_START);
        let mut top = ceiling.min(self.memory_bytes);
        while let Some(start) = top.checked_sub(span_bytes).map(|at| Gpa(at).page_start().0) {
            if start < MIB {
                break;
            }
            match self.taken_in(&(start..top)) {
                Some((below, _)) => top = below.start,
                None => {
                    self.place(part, Gpa(start), bytes, span_bytes)?;
                    return Ok(Gpa(start));
                }
            }
        }
        Err(self.no_room(part, span_bytes, ceiling))
    }

    /// Puts `bytes` as low as they go, at a multiple of `align`, in the first of these windows
    /// that has room for them.
    pub(crate) fn place_low(
        &mut self,
        part: Part,
        bytes: impl Into<Cow<'a, [u8]>>,
        align: u64,
        windows: &[Range<u64>],
    ) -> Result<Gpa, LoadError> {
        let bytes = bytes.into();
        let at = self.room(part, bytes.len() as u64, align, windows)?;
        self.place(part, at, bytes, 0)?;
        Ok(at)
    }

    /// Where [`Builder::place_low`] would put so many bytes.
    pub(crate) fn room(
        &self,
        part: Part,
        span_bytes: u64,
        align: u64,
        windows: &[Range<u64>],
    ) -> Result<Gpa, LoadError> {
        let mut found = windows.iter();
        let found = found.find_map(|window| self.room_in(span_bytes, align, window));
        found.ok_or_else(|| self.no_room(part, span_bytes, HOLE_START))
    }

    fn room_in(&self, span_bytes: u64, align: u64, window: &Range<u64>) -> Option<Gpa> {
        let window_end = window.end.min(self.memory_bytes);
        let mut start = window.start.checked_next_multiple_of(align)?;
        loop {
            let end = start
                .checked_add(span_bytes)
                .filter(|end| *end <= window_end)?;
            match self.taken_in(&(start..end)) {
                // Each turn leaves a part behind.
                Some((taken, _)) => start = taken.end.checked_next_multiple_of(align)?,
                None => return Some(Gpa(start)),
            }
        }
    }

    /// The first address from 1 MiB on behind everything below the hole for devices.
    pub(crate) fn low_end(&self) -> u64 {
        let below = self.taken.range(..HOLE_START).next_back();
        below.map_or(MIB, |(_, (end, _))| MIB.max(*end))
    }

    pub(crate) fn finish(self, entry: Box<GuestState>) -> LoadPlan<'a> {
        LoadPlan {
            pieces: self.pieces,
            entry,
            firmware: Firmware::None,
        }
    }

    /// The place and owner of the highest part that shares an address with `range`. Taken
    /// ranges do not overlap, so the last one that starts before its end also ends last.
    fn taken_in(&self, range: &Range<u64>) -> Option<(Range<u64>, Part)> {
        let (start, (end, part)) = self.taken.range(..range.end).next_back()?;
        (*end > range.start).then_some((*start..*end, *part))
    }

    fn no_room(&self, part: Part, part_bytes: u64, ceiling: u64) -> LoadError {
        LoadError::DoesNotFit {
            part,
            part_bytes,
            memory_bytes: self.memory_bytes,
            needed_bytes: self.room_for(part_bytes).filter(|end| *end <= ceiling),
        }
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
