//! The two pages on which the last plain instructions were, and how one got there.
//!
//! Owns a memory of two walks through the guest's page tables. It is no TLB: before each use every entry
//! of that walk is read again, so that what a guest has changed is seen at once. Does not own
//! the walk (`paging`). Used by [`crate::plain_length`].

use crate::paging::{self, Trail};
use skerry_verdict::GuestMemory;
use skerry_words::{Gpa, GuestState, Gva, PAGE_BYTES};

/// Where code was found last. Starts as its default, which remembers nothing.
#[derive(Clone, Debug, Default)]
pub struct Glance {
    first: Found,
    /// What the first was before: a guest goes to and fro between its code and its interrupts'.
    second: Found,
    /// How often the second has been used since it was made so.
    second_uses: u8,
}

/// So many uses make the second the first.
const PROMOTION_USES: u8 = 8;

/// One walk.
#[derive(Clone, Debug, Default)]
struct Found {
    key: Key,
    /// The page that was found there.
    page: u64,
    trail: Trail,
}

/// All that a walk depends on but the entries. The default is that of no guest, whose page of
/// RIP ends in zeros.
#[derive(Clone, Copy, Debug)]
struct Key {
    rip_page: u64,
    cr3: u64,
    cr4: u64,
    efer: u64,
    cpl: u32,
}

impl Default for Key {
    fn default() -> Self {
        Self {
            rip_page: u64::MAX,
            cr3: 0,
            cr4: 0,
            efer: 0,
            cpl: 0,
        }
    }
}

impl Key {
    #[inline(always)]
    fn new(state: &GuestState) -> Self {
        Self {
            rip_page: state.rip & !(PAGE_BYTES - 1),
            cr3: state.cr3,
            cr4: state.cr4,
            efer: state.efer,
            cpl: state.cpl,
        }
    }

    /// By one branch.
    #[inline(always)]
    fn is(&self, other: &Self) -> bool {
        let differing = (self.rip_page ^ other.rip_page)
            | (self.cr3 ^ other.cr3)
            | (self.cr4 ^ other.cr4)
            | (self.efer ^ other.efer)
            | u64::from(self.cpl ^ other.cpl);
        differing == 0
    }
}

impl Found {
    /// Whether the walk would be the same again.
    #[inline(always)]
    fn holds(&self, state: &GuestState, memory: &mut impl GuestMemory) -> bool {
        self.key.is(&Key::new(state)) && self.trail.still_leads(memory)
    }

    #[inline(always)]
    fn at_rip(&self, state: &GuestState) -> Gpa {
        Gpa(self.page | state.rip & (PAGE_BYTES - 1))
    }
}

impl Glance {
    /// Where the code at RIP lies, if that can be told at a glance.
    #[inline(always)]
    pub(crate) fn code(
        &mut self,
        state: &GuestState,
        memory: &mut impl GuestMemory,
    ) -> Option<Gpa> {
        if self.first.holds(state, memory) {
            Some(self.first.at_rip(state))
        } else {
            self.look(state, memory)
        }
    }

    #[cold]
    #[inline(never)]
    fn look(&mut self, state: &GuestState, memory: &mut impl GuestMemory) -> Option<Gpa> {
        if self.second.holds(state, memory) {
            let at = self.second.at_rip(state);
            self.use_second();
            return Some(at);
        }
        self.second = core::mem::take(&mut self.first);
        self.second_uses = 0;
        let mut trail = Trail::default();
        let at = paging::follow_to_code(state, memory, Gva(state.rip), &mut trail)?;
        self.first = Found {
            key: Key::new(state),
            page: at.0 & !(PAGE_BYTES - 1),
            trail,
        };
        Some(at)
    }

    fn use_second(&mut self) {
        self.second_uses = self.second_uses.wrapping_add(1);
        if self.second_uses == PROMOTION_USES {
            self.second_uses = 0;
            core::mem::swap(&mut self.first, &mut self.second);
        }
    }
}
