//! The guest's own page walk, in every mode of paging.
//!
//! Owns permissions, reserved bits, error codes and the accessed and dirty flags
//! `[SDM 3A, "Paging", ed. 085]`. Does not own the second stage, which is behind
//! [`GuestMemory`]. Not modelled: protection keys and shadow stacks, which our virtual
//! CPUs do not have. Physical addresses have 48 bits, as a second stage of four levels
//! gives a guest; a table outside of RAM reads as all ones, which has reserved bits set.
//!
//! The walk has no effect until it has succeeded; then flags that are missing are set by
//! a second walk. Most find all of them set, since the CPU itself has been there.

use crate::mode::{
    CR0_PG, CR0_WP, CR4_LA57, CR4_PAE, CR4_PSE, CR4_SMAP, CR4_SMEP, EFER_LMA, EFER_NXE, RFLAGS_AC,
};
use skerry_verdict::{Fault, GuestMemory};
use skerry_words::{Access, Gpa, GuestState, Gva, StateGroups};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const PAGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
const BEYOND_PHYSICAL: u64 = 0x000f_0000_0000_0000;

const FAULT_PRESENT: u32 = 1 << 0;
const FAULT_WRITE: u32 = 1 << 1;
const FAULT_USER: u32 = 1 << 2;
const FAULT_RESERVED: u32 = 1 << 3;
const FAULT_FETCH: u32 = 1 << 4;

/// Where the guest's paging puts `gva`, for an explicit access at its current privilege
/// level. Sets accessed and dirty flags as the CPU would.
///
/// `gva` is canonical (long mode) or below 2^32 (else); what is above is not looked at.
///
/// # Errors
/// [`Fault::Page`], with the error code of the architecture; nothing was changed.
pub fn translate(
    state: &GuestState,
    memory: &mut impl GuestMemory,
    gva: Gva,
    access: Access,
) -> Result<Gpa, Fault> {
    if state.cr0 & CR0_PG == 0 {
        return Ok(Gpa(gva.0));
    }
    let walk = if state.cr4 & CR4_PAE != 0 {
        walk_64(state, memory, gva, 0)
    } else {
        walk_32(state, memory, gva, 0)
    };
    let found = walk.map_err(|cause| fault(state, gva, access, cause))?;
    if !permitted(state, &found, access) {
        return Err(fault(state, gva, access, FAULT_PRESENT));
    }
    let wanted = match access {
        Access::Write => ACCESSED | DIRTY,
        Access::Read | Access::Execute => ACCESSED,
    };
    if found.flags & wanted != wanted {
        set_flags(state, memory, gva, wanted);
    }
    Ok(found.gpa)
}

/// Where the code at `gva` is, in the case that nearly always holds: long mode with four
/// levels, a page that may be executed, flags that are set. `None` says nothing: ask
/// [`translate`], which gives the same address or the fault.
#[inline(always)]
pub(crate) fn glance_at_code(
    state: &GuestState,
    memory: &mut impl GuestMemory,
    gva: Gva,
) -> Option<Gpa> {
    follow_to_code(state, memory, gva, &mut ())
}

/// The same, telling each entry on the way.
#[inline(always)]
pub(crate) fn follow_to_code(
    state: &GuestState,
    memory: &mut impl GuestMemory,
    gva: Gva,
    steps: &mut impl Steps,
) -> Option<Gpa> {
    const USABLE: u64 = PRESENT | ACCESSED;
    const CHECKED: u64 = USABLE | PAGE | NO_EXECUTE | BEYOND_PHYSICAL;
    if state.efer & EFER_LMA == 0 || state.cr4 & CR4_LA57 != 0 {
        return None;
    }
    let (mut table, mut all) = (state.cr3 & ADDRESS, u64::MAX);
    for shift in [39u32, 30, 21, 12] {
        let at = Gpa(table | ((gva.0 >> shift.wrapping_sub(3)) & 0xff8));
        let entry = memory.word(at)?;
        steps.take(at, entry);
        all &= entry;
        let found = entry & CHECKED;
        if shift == 12 || found != USABLE {
            let mapped = USABLE | if shift == 12 { 0 } else { PAGE };
            let plain = found == mapped && entry & reserved_in_page(shift) == 0;
            let inside = (1u64 << shift).wrapping_sub(1);
            return (plain && user_bit_permits(state, all))
                .then_some(Gpa((entry & ADDRESS & !inside) | (gva.0 & inside)));
        }
        table = entry & ADDRESS;
    }
    None
}

/// Who wants to know the entries of a walk.
pub(crate) trait Steps {
    /// The entry at this address.
    fn take(&mut self, at: Gpa, entry: u64);
}

impl Steps for () {
    fn take(&mut self, _: Gpa, _: u64) {}
}

/// The entries of one walk, at most four.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trail {
    first: [(Gpa, u64); 3],
    /// The fourth, if the page is a small one.
    last: Option<(Gpa, u64)>,
    taken: usize,
}

