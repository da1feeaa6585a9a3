//! One VM's memory: frames given on first touch, and the second stage that maps them.
//!
//! Owns every frame the guest has, from the touch that asks for it to the reset or end that
//! frees it. A frame is zeroed before it is mapped, so no guest reads what another left.
//! Ring 0 and the VMM reach guest memory through the same tables, page by page.
//!
//! Does not own the layout (`skerry_load::layout`) or what devices do outside of RAM.

use crate::mem;
use crate::virt::tables::Frames;
use crate::virt::{Backend, Stage};
use alloc::vec::Vec;
use core::ops::Range;
use skerry_load::{LoadPlan, layout};
use skerry_manifest::PageSize as Largest;
use skerry_second_stage::{Leaf, Mapping, PageSize};
use skerry_words::{Gpa, GuestMemory, Hpa, Unbacked};

/// Why an address could not be given memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotBacked {
    /// It is no RAM: a device's, or nobody's.
    NotRam,
    /// The host has no frame left.
    OutOfMemory,
}

/// The memory of one VM.
pub struct Ram {
    stage: Stage,
    ranges: Vec<Range<Gpa>>,
    largest: Largest,
    resident_bytes: u64,
}

impl Ram {
    /// Memory of the layout's ranges, none of it backed yet; `None` without a frame for the
    /// root table.
    pub fn new(backend: &Backend, memory_bytes: u64, largest: Largest) -> Option<Self> {
        let stage = backend.new_stage()?;
        let ranges = layout::ram(memory_bytes).collect();
        Some(Self { stage, ranges, largest, resident_bytes: 0 })
    }

    /// The tables, for a vCPU to run on.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Bytes of frames the guest has.
    pub fn resident_bytes(&self) -> u64 {
        self.resident_bytes
    }

    /// Bytes of second-stage tables.
    pub fn table_bytes(&self) -> u64 {
        self.stage.tables() * 4096
    }

    /// Gives `gpa` memory. An address that has some already stays as it is.
    ///
    /// # Errors
    /// [`NotBacked`]; nothing has changed.
    #[inline]
    pub fn back(&mut self, gpa: Gpa) -> Result<(), NotBacked> {
        let Some(range) = self.ranges.iter().find(|range| range.contains(&gpa)) else {
            return Err(NotBacked::NotRam);
        };
        let large = PageSize::Mib2.bytes();
        let start = Gpa(gpa.0 & !(large - 1));
        let fits = range.start <= start && start.0 + large <= range.end.0;
        if fits && self.largest > Largest::Size4K && self.back_large(start) {
            return Ok(());
        }
        self.back_small(gpa.page_start())
    }

    /// One 2 MiB page, if nothing in it is mapped and the host has a block of that size.
    fn back_large(&mut self, start: Gpa) -> bool {
        let Some(frame) = mem::allocate_large() else { return false };
        let leaf = Leaf::ram(frame.start(), PageSize::Mib2);
        mem::bytes::zero_frames(frame, 512);
        if self.stage.map(start, leaf).is_err() {
            mem::free_large(frame);
            return false;
        }
        self.resident_bytes += PageSize::Mib2.bytes();
        true
    }

    fn back_small(&mut self, start: Gpa) -> Result<(), NotBacked> {
        if self.stage.translate(start).is_some() {
            return Ok(());
        }
        let frame = mem::allocate().ok_or(NotBacked::OutOfMemory)?;
        mem::bytes::zero_frame(frame);
        if self.stage.map(start, Leaf::ram(frame.start(), PageSize::Kib4)).is_err() {
            mem::free(frame);
            return Err(NotBacked::OutOfMemory);
        }
        self.resident_bytes += PageSize::Kib4.bytes();
        Ok(())
    }

    /// Copies a plan's pieces to their places. Fresh memory is zero, so a piece's trailing
    /// zeros cost nothing.
    ///
    /// # Errors
    /// The first address that could not be backed.
    pub fn apply(&mut self, plan: &LoadPlan<'_>) -> Result<(), Unbacked> {
        plan.pieces.iter().try_for_each(|piece| self.write(piece.at, &piece.bytes))
    }

    /// Takes every frame and table back and starts again with nothing backed. No vCPU may
    /// run on the old tables afterwards.
    pub fn clear(&mut self, backend: &Backend) -> Option<()> {
        self.free_leaves();
        let fresh = backend.new_stage()?;
        core::mem::replace(&mut self.stage, fresh).destroy();
        self.resident_bytes = 0;
        Some(())
    }

    /// Gives everything back for good.
    pub fn destroy(self) {
        self.free_leaves();
        self.stage.destroy();
    }

    fn free_leaves(&self) {
        self.stage.each_leaf(|_, leaf| match leaf.size {
            PageSize::Kib4 => mem::free(leaf.hpa.frame()),
            PageSize::Mib2 | PageSize::Gib1 => mem::free_large(leaf.hpa.frame()),
        });
    }

    /// Where `gpa` is in host memory, backed now if it was not.
    #[inline]
    fn locate(&mut self, gpa: Gpa) -> Result<Mapping, Unbacked> {
        if let Some(mapping) = self.stage.translate(gpa) {
            return Ok(mapping);
        }
        self.back(gpa).map_err(|_| Unbacked(gpa))?;
        self.stage.translate(gpa).ok_or(Unbacked(gpa))
    }

    /// Visits the host pieces of a guest range, each within one page.
    #[inline]
    fn visit(
        &mut self,
        at: Gpa,
        bytes: usize,
        mut copy: impl FnMut(Hpa, Range<usize>),
    ) -> Result<(), Unbacked> {
        let mut done = 0;
        while done < bytes {
            let gpa = at.checked_add(done as u64).ok_or(Unbacked(at))?;
            let mapping = self.locate(gpa)?;
            let length = (bytes - done).min(mapping.bytes_left as usize);
            copy(mapping.hpa, done..done + length);
            done += length;
        }
        Ok(())
    }
}

impl GuestMemory for Ram {
    #[inline]
    fn read(&mut self, at: Gpa, into: &mut [u8]) -> Result<(), Unbacked> {
        self.visit(at, into.len(), |hpa, part| {
            // SAFETY: `visit` gives pieces of this VM's own mappings.
            unsafe { mem::guest::read(hpa, &mut into[part]) }
        })
    }

    #[inline]
    fn write(&mut self, at: Gpa, from: &[u8]) -> Result<(), Unbacked> {
        self.visit(at, from.len(), |hpa, part| {
            // SAFETY: `visit` gives pieces of this VM's own mappings.
            unsafe { mem::guest::write(hpa, &from[part]) }
        })
    }
}

/// The one tables type over both formats.
impl Stage {
    #[inline]
    fn map(&mut self, gpa: Gpa, leaf: Leaf) -> Result<(), skerry_second_stage::MapError> {
        match self {
            Self::Ept(stage) => stage.map(&mut Frames, gpa, leaf),
        }
    }

    #[inline]
    fn translate(&self, gpa: Gpa) -> Option<Mapping> {
        match self {
            Self::Ept(stage) => stage.translate(&Frames, gpa),
        }
    }

    fn each_leaf(&self, mut visit: impl FnMut(Gpa, Leaf)) {
        match self {
            Self::Ept(stage) => stage.each_leaf(&Frames, &mut visit),
        }
    }

    fn tables(&self) -> u64 {
        match self {
            Self::Ept(stage) => stage.tables(),
        }
    }

    fn destroy(self) {
        match self {
            Self::Ept(stage) => stage.destroy(&mut Frames),
        }
    }
}
