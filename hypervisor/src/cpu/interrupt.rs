//! What the host's own interrupts do, by vector.
//!
//! Owns the vector numbers and [`dispatch`]. Called by the interrupt table while ring 0
//! waits in `idle`, and by the run loop for a vector that a VM exit has acknowledged.

use core::sync::atomic::{AtomicU64, Ordering};

use skerry_words::Vector;

use super::{apic, pic};

/// The first vector of the 8259 pair's sixteen lines.
pub(super) const PIC_BASE: u8 = 0x20;
/// The local APIC's timer.
pub(super) const TIMER: u8 = 0x30;
/// The local APIC's spurious vector: low bits all ones, as old APICs demand.
pub(super) const SPURIOUS: u8 = 0xff;

const COM1: u8 = PIC_BASE + pic::COM1_LINE;
const PIC_LAST: u8 = PIC_BASE + 15;

/// Interrupts nobody asked for.
static UNEXPECTED: AtomicU64 = AtomicU64::new(0);
/// Non-maskable interrupts, in ring 0 and in guests.
static NMIS: AtomicU64 = AtomicU64::new(0);

/// Notes a non-maskable interrupt: nothing of ours sends any, so no more is done.
pub fn note_nmi() {
    NMIS.fetch_add(1, Ordering::Relaxed);
}

/// Warns of interrupts that should not have come, if any did.
pub fn report_strays() {
    let strays = UNEXPECTED.load(Ordering::Relaxed);
    let nmis = NMIS.load(Ordering::Relaxed);
    if strays + nmis > 0 {
        log::warn!("{strays} unexpected and {nmis} non-maskable interrupts");
    }
}

/// Serves an interrupt that the CPU has acknowledged, and ends it at its controller.
pub fn dispatch(vector: Vector) {
    match vector.0 {
        COM1 => {
            crate::serial::interrupt();
            pic::end(pic::COM1_LINE);
        }
        TIMER => apic::end_timer(),
        SPURIOUS => {}
        line @ PIC_BASE..=PIC_LAST => {
            if pic::end(line - PIC_BASE) == pic::Ended::Served {
                UNEXPECTED.fetch_add(1, Ordering::Relaxed);
            }
        }
        _ => {
            UNEXPECTED.fetch_add(1, Ordering::Relaxed);
            apic::end();
        }
    }
}
