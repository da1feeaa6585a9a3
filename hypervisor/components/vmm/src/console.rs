//! The manners of a VM's console: when its output is announced, when typed bytes are offered.
//!
//! Owns a VMM's ends of the two rings. Announcing costs a system call and a turn of the
//! console's, so a line is announced when it ends, and a part of one when it has grown long or
//! old. Does not own how announcing or waiting is done: [`crate::Ring0`].

use crate::Ring0;
use core::ops::DerefMut;
use skerry_abi::layout::vmm_bits;
use skerry_pages::{ConsolePage, Ring};
use skerry_vmm::Vmm;
use skerry_words::{ApicPage, Tsc};

/// How many unannounced bytes are announced though their line goes on: half the ring.
const LONG_BYTES: u32 = 2048;
/// How old an unannounced part of a line gets: this fraction of a second.
const PER_SECOND_OLD: u64 = 100;
/// How long a writer waits for room before it announces again: this fraction of a second.
const PER_SECOND_FULL: u64 = 1000;
/// How long typed bytes wait for room in the UART before they are offered again, in ticks.
const RETRY_INPUT_TSC: u64 = 100_000;

/// The VMM's ends of both rings.
#[derive(Debug)]
pub struct Console {
    output: Ring<'static>,
    unannounced_bytes: u32,
    announce_at: Tsc,
    old_tsc: u64,
    full_tsc: u64,
    input: Ring<'static>,
    /// A typed byte that the UART had no room for.
    held: Option<u8>,
    offer_at: Tsc,
    /// The earlier of the two times, which every exit is compared with.
    attend_at: Tsc,
}

impl Console {
    /// The console on `page` of a VM on a machine with a time-stamp counter of `tsc_hz`.
    #[must_use]
    pub fn new(page: &'static ConsolePage, tsc_hz: u64) -> Self {
        Self {
            output: page.output_writer(),
            unannounced_bytes: 0,
            announce_at: Tsc::NEVER,
            old_tsc: tsc_hz.div_euclid(PER_SECOND_OLD),
            full_tsc: tsc_hz.div_euclid(PER_SECOND_FULL),
            input: page.input_reader(),
            held: None,
            // What was typed before the start.
            offer_at: Tsc(0),
            attend_at: Tsc(0),
        }
    }

    /// When there is something to do here though nothing happens: see [`Console::attend`].
    #[inline(always)]
    #[must_use]
    pub fn attend_at(&self) -> Tsc {
        self.attend_at
    }

    fn set_announce_at(&mut self, at: Tsc) {
        self.announce_at = at;
        self.attend_at = self.announce_at.min(self.offer_at);
    }

    fn set_offer_at(&mut self, at: Tsc) {
        self.offer_at = at;
        self.attend_at = self.announce_at.min(self.offer_at);
    }

    /// Does what is due: announces an old part of a line, offers typed bytes again. Whether the
    /// guest has been given bytes.
    pub fn attend<P: DerefMut<Target = ApicPage>>(
        &mut self,
        vmm: &mut Vmm<P>,
        ring0: &mut impl Ring0,
        now: Tsc,
    ) -> bool {
        if now >= self.announce_at {
            self.announce(ring0);
        }
        now >= self.offer_at && self.offer(vmm, now)
    }

    /// Notification bits came: typed bytes are offered at the next look.
    pub fn notified(&mut self, bits: u64) {
        if bits & vmm_bits::CONSOLE != 0 {
            self.set_offer_at(Tsc(0));
        }
    }

    /// Passes on what the guest has written.
    pub fn write(&mut self, bytes: &[u8], ring0: &mut impl Ring0, now: Tsc) {
        for byte in bytes {
            while !self.output.put(*byte) {
                self.wait_for_room(ring0);
            }
            self.unannounced_bytes = self.unannounced_bytes.saturating_add(1);
            if *byte == b'\n' || self.unannounced_bytes >= LONG_BYTES {
                self.announce(ring0);
            } else if self.unannounced_bytes == 1 {
                self.set_announce_at(now.after(self.old_tsc));
            }
        }
    }

    /// Announces what is not yet announced, if anything. Before a sleep and an end.
    pub fn announce_rest(&mut self, ring0: &mut impl Ring0) {
        if self.unannounced_bytes != 0 {
            self.announce(ring0);
        }
    }

    fn announce(&mut self, ring0: &mut impl Ring0) {
        self.unannounced_bytes = 0;
        self.set_announce_at(Tsc::NEVER);
        ring0.announce();
    }

    /// The ring is full: the guest stands still until the console has taken some.
    #[cold]
    fn wait_for_room(&mut self, ring0: &mut impl Ring0) {
        self.announce(ring0);
        let until = ring0.now().after(self.full_tsc);
        let bits = ring0.wait(until);
        self.notified(bits);
    }

    /// Types what waits on the guest's UART, as far as it has room.
    fn offer<P: DerefMut<Target = ApicPage>>(&mut self, vmm: &mut Vmm<P>, now: Tsc) -> bool {
        let mut given = false;
        self.set_offer_at(Tsc::NEVER);
        while let Some(byte) = self.held.take().or_else(|| self.input.take()) {
            if vmm.input(&[byte]) == 0 {
                self.held = Some(byte);
                self.set_offer_at(now.after(RETRY_INPUT_TSC));
                break;
            }
            given = true;
        }
        given
    }
}
