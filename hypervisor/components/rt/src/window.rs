//! Guest memory as a VMM reaches it: through the window that ring 0 maps its guest's RAM in.
//!
//! Owns the copies. The guest may change its memory at any time, so bytes are copied by
//! instructions that the compiler sees nothing of, and never borrowed. Pages appear on first
//! use; what is outside RAM is refused here, since touching it would end the component.

use core::ops::Range;
use skerry_abi::layout::{GUEST_END, GUEST_WINDOW};
use skerry_verdict::{GuestMemory, Unbacked};
use skerry_words::Gpa;

/// The bytes of a word.
const WORD_BYTES: u64 = 8;
/// The most ranges of memory that a guest has: RAM in three, and a ROM.
const MOST_RANGES: usize = 4;

/// A range of RAM: its first address and its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Ram {
    start: u64,
    bytes: u64,
}

impl Ram {
    fn new(range: &Range<Gpa>) -> Self {
        let end = range.end.0.min(GUEST_END);
        Self {
            start: range.start.0,
            bytes: end.saturating_sub(range.start.0),
        }
    }

    /// How many bytes of RAM follow from `gpa` on, 0 if none.
    #[inline(always)]
    fn bytes_from(self, gpa: u64) -> u64 {
        let offset = gpa.wrapping_sub(self.start);
        self.bytes.saturating_sub(offset)
    }
}

/// The RAM of the component's guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestWindow {
    /// The largest range: most accesses are there.
    main: Ram,
    /// How far behind its start the last whole word is; 0 in a range of less.
    last_word: u64,
    ranges: [Ram; MOST_RANGES],
}

impl GuestWindow {
    /// The window of a guest with memory in these ranges, as they were given when it was made.
    /// More than four are not known here.
    #[must_use]
    pub fn new(ram: impl Iterator<Item = Range<Gpa>>) -> Self {
        let mut ranges = [Ram::default(); MOST_RANGES];
        for (slot, range) in ranges.iter_mut().zip(ram) {
            *slot = Ram::new(&range);
        }
        let main = ranges.iter().max_by_key(|ram| ram.bytes);
        let main = main.copied().unwrap_or_default();
        Self {
            main,
            last_word: main.bytes.saturating_sub(WORD_BYTES),
            ranges,
        }
    }

    /// How many bytes of RAM follow from `gpa` on, 0 if none.
    #[inline(always)]
    fn bytes_from(&self, gpa: u64) -> u64 {
        let bytes = self.main.bytes_from(gpa);
        if bytes != 0 {
            return bytes;
        }
        self.bytes_elsewhere(gpa)
    }

    #[cold]
    fn bytes_elsewhere(&self, gpa: u64) -> u64 {
        let bytes = self.ranges.iter().map(|ram| ram.bytes_from(gpa));
        bytes.max().unwrap_or(0)
    }

    /// Where `bytes` of RAM from `at` on stand in the window.
    #[inline(always)]
    fn locate(&self, at: Gpa, bytes: u64) -> Result<u64, Unbacked> {
        let there = self.bytes_from(at.0);
        if bytes > there {
            return Err(Unbacked(Gpa(at.0.saturating_add(there))));
        }
        Ok(GUEST_WINDOW.wrapping_add(at.0))
    }
}

impl GuestMemory for GuestWindow {
    #[inline]
    fn read(&mut self, at: Gpa, into: &mut [u8]) -> Result<(), Unbacked> {
        let from = self.locate(at, into.len() as u64)?;
        // SAFETY: `locate` has found so many bytes of guest RAM, where nothing of Rust's is.
        unsafe { copy(from, into.as_mut_ptr() as u64, into.len()) };
        Ok(())
    }

    #[inline(always)]
    fn word(&mut self, at: Gpa) -> Option<u64> {
        if at.0.wrapping_sub(self.main.start) >= self.last_word {
            self.locate(at, WORD_BYTES).ok()?;
        }
        // SAFETY: as above.
        Some(unsafe { load(GUEST_WINDOW, at.0) })
    }

    #[inline]
    fn write(&mut self, at: Gpa, from: &[u8]) -> Result<(), Unbacked> {
        let to = self.locate(at, from.len() as u64)?;
        // SAFETY: as above.
        unsafe { copy(from.as_ptr() as u64, to, from.len()) };
        Ok(())
    }
}

