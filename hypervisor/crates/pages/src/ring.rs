//! Bytes between a VMM and the console: two rings in pages that both have.
//!
//! One side writes, the other reads. Neither trusts the other: each keeps its own position to
//! itself ([`Ring`]) and takes from the page only how far the other is. A position that cannot
//! be counts as nothing written, or no room; so the worst is garbage in the bytes of this VM.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Bytes of output that fit. A power of two, as all positions run freely.
pub const OUTPUT_BYTES: usize = 4096;
/// Bytes of input that fit.
pub const INPUT_BYTES: usize = 1024;

/// The pages that a VMM and the console share. All zero is empty.
#[derive(Debug)]
#[repr(C)]
pub struct ConsolePage {
    /// How many bytes the VMM has ever written.
    pub output_written: AtomicU32,
    /// How many of them the console has read.
    pub output_read: AtomicU32,
    /// How many bytes the console has ever typed.
    pub input_written: AtomicU32,
    /// How many of them the VMM has read.
    pub input_read: AtomicU32,
    output: [AtomicU8; OUTPUT_BYTES],
    input: [AtomicU8; INPUT_BYTES],
}

const _: () = assert!(size_of::<ConsolePage>() as u64 <= skerry_abi::layout::CONSOLE_STRIDE);

impl ConsolePage {
    /// Pages with nothing in them, for tests.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            output_written: AtomicU32::new(0),
            output_read: AtomicU32::new(0),
            input_written: AtomicU32::new(0),
            input_read: AtomicU32::new(0),
            output: [const { AtomicU8::new(0) }; OUTPUT_BYTES],
            input: [const { AtomicU8::new(0) }; INPUT_BYTES],
        }
    }

    /// The VMM's end of the output.
    #[must_use]
    pub fn output_writer(&self) -> Ring<'_> {
        Ring::new(&self.output, &self.output_written, &self.output_read)
    }

    /// The console's end of the output.
    #[must_use]
    pub fn output_reader(&self) -> Ring<'_> {
        Ring::new(&self.output, &self.output_read, &self.output_written)
    }

    /// The console's end of the input.
    #[must_use]
    pub fn input_writer(&self) -> Ring<'_> {
        Ring::new(&self.input, &self.input_written, &self.input_read)
    }

    /// The VMM's end of the input.
    #[must_use]
    pub fn input_reader(&self) -> Ring<'_> {
        Ring::new(&self.input, &self.input_read, &self.input_written)
    }
}

/// One end of one ring.
#[derive(Debug)]
pub struct Ring<'a> {
    bytes: &'a [AtomicU8],
    /// Where this end is: told to the other, never read back.
    mine: &'a AtomicU32,
    /// Where the other end says it is.
    other: &'a AtomicU32,
    position: u32,
}

impl<'a> Ring<'a> {
    /// Takes up where this end was.
    fn new(bytes: &'a [AtomicU8], mine: &'a AtomicU32, other: &'a AtomicU32) -> Self {
        Self {
            bytes,
            mine,
            other,
            position: mine.load(Ordering::Relaxed),
        }
    }

    fn size(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(0)
    }

    /// The bytes a reader can take now.
    #[inline]
    #[must_use]
    pub fn waiting(&self) -> u32 {
        let written = self.other.load(Ordering::Acquire);
        let waiting = written.wrapping_sub(self.position);
        if waiting <= self.size() { waiting } else { 0 }
    }

    /// The bytes a writer has room for now.
    #[inline]
    #[must_use]
    pub fn room(&self) -> u32 {
        let read = self.other.load(Ordering::Acquire);
        let used = self.position.wrapping_sub(read);
        self.size().saturating_sub(used)
    }

    /// Tells the other end again where this one is, in case somebody has overwritten it.
    #[inline]
    pub fn tell(&self) {
        self.mine.store(self.position, Ordering::Release);
    }

    /// For a reader whose writer has another in its place: forgets what the old one claimed to
    /// have written and cannot have, or the new one, which goes on from there, is not heard.
    pub fn meet_new_writer(&mut self) {
        let written = self.other.load(Ordering::Acquire);
        if written.wrapping_sub(self.position) > self.size() {
            self.position = written;
        }
        self.tell();
    }

