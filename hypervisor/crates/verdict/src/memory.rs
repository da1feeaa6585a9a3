//! Guest memory as a VMM sees it: bytes by guest-physical address, nothing else.
//!
//! In a VMM it is the window on its guest, in a host test a vector.

use skerry_words::Gpa;

/// The guest has no memory (RAM) at this address, or could not be given any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unbacked(pub Gpa);

impl core::fmt::Display for Unbacked {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "no guest memory at {}", self.0)
    }
}

/// Reads and writes of one guest's RAM. Ranges may cross pages; a range that leaves RAM
/// anywhere is refused whole or in part, never wrapped.
pub trait GuestMemory {
    /// Fills `into` with the bytes from `at` on.
    ///
    /// # Errors
    /// [`Unbacked`] with the first address that is no RAM; `into` is then unspecified.
    fn read(&mut self, at: Gpa, into: &mut [u8]) -> Result<(), Unbacked>;

    /// The eight bytes at `at` as a little-endian number, or `None` where they are not all in
    /// RAM; also, if the implementation likes, where they are not in one page. For the
    /// frequent reads that know another way.
    #[inline]
    fn word(&mut self, at: Gpa) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(at, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    /// Stores `from` at `at`.
    ///
    /// # Errors
    /// [`Unbacked`] with the first address that is no RAM; bytes before it may be stored.
    fn write(&mut self, at: Gpa, from: &[u8]) -> Result<(), Unbacked>;
}
