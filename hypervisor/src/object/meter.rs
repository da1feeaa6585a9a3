//! What a vCPU has used: exits by kind, ticks in the guest.

use skerry_words::{EXIT_KINDS, ExitKind, Tsc};

/// The counters of one vCPU.
#[derive(Clone, Debug)]
pub struct Meter {
    exits: [u64; EXIT_KINDS],
    guest_tsc: u64,
}

impl Meter {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            exits: [0; EXIT_KINDS],
            guest_tsc: 0,
        }
    }

    /// The guest has exited at `now`, entered at `entered`.
    #[inline(always)]
    pub fn exit(&mut self, kind: ExitKind, entered: Tsc, now: Tsc) {
        self.guest_tsc = self.guest_tsc.wrapping_add(now.0.wrapping_sub(entered.0));
        self.exits[kind as usize] += 1;
    }

    /// Ticks spent in the guest.
    pub fn guest_tsc(&self) -> u64 {
        self.guest_tsc
    }

    /// Exits by kind.
    pub fn exits(&self) -> &[u64; EXIT_KINDS] {
        &self.exits
    }
}
