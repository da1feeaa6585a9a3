//! The page a vCPU shares with its VMM.
//!
//! Owns its frame. The VMM writes whatever it likes there while it runs; ring 0 looks only while
//! it does not, since both share one CPU, and judges what it reads.

use crate::mem::{OwnedFrame, pointer};
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use skerry_words::{ExitWords, GuestState, Hpa, Tsc};

/// One page with a [`GuestState`].
pub struct StatePage {
    frame: OwnedFrame,
    state: NonNull<GuestState>,
}

impl StatePage {
    /// A page with the state at RESET; `None` without a frame.
    pub fn new() -> Option<Self> {
        let frame = OwnedFrame::zeroed()?;
        let state = NonNull::new(pointer(frame.start()).cast())?;
        let mut page = Self { frame, state };
        *page = GuestState::at_reset();
        Some(page)
    }

    /// The few words of it that every exit needs, for who does not want to ask which backend
    /// has it.
    pub fn view(&self) -> StateView {
        StateView(self.state)
    }

    /// Its frame.
    pub fn start(&self) -> Hpa {
        self.frame.start()
    }
}

impl Deref for StatePage {
    type Target = GuestState;

    #[inline(always)]
    fn deref(&self) -> &GuestState {
        // SAFETY: a whole aligned frame, of which any bytes are a `GuestState`; the VMM does not
        // run meanwhile.
        unsafe { self.state.as_ref() }
    }
}

impl DerefMut for StatePage {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut GuestState {
        // SAFETY: as for `deref`; and this is the one owner in ring 0.
        unsafe { self.state.as_mut() }
    }
}

/// A view of a [`StatePage`], for as long as that lives.
#[derive(Clone, Copy, Debug)]
pub struct StateView(NonNull<GuestState>);

impl StateView {
    /// When the VMM wants to be asked again.
    ///
    /// # Safety
    /// The page still is.
    #[inline(always)]
    pub unsafe fn deadline(self) -> Tsc {
        // SAFETY: the caller's promise; the VMM does not run meanwhile.
        unsafe { (*self.0.as_ptr()).deadline }
    }

    /// Tells the VMM of an exit that came at `now`.
    ///
    /// # Safety
    /// As for [`StateView::deadline`].
    #[inline(always)]
    pub unsafe fn tell(self, exit: ExitWords, now: Tsc) {
        // SAFETY: as above.
        unsafe { (*self.0.as_ptr()).exit = exit };
        // SAFETY: as above.
        unsafe { self.told_at(now) };
    }

    /// Tells the VMM when the exit came that it has been told of.
    ///
    /// # Safety
    /// As for [`StateView::deadline`].
    #[inline(always)]
    pub unsafe fn told_at(self, now: Tsc) {
        // SAFETY: as above.
        unsafe { (*self.0.as_ptr()).exit_tsc = now };
    }
}
