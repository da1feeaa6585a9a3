//! A component's address space: its own lower half, ring 0's upper half.
//!
//! Owns the tables. Their format is that of nested paging, so the walker is the second stage's.
//! Ring 0 never goes through the lower half: what a component has is copied through the direct
//! map. Pages are only ever added while a component runs, so nothing has to be flushed, but in
//! [`Space::unmap`].

use super::{layout, tables};
use crate::virt::tables::Frames;
use skerry_abi::Rights;
use skerry_second_stage::{
    Leaf, MapError, Mapping, MemoryType, Npt, PageSize, Rights as PageRights, SecondStage,
    TABLE_ENTRIES, TableMemory,
};
use skerry_words::{Gpa, HostFrame, Hpa};

/// The first entry of ring 0's half.
const UPPER_HALF: usize = TABLE_ENTRIES / 2;

/// One address space.
pub struct Space {
    tables: Option<SecondStage<Npt>>,
    root: HostFrame,
}

impl Space {
    /// An empty one; `None` without a frame.
    pub fn new() -> Option<Self> {
        let tables = SecondStage::<Npt>::new(&mut Frames)?;
        let root = tables.root();
        let ring0 = tables::root();
        for index in UPPER_HALF..TABLE_ENTRIES {
            let entry = Frames.read(ring0, index);
            Frames.write(root, index, entry);
        }
        Some(Self {
            tables: Some(tables),
            root,
        })
    }

    /// The value of CR3.
    pub fn cr3(&self) -> u64 {
        self.root.start().0
    }

    /// Maps one page of this size at `at`; one that is mapped already stays.
    ///
    /// # Errors
    /// No frame is left for a table.
    pub fn map(
        &mut self,
        at: u64,
        page: Hpa,
        size: PageSize,
        rights: Rights,
    ) -> Result<(), Exhausted> {
        debug_assert!(at < layout::USER_END, "ring 0's half");
        let leaf = Leaf {
            hpa: page,
            size,
            rights: page_rights(rights),
            memory_type: MemoryType::WriteBack,
        };
        let tables = self.tables.as_mut().ok_or(Exhausted)?;
        match tables.map(&mut Frames, Gpa(at), leaf) {
            Ok(()) | Err(MapError::Overlap(_)) => Ok(()),
            Err(_) => Err(Exhausted),
        }
    }

    /// Where `at` is, if it is mapped.
    pub fn translate(&self, at: u64) -> Option<Mapping> {
        self.tables.as_ref()?.translate(&Frames, Gpa(at))
    }

    /// Takes the 4 KiB page at `at` away, if it is there.
    pub fn unmap(&mut self, at: u64) {
        if let Some(tables) = &mut self.tables {
            // Fails where nothing is mapped, and then nothing is to be done.
            let _ = tables.unmap(&mut Frames, Gpa(at), PageSize::Kib4);
        }
        super::flush_page(at);
    }

    /// Makes it the CPU's, if it is not.
    pub fn activate(&self) {
        tables::use_root(self.root);
    }

    /// What its tables take.
    pub fn bytes(&self) -> u64 {
        self.tables.as_ref().map_or(0, SecondStage::tables) * 4096
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if tables::current_root() == self.root {
            tables::use_root(tables::root());
        }
        for index in UPPER_HALF..TABLE_ENTRIES {
            Frames.write(self.root, index, 0);
        }
        if let Some(tables) = self.tables.take() {
            tables.destroy(&mut Frames);
        }
    }
}

/// No frame is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exhausted;

fn page_rights(rights: Rights) -> PageRights {
    if rights.contains(Rights::WRITE) {
        PageRights::ReadWrite
    } else if rights.contains(Rights::RUN) {
        PageRights::ReadExecute
    } else {
        PageRights::Read
    }
}