impl Trail {
    /// Whether every entry is what it was.
    #[inline(always)]
    pub(crate) fn still_leads(&self, memory: &mut impl GuestMemory) -> bool {
        let mut is = |(at, entry): (Gpa, u64)| memory.word(at) == Some(entry);
        let [first, second, third] = self.first;
        is(first) && is(second) && is(third) && self.last.is_none_or(is)
    }
}

impl Steps for Trail {
    /// A page of 1 GiB has two entries: the second then counts for the third too.
    fn take(&mut self, at: Gpa, entry: u64) {
        match self.taken {
            0 => self.first = [(at, entry); 3],
            1 => self.first = [self.first[0], (at, entry), (at, entry)],
            2 => self.first = [self.first[0], self.first[1], (at, entry)],
            _ => self.last = Some((at, entry)),
        }
        self.taken = self.taken.saturating_add(1);
    }
}

/// Whether code may be executed that is a user's or not, as `all` entries say.
#[inline(always)]
fn user_bit_permits(state: &GuestState, all: u64) -> bool {
    let user_page = all & USER != 0;
    if state.cpl == 3 {
        user_page
    } else {
        !user_page || state.cr4 & CR4_SMEP == 0
    }
}

/// The outcome of a walk.
struct Found {
    gpa: Gpa,
    /// Bits that are set in every entry (USER, WRITABLE).
    all: u64,
    /// Bits that are set in any entry (NO_EXECUTE).
    any: u64,
    /// ACCESSED if every entry has it, DIRTY if the leaf has it.
    flags: u64,
}

/// Walks 8-byte entries: PAE, 4-level or 5-level. With `set` nonzero stores the flags in
/// it on the way (DIRTY in the leaf only). `Err` is the error code's part.
#[inline(always)]
fn walk_64(
    state: &GuestState,
    memory: &mut impl GuestMemory,
    gva: Gva,
    set: u64,
) -> Result<Found, u32> {
    let (mut table, mut shift) = root(state, memory, gva)?;
    let reserved = reserved_always(state);
    let (mut all, mut any) = (u64::MAX, 0);
    loop {
        let at = Gpa(table | (((gva.0 >> shift) & 0x1ff) << 3));
        let entry = read_u64(memory, at);
        if entry & (reserved | PRESENT) != PRESENT {
            return Err(refused(entry));
        }
        all &= entry;
        any |= entry;
        if shift == 12 || entry & PAGE != 0 {
            if entry & reserved_in_page(shift) != 0 {
                return Err(refused(entry));
            }
            store_flags(memory, at, entry, set);
            return Ok(found(entry, gva, shift, all, any));
        }
        store_flags(memory, at, entry, set & ACCESSED);
        table = entry & ADDRESS;
        // 48, 39, 30, 21, 12: the lowest level is always a leaf.
        shift = shift.wrapping_sub(9);
    }
}

#[inline]
fn found(entry: u64, gva: Gva, shift: u32, all: u64, any: u64) -> Found {
    let inside = (1u64 << shift).wrapping_sub(1);
    Found {
        gpa: Gpa((entry & ADDRESS & !inside) | (gva.0 & inside)),
        all,
        any,
        flags: (all & ACCESSED) | (entry & DIRTY),
    }
}

/// The error code's part for an entry that cannot be used.
#[cold]
fn refused(entry: u64) -> u32 {
    if entry & PRESENT == 0 {
        0
    } else {
        FAULT_PRESENT | FAULT_RESERVED
    }
}

/// The first table of a walk of 8-byte entries, and the shift of its index.
#[inline]
fn root(state: &GuestState, memory: &mut impl GuestMemory, gva: Gva) -> Result<(u64, u32), u32> {
    if state.efer & EFER_LMA == 0 {
        return pae_root(state, memory, gva);
    }
    let shift = if state.cr4 & CR4_LA57 != 0 { 48 } else { 39 };
    Ok((state.cr3 & ADDRESS, shift))
}

/// PAE's four page-directory-pointer entries are registers of the CPU; they have no
/// rights and no flags.
fn pae_root(
    state: &GuestState,
    memory: &mut impl GuestMemory,
    gva: Gva,
) -> Result<(u64, u32), u32> {
    let index = (gva.0 >> 30) & 3;
    let entry = if state.valid.contains(StateGroups::PDPTES) {
        state.pdpte.get(index as usize).copied().unwrap_or(0)
    } else {
        read_u64(memory, Gpa((state.cr3 & 0xffff_ffe0) | (index << 3)))
    };
    if entry & PRESENT == 0 {
        return Err(0);
    }
    Ok((entry & ADDRESS, 21))
}

/// Bits that no present entry may have.
#[inline]
fn reserved_always(state: &GuestState) -> u64 {
    let no_execute = if state.efer & EFER_NXE == 0 {
        NO_EXECUTE
    } else {
        0
    };
    let pae = if state.efer & EFER_LMA == 0 {
        0x7ff << 52
    } else {
        0
    };
    no_execute | pae | BEYOND_PHYSICAL
}

/// Bits that an entry which maps a page (or claims to) may not have.
#[inline]
fn reserved_in_page(shift: u32) -> u64 {
    match shift {
        12 => 0,
        21 => 0x001f_e000,
        30 => 0x3fff_e000,
        _ => PAGE,
    }
}

