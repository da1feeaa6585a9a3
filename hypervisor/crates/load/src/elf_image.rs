//! ELF kernels: by their PVH note, or at their own entry point.
//!
//! Owns the mapping from program headers to pieces and the choice of the entry. The `elf`
//! crate parses. Segments go to their physical addresses; an entry point given as a
//! virtual address is taken to the physical one of its segment.

use alloc::string::ToString;

use elf::abi::{EM_386, EM_X86_64, ET_EXEC, PT_LOAD, PT_NOTE};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::note::Note;
use elf::segment::ProgramHeader;
use elf::{ElfBytes, ParseError};
use skerry_verdict::Registers;
use skerry_words::{Gpa, Gpr};

use crate::layout::{CMDLINE, CMDLINE_BYTES, GDT, HOLE_START, PAGE_TABLES, START_INFO};
use crate::linux::terminated;
use crate::plan::{Builder, LoadPlan};
use crate::start_info::start_info;
use crate::{ImageKind, LoadError, Part, Request, bytes, entry, paging};

/// The note's name and number `[Xen 4.17, xen/include/public/elfnote.h]`.
const NOTE_NAME: &[u8] = b"Xen\0";
const XEN_ELFNOTE_PHYS32_ENTRY: u64 = 18;

type Elf<'a> = ElfBytes<'a, LittleEndian>;

pub(crate) fn is_elf(image: &[u8]) -> bool {
    image.starts_with(b"\x7fELF")
}

/// [`ImageKind::Pvh`] for a file with the note, else [`ImageKind::Elf`].
pub(crate) fn sniff(image: &[u8]) -> Result<ImageKind, LoadError> {
    match pvh_entry(&parse(image)?) {
        Ok(_) => Ok(ImageKind::Pvh),
        Err(LoadError::NoPvhNote) => Ok(ImageKind::Elf),
        Err(other) => Err(other),
    }
}

pub(crate) fn plan_pvh<'a>(
    request: &Request<'a>,
    mut builder: Builder<'a>,
) -> Result<LoadPlan<'a>, LoadError> {
    let file = parse(request.image)?;
    let eip = pvh_entry(&file)?;
    let physical = |segment: &ProgramHeader| segment.p_paddr;
    if find(&file, u64::from(eip), physical).is_none() {
        return Err(LoadError::EntryOutside(u64::from(eip)));
    }
    place_segments(&file, &mut builder)?;
    place_start_info(request, &mut builder)?;
    let mut state = entry::protected_mode(eip);
    state.set(Gpr::Rbx, START_INFO.0);
    Ok(builder.finish(state))
}

pub(crate) fn plan_elf<'a>(
    request: &Request<'a>,
    mut builder: Builder<'a>,
) -> Result<LoadPlan<'a>, LoadError> {
    let file = parse(request.image)?;
    let entry = physical_entry(&file)?;
    place_segments(&file, &mut builder)?;
    place_start_info(request, &mut builder)?;
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

fn parse(image: &[u8]) -> Result<Elf<'_>, LoadError> {
    if !is_elf(image) {
        return Err(LoadError::NotElf(bytes::first4(image)));
    }
    let file = Elf::minimal_parse(image).map_err(damaged)?;
    let (machine, class) = (file.ehdr.e_machine, file.ehdr.class);
    if machine != EM_X86_64 && (machine, class) != (EM_386, Class::ELF32) {
        return Err(LoadError::ElfMachine(machine));
    }
    if file.ehdr.e_type != ET_EXEC {
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

fn place_start_info<'a>(request: &Request<'a>, builder: &mut Builder<'a>) -> Result<(), LoadError> {
    let cmdline = terminated(request.cmdline, CMDLINE_BYTES.saturating_sub(1))?;
    builder.place(Part::BootData, CMDLINE, cmdline, 0)?;
    let module = match request.initrd {
        Some(bytes) => Some((builder.place_initrd(bytes, HOLE_START)?, bytes.len())),
        None => None,
    };
    let info = start_info(module, builder.memory_bytes());
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
