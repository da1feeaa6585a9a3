//! The VMX instructions, one function each.
//!
//! Owns the only inline assembly of the backend besides the entry path. Does not own any
//! policy: who calls them keeps the order the manual asks for
//! `[SDM 3C, "VMX Instruction Reference", ed. 085]`.

use core::arch::asm;
use skerry_manual::vmx::Field;
use skerry_words::Hpa;

/// A VMX instruction set CF (no current VMCS) or ZF (see the instruction-error field).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmFail;

fn outcome(failed: u8) -> Result<(), VmFail> {
    if failed == 0 { Ok(()) } else { Err(VmFail) }
}

/// Enters VMX operation with the VMXON region at `region`.
///
/// # Safety
/// CR0, CR4 and the feature control are as VMX operation demands; `region` is a frame kept
/// for this alone, with the revision identifier in it.
pub unsafe fn vmxon(region: Hpa) -> Result<(), VmFail> {
    let failed: u8;
    // SAFETY: the caller has set CR4.VMXE and the feature control, and `region` is a frame
    // of its own with the revision identifier in it.
    unsafe { asm!("vmxon [{}]", "setbe {}", in(reg) &region.0, out(reg_byte) failed) };
    outcome(failed)
}

/// Makes the VMCS at `region` inactive and its launch state clear.
///
/// # Safety
/// The CPU is in VMX operation, and `region` is a frame that holds a VMCS.
pub unsafe fn vmclear(region: Hpa) -> Result<(), VmFail> {
    let failed: u8;
    // SAFETY: the CPU is in VMX operation and `region` is a frame that holds a VMCS.
    unsafe { asm!("vmclear [{}]", "setbe {}", in(reg) &region.0, out(reg_byte) failed) };
    outcome(failed)
}

/// Makes the VMCS at `region` current.
///
/// # Safety
/// As for [`vmclear`].
pub unsafe fn vmptrld(region: Hpa) -> Result<(), VmFail> {
    let failed: u8;
    // SAFETY: the CPU is in VMX operation and `region` is a frame that holds a VMCS.
    unsafe { asm!("vmptrld [{}]", "setbe {}", in(reg) &region.0, out(reg_byte) failed) };
    outcome(failed)
}

/// Reads a field of the current VMCS that this CPU is known to have.
#[inline(always)]
pub fn vmread(field: Field) -> u64 {
    let value: u64;
    // SAFETY: VMREAD changes its destination and the flags only.
    unsafe {
        asm!("vmread {}, {}", lateout(reg) value, in(reg) u64::from(field.encoding()),
            options(nomem, nostack));
    }
    value
}

/// Reads a field of the current VMCS; 0 for one this CPU does not have.
pub fn vmread_or_zero(field: Field) -> u64 {
    let value: u64;
    // SAFETY: VMREAD changes its destination and the flags only; of a field that is not
    // there it changes the flags alone, hence the zero before it.
    unsafe {
        asm!("vmread {}, {}", inout(reg) 0_u64 => value, in(reg) u64::from(field.encoding()),
            options(nomem, nostack));
    }
    value
}

/// Writes a field of the current VMCS; a field this CPU does not have is left out.
///
/// # Safety
/// The value decides what the next entry does and, for host fields, where the CPU lands
/// after it.
#[inline(always)]
pub unsafe fn vmwrite(field: Field, value: u64) {
    // SAFETY: by the caller's promise about the value; VMWRITE touches no Rust memory.
    unsafe {
        asm!("vmwrite {}, {}", in(reg) u64::from(field.encoding()), in(reg) value,
            options(nostack));
    }
}

/// The operand of INVEPT and INVVPID: 128 bits.
#[repr(C, align(16))]
struct Descriptor(u64, u64);

/// Forgets all translations made through `eptp` (single context).
pub fn invept_single(eptp: u64) {
    let descriptor = Descriptor(eptp, 0);
    // SAFETY: dropping cached translations is always allowed in VMX operation.
    unsafe { asm!("invept {}, [{}]", in(reg) 1_u64, in(reg) &descriptor, options(nostack)) };
}

/// Forgets all linear translations of `vpid` (single context).
pub fn invvpid_single(vpid: u16) {
    let descriptor = Descriptor(u64::from(vpid), 0);
    // SAFETY: dropping cached translations is always allowed in VMX operation.
    unsafe { asm!("invvpid {}, [{}]", in(reg) 1_u64, in(reg) &descriptor, options(nostack)) };
}
