//! Zero-terminated texts in guest memory, one behind the other.

use alloc::vec::Vec;

use skerry_words::Gpa;

/// Texts that are put at a place together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Texts {
    at: Gpa,
    /// Their bytes so far.
    pub(crate) bytes: Vec<u8>,
}

impl Texts {
    /// None yet, to be put at `at`.
    pub(crate) const fn new(at: Gpa) -> Self {
        Self {
            at,
            bytes: Vec::new(),
        }
    }

    /// Appends a text, which holds no zero byte. Gives its address.
    pub(crate) fn push(&mut self, text: &str) -> u64 {
        let at = self.at.0.saturating_add(self.bytes.len() as u64);
        self.bytes.extend(text.bytes());
        self.bytes.push(0);
        at
    }
}
