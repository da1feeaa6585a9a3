//! Reading an instruction's bytes one after the other.
//!
//! Reading past the end gives zeros and is noticed once, at the end of decoding: that is
//! a third of the cost of asking at every byte.

use crate::decode::DecodeError;
use crate::fetch::{Bytes, MAX_BYTES};

/// A place in the bytes of an instruction.
pub(crate) struct Cursor<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were taken, if there were that many.
    ///
    /// # Errors
    /// [`Cursor::ended`].
    #[inline]
    pub(crate) fn taken(&self) -> Result<u8, DecodeError> {
        if self.at > self.bytes.length() {
            Err(self.ended())
        } else {
            Ok(self.at as u8)
        }
    }

    /// Whether the next byte is missing.
    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.length()
    }

    /// What missing bytes mean: past 15 there is no instruction, before that more of them
    /// may make one.
    #[cold]
    pub(crate) fn ended(&self) -> DecodeError {
        if self.bytes.length() >= MAX_BYTES {
            DecodeError::Unknown
        } else {
            DecodeError::Truncated
        }
    }

    /// The next byte, not taken.
    #[inline]
    pub(crate) fn peek(&self) -> u8 {
        self.bytes.at(self.at)
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u8 {
        let byte = self.peek();
        self.at = self.at.wrapping_add(1);
        byte
    }

    #[inline]
    pub(crate) fn next_i8(&mut self) -> u64 {
        i64::from(self.next() as i8) as u64
    }

    pub(crate) fn next_i16(&mut self) -> u64 {
        i64::from(i16::from_le_bytes(self.take())) as u64
    }

    pub(crate) fn next_i32(&mut self) -> u64 {
        i64::from(i32::from_le_bytes(self.take())) as u64
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    #[inline]
    fn take<const N: usize>(&mut self) -> [u8; N] {
        core::array::from_fn(|_| self.next())
    }
}
