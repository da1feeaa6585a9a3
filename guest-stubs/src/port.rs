//! Port instructions, and the two ways out of the machine.

use core::arch::asm;

/// Reads a byte.
#[inline(always)]
#[must_use]
pub fn read8(port: u16) -> u8 {
    let value: u8;
    // SAFETY: a port access changes no memory, and the stub owns every device.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack)) };
    value
}

/// Reads a word.
#[inline(always)]
#[must_use]
pub fn read16(port: u16) -> u16 {
    let value: u16;
    // SAFETY: as in `read8`.
    unsafe { asm!("in ax, dx", in("dx") port, out("ax") value, options(nomem, nostack)) };
    value
}

/// Reads a doubleword.
#[inline(always)]
#[must_use]
pub fn read32(port: u16) -> u32 {
    let value: u32;
    // SAFETY: as in `read8`.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack)) };
    value
}

/// Writes a byte.
#[inline(always)]
pub fn write8(port: u16, value: u8) {
    // SAFETY: as in `read8`; no device here reads memory by itself.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack)) };
}

/// Writes a word.
#[inline(always)]
pub fn write16(port: u16, value: u16) {
    // SAFETY: as in `write8`.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack)) };
}

/// Writes a doubleword.
#[inline(always)]
pub fn write32(port: u16, value: u32) {
    // SAFETY: as in `write8`.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack)) };
}

/// The isa-debug-exit port of QEMU: a value written ends the machine.
const DEBUG_EXIT: u16 = 0xf4;

/// The port that switches Bochs off, and the bytes it waits for.
const BOCHS_OFF: u16 = 0x8900;
const SHUTDOWN: &[u8] = b"Shutdown";

/// Ends the machine with `status`, 0 for success. Where no debug-exit port is, the status stands
/// on the console already: it is switched off in Bochs' way, or else halts.
pub fn exit(status: u32) -> ! {
    write32(DEBUG_EXIT, status);
    crate::println!("stub: nothing answers at the debug-exit port");
    crate::console::drain();
    for byte in SHUTDOWN {
        write8(BOCHS_OFF, *byte);
    }
    crate::cpu::halt_forever()
}
