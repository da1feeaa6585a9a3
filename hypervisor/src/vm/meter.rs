//! What a VM has used: exits by kind, ticks in the guest and in the host on its behalf.

use skerry_words::{EXIT_KINDS, ExitKind, Tsc};

/// The counters of one VM.
#[derive(Clone, Debug)]
pub struct Meter {
    exits: [u64; EXIT_KINDS],
    guest_tsc: u64,
    turns_tsc: u64,
    began: Tsc,
}

impl Meter {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            exits: [0; EXIT_KINDS],
            guest_tsc: 0,
            turns_tsc: 0,
            began: Tsc(0),
        }
    }

    /// A turn of this VM begins.
    pub fn start(&mut self, now: Tsc) {
        self.began = now;
    }

    /// The guest has exited at `now`, entered at `entered`.
    #[inline(always)]
    pub fn exit(&mut self, kind: ExitKind, entered: Tsc, now: Tsc) {
        self.guest_tsc = self.guest_tsc.wrapping_add(now.0.wrapping_sub(entered.0));
        self.exits[kind as usize] += 1;
    }

    /// Its turn is over.
    pub fn stop(&mut self, now: Tsc) {
        self.turns_tsc += now.since(self.began);
    }

    /// Ticks spent in the guest.
    pub fn guest_tsc(&self) -> u64 {
        self.guest_tsc
    }

    /// Ticks spent in the host on the VM's behalf.
    pub fn host_tsc(&self) -> u64 {
        self.turns_tsc.saturating_sub(self.guest_tsc)
    }

    /// The kinds that happened, with how often.
    pub fn exits(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        ExitKind::ALL
            .into_iter()
            .map(|kind| (kind.name(), self.exits[kind as usize]))
            .filter(|(_, count)| *count != 0)
    }
}
