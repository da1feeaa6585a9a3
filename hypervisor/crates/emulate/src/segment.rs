//! From a segment and an offset to a linear address.
//!
//! Owns limits, expand-down segments, segment types and canonical addresses
//! `[SDM 3A, "Limit Checking", "Type Checking" and "Segment Descriptors", ed. 085]`. Does
//! not own paging. Called for every memory operand of an emulated instruction.

use crate::mode;
use skerry_verdict::Fault;
use skerry_words::{Access, AccessRights, GuestState, Gva, Segment, SegmentRegister};

const TYPE_CODE: u32 = 1 << 3;
const TYPE_EXPAND_DOWN: u32 = 1 << 2;
/// Writable for data, readable for code.
const TYPE_WRITABLE_OR_READABLE: u32 = 1 << 1;

/// The linear address of `bytes` (at least 1) at `offset` in `segment`.
///
/// `offset` is already cut to the address size. `#SS(0)` for the stack segment, `#GP(0)`
/// for the others.
#[inline]
pub(crate) fn linear(
    state: &GuestState,
    segment: Segment,
    offset: u64,
    bytes: u64,
    access: Access,
) -> Result<Gva, Fault> {
    let address = if mode::is_64_bit(state) {
        linear_64(state, segment, offset, bytes)
    } else {
        linear_32(state, segment, offset, bytes, access)
    };
    address.ok_or(match segment {
        Segment::Ss => Fault::Stack(0),
        Segment::Es | Segment::Cs | Segment::Ds => Fault::GeneralProtection(0),
        Segment::Fs | Segment::Gs | Segment::Ldtr | Segment::Tr => Fault::GeneralProtection(0),
    })
}

/// In 64-bit mode only FS and GS have a base, and no segment has a limit.
#[inline]
fn linear_64(state: &GuestState, segment: Segment, offset: u64, bytes: u64) -> Option<Gva> {
    let base = match segment {
        Segment::Fs | Segment::Gs => state.segment(segment).base,
        Segment::Es | Segment::Cs | Segment::Ss | Segment::Ds => 0,
        Segment::Ldtr | Segment::Tr => 0,
    };
    let first = base.wrapping_add(offset);
    let last = first.wrapping_add(bytes.wrapping_sub(1));
    (mode::is_canonical(state, first) && mode::is_canonical(state, last)).then_some(Gva(first))
}

fn linear_32(
    state: &GuestState,
    segment: Segment,
    offset: u64,
    bytes: u64,
    access: Access,
) -> Option<Gva> {
    let register = state.segment(segment);
    let typed = mode::checks_segment_types(state);
    if typed && !type_permits(register, access) {
        return None;
    }
    let last = offset.checked_add(bytes.wrapping_sub(1))?;
    let expands_down = typed && kind(register) & (TYPE_CODE | TYPE_EXPAND_DOWN) == TYPE_EXPAND_DOWN;
    within_limit(register, offset, last, expands_down).then(|| {
        Gva(u64::from(
            (register.base as u32).wrapping_add(offset as u32),
        ))
    })
}

fn within_limit(register: SegmentRegister, first: u64, last: u64, expands_down: bool) -> bool {
    let limit = u64::from(register.limit);
    if !expands_down {
        return last <= limit;
    }
    let top = if register.rights.contains(AccessRights::DEFAULT_32) {
        0xffff_ffff
    } else {
        0xffff
    };
    first > limit && last <= top
}

fn type_permits(register: SegmentRegister, access: Access) -> bool {
    if register.rights.contains(AccessRights::UNUSABLE) {
        return false;
    }
    let is_code = kind(register) & TYPE_CODE != 0;
    let second = kind(register) & TYPE_WRITABLE_OR_READABLE != 0;
    match access {
        Access::Read => !is_code || second,
        Access::Write => !is_code && second,
        Access::Execute => is_code,
    }
}

