//! Why a mapping could not be changed.

use crate::PageSize;
use skerry_words::{Gpa, Hpa};

/// Why [`crate::SecondStage::map`] refused. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// The guest address is no multiple of the page size, or past 2^48.
    BadGuestAddress(Gpa, PageSize),
    /// The host address is no multiple of the page size, or past 2^52.
    BadHostAddress(Hpa, PageSize),
    /// Something is mapped already in the page at this guest address.
    Overlap(Gpa),
    /// There is no memory left for tables.
    OutOfTables,
}

/// Why [`crate::SecondStage::unmap`] refused. No translation was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnmapError {
    /// The guest address is no multiple of the page size, or past 2^48.
    BadGuestAddress(Gpa, PageSize),
    /// Nothing is mapped at this guest address.
    NotMapped(Gpa),
    /// The range is mapped by smaller pages: they are unmapped one by one.
    MappedBySmallerPages(Gpa),
    /// There is no memory left for the tables a split needs.
    OutOfTables,
}
