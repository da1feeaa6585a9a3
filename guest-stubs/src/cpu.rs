//! CPUID, MSRs, control registers, time: the CPU as a stub asks it.
//!
//! These are the forms that must succeed; where a fault is the answer, a stub wraps the
//! instruction in [`crate::trap::attempt`].

use core::arch::asm;

/// The four words of one CPUID leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Leaf {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

/// CPUID of a leaf and subleaf.
#[inline(always)]
#[must_use]
pub fn cpuid(leaf: u32, subleaf: u32) -> Leaf {
    let (eax, ebx, ecx, edx): (u32, u64, u32, u32);
    // SAFETY: CPUID changes four registers, and RBX (reserved by LLVM) is kept.
    unsafe {
        asm!(
            "mov {keep}, rbx", "cpuid", "xchg {keep}, rbx",
            keep = out(reg) ebx,
            inout("eax") leaf => eax, inout("ecx") subleaf => ecx, out("edx") edx,
            options(nomem, nostack),
        );
    }
    #[allow(clippy::cast_possible_truncation)] // CPUID clears the upper half
    let ebx = ebx as u32;
    Leaf { eax, ebx, ecx, edx }
}

/// The leaf whose signature names the hypervisor.
pub const HYPERVISOR_LEAF: u32 = 0x4000_0000;

/// Whether the hypervisor signature is Skerry's.
#[must_use]
pub fn is_skerry() -> bool {
    let leaf = cpuid(HYPERVISOR_LEAF, 0);
    cpuid(1, 0).ecx >> 31 == 1 && signature([leaf.ebx, leaf.ecx, leaf.edx]) == *b"SkerrySkerry"
}

/// The twelve letters in three registers.
#[must_use]
pub fn signature(words: [u32; 3]) -> [u8; 12] {
    let mut letters = [0; 12];
    for (place, word) in letters.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    letters
}

/// The vendor's twelve letters from leaf 0.
#[must_use]
pub fn vendor() -> [u8; 12] {
    let leaf = cpuid(0, 0);
    signature([leaf.ebx, leaf.edx, leaf.ecx])
}

/// Whether CPUID leaf 1 shows a local APIC.
#[must_use]
pub fn has_apic() -> bool {
    cpuid(1, 0).edx & (1 << 9) != 0
}

/// The time-stamp counter.
#[inline(always)]
#[must_use]
pub fn tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: RDTSC changes EDX:EAX only.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack)) };
    u64::from(high) << 32 | u64::from(low)
}

/// The TSC's frequency in Hz by CPUID leaf 15h, where that tells it, or by the hypervisor's
/// leaf 40000010h.
#[must_use]
pub fn tsc_hz() -> Option<u64> {
    const TIMING_LEAF: u32 = 0x4000_0010;
    if cpuid(0, 0).eax < 0x15 {
        let told = is_skerry() && cpuid(0x4000_0000, 0).eax >= TIMING_LEAF;
        return told.then(|| u64::from(cpuid(TIMING_LEAF, 0).eax) * 1000);
    }
    let leaf = cpuid(0x15, 0);
    let ticks = u64::from(leaf.ecx) * u64::from(leaf.ebx);
    ticks.checked_div(leaf.eax.into()).filter(|hz| *hz > 0)
}

/// RDMSR of a register that exists.
#[inline(always)]
#[must_use]
pub fn rdmsr(index: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: RDMSR changes EDX:EAX only; a fault ends the stub with a message.
    unsafe {
        asm!("rdmsr", in("ecx") index, out("eax") low, out("edx") high, options(nomem, nostack));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// WRMSR of a register that exists and takes this value.
#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // split in two halves
pub fn wrmsr(index: u32, value: u64) {
    // SAFETY: stubs write registers that do not move their own code or stack; a fault ends
    // the stub with a message.
    unsafe {
        asm!(
            "wrmsr", in("ecx") index, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack),
        );
    }
}

macro_rules! control_register {
    ($read:ident, $write:ident, $name:literal) => {
        #[doc = concat!("Reads ", $name, ".")]
        #[must_use]
        pub fn $read() -> u64 {
            let value;
            // SAFETY: reading it changes nothing.
            unsafe { asm!(concat!("mov {}, ", $name), out(reg) value, options(nomem, nostack)) };
            value
        }

        #[doc = concat!("Writes ", $name, "; the value keeps the stub's flat 64-bit paging.")]
        #[inline(always)]
        pub fn $write(value: u64) {
            // SAFETY: the caller keeps paging as it is; a fault ends the stub with a message.
            unsafe { asm!(concat!("mov ", $name, ", {}"), in(reg) value, options(nostack)) };
        }
    };
}

control_register!(cr0, set_cr0, "cr0");
control_register!(cr3, set_cr3, "cr3");
control_register!(cr4, set_cr4, "cr4");
control_register!(dr0, set_dr0, "dr0");
control_register!(dr1, set_dr1, "dr1");
control_register!(dr2, set_dr2, "dr2");
control_register!(dr3, set_dr3, "dr3");
control_register!(dr6, set_dr6, "dr6");
control_register!(dr7, set_dr7, "dr7");

/// Lets interrupts in and sleeps until one has come; interrupts are off afterwards.
#[inline(always)]
pub fn sleep() {
    // SAFETY: the handlers of `trap` keep every register.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}

/// Lets pending interrupts in without sleeping; interrupts are off afterwards.
#[inline(always)]
pub fn let_interrupts_in() {
    // SAFETY: as in `sleep`. The NOP is what runs in STI's shadow.
    unsafe { asm!("sti", "nop", "nop", "cli", options(nostack)) };
}

/// HLT with interrupts off: the end of this CPU.
pub fn halt_forever() -> ! {
    loop {
        // SAFETY: nothing runs afterwards.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