/// Loads the eight bytes at `offset` from `base`, aligned or not. The CPU adds the two.
///
/// # Safety
/// They are guest memory.
#[inline(always)]
unsafe fn load(base: u64, offset: u64) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        let word;
        // SAFETY: the caller's promise; a load changes nothing.
        unsafe {
            core::arch::asm!("mov {word}, [{base} + {offset}]",
                base = in(reg) base, offset = in(reg) offset, word = out(reg) word,
                options(nostack, readonly, preserves_flags));
        }
        word
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (base, offset);
        0
    }
}

/// Copies bytes between a buffer and guest memory, eight at a time while it goes.
///
/// # Safety
/// One is a buffer that may be read or written, the other guest memory.
#[inline]
unsafe fn copy(from: u64, to: u64, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise; the direction flag is clear, as everywhere in Rust.
    unsafe {
        core::arch::asm!(
            "rep movsq",
            "mov rcx, {rest}",
            "rep movsb",
            rest = in(reg) bytes & 7,
            inout("rcx") bytes >> 3 => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, to, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: Range<Gpa> = Gpa(0)..Gpa(0xa_0000);
    const MIDDLE: Range<Gpa> = Gpa(0xc_0000)..Gpa(0x200_0000);
    const ROM: Range<Gpa> = Gpa(0xfffe_0000)..Gpa(1 << 32);
    const HIGH: Range<Gpa> = Gpa(1 << 32)..Gpa((1 << 32) + 0x1000);

    fn window() -> GuestWindow {
        GuestWindow::new([LOW, MIDDLE, ROM, HIGH].into_iter())
    }

    #[test]
    fn what_is_wholly_in_ram_is_found_in_the_window() {
        for (at, bytes) in [
            (0, 1),
            (0x9_ffff, 1),
            (0xc_0000, 0x1f4_0000),
            (0xfffe_0000, 0x2_0000),
            (1 << 32, 0x1000),
        ] {
            assert_eq!(window().locate(Gpa(at), bytes), Ok(GUEST_WINDOW + at));
        }
    }

    #[test]
    fn what_leaves_ram_is_refused_with_the_first_address_outside() {
        for (at, bytes, first) in [
            (0x9_ffff, 2, 0xa_0000),
            (0xa_0000, 1, 0xa_0000),
            (0xb_ffff, 8, 0xb_ffff),
            (0x1ff_fff9, 8, 0x200_0000),
            ((1 << 32) + 0xfff, u64::MAX, (1 << 32) + 0x1000),
            (u64::MAX, 1, u64::MAX),
            (1 << 47, 8, 1 << 47),
        ] {
            assert_eq!(
                window().locate(Gpa(at), bytes),
                Err(Unbacked(Gpa(first))),
                "{at:#x}"
            );
        }
    }

    #[test]
    fn a_range_beyond_the_window_is_cut_to_it() {
        let absurd = GuestWindow::new([Gpa(0)..Gpa(u64::MAX)].into_iter());
        assert!(absurd.locate(Gpa(GUEST_END - 1), 1).is_ok());
        assert!(absurd.locate(Gpa(GUEST_END - 1), 2).is_err());
        let outside = GuestWindow::new([Gpa(GUEST_END)..Gpa(u64::MAX)].into_iter());
        assert!(outside.locate(Gpa(GUEST_END), 1).is_err());
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn copies_of_all_lengths_copy_just_that() {
        let source: [u8; 40] = core::array::from_fn(|index| index as u8 + 1);
        for bytes in 0..=source.len() {
            let mut target = [0; 41];
            // SAFETY: both are buffers of at least so many bytes.
            unsafe { copy(source.as_ptr() as u64, (&raw mut target) as u64, bytes) };
            assert_eq!(target[..bytes], source[..bytes]);
            assert!(target[bytes..].iter().all(|byte| *byte == 0));
        }
        // SAFETY: eight bytes of the buffer.
        let word = unsafe { load(source.as_ptr() as u64, 3) };
        assert_eq!(word, 0x0b0a_0908_0706_0504);
    }
}
