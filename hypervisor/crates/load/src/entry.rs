//! The vCPU's first state, in each of the three modes an image can ask for.
//!
//! Owns the control registers, segments and flags that belong together. The loaders add
//! RIP and their own registers.

use alloc::{boxed::Box, vec::Vec};

use skerry_verdict::Registers;
use skerry_words::{AccessRights, GuestState, Segment, SegmentRegister, TableRegister};

use crate::layout::{GDT, PAGE_TABLES, STACK_TOP};

/// Linux's `__BOOT_CS` and `__BOOT_DS`, used for every protected-mode entry
/// `[Linux 6.1, Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"]`.
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;

const CR0_PE: u64 = 1 << 0;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

/// The GDT behind the selectors of [`long_mode`]: two null descriptors, 64-bit code, data.
pub(crate) fn gdt() -> Vec<u8> {
    [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff_u64]
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect()
}

/// 64-bit mode on the identity map, interrupts off, a stack at the top of low RAM.
///
/// RSP is as behind a call, so that the entry can be a function of the System V ABI.
pub(crate) fn long_mode(rip: u64) -> Box<GuestState> {
    let mut state = flat(AccessRights::CODE64);
    state.rip = rip;
    state.cr0 = CR0_PE | CR0_ET | CR0_PG;
    state.cr3 = PAGE_TABLES.0;
    state.cr4 = CR4_PAE;
    state.efer = EFER_LME | EFER_LMA;
    state.gdtr = TableRegister {
        base: GDT.0,
        limit: 31,
    };
    state.set(skerry_words::Gpr::Rsp, STACK_TOP.0.saturating_sub(8));
    state
}

/// 32-bit mode without paging, interrupts off, as PVH wants it
/// `[Xen 4.17, docs/misc/pvh.pandoc, "Initial state"]`.
pub(crate) fn protected_mode(eip: u32) -> Box<GuestState> {
    let mut state = flat(AccessRights::CODE32);
    state.rip = u64::from(eip);
    state.cr0 = CR0_PE | CR0_ET;
    state.gdtr = TableRegister { base: 0, limit: 0 };
    state
}

/// Real mode at a 16-bit address of segment 0, interrupts off, the stack right below.
pub(crate) fn real_mode(ip: u16) -> Box<GuestState> {
    let mut state = Box::new(GuestState::at_reset());
    state.rip = u64::from(ip);
    state.cr0 = CR0_ET;
    put(
        &mut state,
        Segment::Cs,
        SegmentRegister::new(0, 0, 0xffff, AccessRights::CODE16),
    );
    state.idtr.limit = 0x3ff;
    state.set(skerry_words::Gpr::Rsp, u64::from(ip));
    state
}

fn flat(code: AccessRights) -> Box<GuestState> {
    let mut state = Box::new(GuestState::at_reset());
    let data = SegmentRegister::new(DATA_SELECTOR, 0, u32::MAX, AccessRights::DATA32);
    for segment in [
        Segment::Es,
        Segment::Ss,
        Segment::Ds,
        Segment::Fs,
        Segment::Gs,
    ] {
        put(&mut state, segment, data);
    }
    put(
        &mut state,
        Segment::Cs,
        SegmentRegister::new(CODE_SELECTOR, 0, u32::MAX, code),
    );
    put(
        &mut state,
        Segment::Tr,
        SegmentRegister::new(0, 0, 0x67, AccessRights::TSS_BUSY),
    );
    state.idtr.limit = 0;
    state
}

fn put(state: &mut GuestState, segment: Segment, value: SegmentRegister) {
    if let Some(slot) = state.segments.get_mut(segment as usize) {
        *slot = value;
    }
}
