//! Fetching the bytes of the instruction that exited.
//!
//! Owns the code-segment limit, canonical RIP and the page boundary an instruction may
//! cross. Does not own decoding. Called by [`crate::mmio()`], and by whoever must know an
//! instruction the CPU does not tell about.

use crate::glance::Glance;
use crate::{mode, paging};
use skerry_verdict::{Fault, GuestMemory};
use skerry_words::{Access, Gpa, GuestState, Gva, PAGE_BYTES, Segment};

/// The longest instruction of the architecture, in bytes.
pub(crate) const MAX_BYTES: usize = 15;

/// Up to 15 bytes of code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bytes {
    /// One more than an instruction can have, so that one read of fixed size fills it.
    bytes: [u8; 16],
    length: u8,
}

impl Bytes {
    /// The first 15 of `code`, or all of it if it is shorter.
    #[must_use]
    pub fn new(code: &[u8]) -> Self {
        let mut bytes = [0; 16];
        let length = code.len().min(MAX_BYTES);
        bytes
            .iter_mut()
            .zip(code.iter().take(length))
            .for_each(|(to, from)| *to = *from);
        Self {
            bytes,
            length: length as u8,
        }
    }

    /// The first 15 of two words.
    pub(crate) fn of_words(words: [u64; 2]) -> Self {
        let [low, high] = words;
        let both = u128::from(high) << 64 | u128::from(low);
        Self {
            bytes: both.to_le_bytes(),
            length: MAX_BYTES as u8,
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length()).unwrap_or(&[])
    }

    /// How many they are, 0 to 15.
    #[inline]
    pub(crate) fn length(&self) -> usize {
        usize::from(self.length)
    }

    /// The first eight, as one number; past the end any.
    #[inline]
    pub(crate) fn first_word(&self) -> u64 {
        self.bytes
            .first_chunk()
            .copied()
            .map_or(0, u64::from_le_bytes)
    }

    /// The byte at `index`; past the end any.
    #[inline]
    pub(crate) fn at(&self, index: usize) -> u8 {
        self.bytes.get(index & 15).copied().unwrap_or(0)
    }
}

impl core::fmt::Display for Bytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (index, byte) in self.as_slice().iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{byte:02x}")?;
        }
        Ok(())
    }
}

/// The bytes from RIP on: 15, or fewer where the code segment or the guest's mapping ends.
///
/// # Errors
/// The fault of the first byte; nothing was changed.
pub fn fetch(state: &GuestState, memory: &mut impl GuestMemory) -> Result<Bytes, Fault> {
    let first = fetch_from(state, memory, 0)?;
    let length = u64::from(first.length);
    if first.length as usize == MAX_BYTES {
        return Ok(first);
    }
    match fetch_from(state, memory, length) {
        Ok(rest) => Ok(joined(first, rest)),
        Err(_) => Ok(first),
    }
}

/// The bytes from RIP + `skip` to the end of that page, 15 at most.
///
/// # Errors
/// The fault of the byte at RIP + `skip`.
#[inline(always)]
pub(crate) fn fetch_from(
    state: &GuestState,
    memory: &mut impl GuestMemory,
    skip: u64,
) -> Result<Bytes, Fault> {
    let (gva, in_segment) = linear(state, skip)?;
    let in_page = PAGE_BYTES.wrapping_sub(gva.page_offset());
    let gpa = match paging::glance_at_code(state, memory, gva) {
        Some(gpa) => gpa,
        None => paging::translate(state, memory, gva, Access::Execute)?,
    };
    let length = in_segment.min(in_page).min(MAX_BYTES as u64) as u8;
    // What is no memory floats: all ones.
    let mut bytes = [0xff; 16];
    if in_page >= 16 {
        if memory.read(gpa, &mut bytes).is_err() {
            bytes = [0xff; 16];
        }
    } else {
        read_end_of_page(memory, gpa, &mut bytes, in_page);
    }
    Ok(Bytes { bytes, length })
}

/// The 16 bytes from RIP on as two words, by the shortest way there is: 64-bit code, not at the
/// end of a page, on the page that was seen last. Nothing where that way is not open.
#[inline(always)]
pub(crate) fn words_again(
    state: &GuestState,
    memory: &mut impl GuestMemory,
    last: &mut Glance,
) -> Option<[u64; 2]> {
    /// The last place of sixteen bytes in a page.
    const WHOLE: u64 = PAGE_BYTES - 16;
    if state.rip & (PAGE_BYTES - 1) > WHOLE || !mode::is_64_bit(state) {
        return None;
    }
    let at = last.code(state, memory)?;
    Some([memory.word(at)?, memory.word(Gpa(at.0.wrapping_add(8)))?])
}

#[cold]
fn read_end_of_page(memory: &mut impl GuestMemory, at: Gpa, bytes: &mut [u8; 16], length: u64) {
    let wanted = bytes.get_mut(..length as usize).unwrap_or(&mut []);
    if memory.read(at, wanted).is_err() {
        wanted.fill(0xff);
    }
}

/// The linear address of RIP + `skip`, and how many bytes the segment holds from there.
#[inline]
fn linear(state: &GuestState, skip: u64) -> Result<(Gva, u64), Fault> {
    let rip = state.rip.wrapping_add(skip);
    if mode::is_64_bit(state) {
        return if mode::is_canonical(state, rip) {
            Ok((Gva(rip), MAX_BYTES as u64))
        } else {
            Err(Fault::GeneralProtection(0))
        };
    }
    let code = state.segment(Segment::Cs);
    let left = u64::from(code.limit)
        .checked_sub(rip)
        .ok_or(Fault::GeneralProtection(0))?
        .saturating_add(1);
    Ok((
        Gva(u64::from((code.base as u32).wrapping_add(rip as u32))),
        left,
    ))
}

pub(crate) fn joined(first: Bytes, rest: Bytes) -> Bytes {
    let mut whole = first;
    let room = whole
        .bytes
        .iter_mut()
        .take(MAX_BYTES)
        .skip(usize::from(first.length));
    let mut added = 0u8;
    for (to, from) in room.zip(rest.as_slice()) {
        *to = *from;
        added = added.wrapping_add(1);
    }
    whole.length = whole.length.wrapping_add(added);
    whole
}
