//! Reading an instruction's bytes one after the other.

use crate::decode::DecodeError;
use crate::fetch::{Bytes, MAX_BYTES};

/// A place in the bytes of an instruction.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a Bytes) -> Self {
        Self {
            bytes: bytes.as_slice(),
            at: 0,
        }
    }

    /// How many bytes were taken.
    #[inline]
    pub(crate) fn taken(&self) -> u8 {
        self.at as u8
    }

    /// The next byte, not taken.
    #[inline]
    pub(crate) fn peek(&self) -> Result<u8, DecodeError> {
        self.bytes.get(self.at).copied().ok_or_else(|| self.ended())
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Result<u8, DecodeError> {
        let byte = self.peek()?;
        self.at = self.at.wrapping_add(1);
        Ok(byte)
    }

    #[inline]
    pub(crate) fn next_i8(&mut self) -> Result<u64, DecodeError> {
        Ok(i64::from(self.next()? as i8) as u64)
    }

    pub(crate) fn next_i16(&mut self) -> Result<u64, DecodeError> {
        self.take()
            .map(|bytes| i64::from(i16::from_le_bytes(bytes)) as u64)
    }

    #[inline]
    pub(crate) fn next_i32(&mut self) -> Result<u64, DecodeError> {
        self.take()
            .map(|bytes| i64::from(i32::from_le_bytes(bytes)) as u64)
    }

    pub(crate) fn next_u64(&mut self) -> Result<u64, DecodeError> {
        self.take().map(u64::from_le_bytes)
    }

    #[inline]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let bytes = rest.first_chunk::<N>().ok_or_else(|| self.ended())?;
        self.at = self.at.wrapping_add(N);
        Ok(*bytes)
    }

    /// Past 15 bytes there is no instruction; before that more bytes may make one.
    #[cold]
    fn ended(&self) -> DecodeError {
        if self.bytes.len() >= MAX_BYTES {
            DecodeError::Unknown
        } else {
            DecodeError::Truncated
        }
    }
}
