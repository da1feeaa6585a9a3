//! Little-endian numbers in bytes, without a way to panic.

use alloc::vec::Vec;

pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// Stores `value` at `at`; what does not fit is not stored.
pub(crate) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    let slot = bytes
        .get_mut(at..)
        .and_then(|rest| rest.get_mut(..value.len()));
    if let Some(slot) = slot {
        slot.copy_from_slice(value);
    }
}

/// Appends numbers.
pub(crate) fn push_u32s<const N: usize>(bytes: &mut Vec<u8>, values: [u32; N]) {
    bytes.extend(values.into_iter().flat_map(u32::to_le_bytes));
}

/// Appends numbers.
pub(crate) fn push_u64s<const N: usize>(bytes: &mut Vec<u8>, values: [u64; N]) {
    bytes.extend(values.into_iter().flat_map(u64::to_le_bytes));
}

/// The first four bytes, with zeros where there are fewer.
pub(crate) fn first4(bytes: &[u8]) -> [u8; 4] {
    let mut first = [0; 4];
    for (slot, byte) in first.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    first
}
