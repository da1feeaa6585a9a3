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
use skerry_second_stage::{Leaf, MapError, Mapping, PageSize};
use skerry_words::{Gpa, GuestMemory, HostFrame, Hpa, PAGE_BYTES, Unbacked};

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
    /// From the end of the lower RAM to 4 GiB.
    hole: Range<Gpa>,
    largest: PageSize,
    resident_bytes: u64,
    recent: Recent,
}

impl Ram {
    /// Memory of the layout's ranges, none of it backed yet; `None` without a frame for the
    /// root table.
    pub fn new(backend: &Backend, memory_bytes: u64, largest: Largest) -> Option<Self> {
        let stage = backend.new_stage()?;
        let ranges = layout::ram(memory_bytes).collect();
        let hole = Gpa(memory_bytes.min(layout::HOLE_START))..Gpa(layout::HIGH_RAM_START);
        let largest = page_size(largest).min(backend.largest_page());
        Some(Self {
            stage,
            ranges,
            hole,
            largest,
            resident_bytes: 0,
            recent: Recent::EMPTY,
        })
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
        let Some(range) = self.range_of(gpa) else {
            return Err(NotBacked::NotRam);
        };
        if self.largest > PageSize::Kib4 && self.back_by_large(gpa, range.clone()) {
            return Ok(());
        }
        self.back_small(gpa.page_start())
    }

    /// The range of RAM around `gpa`. The most accesses to no RAM are to devices below 4 GiB,
    /// beyond the end of the lower RAM: those are told apart at once.
    #[inline(always)]
    fn range_of(&self, gpa: Gpa) -> Option<&Range<Gpa>> {
        if self.hole.contains(&gpa) {
            return None;
        }
        self.ranges.iter().find(|range| range.contains(&gpa))
    }

    /// The largest page that fits into `range` around `gpa`; false if none can be given.
    #[inline(never)]
    fn back_by_large(&mut self, gpa: Gpa, range: Range<Gpa>) -> bool {
        [PageSize::Gib1, PageSize::Mib2].into_iter().any(|size| {
            let start = Gpa(gpa.0 & !(size.bytes() - 1));
            let fits = range.start <= start && start.0 + size.bytes() <= range.end.0;
            fits && size <= self.largest && self.back_large(start, size)
        })
    }

    /// One 2 MiB or 1 GiB page, if nothing in it is mapped and the host has such a block.
    fn back_large(&mut self, start: Gpa, size: PageSize) -> bool {
        let block = match size {
            PageSize::Gib1 => mem::allocate_gib(),
            PageSize::Mib2 | PageSize::Kib4 => mem::allocate_large(),
        };
        let Some(frame) = block else { return false };
        mem::bytes::zero_frames(frame, (size.bytes() / PAGE_BYTES) as usize);
        if self
            .stage
            .map(start, Leaf::ram(frame.start(), size))
            .is_err()
        {
            free_blocks(frame, size);
            return false;
        }
        self.resident_bytes += size.bytes();
        true
    }

    fn back_small(&mut self, start: Gpa) -> Result<(), NotBacked> {
        let frame = mem::allocate().ok_or(NotBacked::OutOfMemory)?;
        mem::bytes::zero_frame(frame);
        match self
            .stage
            .map(start, Leaf::ram(frame.start(), PageSize::Kib4))
        {
            Ok(()) => {
                self.resident_bytes += PageSize::Kib4.bytes();
                Ok(())
            }
            Err(error) => {
                mem::free(frame);
                match error {
                    MapError::Overlap(_) => Ok(()),
                    _ => Err(NotBacked::OutOfMemory),
                }
            }
        }
    }

    /// Copies a plan's pieces to their places. Fresh memory is zero, so a piece's trailing
    /// zeros cost nothing.
    ///
    /// # Errors
    /// The first address that could not be backed.
    pub fn apply(&mut self, plan: &LoadPlan<'_>) -> Result<(), Unbacked> {
        plan.pieces
            .iter()
            .try_for_each(|piece| self.write(piece.at, &piece.bytes))
    }

    /// Takes every frame and table back and starts again with nothing backed. No vCPU may
    /// run on the old tables afterwards.
    pub fn clear(&mut self, backend: &Backend) -> Option<()> {
        self.free_leaves();
        let fresh = backend.new_stage()?;
        core::mem::replace(&mut self.stage, fresh).destroy();
        self.resident_bytes = 0;
        self.recent = Recent::EMPTY;
        Some(())
    }

