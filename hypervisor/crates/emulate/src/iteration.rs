//! What all string instructions share: count, direction, step.

use crate::mode::RFLAGS_DF;
use crate::register;
use skerry_words::{Gpr, GuestState, Width};

/// The registers of a string instruction at one address size.
#[derive(Clone, Copy)]
pub(crate) struct Iteration {
    /// The address size: of the count, too.
    pub(crate) address: Width,
    /// The bytes of one element.
    pub(crate) bytes: u64,
    /// Whether RCX counts.
    pub(crate) counted: bool,
}

impl Iteration {
    /// Whether nothing is left to do.
    #[inline]
    pub(crate) fn is_finished(self, state: &GuestState) -> bool {
        self.counted && register::get(state, Gpr::Rcx, self.address) == 0
    }

    /// Moves `pointer` by one element, downwards if RFLAGS.DF is set.
    #[inline]
    pub(crate) fn step(self, state: &mut GuestState, pointer: Gpr) {
        let old = state.get(pointer);
        let new = if state.rflags & RFLAGS_DF == 0 {
            old.wrapping_add(self.bytes)
        } else {
            old.wrapping_sub(self.bytes)
        };
        register::set(state, pointer, self.address, new);
    }

    /// Counts one element; whether there are more to come.
    #[inline]
    pub(crate) fn count(self, state: &mut GuestState) -> bool {
        if !self.counted {
            return false;
        }
        let left = state.get(Gpr::Rcx).wrapping_sub(1);
        register::set(state, Gpr::Rcx, self.address, left);
        left & self.address.mask() != 0
    }
}
