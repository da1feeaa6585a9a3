//! Waiting for notifications.
//!
//! Owns the bits that came while something else was waited for: they are kept for the next
//! [`wait`], so that no end of a component is slept through.

use core::sync::atomic::{AtomicU64, Ordering};
use skerry_component::{calls, clock};
use skerry_words::Tsc;

static KEPT: AtomicU64 = AtomicU64::new(0);

/// How long [`pause`] lasts at most, in ticks.
const PAUSE_TSC: u64 = 1_000_000;

/// Sleeps until there are bits, or until `deadline`. Gives the bits.
pub fn wait(deadline: Tsc) -> u64 {
    match KEPT.swap(0, Ordering::Relaxed) {
        0 => calls::wait(deadline).unwrap_or(0),
        kept => kept,
    }
}

/// Lets the others run for a while. Bits that come are kept.
pub fn pause() {
    let bits = calls::wait(clock::now().after(PAUSE_TSC)).unwrap_or(0);
    KEPT.fetch_or(bits, Ordering::Relaxed);
}
