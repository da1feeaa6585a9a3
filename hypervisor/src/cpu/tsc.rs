//! The time-stamp counter: ring 0's only clock.
//!
//! Owns reading it and finding its rate. The rate is measured against the PIT; what CPUID
//! claims is taken only where the measurement agrees, because emulators copy the leaves of
//! a model whose speed they do not have.

use core::{
    arch::x86_64::{__cpuid, _rdtsc},
    sync::atomic::{AtomicU64, Ordering},
};

use skerry_words::Tsc;
use x86_64::instructions::port::Port;

static HZ: AtomicU64 = AtomicU64::new(0);

/// The time now.
#[inline]
pub fn now() -> Tsc {
    // SAFETY: RDTSC reads a counter.
    Tsc(unsafe { _rdtsc() })
}

/// Ticks per second.
pub fn hz() -> u64 {
    HZ.load(Ordering::Relaxed)
}

/// Finds the rate, once.
pub(super) fn calibrate() {
    let hz = match (measured(), claimed()) {
        (Some(measured), Some(claimed)) if measured.abs_diff(claimed) < claimed / 64 => claimed,
        (Some(measured), _) => measured,
        (None, Some(claimed)) => claimed,
        (None, None) => panic!("the time-stamp counter's rate is unknown: no PIT, no CPUID leaf"),
    };
    HZ.store(hz, Ordering::Relaxed);
}

/// The rate CPUID tells: leaf 15h, 16h, or the hypervisors' 40000010h.
/// `[SDM 2A, "CPUID", ed. 085]`
fn claimed() -> Option<u64> {
    let highest = __cpuid(0).eax;
    if highest >= 0x15 {
        let leaf = __cpuid(0x15);
        if leaf.eax != 0 && leaf.ebx != 0 && leaf.ecx != 0 {
            return Some(u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax));
        }
    }
    if highest >= 0x16 {
        let mhz = u64::from(__cpuid(0x16).eax & 0xffff);
        if mhz != 0 {
            return Some(mhz * 1_000_000);
        }
    }
    let hypervisor = __cpuid(1).ecx & 1 << 31 != 0;
    if hypervisor && (0x4000_0010..=0x4000_ffff).contains(&__cpuid(0x4000_0000).eax) {
        let khz = u64::from(__cpuid(0x4000_0010).eax);
        return (khz != 0).then_some(khz * 1000);
    }
    None
}

/// Measures about 10 ms of PIT channel 2, its speaker off; `None` without a PIT.
///
/// Mode 0: the output (port 61h, bit 5) falls with the command and rises when the count
/// has run out. `[8254 datasheet, "Mode 0: Interrupt on Terminal Count"]`
fn measured() -> Option<u64> {
    const PIT_HZ: u64 = 1_193_182;
    const COUNT: u16 = 11_932;
    const GATE: u8 = 1;
    const SPEAKER: u8 = 2;
    let control = inb(0x61);
    outb(0x61, (control & !SPEAKER) | GATE);
    outb(0x43, 0b1011_0000);
    outb(0x42, COUNT as u8);
    let start = now();
    outb(0x42, (COUNT >> 8) as u8);
    let risen = wait_for_output();
    let ticks = now().since(start);
    outb(0x61, control);
    (risen && ticks > 0).then(|| ticks * PIT_HZ / u64::from(COUNT))
}

/// Polls until the output rises. False if it was never low (no PIT) or stays low.
fn wait_for_output() -> bool {
    const OUTPUT: u8 = 1 << 5;
    const POLLS: u32 = 2_000_000;
    if inb(0x61) & OUTPUT != 0 {
        return false;
    }
    (0..POLLS).any(|_| inb(0x61) & OUTPUT != 0)
}

fn inb(port: u16) -> u8 {
    // SAFETY: only the PIT's ports are read here; no memory is behind them.
    unsafe { Port::new(port).read() }
}

fn outb(port: u16, value: u8) {
    // SAFETY: only the PIT's ports are written here; no memory is behind them.
    unsafe { Port::new(port).write(value) }
}
