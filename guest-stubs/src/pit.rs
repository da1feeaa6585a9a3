//! The PIT as a stub's clock, and the PIC pair that carries its interrupt.
//!
//! Channel 0 interrupts on line 0; channel 2, gated by port 61h, is the reference that
//! needs no interrupt `[Intel 8254 data sheet, "Mode Definitions", 1993]`.

use crate::{cpu, port, trap};

/// Input clock of the PIT.
pub const PIT_HZ: u64 = 1_193_182;
/// Channel 0's line of the PIC.
pub const LINE: usize = 0;

const MASTER: u16 = 0x20;
const SLAVE: u16 = 0xa0;
const CONTROL: u16 = 0x43;
const CHANNEL_0: u16 = 0x40;
const CHANNEL_2: u16 = 0x42;
const GATE: u16 = 0x61;

/// Sets the PIC pair up for vectors 0x20 to 0x2f with only the lines in `unmasked` open
/// `[Intel 8259A data sheet, "Initialization Command Words", 1988]`.
pub fn set_up_pic(unmasked: u16) {
    let base = trap::IRQ_BASE;
    let [low, high] = (!unmasked).to_le_bytes();
    for (at, words) in [(MASTER, [base, 4, 1, low]), (SLAVE, [base + 8, 2, 1, high])] {
        port::write8(at, 0x11);
        words.iter().for_each(|word| port::write8(at + 1, *word));
    }
}

/// The master's request register: lines that wait to be taken.
#[must_use]
pub fn pic_requests() -> u8 {
    port::write8(MASTER, 0x0a);
    port::read8(MASTER)
}

/// Arms channel 0 to interrupt once, after this many clocks.
#[inline(always)]
pub fn arm_once(clocks: u16) {
    program(CHANNEL_0, 0x30, clocks);
}

/// Has channel 0 interrupt every `clocks`.
pub fn arm_periodic(clocks: u16) {
    program(CHANNEL_0, 0x34, clocks);
}

#[inline(always)]
fn program(channel: u16, mode: u8, clocks: u16) {
    let [low, high] = clocks.to_le_bytes();
    port::write8(CONTROL, mode);
    port::write8(channel, low);
    port::write8(channel, high);
}

/// One millisecond of the PIT.
pub const MILLISECOND: u16 = 1193;

/// TSC ticks of a millisecond by channel 2, the shortest of many rounds: a preempted round
/// reads long, never short. `None` if a round does not end within a billion ticks.
#[must_use]
pub fn millisecond_tsc() -> Option<u64> {
    (0..32).map(|_| measure_once(MILLISECOND)).min().flatten()
}

fn measure_once(clocks: u16) -> Option<u64> {
    port::write8(GATE, port::read8(GATE) & !3);
    program(CHANNEL_2, 0xb0, clocks);
    let gate = port::read8(GATE) & !2 | 1;
    // Before the write: a stub that is preempted behind it would read short.
    let start = cpu::tsc();
    port::write8(GATE, gate);
    while port::read8(GATE) & 0x20 == 0 {
        if cpu::tsc() - start > 1_000_000_000 {
            return None;
        }
    }
    Some(cpu::tsc() - start)
}
