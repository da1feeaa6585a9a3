//! A guest: one VM's RAM, and the second stage that maps it.
//!
//! Owns every frame the guest has, from the touch that asks for it to the end that frees it. A
//! frame is zeroed before it is mapped, so no guest reads what another left. Its VMM has the
//! same frames in its window, page by page as it touches them.
//!
//! Does not own where RAM is: who makes the guest says so.

use crate::mem;
use crate::virt::tables::Frames;
use crate::virt::{Backend, Stage};
use alloc::vec::Vec;
use core::ops::Range;
use skerry_abi::Refused;
use skerry_abi::{GuestRange, layout};
use skerry_second_stage::{Leaf, MapError, Mapping, PageSize};
use skerry_words::{Gpa, HostFrame, Hpa, PAGE_BYTES};

/// Why an address could not be given memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotBacked {
    /// It is no RAM: a device's, or nobody's.
    NotRam,
    /// The host has no frame left.
    OutOfMemory,
}

/// The memory of one VM.
pub struct Guest {
    stage: Option<Stage>,
    ranges: Vec<Range<Gpa>>,
    /// Where the last range ends.
    end: Gpa,
    largest: PageSize,
    resident_bytes: u64,
    /// The page at `fee00000`, if the CPU is to look after the local APICs.
    apic_access: Option<Hpa>,
}

impl Guest {
    /// RAM at these ranges, none of it backed yet, in pages of at most `largest_bytes`.
    ///
    /// # Errors
    /// The ranges are none, or no frame is left.
    pub fn new(
        backend: &Backend,
        ranges: &[GuestRange],
        largest_bytes: u64,
    ) -> Result<Self, Refused> {
        let largest = PageSize::DOWN
            .into_iter()
            .find(|size| size.bytes() == largest_bytes)
            .ok_or(Refused::BadArgument)?;
        let ranges = checked(ranges).ok_or(Refused::BadArgument)?;
        let stage = backend.new_stage().ok_or(Refused::Exhausted)?;
        Ok(Self {
            stage: Some(stage),
            end: ranges.last().map_or(Gpa(0), |range| range.end),
            ranges,
            largest: largest.min(backend.largest_page()),
            resident_bytes: 0,
            apic_access: None,
        })
    }

    /// The tables, for a vCPU to run on.
    pub fn stage(&self) -> &Stage {
        self.stage.as_ref().unwrap_or_else(|| gone())
    }

    /// The guest's page at `fee00000`, if its CPUs can look after their local APICs there and it
    /// is no RAM. The page itself is never the APIC: a vCPU whose APIC is elsewhere finds memory of
    /// its own VM's there.
    ///
    /// # Errors
    /// No frame is left.
    pub fn apic_access(&mut self, backend: &Backend) -> Result<Option<Hpa>, Refused> {
        const APIC: Gpa = Gpa(0xfee0_0000);
        let is_ready = self.apic_access.is_some() || !backend.virtualizes_apic();
        if is_ready || self.range_of(APIC).is_some() {
            return Ok(self.apic_access);
        }
        self.back_small(APIC).map_err(|_| Refused::Exhausted)?;
        self.apic_access = self.stage().translate(APIC).map(|mapping| mapping.hpa);
        Ok(self.apic_access)
    }

    #[inline(always)]
    fn stage_mut(&mut self) -> &mut Stage {
        self.stage.as_mut().unwrap_or_else(|| gone())
    }

    /// Bytes of frames the guest has.
    pub fn resident_bytes(&self) -> u64 {
        self.resident_bytes
    }

    /// Bytes of second-stage tables.
    pub fn table_bytes(&self) -> u64 {
        self.stage().tables() * 4096
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

    /// The range of RAM around `gpa`. The most accesses to no RAM are to devices beyond it.
    #[inline(always)]
    fn range_of(&self, gpa: Gpa) -> Option<&Range<Gpa>> {
        if gpa >= self.end {
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
            .stage_mut()
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
            .stage_mut()
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

    /// The page around `gpa`, backed now if it was not: where it starts, for the guest and in
    /// host memory, and its size.
    ///
    /// # Errors
    /// [`NotBacked`].
    pub fn page(&mut self, gpa: Gpa) -> Result<(Gpa, Leaf), NotBacked> {
        if self.range_of(gpa).is_none() {
            return Err(NotBacked::NotRam);
        }
        if self.stage().translate(gpa).is_none() {
            self.back(gpa)?;
        }
        let mapping = self.stage().translate(gpa).ok_or(NotBacked::OutOfMemory)?;
        let offset = gpa.0 & (mapping.size.bytes() - 1);
        let leaf = Leaf::ram(Hpa(mapping.hpa.0 - offset), mapping.size);
        Ok((Gpa(gpa.0 - offset), leaf))
    }

    fn free_leaves(&self) {
        self.stage().each_leaf(|_, leaf| match leaf.size {
            PageSize::Kib4 => mem::free(leaf.hpa.frame()),
            size => free_blocks(leaf.hpa.frame(), size),
        });
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.free_leaves();
        if let Some(stage) = self.stage.take() {
            stage.destroy();
        }
    }
}

/// Only `drop` takes the tables away.
fn gone() -> ! {
    panic!("a guest without its tables")
}

/// The ranges, if they are ascending, disjoint, page-aligned and none is empty.
fn checked(ranges: &[GuestRange]) -> Option<Vec<Range<Gpa>>> {
    let mut end = 0;
    let mut found = Vec::with_capacity(ranges.len());
    for range in ranges {
        let aligned = range.start % PAGE_BYTES == 0 && range.end % PAGE_BYTES == 0;
        let ordered = end <= range.start && range.start < range.end;
        if !aligned || !ordered || range.end > layout::GUEST_END {
            return None;
        }
        end = range.end;
        found.push(Gpa(range.start)..Gpa(range.end));
    }
    (!found.is_empty()).then_some(found)
}

/// Gives the 2 MiB blocks of a large page back.
fn free_blocks(first: HostFrame, size: PageSize) {
    let block_frames = PageSize::Mib2.bytes() / PAGE_BYTES;
    for block in 0..size.bytes() / PageSize::Mib2.bytes() {
        mem::free_large(HostFrame(first.0 + block * block_frames));
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
