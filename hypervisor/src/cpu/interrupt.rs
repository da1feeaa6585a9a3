//! What the host's own interrupts do, by vector.
//!
//! Owns the vector numbers, [`dispatch`], and which interrupt lines have come. A line that has
//! is closed until its driver opens it again. Called by the interrupt table while ring 0 waits
//! in `idle`, and by a thread's turn for what has interrupted ring 3 or a guest.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use skerry_words::Vector;

use super::{apic, pic};

/// The first vector of the 8259 pair's sixteen lines.
pub(super) const PIC_BASE: u8 = 0x20;
/// The local APIC's timer.
pub(super) const TIMER: u8 = 0x30;
/// The local APIC's spurious vector: low bits all ones, as old APICs demand.
pub(super) const SPURIOUS: u8 = 0xff;

const PIC_LAST: u8 = PIC_BASE + 15;

/// The lines that have interrupted, one bit each.
static LINES: AtomicU32 = AtomicU32::new(0);
/// Interrupts nobody asked for.
static UNEXPECTED: AtomicU64 = AtomicU64::new(0);
/// Non-maskable interrupts, in ring 0 and in guests.
static NMIS: AtomicU64 = AtomicU64::new(0);

/// Notes a non-maskable interrupt: nothing of ours sends any, so no more is done.
pub fn note_nmi() {
    NMIS.fetch_add(1, Ordering::Relaxed);
}

/// Whether a line has interrupted: one load.
#[inline(always)]
pub fn lines_wait() -> bool {
    LINES.load(Ordering::Relaxed) != 0
}

/// The lines that have interrupted since the last time.
pub fn take_lines() -> u32 {
    if lines_wait() {
        LINES.swap(0, Ordering::Relaxed)
    } else {
        0
    }
}

/// Lets a line interrupt, once.
pub fn open_line(line: u8) {
    pic::open(line);
}

/// Serves an interrupt that the CPU has acknowledged, and ends it at its controller.
pub fn dispatch(vector: Vector) {
    match vector.0 {
        TIMER => apic::end_timer(),
        SPURIOUS => {}
        vector @ PIC_BASE..=PIC_LAST => {
            let line = vector - PIC_BASE;
            if pic::close(line) == pic::Ended::Served {
                LINES.fetch_or(1 << line, Ordering::Relaxed);
            }
        }
        _ => {
            UNEXPECTED.fetch_add(1, Ordering::Relaxed);
            apic::end();
        }
    }
}