fn kind(register: SegmentRegister) -> u32 {
    register.rights.bits() & 0xf
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protected(rights: u32, limit: u32) -> GuestState {
        let mut state = GuestState::at_reset();
        state.cr0 = mode::CR0_PE;
        let rights = AccessRights::from_bits_retain(rights);
        state.segments[Segment::Ds as usize] = SegmentRegister::new(8, 0x1000, limit, rights);
        state.segments[Segment::Ss as usize] = SegmentRegister::new(8, 0x1000, limit, rights);
        state
    }

    fn ds(state: &GuestState, offset: u64, bytes: u64, access: Access) -> Result<u64, Fault> {
        linear(state, Segment::Ds, offset, bytes, access).map(|gva| gva.0)
    }

    const GP: Result<u64, Fault> = Err(Fault::GeneralProtection(0));

    #[test]
    fn the_last_byte_must_be_within_the_limit() {
        let state = protected(0x93, 0xfff);
        assert_eq!(ds(&state, 0xffc, 4, Access::Read), Ok(0x1ffc));
        assert_eq!(ds(&state, 0xffd, 4, Access::Read), GP);
        assert_eq!(ds(&state, 0xffff_ffff, 4, Access::Read), GP);
        let on_the_stack = linear(&state, Segment::Ss, 0x1000, 1, Access::Write);
        assert_eq!(on_the_stack, Err(Fault::Stack(0)));
    }

    #[test]
    fn an_expand_down_segment_is_valid_above_its_limit_up_to_its_top() {
        let small = protected(0x97, 0xfff);
        assert_eq!(ds(&small, 0xfff, 1, Access::Read), GP);
        assert_eq!(ds(&small, 0x1000, 4, Access::Read), Ok(0x2000));
        assert_eq!(ds(&small, 0xfffd, 4, Access::Read), GP);
        let big = protected(0x4097, 0xfff);
        assert_eq!(ds(&big, 0x1_0000, 4, Access::Read), Ok(0x1_1000));
    }

    #[test]
    fn types_decide_who_reads_and_who_writes() {
        let read_only_data = protected(0x91, 0xffff);
        assert_eq!(ds(&read_only_data, 0, 1, Access::Read), Ok(0x1000));
        assert_eq!(ds(&read_only_data, 0, 1, Access::Write), GP);
        let readable_code = protected(0x9b, 0xffff);
        assert_eq!(ds(&readable_code, 0, 1, Access::Read), Ok(0x1000));
        assert_eq!(ds(&readable_code, 0, 1, Access::Write), GP);
        let execute_only = protected(0x99, 0xffff);
        assert_eq!(ds(&execute_only, 0, 1, Access::Read), GP);
        let null = protected(0x1_0000, 0xffff);
        assert_eq!(ds(&null, 0, 1, Access::Read), GP);
    }

    #[test]
    fn real_mode_checks_the_limit_only_and_wraps_at_4_gib() {
        let mut state = protected(0x9b, 0xffff);
        state.cr0 = 0;
        assert_eq!(ds(&state, 0x10, 2, Access::Write), Ok(0x1010));
        assert_eq!(ds(&state, 0xffff, 2, Access::Read), GP);
        state.segments[Segment::Ds as usize].base = 0xffff_fff0;
        assert_eq!(ds(&state, 0x20, 1, Access::Read), Ok(0x10));
    }

    #[test]
    fn long_mode_knows_no_limit_but_canonical_addresses_and_the_base_of_gs() {
        let mut state = protected(0x93, 0);
        state.efer = mode::EFER_LMA;
        state.segments[Segment::Cs as usize].rights = AccessRights::CODE64;
        state.segments[Segment::Gs as usize].base = 0xffff_8000_0000_0000;
        assert_eq!(
            ds(&state, 0x7fff_ffff_fff8, 8, Access::Write),
            Ok(0x7fff_ffff_fff8)
        );
        assert_eq!(ds(&state, 0x7fff_ffff_fff9, 8, Access::Write), GP);
        let gs = linear(&state, Segment::Gs, 0x10, 1, Access::Read);
        assert_eq!(gs, Ok(Gva(0xffff_8000_0000_0010)));
        let ss = linear(&state, Segment::Ss, 1 << 63, 1, Access::Read);
        assert_eq!(ss, Err(Fault::Stack(0)));
        state.cr4 = mode::CR4_LA57;
        assert_eq!(
            ds(&state, 0x7fff_ffff_fff9, 8, Access::Write),
            Ok(0x7fff_ffff_fff9)
        );
    }
}
