//! What this CPU can do, and switching on what protects ring 0 from itself.
//!
//! Owns the CPUID bits of ring 0's base (VT-x's capabilities are `virt`'s) and the bits of
//! CR0, CR4 and EFER that go with them. `[SDM 2A, "CPUID", ed. 085]`

use core::arch::x86_64::{__cpuid, __cpuid_count};

use skerry_words::MsrIndex;
use x86_64::registers::{
    control::{Cr0, Cr0Flags, Cr4, Cr4Flags},
    model_specific::{Efer, EferFlags},
};

use super::msr;

/// The APIC can be reached by MSRs.
pub fn x2apic() -> bool {
    __cpuid(1).ecx & 1 << 21 != 0
}

/// The APIC's timer can be given a time-stamp.
pub fn tsc_deadline() -> bool {
    __cpuid(1).ecx & 1 << 24 != 0
}

/// Pages of 1 GiB.
pub fn large_pages_1g() -> bool {
    __cpuid(0x8000_0000).eax >= 0x8000_0001 && __cpuid(0x8000_0001).edx & 1 << 26 != 0
}

/// Lets page tables say "no execute", and ring 0 obey "read only"; caches on, which some
/// firmware leaves to us.
pub fn protect_memory() {
    // SAFETY: NXE gives a meaning to a bit that no present entry has set before.
    unsafe { Efer::update(|efer| *efer |= EferFlags::NO_EXECUTE_ENABLE) };
    let change = |cr0: &mut Cr0Flags| {
        cr0.insert(Cr0Flags::WRITE_PROTECT);
        cr0.remove(Cr0Flags::CACHE_DISABLE | Cr0Flags::NOT_WRITE_THROUGH);
    };
    // SAFETY: ring 0 has no code that writes to a read-only page on purpose; caching does
    // not change what memory holds.
    unsafe { Cr0::update(change) };
}

/// Makes the XMM registers usable, as 64-bit CPUs all have them: `mem::bytes` borrows one.
pub fn enable_vectors() {
    let change = |cr0: &mut Cr0Flags| {
        cr0.insert(Cr0Flags::MONITOR_COPROCESSOR | Cr0Flags::NUMERIC_ERROR);
        cr0.remove(Cr0Flags::EMULATE_COPROCESSOR | Cr0Flags::TASK_SWITCHED);
    };
    // SAFETY: only gives a meaning to instructions that would fault.
    unsafe { Cr0::update(change) };
    // SAFETY: as above.
    unsafe { Cr4::update(|cr4| *cr4 |= Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE) };
}

/// Has machine checks reported rather than shut the CPU down, where it has them.
pub fn report_machine_checks() {
    if __cpuid(1).edx & 1 << 7 != 0 {
        // SAFETY: the interrupt table has a handler for machine checks.
        unsafe { Cr4::update(|cr4| *cr4 |= Cr4Flags::MACHINE_CHECK_EXCEPTION) };
    }
}

/// Keeps ring 0 from executing or touching user pages by mistake, and user code from
/// reading ring 0's tables, where the CPU has that.
pub fn protect_from_user() {
    if __cpuid(0).eax < 7 {
        return;
    }
    let leaf7 = __cpuid_count(7, 0);
    let offered = [
        (
            leaf7.ebx & 1 << 7,
            Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION,
        ),
        (
            leaf7.ebx & 1 << 20,
            Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION,
        ),
        (
            leaf7.ecx & 1 << 2,
            Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION,
        ),
    ];
    for (present, flag) in offered {
        if present != 0 {
            // SAFETY: ring 0 neither executes nor touches user pages.
            unsafe { Cr4::update(|cr4| *cr4 |= flag) };
        }
    }
}

/// Takes from ring 3 what it could do harm with: the vector registers, which hold a guest's
/// values (`lend_vectors` has them for ring 0), SYSCALL, whose target is a guest's, and
/// SYSENTER, whose target is the firmware's.
pub fn shut_out_ring3() {
    const SYSENTER_CS: MsrIndex = MsrIndex(0x174);
    // SAFETY: ring 0 uses neither but through `lend_vectors`.
    unsafe { Efer::update(|efer| efer.remove(EferFlags::SYSTEM_CALL_EXTENSIONS)) };
    // SAFETY: with a null selector SYSENTER raises #GP; ring 0 does not use it.
    unsafe { msr::write(SYSENTER_CS, 0) };
    take_vectors();
}

/// Lets `act` use vector and FPU instructions.
#[inline]
pub fn lend_vectors<T>(act: impl FnOnce() -> T) -> T {
    // SAFETY: CLTS allows instructions that would raise #NM; nothing else changes.
    unsafe { core::arch::asm!("clts", options(nomem, nostack, preserves_flags)) };
    let result = act();
    take_vectors();
    result
}

fn take_vectors() {
    // SAFETY: with CR0.TS, vector and FPU instructions raise #NM; ring 0 has none outside of
    // `lend_vectors`.
    unsafe { Cr0::update(|cr0| cr0.insert(Cr0Flags::TASK_SWITCHED)) };
}
