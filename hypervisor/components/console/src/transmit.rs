//! Bytes on their way to the line, which is slow.
//!
//! Owns the buffer between what comes from everywhere and what the UART takes. All its memory
//! is taken at the start. Who fills it asks for room first; what does not fit is lost.

use alloc::collections::VecDeque;
use alloc::vec;

/// How many bytes fit.
pub const TRANSMIT_BYTES: usize = 16 << 10;

/// The buffer.
#[derive(Debug)]
pub struct Transmit(VecDeque<u8>);

impl Transmit {
    /// An empty one, whose memory has been used once.
    pub fn new() -> Self {
        let mut bytes = VecDeque::from(vec![1; TRANSMIT_BYTES]);
        bytes.clear();
        Self(bytes)
    }

    /// How many more bytes fit.
    pub fn room(&self) -> usize {
        TRANSMIT_BYTES.saturating_sub(self.0.len())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends bytes, as far as there is room.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes.iter().take(self.room()));
    }

    /// The oldest bytes, at least one if any wait, and at most so many.
    pub fn front(&self, most: usize) -> &[u8] {
        let (front, _) = self.0.as_slices();
        front.get(..most).unwrap_or(front)
    }

    /// Forgets so many of the oldest bytes.
    pub fn forget(&mut self, count: usize) {
        self.0.drain(..count.min(self.0.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn bytes_come_out_in_their_order_around_the_end_of_the_buffer() {
        let mut transmit = Transmit::new();
        let (mut pushed, mut taken) = (0_u32, Vec::new());
        while taken.len() < 3 * TRANSMIT_BYTES {
            let room = transmit.room().min(1000);
            let bytes: Vec<u8> = (0..room as u32).map(|at| (pushed + at) as u8).collect();
            pushed += room as u32;
            transmit.push(&bytes);
            let count = transmit.front(700).len();
            taken.extend_from_slice(transmit.front(700));
            transmit.forget(count);
        }
        assert!(
            taken
                .iter()
                .zip(0_u32..)
                .all(|(byte, at)| *byte == at as u8)
        );
    }

    #[test]
    fn a_full_buffer_takes_no_memory_and_no_bytes_more() {
        let mut transmit = Transmit::new();
        transmit.push(&[1; TRANSMIT_BYTES - 1]);
        transmit.push(&[2, 3]);
        assert_eq!(
            (transmit.room(), transmit.0.capacity()),
            (0, TRANSMIT_BYTES)
        );
        transmit.forget(TRANSMIT_BYTES - 1);
        assert_eq!(transmit.front(9), [2]);
        transmit.forget(9);
        assert!(transmit.is_empty() && transmit.front(9).is_empty());
    }
}