    /// For a writer whose reader has another in its place: what the old one has not read is
    /// not for the new one.
    pub fn meet_new_reader(&mut self) {
        self.position = self.other.load(Ordering::Acquire);
        self.tell();
    }

    fn cell(&self) -> Option<&AtomicU8> {
        let mask = self.bytes.len().wrapping_sub(1);
        self.bytes.get(self.position as usize & mask)
    }

    /// Writes one byte; false if there is no room.
    #[inline]
    pub fn put(&mut self, byte: u8) -> bool {
        if self.room() == 0 {
            return false;
        }
        if let Some(cell) = self.cell() {
            cell.store(byte, Ordering::Relaxed);
        }
        self.step();
        true
    }

    /// Reads one byte, if one waits.
    #[inline]
    pub fn take(&mut self) -> Option<u8> {
        if self.waiting() == 0 {
            return None;
        }
        let byte = self.cell()?.load(Ordering::Relaxed);
        self.step();
        Some(byte)
    }

    #[inline]
    fn step(&mut self) {
        self.position = self.position.wrapping_add(1);
        self.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_their_order_around_the_end() {
        let page = ConsolePage::empty();
        page.input_written.store(u32::MAX - 3, Ordering::Relaxed);
        page.input_read.store(u32::MAX - 3, Ordering::Relaxed);
        let (mut writer, mut reader) = (page.input_writer(), page.input_reader());
        for round in 0..3000_u32 {
            assert!(writer.put(round as u8));
            assert_eq!(reader.take(), Some(round as u8));
        }
        assert_eq!(reader.take(), None);
    }

    #[test]
    fn a_full_ring_takes_no_more_and_loses_nothing() {
        let page = ConsolePage::empty();
        let mut writer = page.input_writer();
        let written = (0..5000).take_while(|byte| writer.put(*byte as u8)).count();
        assert_eq!(written, INPUT_BYTES);
        let mut reader = page.input_reader();
        assert_eq!((reader.waiting(), reader.take()), (1024, Some(0)));
        assert!(writer.put(9) && !writer.put(9));
    }

    #[test]
    fn a_neighbour_that_claims_what_cannot_be_has_done_nothing() {
        let page = ConsolePage::empty();
        let mut reader = page.output_reader();
        for lie in [OUTPUT_BYTES as u32 + 1, 0x8000_0000, u32::MAX] {
            page.output_written.store(lie, Ordering::Relaxed);
            assert_eq!((reader.waiting(), reader.take()), (0, None));
        }
        let mut writer = page.output_writer();
        page.output_read.store(7, Ordering::Relaxed);
        assert_eq!((writer.room(), writer.put(1)), (0, false));
        // Who is honest again is heard again.
        page.output_written.store(1, Ordering::Relaxed);
        reader.tell();
        assert_eq!(page.output_read.load(Ordering::Relaxed), 0);
        assert_eq!((reader.take(), reader.take()), (Some(0), None));
    }

    #[test]
    fn after_a_liar_the_next_neighbour_is_heard() {
        let page = ConsolePage::empty();
        let (mut output, mut input) = (page.output_reader(), page.input_writer());
        for lie in [5000, 0x8000_0000, u32::MAX] {
            for position in [&page.output_written, &page.output_read, &page.input_read] {
                position.store(lie, Ordering::Relaxed);
            }
            output.meet_new_writer();
            input.meet_new_reader();
            assert_eq!((output.waiting(), page.input_reader().waiting()), (0, 0));
            assert!(page.output_writer().put(7) && input.put(8));
            assert_eq!(output.take(), Some(7));
            assert_eq!(page.input_reader().take(), Some(8));
        }
    }

    #[test]
    fn of_an_honest_neighbour_what_it_wrote_stays_and_what_it_did_not_read_goes() {
        let page = ConsolePage::empty();
        let (mut output, mut input) = (page.output_reader(), page.input_writer());
        let mut writer = page.output_writer();
        while writer.put(3) {}
        while input.put(4) {}
        output.meet_new_writer();
        input.meet_new_reader();
        assert_eq!(output.waiting() as usize, OUTPUT_BYTES);
        assert_eq!(page.input_reader().waiting(), 0);
        assert!(input.put(5));
    }
}
