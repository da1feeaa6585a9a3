//! The SVM instructions outside the entry path, one function each
//! `[APM 3, "System Instruction Reference", rev. 3.36]`.

use core::arch::asm;
use skerry_words::Hpa;

/// Saves FS, GS, TR, LDTR, the system-call and SYSENTER registers to the VMCB at `vmcb`.
///
/// # Safety
/// EFER.SVME is on, and `vmcb` is a frame of the caller's own.
pub unsafe fn vmsave(vmcb: Hpa) {
    // SAFETY: by the caller's promise; only that frame is written.
    unsafe { asm!("vmsave rax", in("rax") vmcb.0, options(nostack)) };
}
