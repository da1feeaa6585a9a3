//! Skerry's hypercalls as a guest makes them.
//!
//! Number in RAX, arguments in RDI and RSI, result in RAX, negative when refused. VMCALL on
//! Intel, VMMCALL on AMD, as the vendor in CPUID says.

use crate::cpu;
use core::arch::asm;

/// Gives the version of the table.
pub const VERSION: u64 = 0;
/// Writes RSI bytes at guest-physical RDI to the console.
pub const CONSOLE_WRITE: u64 = 1;
/// Gives up the rest of the time slice.
pub const YIELD: u64 = 2;
/// Ends the VM with status RDI.
pub const SHUTDOWN: u64 = 3;
/// Reads the counter number RDI.
pub const STATISTICS: u64 = 4;

/// No such hypercall.
pub const UNKNOWN: i64 = -1;
/// An argument is out of range.
pub const BAD_ARGUMENT: i64 = -2;
/// The caller may not.
pub const NOT_PERMITTED: i64 = -3;

/// Makes a hypercall, by the instruction this CPU's vendor has.
pub fn call(number: u64, first: u64, second: u64) -> i64 {
    if cpu::vendor() == *b"AuthenticAMD" {
        vmmcall(number, first, second)
    } else {
        vmcall(number, first, second)
    }
}

/// By VMCALL.
#[inline(always)]
pub fn vmcall(number: u64, first: u64, second: u64) -> i64 {
    let result;
    // SAFETY: a hypercall changes RAX and, at most, what the caller passed.
    unsafe {
        asm!("vmcall", inout("rax") number => result, in("rdi") first, in("rsi") second,
            options(nostack));
    }
    result
}

/// By VMMCALL.
#[inline(always)]
pub fn vmmcall(number: u64, first: u64, second: u64) -> i64 {
    let result;
    // SAFETY: as in `vmcall`.
    unsafe {
        asm!("vmmcall", inout("rax") number => result, in("rdi") first, in("rsi") second,
            options(nostack));
    }
    result
}
