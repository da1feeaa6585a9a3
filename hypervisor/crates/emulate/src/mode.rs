//! What mode the guest's CPU is in, as far as instructions and addresses depend on it.
//!
//! Owns the reading of CR0, CR4, EFER, RFLAGS and CS for that. Called by every other file.

use skerry_words::{AccessRights, GuestState, Segment, Width};

pub(crate) const CR0_PE: u64 = 1 << 0;
pub(crate) const CR0_EM: u64 = 1 << 2;
pub(crate) const CR0_TS: u64 = 1 << 3;
pub(crate) const CR0_WP: u64 = 1 << 16;
pub(crate) const CR0_PG: u64 = 1 << 31;
pub(crate) const CR4_PSE: u64 = 1 << 4;
pub(crate) const CR4_PAE: u64 = 1 << 5;
pub(crate) const CR4_OSFXSR: u64 = 1 << 9;
pub(crate) const CR4_UMIP: u64 = 1 << 11;
pub(crate) const CR4_LA57: u64 = 1 << 12;
pub(crate) const CR4_OSXSAVE: u64 = 1 << 18;
pub(crate) const CR4_SMEP: u64 = 1 << 20;
pub(crate) const CR4_SMAP: u64 = 1 << 21;
pub(crate) const EFER_LMA: u64 = 1 << 10;
pub(crate) const EFER_NXE: u64 = 1 << 11;
pub(crate) const RFLAGS_DF: u64 = 1 << 10;
pub(crate) const RFLAGS_VM: u64 = 1 << 17;
pub(crate) const RFLAGS_AC: u64 = 1 << 18;

/// Whether the guest runs 64-bit code: long mode with CS.L.
#[inline]
pub(crate) fn is_64_bit(state: &GuestState) -> bool {
    state.efer & EFER_LMA != 0 && code_rights(state).contains(AccessRights::LONG)
}

/// The size of code: 16, 32 or 64 bits; the default address size, and but for 64 bits the
/// default operand size too.
#[inline]
pub(crate) fn code_width(state: &GuestState) -> Width {
    if is_64_bit(state) {
        Width::Qword
    } else if code_rights(state).contains(AccessRights::DEFAULT_32) {
        Width::Dword
    } else {
        Width::Word
    }
}

/// Whether segments are checked by type: protected mode and not virtual-8086 mode.
#[inline]
pub(crate) fn checks_segment_types(state: &GuestState) -> bool {
    state.cr0 & CR0_PE != 0 && state.rflags & RFLAGS_VM == 0
}

/// Whether `address` is canonical under the guest's paging
/// `[SDM 1, "Canonical Addressing", ed. 085]`.
#[inline]
pub(crate) fn is_canonical(state: &GuestState, address: u64) -> bool {
    let unused = if state.cr4 & CR4_LA57 != 0 { 7 } else { 16 };
    let extended = ((address << unused) as i64) >> unused;
    extended as u64 == address
}

#[inline]
fn code_rights(state: &GuestState) -> AccessRights {
    state.segment(Segment::Cs).rights
}
