//! Memory that can be mapped: frames given on first use, or pages of the bundle.

use crate::mem;
use alloc::vec::Vec;
use skerry_abi::{Refused, Rights};
use skerry_words::{HostFrame, Hpa, PAGE_BYTES};

/// The most pages one memory has: 1 GiB.
pub const MOST_PAGES: u64 = 1 << 18;

/// Some pages.
pub struct Memory {
    pages: Pages,
    /// In how many places it is mapped.
    pub mappings: u64,
}

enum Pages {
    /// Frames of its own; 0 where none has been given yet.
    Own(Vec<u64>),
    /// The bundle's, from this address on: read only, and nobody's to free.
    Bundle { first: Hpa, pages: u64 },
}

impl Memory {
    /// So many pages, zeroed when they are first used.
    ///
    /// # Errors
    /// [`Refused::BadArgument`]; [`Refused::Exhausted`] if ring 0 has no room for the list.
    pub fn own(pages: u64) -> Result<Self, Refused> {
        if pages == 0 || pages > MOST_PAGES {
            return Err(Refused::BadArgument);
        }
        let mut frames = Vec::new();
        let room = frames.try_reserve_exact(pages as usize);
        room.map_err(|_| Refused::Exhausted)?;
        frames.resize(pages as usize, 0);
        let pages = Pages::Own(frames);
        Ok(Self { pages, mappings: 0 })
    }

    /// Pages of the bundle.
    pub fn of_bundle(first: Hpa, pages: u64) -> Self {
        let pages = Pages::Bundle { first, pages };
        Self { pages, mappings: 0 }
    }

    /// How many there are.
    pub fn pages(&self) -> u64 {
        match &self.pages {
            Pages::Own(frames) => frames.len() as u64,
            Pages::Bundle { pages, .. } => *pages,
        }
    }

    /// What can be done with them at all.
    pub fn rights(&self) -> Rights {
        match self.pages {
            Pages::Own(_) => Rights::all(),
            Pages::Bundle { .. } => Rights::READ | Rights::GRANT,
        }
    }

    /// One page, given now if it was not; the page must be below [`Memory::pages`].
    ///
    /// # Errors
    /// [`Refused::Exhausted`].
    pub fn page(&mut self, index: u64) -> Result<Hpa, Refused> {
        match &mut self.pages {
            Pages::Bundle { first, .. } => Ok(Hpa(first.0 + index * PAGE_BYTES)),
            Pages::Own(frames) => {
                let frame = &mut frames[index as usize];
                if *frame == 0 {
                    *frame = mem::allocate_zeroed().ok_or(Refused::Exhausted)?.0;
                }
                Ok(HostFrame(*frame).start())
            }
        }
    }

    /// Bytes of frames that are given.
    pub fn resident_bytes(&self) -> u64 {
        match &self.pages {
            Pages::Own(frames) => frames.iter().filter(|frame| **frame != 0).count() as u64 * 4096,
            Pages::Bundle { .. } => 0,
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Pages::Own(frames) = &self.pages {
            let given = frames.iter().filter(|frame| **frame != 0);
            given.for_each(|frame| mem::free(HostFrame(*frame)));
        }
    }
}
