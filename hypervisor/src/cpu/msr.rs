//! Model-specific registers.
//!
//! Owns the three ways to touch one. [`try_read`] survives a general-protection fault: its
//! instruction is in the fixup table (`trap`).

use core::arch::asm;

use skerry_words::MsrIndex;

/// Reads a register that this CPU is known to have.
#[inline]
pub fn read(index: MsrIndex) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: RDMSR changes nothing; on a register that is not there it faults.
    unsafe {
        asm!("rdmsr", in("ecx") index.0, out("eax") low, out("edx") high,
            options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a register that this CPU is known to have.
///
/// # Safety
/// The value must keep what ring 0 relies on: its tables, its mode, its memory.
#[inline]
pub unsafe fn write(index: MsrIndex, value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") index.0, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}

/// Reads a register, or `None` where this CPU does not have it.
pub fn try_read(index: MsrIndex) -> Option<u64> {
    let (low, high): (u32, u32);
    let mut done = 0u32;
    // SAFETY: as `read`; a fault goes on at 3, with `done` still 0.
    unsafe {
        asm!(
            "2: rdmsr",
            "mov {done:e}, 1",
            "3:",
            ".pushsection .fixups, \"a\"",
            ".quad 2b, 3b",
            ".popsection",
            done = inout(reg) done,
            in("ecx") index.0, inout("eax") 0u32 => low, inout("edx") 0u32 => high,
            options(nomem, nostack, preserves_flags)
        );
    }
    (done == 1).then_some(u64::from(high) << 32 | u64::from(low))
}
