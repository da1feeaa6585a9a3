//! The MSRs that are the guest's own: it reads and writes them without an exit, and no value
//! crosses from one VM to the next. Each backend's bitmap lets them through.

/// SYSENTER, PAT, STAR, LSTAR, CSTAR, FMASK, FS base, GS base, KERNEL_GS base.
const ALWAYS: [u32; 11] = [
    0x174,
    0x175,
    0x176,
    0x277,
    0xc000_0081,
    0xc000_0082,
    0xc000_0083,
    0xc000_0084,
    0xc000_0100,
    0xc000_0101,
    0xc000_0102,
];
const TSC_AUX: u32 = 0xc000_0103;
/// IA32_PKRS, the protection keys of supervisor pages.
pub const PKRS: u32 = 0x6e1;

/// Whether this CPU has IA32_PKRS: leaf 7, ECX bit 31
/// `[SDM 4, "Architectural MSRs", ed. 085]`.
pub fn has_pkrs() -> bool {
    const PKS: u32 = 1 << 31;
    let leaf = |leaf| core::arch::x86_64::__cpuid_count(leaf, 0);
    leaf(0).eax >= 7 && leaf(7).ecx & PKS != 0
}

/// Whether guests have IA32_TSC_AUX.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TscAux {
    /// RDTSCP and RDPID work, so the MSR is the guest's.
    Guest,
    /// They do not exist in guests.
    Absent,
}

/// Their indices.
pub fn indices(tsc_aux: TscAux) -> impl Iterator<Item = u32> {
    let last = (tsc_aux == TscAux::Guest).then_some(TSC_AUX);
    let keys = has_pkrs().then_some(PKRS);
    ALWAYS.into_iter().chain(last).chain(keys)
}
