//! What a VM has used: exits by kind, ticks in the guest and in the host on its behalf.

use skerry_words::{EXIT_KINDS, ExitKind, Tsc};

/// The counters of one VM.
#[derive(Clone, Debug)]
pub struct Meter {
    exits: [u64; EXIT_KINDS],
    guest_tsc: u64,
    host_tsc: u64,
    mark: Tsc,
}

impl Meter {
    /// All zero.
    pub const fn new() -> Self {
        Self { exits: [0; EXIT_KINDS], guest_tsc: 0, host_tsc: 0, mark: Tsc(0) }
    }

    /// The host starts to work for this VM.
    pub fn start(&mut self, now: Tsc) {
        self.mark = now;
    }

    /// The guest is entered.
    #[inline(always)]
    pub fn enter(&mut self, now: Tsc) {
        self.host_tsc += now.since(self.mark);
        self.mark = now;
    }

    /// The guest has exited.
    #[inline(always)]
    pub fn exit(&mut self, kind: ExitKind, now: Tsc) {
        self.guest_tsc += now.since(self.mark);
        self.mark = now;
        self.exits[kind as usize] += 1;
    }

    /// The host turns to something else.
    pub fn stop(&mut self, now: Tsc) {
        self.enter(now);
    }

    /// Ticks spent in the guest.
    pub fn guest_tsc(&self) -> u64 {
        self.guest_tsc
    }

    /// Ticks spent in the host on the VM's behalf.
    pub fn host_tsc(&self) -> u64 {
        self.host_tsc
    }

    /// The kinds that happened, with how often.
    pub fn exits(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        ExitKind::ALL
            .into_iter()
            .map(|kind| (kind.name(), self.exits[kind as usize]))
            .filter(|(_, count)| *count != 0)
    }
}
