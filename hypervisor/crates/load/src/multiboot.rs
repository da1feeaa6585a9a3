//! Images with a header of the Multiboot Specification, version 1.
//!
//! Owns the header. Everything here is of `[Multiboot Specification 0.6.96]`. The image is an
//! ELF file, 64-bit ones included as GRUB has it, or says itself where it goes. What it is
//! handed is `multiboot_info`'s.
//!
//! A wish for a video mode is not fulfilled, since a VM has no screen; the flags of the
//! information structure say so, and images that only prefer one run.

use core::ops::Range;

use skerry_verdict::Registers;
use skerry_words::Gpr;

use crate::address_fields::AddressFields;
use crate::bios;
use crate::bytes::{first4, u32_at};
use crate::modules;
use crate::multiboot_info::{place_structure, structure};
use crate::plan::{Builder, Firmware, LoadPlan};
use crate::{LoadError, Request, elf_image, entry};

/// In what part of the file the header must be.
const SEARCH_BYTES: usize = 8192;
const ALIGN: usize = 4;
const MAGIC: u32 = 0x1bad_b002;
/// Bits 0 to 15 are requirements. Those that are met or can be left: modules on page
/// boundaries, the memory's size, a video mode.
const KNOWN_FLAGS: u32 = 7;
const REQUIRED_FLAGS: u32 = 0xffff;
/// The address fields are there.
const HAS_ADDRESSES: u32 = 1 << 16;

/// What EAX has at the entry.
const LOADER_MAGIC: u64 = 0x2bad_b002;

pub(crate) fn has_header(image: &[u8]) -> bool {
    Header::find(image).is_some()
}

pub(crate) fn plan<'a>(
    request: &Request<'a>,
    mut builder: Builder<'a>,
) -> Result<LoadPlan<'a>, LoadError> {
    let header = Header::find(request.image).ok_or(LoadError::NoMultibootHeader {
        version: 1,
        search_bytes: SEARCH_BYTES,
    })?;
    let eip = header.place(request.image, &mut builder)?;
    let modules = modules::place_behind_image(request, &mut builder)?;
    let written = |at| structure(at, request, &modules);
    let at = place_structure(&mut builder, written)?;
    let mut state = entry::protected_mode(eip);
    state.set(Gpr::Rax, LOADER_MAGIC);
    state.set(Gpr::Rbx, at.0);
    bios::place(&mut builder);
    Ok(LoadPlan {
        firmware: Firmware::Bios,
        ..builder.finish(state)
    })
}

/// The header, and where in the file it is.
struct Header {
    at: usize,
    flags: u32,
}

impl Header {
    /// The first whose checksum is right.
    fn find(image: &[u8]) -> Option<Self> {
        let searched = image.get(..SEARCH_BYTES).unwrap_or(image);
        let places = (0..searched.len()).step_by(ALIGN);
        places.into_iter().find_map(|at| Self::at(searched, at))
    }

    fn at(searched: &[u8], at: usize) -> Option<Self> {
        let field = |index| u32_at(searched, at.saturating_add(index));
        let (magic, flags, checksum) = (field(0)?, field(4)?, field(8)?);
        let sum = magic.wrapping_add(flags).wrapping_add(checksum);
        (magic == MAGIC && sum == 0).then_some(Self { at, flags })
    }

    /// Places the image. Gives its entry.
    fn place<'a>(&self, image: &'a [u8], builder: &mut Builder<'a>) -> Result<u32, LoadError> {
        if self.flags & REQUIRED_FLAGS & !KNOWN_FLAGS != 0 {
            return Err(LoadError::MultibootFlags(self.flags));
        }
        if self.flags & HAS_ADDRESSES == 0 {
            if !elf_image::is_elf(image) {
                return Err(LoadError::NoAddresses(first4(image)));
            }
            return elf_image::place(image, builder).map(|placed| placed.entry);
        }
        let field = |index| u32_at(image, self.at.saturating_add(index));
        let fields = [12, 16, 20, 24, 28].map(field);
        let [
            Some(header),
            Some(load),
            Some(load_end),
            Some(bss_end),
            Some(entry),
        ] = fields
        else {
            return Err(LoadError::Truncated {
                what: "multiboot header",
                needed_bytes: (self.at as u64).saturating_add(32),
                image_bytes: image.len() as u64,
            });
        };
        let fields = AddressFields {
            header_at: self.at as u64,
            header,
            load,
            load_end,
            bss_end,
        };
        let filled = fields.place(image, builder)?;
        inside(entry, &filled)
    }
}

/// An entry that must be in what the image fills.
pub(crate) fn inside(entry: u32, filled: &Range<u64>) -> Result<u32, LoadError> {
    if filled.contains(&u64::from(entry)) {
        return Ok(entry);
    }
    Err(LoadError::EntryOutside(u64::from(entry)))
}
