//! ELF kernels: by their PVH note, at their own entry point, or for the multiboot loaders.
//!
//! Owns the mapping from program headers to pieces and the choice of the entry. The `elf`
//! crate parses. Segments go to their physical addresses; an entry point given as a
//! virtual address is taken to the physical one of its segment.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::ops::Range;

use elf::abi::{EM_386, EM_X86_64, ET_DYN, ET_EXEC, PT_LOAD, PT_NOTE};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::note::Note;
use elf::segment::ProgramHeader;
use elf::{ElfBytes, ParseError};
use skerry_verdict::Registers;
use skerry_words::{Gpa, Gpr};

use crate::layout::{CMDLINE, CMDLINE_BYTES, GDT, PAGE_TABLES, START_INFO};
use crate::modules::place_high;
use crate::plan::{Builder, LoadPlan};
use crate::start_info::start_info;
use crate::texts::Texts;
use crate::{LoadError, Part, Request, bytes, entry, paging};

/// The note's name and number `[Xen 4.17, xen/include/public/elfnote.h]`.
const NOTE_NAME: &[u8] = b"Xen\0";
const XEN_ELFNOTE_PHYS32_ENTRY: u64 = 18;

type Elf<'a> = ElfBytes<'a, LittleEndian>;

pub(crate) fn is_elf(image: &[u8]) -> bool {
    image.starts_with(b"\x7fELF")
}

/// Whether an ELF file has a PVH entry note.
pub(crate) fn has_pvh_note(image: &[u8]) -> Result<bool, LoadError> {
    match pvh_entry(&parse(image)?) {
        Ok(_) => Ok(true),
        Err(LoadError::NoPvhNote) => Ok(false),
        Err(other) => Err(other),
    }
}

pub(crate) fn plan_pvh<'a>(
    request: &Request<'a>,
    mut builder: Builder<'a>,
    rsdp: Gpa,
) -> Result<LoadPlan<'a>, LoadError> {
    let file = parse(request.image)?;
    let eip = pvh_entry(&file)?;
    let physical = |segment: &ProgramHeader| segment.p_paddr;
    if find(&file, u64::from(eip), physical).is_none() {
        return Err(LoadError::EntryOutside(u64::from(eip)));
    }
    place_segments(&file, &mut builder)?;
    place_start_info(request, &mut builder, rsdp)?;
    let mut state = entry::protected_mode(eip);
    state.set(Gpr::Rbx, START_INFO.0);
    Ok(builder.finish(state))
}

pub(crate) fn plan_elf<'a>(
    request: &Request<'a>,
    mut builder: Builder<'a>,
    rsdp: Gpa,
) -> Result<LoadPlan<'a>, LoadError> {
    let file = parse(request.image)?;
    let entry = physical_entry(&file)?;
    place_segments(&file, &mut builder)?;
    place_start_info(request, &mut builder, rsdp)?;
    let mut state = match file.ehdr.class {
        Class::ELF32 => entry::protected_mode(narrow(entry)?),
        Class::ELF64 => {
            builder.place(Part::BootData, GDT, entry::gdt(), 0)?;
            builder.place(Part::BootData, PAGE_TABLES, paging::identity_map(), 0)?;
            // The identity map ends at 4 GiB.
            let mut state = entry::long_mode(u64::from(narrow(entry)?));
            state.set(Gpr::Rdi, START_INFO.0);
            state
        }
    };
    state.set(Gpr::Rbx, START_INFO.0);
    Ok(builder.finish(state))
}

/// An ELF file in its place.
pub(crate) struct Placed {
    /// The physical address of its entry.
    pub(crate) entry: u32,
    /// From its first address to behind its last.
    pub(crate) filled: Range<u64>,
}

/// Places a file for a loader that has its own ways. One that can be relocated is allowed too,
/// and placed where it is linked, as GRUB does it.
pub(crate) fn place<'a>(image: &'a [u8], builder: &mut Builder<'a>) -> Result<Placed, LoadError> {
    let file = parse_of(image, &[ET_EXEC, ET_DYN])?;
    let entry = narrow(physical_entry(&file)?)?;
    place_segments(&file, builder)?;
    let segments = || loadable(&file).map(|(_, segment)| segment);
    let ends = segments().map(|segment| segment.p_paddr.saturating_add(segment.p_memsz));
    let start = segments().map(|segment| segment.p_paddr).min();
    let filled = start.unwrap_or_default()..ends.max().unwrap_or_default();
    Ok(Placed { entry, filled })
}

fn parse(image: &[u8]) -> Result<Elf<'_>, LoadError> {
    parse_of(image, &[ET_EXEC])
}

fn parse_of<'a>(image: &'a [u8], types: &[u16]) -> Result<Elf<'a>, LoadError> {
    if !is_elf(image) {
        return Err(LoadError::NotElf(bytes::first4(image)));
    }
    let file = Elf::minimal_parse(image).map_err(damaged)?;
    let (machine, class) = (file.ehdr.e_machine, file.ehdr.class);
    if machine != EM_X86_64 && (machine, class) != (EM_386, Class::ELF32) {
        return Err(LoadError::ElfMachine(machine));
    }
    if !types.contains(&file.ehdr.e_type) {
        return Err(LoadError::ElfType(file.ehdr.e_type));
    }
    if loadable(&file).next().is_none() {
        return Err(LoadError::NoSegment);
    }
    Ok(file)
}

