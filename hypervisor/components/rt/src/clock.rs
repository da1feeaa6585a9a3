//! What time it is: the time-stamp counter, which ring 0 lets components read.

use skerry_words::Tsc;

/// The present time.
#[inline(always)]
#[must_use]
pub fn now() -> Tsc {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: RDTSC is there on every CPU with VT-x or AMD-V, and CR4.TSD is clear.
    return Tsc(unsafe { core::arch::x86_64::_rdtsc() });
    #[cfg(not(target_arch = "x86_64"))]
    Tsc(0)
}
