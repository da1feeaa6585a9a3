//! The guest pages found last, so that finding them again costs no walk.
//!
//! Owns a small direct-mapped cache from guest to host pages of 4 KiB, for whoever reads a
//! guest's page tables and code over and over. Does not own its validity: the owner of the
//! second stage forgets everything when a page is unmapped or the tables are destroyed.

use crate::{Mapping, Rights};
use skerry_words::{Gpa, Hpa};

/// A power of two; the tables and the code of one instruction fit.
const PLACES: usize = 16;

/// The cache. Holds only pages with every right, so whatever is found may be read and
/// written.
#[derive(Clone, Debug)]
pub struct Recent {
    places: [Place; PLACES],
}

/// A guest page and where it is; the tag 1 is no page's.
#[derive(Clone, Copy, Debug)]
struct Place {
    gpa_page: u64,
    hpa_page: u64,
}

impl Place {
    const EMPTY: Self = Self {
        gpa_page: 1,
        hpa_page: 0,
    };
}

impl Recent {
    /// A cache that knows nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            places: [Place::EMPTY; PLACES],
        }
    }

    /// Where the byte at `gpa` is, and with it the rest of its 4-KiB page.
    #[inline]
    #[must_use]
    pub fn find(&self, gpa: Gpa) -> Option<Hpa> {
        let place = self.places.get(index(gpa))?;
        (place.gpa_page == gpa.page_start().0).then(|| Hpa(place.hpa_page | gpa.page_offset()))
    }

    /// Keeps what a walk has found for `gpa`.
    #[inline]
    pub fn remember(&mut self, gpa: Gpa, mapping: &Mapping) {
        if mapping.rights != Rights::All {
            return;
        }
        if let Some(place) = self.places.get_mut(index(gpa)) {
            *place = Place {
                gpa_page: gpa.page_start().0,
                hpa_page: mapping.hpa.page_start().0,
            };
        }
    }

    /// Forgets everything.
    pub fn forget(&mut self) {
        *self = Self::new();
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
fn index(gpa: Gpa) -> usize {
    (gpa.0 >> 12) as usize & (PLACES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PageSize;

    fn mapping(hpa: u64, rights: Rights) -> Mapping {
        Mapping {
            hpa: Hpa(hpa),
            bytes_left: 1,
            rights,
            size: PageSize::Mib2,
        }
    }

    #[test]
    fn what_is_remembered_is_found_for_its_page_alone_until_it_is_forgotten() {
        let mut recent = Recent::new();
        recent.remember(Gpa(0x20_1234), &mapping(0x7654_3234, Rights::All));
        assert_eq!(recent.find(Gpa(0x20_1fff)), Some(Hpa(0x7654_3fff)));
        assert_eq!(recent.find(Gpa(0x20_2000)), None);
        assert_eq!(recent.find(Gpa(0x30_1234)), None);
        recent.forget();
        assert_eq!(recent.find(Gpa(0x20_1234)), None);
    }

    #[test]
    fn an_empty_cache_finds_nothing_anywhere_and_restricted_pages_are_not_kept() {
        let mut recent = Recent::new();
        recent.remember(Gpa(0x5000), &mapping(0x9000, Rights::ReadExecute));
        for page in 0..64 {
            assert_eq!(recent.find(Gpa(page << 12 | 1)), None);
        }
        assert_eq!(recent.find(Gpa(u64::MAX)), None);
    }
}
