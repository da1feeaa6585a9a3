//! The page a vCPU shares with its VMM.
//!
//! Owns its frame. The VMM writes whatever it likes there while it runs; ring 0 looks only while
//! it does not, since both share one CPU, and judges what it reads.

use crate::mem::{OwnedFrame, pointer};
use core::ops::{Deref, DerefMut};
use skerry_words::{GuestState, Hpa};

/// One page with a [`GuestState`].
pub struct StatePage(OwnedFrame);

impl StatePage {
    /// A page with the state at RESET; `None` without a frame.
    pub fn new() -> Option<Self> {
        let mut page = Self(OwnedFrame::zeroed()?);
        *page = GuestState::at_reset();
        Some(page)
    }

    /// Its frame.
    pub fn start(&self) -> Hpa {
        self.0.start()
    }
}

impl Deref for StatePage {
    type Target = GuestState;

    #[inline(always)]
    fn deref(&self) -> &GuestState {
        // SAFETY: a whole aligned frame, of which any bytes are a `GuestState`; the VMM does not
        // run meanwhile.
        unsafe { &*pointer(self.0.start()).cast() }
    }
}

impl DerefMut for StatePage {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut GuestState {
        // SAFETY: as for `deref`; and this is the one owner in ring 0.
        unsafe { &mut *pointer(self.0.start()).cast() }
    }
}
