//! Filling whole frames.
//!
//! Owns the string instructions: eight bytes an iteration, since an interpreter pays for
//! iterations, and real CPUs make them as fast as memory.

use core::arch::asm;

use skerry_words::HostFrame;

const FRAME_QWORDS: usize = 512;

/// Fills `frame` with zeroes, sixteen bytes at a time. The one place where ring 0 borrows a
/// vector register: it may hold a guest's value, and has it again afterwards.
#[inline]
pub fn zero_frame(frame: HostFrame) {
    let at = super::pointer(frame.start());
    // SAFETY: a frame is RAM, mapped writable in the direct map; whoever holds it may
    // overwrite it. XMM0 is put back before anybody can look; CR4.OSFXSR is on and EM off since
    // `cpu::features`. CR0.TS, which keeps ring 3 from XMM0, is off in between and on again.
    unsafe {
        asm!(
            "clts",
            "sub rsp, 16",
            "movups [rsp], xmm0",
            "pxor xmm0, xmm0",
            ".set skerry_zero_at, 0",
            ".rept 256",
            "movaps [{at} + skerry_zero_at], xmm0",
            ".set skerry_zero_at, skerry_zero_at + 16",
            ".endr",
            "movups xmm0, [rsp]",
            "add rsp, 16",
            "mov {cr0}, cr0",
            "or {cr0}, 8",
            "mov cr0, {cr0}",
            at = in(reg) at,
            cr0 = out(reg) _,
        );
    }
}

/// Fills `count` frames from `first` on with zeroes.
#[inline]
pub fn zero_frames(first: HostFrame, count: usize) {
    let at = super::pointer(first.start());
    // SAFETY: a frame is RAM, mapped writable in the direct map; whoever holds it may
    // overwrite it.
    unsafe {
        asm!("rep stosq", inout("rcx") count * FRAME_QWORDS => _, inout("rdi") at => _,
            in("rax") 0u64, options(nostack, preserves_flags));
    }
}