/// Walks 4-byte entries, as [`walk_64`].
fn walk_32(
    state: &GuestState,
    memory: &mut impl GuestMemory,
    gva: Gva,
    set: u64,
) -> Result<Found, u32> {
    let at = Gpa((state.cr3 & 0xffff_f000) | (((gva.0 >> 22) & 0x3ff) << 2));
    let directory = read_u32(memory, at);
    if directory & PRESENT == 0 {
        return Err(0);
    }
    if directory & PAGE != 0 && state.cr4 & CR4_PSE != 0 {
        return large_page_32(memory, at, directory, gva, set);
    }
    let leaf_at = Gpa((directory & 0xffff_f000) | (((gva.0 >> 12) & 0x3ff) << 2));
    let leaf = read_u32(memory, leaf_at);
    if leaf & PRESENT == 0 {
        return Err(0);
    }
    store_flags(memory, at, directory, set & ACCESSED);
    store_flags(memory, leaf_at, leaf, set);
    Ok(Found {
        gpa: Gpa((leaf & 0xffff_f000) | (gva.0 & 0xfff)),
        all: directory & leaf,
        any: 0,
        flags: (directory & leaf & ACCESSED) | (leaf & DIRTY),
    })
}

/// A 4-MiB page, with PSE-36: bits 20:13 are bits 39:32 of its address, bit 21 is reserved.
fn large_page_32(
    memory: &mut impl GuestMemory,
    at: Gpa,
    entry: u64,
    gva: Gva,
    set: u64,
) -> Result<Found, u32> {
    if entry & (1 << 21) != 0 {
        return Err(FAULT_PRESENT | FAULT_RESERVED);
    }
    store_flags(memory, at, entry, set);
    let high = ((entry >> 13) & 0xff) << 32;
    Ok(Found {
        gpa: Gpa(high | (entry & 0xffc0_0000) | (gva.0 & 0x003f_ffff)),
        all: entry,
        any: 0,
        flags: entry & (ACCESSED | DIRTY),
    })
}

/// The rights of the page against the access `[SDM 3A, "Determination of Access Rights",
/// ed. 085]`.
#[inline]
fn permitted(state: &GuestState, found: &Found, access: Access) -> bool {
    let user_page = found.all & USER != 0;
    let user = state.cpl == 3;
    if user && !user_page {
        return false;
    }
    let supervisor_on_user_page = !user && user_page;
    match access {
        Access::Execute => {
            found.any & NO_EXECUTE == 0 && !(supervisor_on_user_page && state.cr4 & CR4_SMEP != 0)
        }
        Access::Read => !(supervisor_on_user_page && smap_guards(state)),
        Access::Write => {
            (found.all & WRITABLE != 0 || (!user && state.cr0 & CR0_WP == 0))
                && !(supervisor_on_user_page && smap_guards(state))
        }
    }
}

#[inline]
fn smap_guards(state: &GuestState) -> bool {
    state.cr4 & CR4_SMAP != 0 && state.rflags & RFLAGS_AC == 0
}

/// A page fault `[SDM 3A, "Page-Fault Exceptions", ed. 085]`.
#[cold]
fn fault(state: &GuestState, gva: Gva, access: Access, cause: u32) -> Fault {
    let user = if state.cpl == 3 { FAULT_USER } else { 0 };
    let tells_fetches =
        state.cr4 & CR4_SMEP != 0 || (state.cr4 & CR4_PAE != 0 && state.efer & EFER_NXE != 0);
    let kind = match access {
        Access::Read => 0,
        Access::Write => FAULT_WRITE,
        Access::Execute if tells_fetches => FAULT_FETCH,
        Access::Execute => 0,
    };
    Fault::Page(gva.0, cause | user | kind)
}

#[cold]
fn set_flags(state: &GuestState, memory: &mut impl GuestMemory, gva: Gva, wanted: u64) {
    // The walk that found flags missing has just succeeded, so this one does too.
    let _ = if state.cr4 & CR4_PAE != 0 {
        walk_64(state, memory, gva, wanted)
    } else {
        walk_32(state, memory, gva, wanted)
    };
}

/// Both flags are in the lowest byte: only that is stored, so that what another vCPU
/// changes in the rest is kept.
#[inline]
fn store_flags(memory: &mut impl GuestMemory, at: Gpa, entry: u64, flags: u64) {
    if flags != 0 && entry & flags != flags {
        // A table in read-only or absent memory keeps its flags, as on a CPU.
        let _ = memory.write(at, &[(entry | flags) as u8]);
    }
}

#[inline]
fn read_u64(memory: &mut impl GuestMemory, at: Gpa) -> u64 {
    memory.word(at).unwrap_or(u64::MAX)
}

fn read_u32(memory: &mut impl GuestMemory, at: Gpa) -> u64 {
    let mut bytes = [0; 4];
    match memory.read(at, &mut bytes) {
        Ok(()) => u64::from(u32::from_le_bytes(bytes)),
        Err(_) => u64::from(u32::MAX),
    }
}