    fn free_leaves(&self) {
        self.stage.each_leaf(|_, leaf| match leaf.size {
            PageSize::Kib4 => mem::free(leaf.hpa.frame()),
            size => free_blocks(leaf.hpa.frame(), size),
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

    /// Where the page of `at` is, and keeps it for the next time.
    #[cold]
    fn look_up(&mut self, at: Gpa) -> Option<Hpa> {
        let hpa = self.locate(at).ok()?.hpa;
        self.recent.keep(at, hpa);
        Some(hpa)
    }

    /// Visits the host pieces of a guest range, each within one page. The few bytes of a
    /// page-table entry or an instruction are mostly in a page that was just looked up.
    #[inline]
    fn visit(
        &mut self,
        at: Gpa,
        bytes: usize,
        copy: impl FnMut(Hpa, Range<usize>),
    ) -> Result<(), Unbacked> {
        let mut copy = copy;
        if at.page_offset() + bytes as u64 <= PAGE_BYTES
            && let Some(hpa) = self.recent.find(at)
        {
            copy(hpa, 0..bytes);
            return Ok(());
        }
        self.visit_mapped(at, bytes, copy)
    }

    fn visit_mapped(
        &mut self,
        at: Gpa,
        bytes: usize,
        mut copy: impl FnMut(Hpa, Range<usize>),
    ) -> Result<(), Unbacked> {
        let mut done = 0;
        while done < bytes {
            let gpa = at.checked_add(done as u64).ok_or(Unbacked(at))?;
            let mapping = self.locate(gpa)?;
            self.recent.keep(gpa, mapping.hpa);
            let length = (bytes - done).min(mapping.bytes_left as usize);
            copy(mapping.hpa, done..done + length);
            done += length;
        }
        Ok(())
    }
}

/// The guest pages ring 0 looked up last, with their host pages. What is mapped stays mapped
/// until the whole VM is cleared, so an entry can only become useless, never wrong.
#[derive(Clone, Copy)]
struct Recent {
    pages: [(Gpa, Hpa); Recent::ENTRIES],
}

impl Recent {
    const ENTRIES: usize = 64;
    /// No page starts at an odd address.
    const NOTHING: Gpa = Gpa(1);
    const EMPTY: Self = Self {
        pages: [(Self::NOTHING, Hpa(0)); Self::ENTRIES],
    };

    #[inline(always)]
    fn slot(gpa: Gpa) -> usize {
        gpa.frame().0 as usize % Self::ENTRIES
    }

    #[inline(always)]
    fn find(&self, gpa: Gpa) -> Option<Hpa> {
        let (page, host) = self.pages[Self::slot(gpa)];
        (page == gpa.page_start()).then_some(Hpa(host.0 | gpa.page_offset()))
    }

    fn keep(&mut self, gpa: Gpa, hpa: Hpa) {
        self.pages[Self::slot(gpa)] = (gpa.page_start(), hpa.page_start());
    }
}

/// Gives the 2 MiB blocks of a large page back.
fn free_blocks(first: HostFrame, size: PageSize) {
    let block_frames = PageSize::Mib2.bytes() / PAGE_BYTES;
    for block in 0..size.bytes() / PageSize::Mib2.bytes() {
        mem::free_large(HostFrame(first.0 + block * block_frames));
    }
}

fn page_size(largest: Largest) -> PageSize {
    match largest {
        Largest::Size4K => PageSize::Kib4,
        Largest::Size2M => PageSize::Mib2,
        Largest::Size1G => PageSize::Gib1,
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

    #[inline(always)]
    fn word(&mut self, at: Gpa) -> Option<u64> {
        if at.page_offset() > PAGE_BYTES - 8 {
            return None;
        }
        let hpa = match self.recent.find(at) {
            Some(hpa) => hpa,
            None => self.look_up(at)?,
        };
        let mut bytes = [0; 8];
        // SAFETY: the page of `hpa` is one of this VM's own mappings, and holds all eight.
        unsafe { mem::guest::read(hpa, &mut bytes) };
        Some(u64::from_le_bytes(bytes))
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
    fn map(&mut self, gpa: Gpa, leaf: Leaf) -> Result<(), MapError> {
        match self {
            Self::Ept(stage) => stage.map(&mut Frames, gpa, leaf),
            Self::Npt(stage) => stage.map(&mut Frames, gpa, leaf),
        }
    }

    #[inline]
    fn translate(&self, gpa: Gpa) -> Option<Mapping> {
        match self {
            Self::Ept(stage) => stage.translate(&Frames, gpa),
            Self::Npt(stage) => stage.translate(&Frames, gpa),
        }
    }

    fn each_leaf(&self, mut visit: impl FnMut(Gpa, Leaf)) {
        match self {
            Self::Ept(stage) => stage.each_leaf(&Frames, &mut visit),
            Self::Npt(stage) => stage.each_leaf(&Frames, &mut visit),
        }
    }

    fn tables(&self) -> u64 {
        match self {
            Self::Ept(stage) => stage.tables(),
            Self::Npt(stage) => stage.tables(),
        }
    }

    fn destroy(self) {
        match self {
            Self::Ept(stage) => stage.destroy(&mut Frames),
            Self::Npt(stage) => stage.destroy(&mut Frames),
        }
    }
}