/// The program headers that ask for memory, with their indices.
fn loadable<'a>(file: &Elf<'a>) -> impl Iterator<Item = (usize, ProgramHeader)> + use<'a> {
    let segments = file.segments().into_iter().flat_map(|table| table.iter());
    segments
        .enumerate()
        .filter(|(_, segment)| segment.p_type == PT_LOAD && segment.p_memsz > 0)
}

fn place_segments<'a>(file: &Elf<'a>, builder: &mut Builder<'a>) -> Result<(), LoadError> {
    for (index, segment) in loadable(file) {
        if segment.p_filesz > segment.p_memsz {
            return Err(LoadError::SegmentBytes {
                index,
                file_bytes: segment.p_filesz,
                memory_bytes: segment.p_memsz,
            });
        }
        let bytes = file.segment_data(&segment).map_err(damaged)?;
        let part = Part::Segment(index);
        builder.place(part, Gpa(segment.p_paddr), bytes, segment.p_memsz)?;
    }
    Ok(())
}

fn place_start_info<'a>(
    request: &Request<'a>,
    builder: &mut Builder<'a>,
    rsdp: Gpa,
) -> Result<(), LoadError> {
    let mut texts = Texts::new(CMDLINE);
    let cmdline_at = texts.push(request.cmdline);
    let cmdline_bytes = request.cmdline.len() as u64;
    if cmdline_bytes >= CMDLINE_BYTES {
        return Err(LoadError::CmdlineTooLong {
            cmdline_bytes,
            limit_bytes: CMDLINE_BYTES.saturating_sub(1),
        });
    }
    let modules: Vec<_> = place_high(request, builder)?
        .iter()
        .map(|module| (module.at, module.bytes, texts.push(module.cmdline)))
        .collect();
    let texts_bytes = texts.bytes.len() as u64;
    if texts_bytes > CMDLINE_BYTES {
        return Err(LoadError::CmdlinesTooLong(texts_bytes, CMDLINE_BYTES));
    }
    builder.place(Part::BootData, CMDLINE, texts.bytes, 0)?;
    let info = start_info(cmdline_at, &modules, rsdp, builder.memory_bytes());
    builder.place(Part::BootData, START_INFO, info, 0)
}

fn pvh_entry(file: &Elf<'_>) -> Result<u32, LoadError> {
    let segments = file.segments().into_iter().flat_map(|table| table.iter());
    for segment in segments.filter(|segment| segment.p_type == PT_NOTE) {
        // Alignments 0 and 1 mean none; notes are padded to 4 bytes then.
        let segment = ProgramHeader {
            p_align: segment.p_align.max(4),
            ..segment
        };
        let mut notes = file.segment_data_as_notes(&segment).map_err(damaged)?;
        if let Some(entry) = notes.find_map(entry_of_note) {
            return entry;
        }
    }
    Err(LoadError::NoPvhNote)
}

/// The entry in a note, if it is the right one: a 4-byte or 8-byte physical address.
fn entry_of_note(note: Note<'_>) -> Option<Result<u32, LoadError>> {
    let note = match note {
        Note::Unknown(note) => note,
        Note::GnuAbiTag(_) | Note::GnuBuildId(_) => return None,
    };
    if note.name != NOTE_NAME || note.n_type != XEN_ELFNOTE_PHYS32_ENTRY {
        return None;
    }
    let address = match note.desc.len() {
        4 => bytes::u32_at(note.desc, 0).map(u64::from),
        8 => bytes::u64_at(note.desc, 0),
        _ => None,
    };
    Some(address.map_or(Err(LoadError::PvhNoteBytes(note.desc.len())), narrow))
}

/// The file's entry point as a physical address.
fn physical_entry(file: &Elf<'_>) -> Result<u64, LoadError> {
    let entry = file.ehdr.e_entry;
    let found = find(file, entry, |segment| segment.p_vaddr);
    let (segment, offset) = found.ok_or(LoadError::EntryOutside(entry))?;
    let physical = segment.p_paddr.checked_add(offset);
    physical.ok_or(LoadError::EntryOutside(entry))
}

/// The segment that holds `address`, and how far inside it is, where `start` gives a
/// segment's first address.
fn find(
    file: &Elf<'_>,
    address: u64,
    start: impl Fn(&ProgramHeader) -> u64,
) -> Option<(ProgramHeader, u64)> {
    loadable(file).find_map(|(_, segment)| {
        let offset = address.checked_sub(start(&segment))?;
        (offset < segment.p_memsz).then_some((segment, offset))
    })
}

fn narrow(address: u64) -> Result<u32, LoadError> {
    u32::try_from(address).map_err(|_| LoadError::EntryOutside(address))
}

fn damaged(error: ParseError) -> LoadError {
    LoadError::Elf(error.to_string())
}
