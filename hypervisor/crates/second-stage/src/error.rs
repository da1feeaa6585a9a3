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
    /// The length of a range is no multiple of 4096 bytes.
    BadLength(u64),
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

impl core::fmt::Display for MapError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::BadGuestAddress(gpa, size) => {
                write!(
                    f,
                    "guest address {gpa} cannot start a page of {:#x} bytes",
                    size.bytes()
                )
            }
            Self::BadHostAddress(hpa, size) => {
                write!(
                    f,
                    "host address {hpa} cannot start a page of {:#x} bytes",
                    size.bytes()
                )
            }
            Self::BadLength(bytes) => write!(f, "{bytes:#x} bytes are no whole number of pages"),
            Self::Overlap(gpa) => write!(f, "guest address {gpa} is mapped already"),
            Self::OutOfTables => write!(f, "no memory left for second-stage tables"),
        }
    }
}

impl core::fmt::Display for UnmapError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::BadGuestAddress(gpa, size) => {
                write!(
                    f,
                    "guest address {gpa} cannot start a page of {:#x} bytes",
                    size.bytes()
                )
            }
            Self::NotMapped(gpa) => write!(f, "guest address {gpa} is not mapped"),
            Self::MappedBySmallerPages(gpa) => {
                write!(f, "guest address {gpa} is mapped by smaller pages")
            }
            Self::OutOfTables => write!(f, "no memory left for second-stage tables"),
        }
    }
}

impl core::error::Error for MapError {}
impl core::error::Error for UnmapError {}
