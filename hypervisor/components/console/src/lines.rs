//! Ring 0's log, which comes in pieces, as whole lines.

use alloc::vec;
use alloc::vec::Vec;

/// The longest line; a longer one is cut in two.
pub const LINE_BYTES: usize = 2048;

/// What has come and not gone out yet.
#[derive(Debug)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Where the first line starts that has not gone out.
    next: usize,
}

impl Lines {
    /// None yet. The memory for all there will be has been used once.
    pub fn new() -> Self {
        let mut bytes = vec![1; 2 * LINE_BYTES];
        bytes.clear();
        Self { bytes, next: 0 }
    }

    /// Appends a piece of at most [`LINE_BYTES`]; whole lines from before must be gone.
    pub fn push(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.next);
        self.next = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// The next whole line, without its end.
    pub fn next(&mut self) -> Option<&[u8]> {
        let rest = self.bytes.get(self.next..)?;
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (count, behind) = match end {
            Some(at) => (at, 1),
            None if rest.len() >= LINE_BYTES => (LINE_BYTES, 0),
            None => return None,
        };
        self.next = self.next.saturating_add(count).saturating_add(behind);
        rest.get(..count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_pieces_of_any_size() {
        let text = b"one\n\nthree is longer\nunfinished";
        for size in 1..text.len() {
            let mut lines = Lines::new();
            let mut out = Vec::new();
            for piece in text.chunks(size) {
                lines.push(piece);
                while let Some(line) = lines.next() {
                    out.push(line.to_vec());
                }
            }
            let expected: [&[u8]; 3] = [b"one", b"", b"three is longer"];
            assert_eq!(out, expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory() {
        let mut lines = Lines::new();
        let mut cut = 0;
        for _ in 0..100 {
            lines.push(&[b'x'; 1000]);
            while let Some(line) = lines.next() {
                assert_eq!(line.len(), LINE_BYTES);
                cut += 1;
            }
        }
        assert_eq!((cut, lines.bytes.capacity()), (48, 2 * LINE_BYTES));
    }
}
