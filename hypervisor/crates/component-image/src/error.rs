//! Why a file is no component.

use core::fmt;
use skerry_abi::layout;

/// What is wrong with a component's file. Addresses name the segment that starts there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImageError {
    /// It is no ELF file, or a damaged one.
    NotElf,
    /// It is for another machine, of this number, or for 32 bits.
    Machine(u16),
    /// It is not linked at fixed addresses: an ELF file of this type.
    Type(u16),
    /// It has more than [`crate::MOST_SEGMENTS`].
    TooManySegments,
    /// The file ends before the segment does.
    Cut(u64),
    /// It has more bytes in the file than in memory.
    MoreBytesThanMemory(u64),
    /// It may be both written and executed.
    WriteAndRun(u64),
    /// It may not be read.
    NotReadable(u64),
    /// It does not start on a page boundary.
    Unaligned(u64),
    /// It is not between [`layout::IMAGE`] and [`layout::HEAP`].
    Outside(u64),
    /// It starts before the end of the segment in front of it, or in its last page.
    Overlap(u64),
    /// The entry is at this address, where the file has no code.
    EntryOutside(u64),
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => write!(f, "no ELF file, or a damaged one"),
            Self::Machine(machine) => {
                write!(f, "an ELF file for machine {machine}, not for 64-bit x86")
            }
            Self::Type(kind) => write!(f, "an ELF file of type {kind}, not at fixed addresses"),
            Self::TooManySegments => {
                write!(f, "more than {} segments", crate::MOST_SEGMENTS)
            }
            Self::Cut(at) => write!(f, "the file ends before the segment at {at:#x} does"),
            Self::MoreBytesThanMemory(at) => {
                write!(f, "the segment at {at:#x} has more bytes than memory")
            }
            Self::WriteAndRun(at) => {
                write!(f, "the segment at {at:#x} may be written and executed")
            }
            Self::NotReadable(at) => write!(f, "the segment at {at:#x} may not be read"),
            Self::Unaligned(at) => {
                write!(
                    f,
                    "the segment at {at:#x} does not start on a page boundary"
                )
            }
            Self::Outside(at) => write!(
                f,
                "the segment at {at:#x} is not between {:#x} and {:#x}",
                layout::IMAGE,
                layout::HEAP
            ),
            Self::Overlap(at) => {
                write!(
                    f,
                    "the segment at {at:#x} shares a page with the one before"
                )
            }
            Self::EntryOutside(at) => write!(f, "no code at the entry {at:#x}"),
        }
    }
}

impl core::error::Error for ImageError {}
