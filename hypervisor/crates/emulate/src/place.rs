//! From a linear address to guest-physical bytes, across a page boundary too.
//!
//! Owns the split of an access at its page boundary, and the translations one instruction
//! has found (a CPU would hold them in its TLB). Called by the execution of MMIO and of
//! string port instructions.

use crate::paging;
use skerry_verdict::{Fault, GuestMemory};
use skerry_words::{Access, Gpa, GuestState, Gva, MemoryAccess, PAGE_BYTES, Width};

/// Where the bytes of one access are: in one page, or at the end of one and the start of
/// another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The first byte.
    pub(crate) first: Gpa,
    /// How many bytes `first`'s page holds, 1 to 8.
    pub(crate) first_bytes: u64,
    /// The byte after those, if there are more.
    pub(crate) second: Gpa,
}

impl Place {
    /// Whether a byte of it is in the page that starts at `page`.
    #[inline]
    pub(crate) fn touches(&self, page: Gpa) -> bool {
        self.first.page_start() == page || self.second.page_start() == page
    }

    /// The accesses a value of `width` at this place is made of, each with the number of
    /// bits below it. Only at a page boundary are there several: naturally aligned ones.
    pub(crate) fn parts(self, width: Width) -> Parts {
        Parts {
            place: self,
            done: 0,
            bytes: width.bytes(),
        }
    }
}

/// The iterator of [`Place::parts`].
pub(crate) struct Parts {
    place: Place,
    done: u64,
    bytes: u64,
}

impl Iterator for Parts {
    type Item = (Gpa, Width, u32);

    fn next(&mut self) -> Option<Self::Item> {
        let (start, before, end) = if self.done < self.place.first_bytes {
            (self.place.first, 0, self.place.first_bytes.min(self.bytes))
        } else {
            (self.place.second, self.place.first_bytes, self.bytes)
        };
        let left = end.checked_sub(self.done).filter(|left| *left != 0)?;
        let at = Gpa(start.0.wrapping_add(self.done.wrapping_sub(before)));
        let width = largest_aligned(at, left);
        let shift = (self.done as u32).wrapping_mul(8);
        self.done = self.done.wrapping_add(width.bytes());
        Some((at, width, shift))
    }
}

fn largest_aligned(at: Gpa, left: u64) -> Width {
    [Width::Dword, Width::Word]
        .into_iter()
        .find(|width| width.bytes() <= left && at.is_aligned(width.bytes()))
        .unwrap_or(Width::Byte)
}

/// One translation: a page of linear addresses and where it is.
#[derive(Clone, Copy)]
struct Known {
    gva_page: u64,
    gpa_page: u64,
    writable: bool,
}

impl Known {
    /// No address is in this page.
    const NOTHING: Self = Self {
        gva_page: 1,
        gpa_page: 0,
        writable: false,
    };
}

/// The translations of one instruction.
pub(crate) struct Translations {
    known: [Known; 2],
    oldest: usize,
}

impl Translations {
    pub(crate) const fn new() -> Self {
        Self {
            known: [Known::NOTHING; 2],
            oldest: 0,
        }
    }

    /// The translation the CPU found itself before it exited.
    #[inline]
    pub(crate) fn of_exit(access: &MemoryAccess) -> Self {
        let mut translations = Self::new();
        // During a walk of the guest's tables, `gpa` is that of a table.
        if let (Some(gva), false) = (access.gva, access.during_walk) {
            translations.learn(gva, access.gpa, access.access);
        }
        translations
    }

    #[inline]
    fn learn(&mut self, gva: Gva, gpa: Gpa, access: Access) {
        if let Some(slot) = self.known.get_mut(self.oldest & 1) {
            *slot = Known {
                gva_page: gva.page_start().0,
                gpa_page: gpa.page_start().0,
                writable: access == Access::Write,
            };
        }
        self.oldest ^= 1;
    }

    /// Where `bytes` (1 to 8) at `gva` are, by the guest's paging and rights.
    #[inline]
    pub(crate) fn place(
        &mut self,
        state: &GuestState,
        memory: &mut impl GuestMemory,
        gva: Gva,
        bytes: u64,
        access: Access,
    ) -> Result<Place, Fault> {
        let in_page = PAGE_BYTES.wrapping_sub(gva.page_offset());
        let first = self.translate(state, memory, gva, access)?;
        let second = if bytes <= in_page {
            first
        } else {
            let next = gva.0.wrapping_add(in_page);
            let wraps = !crate::mode::is_64_bit(state);
            let next = if wraps { next & 0xffff_ffff } else { next };
            self.translate(state, memory, Gva(next), access)?
        };
        Ok(Place {
            first,
            first_bytes: in_page.min(bytes),
            second,
        })
    }

    #[inline]
    fn translate(
        &mut self,
        state: &GuestState,
        memory: &mut impl GuestMemory,
        gva: Gva,
        access: Access,
    ) -> Result<Gpa, Fault> {
        let page = gva.page_start().0;
        for known in &self.known {
            if known.gva_page == page && (known.writable || access != Access::Write) {
                return Ok(Gpa(known.gpa_page | gva.page_offset()));
            }
        }
        let gpa = paging::translate(state, memory, gva, access)?;
        self.learn(gva, gpa, access);
        Ok(gpa)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;
    extern crate std;

    fn parts(first: u64, first_bytes: u64, second: u64, width: Width) -> Vec<(u64, u64, u32)> {
        let place = Place {
            first: Gpa(first),
            first_bytes,
            second: Gpa(second),
        };
        place
            .parts(width)
            .map(|(at, width, shift)| (at.0, width.bytes(), shift))
            .collect()
    }

    #[test]
    fn an_access_across_pages_is_made_of_naturally_aligned_parts() {
        assert_eq!(
            parts(0x1fff, 1, 0x8000, Width::Qword),
            [
                (0x1fff, 1, 0),
                (0x8000, 4, 8),
                (0x8004, 2, 40),
                (0x8006, 1, 56)
            ]
        );
        assert_eq!(
            parts(0x1ffd, 3, 0x8000, Width::Dword),
            [(0x1ffd, 1, 0), (0x1ffe, 2, 8), (0x8000, 1, 24)]
        );
        assert_eq!(
            parts(0x1fff, 1, 0x3000, Width::Word),
            [(0x1fff, 1, 0), (0x3000, 1, 8)]
        );
    }
}
