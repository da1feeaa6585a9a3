//! A component's ELF file: where it starts, and what is mapped where with which rights.
//!
//! Owns the check of the file: what [`ComponentImage::parse`] gives can be mapped as it
//! stands. Does not own mapping, nor the stack and the heap, which no file names. Called by
//! ring 0, which starts `root`, and by `root`, which starts the others. The `elf` crate
//! parses.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

#[cfg(test)]
extern crate alloc;

mod error;
#[cfg(test)]
mod tests;

use elf::ElfBytes;
use elf::abi::{EM_X86_64, ET_EXEC, PF_R, PF_W, PF_X, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::segment::ProgramHeader;
use skerry_abi::{Rights, layout};

pub use error::ImageError;

/// How many segments a component has at most.
pub const MOST_SEGMENTS: usize = 8;

const PAGE_BYTES: u64 = 4096;

type Elf<'a> = ElfBytes<'a, LittleEndian>;

/// A part of a component's memory, as its file has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// Where it lies: a multiple of the page size.
    pub at: u64,
    /// Its first bytes; zeros follow up to the end of its last page.
    pub bytes: &'a [u8],
    /// Where in the file these are.
    pub bytes_at: u64,
    /// All its bytes, at least one.
    pub memory_bytes: u64,
    /// `READ`, and at most one of `WRITE` and `RUN`.
    pub rights: Rights,
}

impl Segment<'_> {
    const NONE: Self = Self {
        at: 0,
        bytes: &[],
        bytes_at: 0,
        memory_bytes: 0,
        rights: Rights::empty(),
    };

    /// How many pages it takes.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.memory_bytes.div_ceil(PAGE_BYTES)
    }

    /// The address behind its last page.
    fn end(&self) -> Option<u64> {
        self.at
            .checked_add(self.memory_bytes.checked_next_multiple_of(PAGE_BYTES)?)
    }

    fn holds(&self, address: u64) -> bool {
        let offset = address.checked_sub(self.at);
        offset.is_some_and(|offset| offset < self.bytes.len() as u64)
    }
}

/// A component's file, checked.
#[derive(Clone, Copy, Debug)]
pub struct ComponentImage<'a> {
    entry: u64,
    segments: [Segment<'a>; MOST_SEGMENTS],
    count: usize,
}

impl<'a> ComponentImage<'a> {
    /// Reads a file: statically linked for x86-64, between [`layout::IMAGE`] and
    /// [`layout::HEAP`], with segments that start on page boundaries, rise and share no page.
    ///
    /// # Errors
    /// What keeps it from being mapped as it stands.
    pub fn parse(file: &'a [u8]) -> Result<Self, ImageError> {
        let elf = Elf::minimal_parse(file).map_err(|_| ImageError::NotElf)?;
        check_target(&elf)?;
        let mut image = Self {
            entry: elf.ehdr.e_entry,
            segments: [Segment::NONE; MOST_SEGMENTS],
            count: 0,
        };
        let mut free_from = layout::IMAGE;
        for header in loadable(&elf) {
            let segment = segment(&elf, &header)?;
            free_from = check_place(&segment, free_from)?;
            image.push(segment)?;
        }
        image.check_entry()?;
        Ok(image)
    }

    /// The address of its first instruction.
    #[must_use]
    pub const fn entry(&self) -> u64 {
        self.entry
    }

    /// Its segments, rising by address.
    #[must_use]
    pub fn segments(&self) -> &[Segment<'a>] {
        self.segments.get(..self.count).unwrap_or_default()
    }

    fn push(&mut self, segment: Segment<'a>) -> Result<(), ImageError> {
        let free = self.segments.get_mut(self.count);
        *free.ok_or(ImageError::TooManySegments)? = segment;
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    fn check_entry(&self) -> Result<(), ImageError> {
        let mut code = self.segments().iter();
        let found = code.any(|one| one.rights.contains(Rights::RUN) && one.holds(self.entry));
        if found {
            Ok(())
        } else {
            Err(ImageError::EntryOutside(self.entry))
        }
    }
}

fn check_target(elf: &Elf<'_>) -> Result<(), ImageError> {
    let header = &elf.ehdr;
    if header.class != Class::ELF64 || header.e_machine != EM_X86_64 {
        return Err(ImageError::Machine(header.e_machine));
    }
    if header.e_type != ET_EXEC {
        return Err(ImageError::Type(header.e_type));
    }
    Ok(())
}

/// The program headers that ask for memory.
fn loadable(elf: &Elf<'_>) -> impl Iterator<Item = ProgramHeader> {
    let headers = elf.segments().into_iter().flat_map(|table| table.iter());
    headers.filter(|header| header.p_type == PT_LOAD && header.p_memsz > 0)
}

fn segment<'a>(elf: &Elf<'a>, header: &ProgramHeader) -> Result<Segment<'a>, ImageError> {
    let at = header.p_vaddr;
    let bytes = elf.segment_data(header).map_err(|_| ImageError::Cut(at))?;
    if header.p_filesz > header.p_memsz {
        return Err(ImageError::MoreBytesThanMemory(at));
    }
    Ok(Segment {
        at,
        bytes,
        bytes_at: header.p_offset,
        memory_bytes: header.p_memsz,
        rights: rights(header)?,
    })
}

fn rights(header: &ProgramHeader) -> Result<Rights, ImageError> {
    let has = |flag: u32, right: Rights| {
        if header.p_flags & flag != 0 {
            right
        } else {
            Rights::empty()
        }
    };
    let rights = has(PF_R, Rights::READ) | has(PF_W, Rights::WRITE) | has(PF_X, Rights::RUN);
    if rights.contains(Rights::WRITE | Rights::RUN) {
        return Err(ImageError::WriteAndRun(header.p_vaddr));
    }
    if !rights.contains(Rights::READ) {
        return Err(ImageError::NotReadable(header.p_vaddr));
    }
    Ok(rights)
}

/// Checks where a segment lies, given where the one before it ends. Gives its own end.
fn check_place(segment: &Segment<'_>, free_from: u64) -> Result<u64, ImageError> {
    let at = segment.at;
    if !at.is_multiple_of(PAGE_BYTES) {
        return Err(ImageError::Unaligned(at));
    }
    let end = segment.end().filter(|end| *end <= layout::HEAP);
    let end = end.ok_or(ImageError::Outside(at))?;
    if at < layout::IMAGE {
        return Err(ImageError::Outside(at));
    }
    if at < free_from {
        return Err(ImageError::Overlap(at));
    }
    Ok(end)
}
