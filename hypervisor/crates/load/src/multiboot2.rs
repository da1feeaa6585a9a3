//! Images with a header of the Multiboot2 Specification.
//!
//! Owns the header's tags and what follows from them. Everything here is of
//! `[Multiboot2 Specification 2.0]`. A tag that the image does not call optional must be known
//! here; those for EFI machines are, and mean nothing on this one. An image that can be
//! relocated is loaded where it is linked, if it may be there. The tags that it is handed are
//! `multiboot2_info`'s.

use core::ops::Range;

use skerry_verdict::Registers;
use skerry_words::Gpr;

use crate::address_fields::AddressFields;
use crate::bios;
use crate::bytes::{first4, u16_at, u32_at};
use crate::multiboot::inside;
use crate::multiboot_info::place_structure;
use crate::multiboot2_info::{Handed, tags};
use crate::plan::{Builder, Firmware, LoadPlan};
use crate::{LoadError, Request, Rsdp, elf_image, entry, modules};

/// In what part of the file the header must be.
const SEARCH_BYTES: usize = 32768;
const ALIGN: usize = 8;
const MAGIC: u32 = 0xe852_50d6;
/// 32-bit protected mode of i386.
const ARCHITECTURE: u32 = 0;
const HEADER_BYTES: usize = 16;
/// A tag's type, flags and size.
const TAG_BYTES: usize = 8;
/// A tag's flag: it may be left.
const OPTIONAL: u16 = 1;
/// The console tag's flag: there must be one.
const CONSOLE_REQUIRED: u32 = 1;
/// The tags of the information structure that the specification knows end here.
const INFO_TAGS_END: u32 = 22;

/// What EAX has at the entry.
const LOADER_MAGIC: u64 = 0x36d7_6289;

pub(crate) fn has_header(image: &[u8]) -> bool {
    find(image).is_some()
}

pub(crate) fn plan<'a>(
    request: &Request<'a>,
    mut builder: Builder<'a>,
    rsdp: &Rsdp,
) -> Result<LoadPlan<'a>, LoadError> {
    let header = Header::read(request.image)?;
    let (eip, filled) = header.place(request.image, &mut builder)?;
    let load_base = header.checked_base(&filled)?;
    let modules = modules::place_behind_image(request, &mut builder)?;
    let handed = Handed {
        cmdline: request.cmdline,
        memory_bytes: request.memory_bytes,
        modules: &modules,
        rsdp,
        load_base,
    };
    let at = place_structure(&mut builder, |_| tags(&handed))?;
    let mut state = entry::protected_mode(eip);
    state.set(Gpr::Rax, LOADER_MAGIC);
    state.set(Gpr::Rbx, at.0);
    bios::place(&mut builder);
    Ok(LoadPlan {
        firmware: Firmware::Bios,
        ..builder.finish(state)
    })
}

/// Where the first header for this architecture with a right checksum is, and its bytes.
fn find(image: &[u8]) -> Option<(usize, usize)> {
    let searched = image.get(..SEARCH_BYTES).unwrap_or(image);
    (0..searched.len()).step_by(ALIGN).find_map(|at| {
        let fields = [0, 4, 8, 12].map(|index| u32_at(searched, at.saturating_add(index)));
        let [Some(MAGIC), Some(ARCHITECTURE), Some(bytes), Some(checksum)] = fields else {
            return None;
        };
        let sum = MAGIC.wrapping_add(ARCHITECTURE).wrapping_add(bytes);
        (sum.wrapping_add(checksum) == 0).then_some((at, bytes as usize))
    })
}

/// What the tags say.
#[derive(Default)]
struct Header {
    addresses: Option<AddressFields>,
    entry: Option<u32>,
    /// Where the image may lie, if it can be relocated.
    loadable: Option<Range<u64>>,
}

/// A tag, and where in the file it is.
struct Tag<'a> {
    header_at: usize,
    at: usize,
    kind: u16,
    flags: u16,
    /// What follows the size.
    body: &'a [u8],
}

impl Tag<'_> {
    fn field(&self, index: usize) -> Result<u32, LoadError> {
        let at = index.saturating_mul(4);
        u32_at(self.body, at).ok_or(LoadError::Multiboot2Damaged(self.at))
    }
}

impl Header {
    fn read(image: &[u8]) -> Result<Self, LoadError> {
        let (header_at, bytes) = find(image).ok_or(LoadError::NoMultibootHeader {
            version: 2,
            search_bytes: SEARCH_BYTES,
        })?;
        let end = header_at.saturating_add(bytes).min(SEARCH_BYTES);
        let header = image.get(..end).unwrap_or(image);
        let mut read = Self::default();
        let mut at = header_at.saturating_add(HEADER_BYTES);
        loop {
            let (tag, next) = tag(header, header_at, at)?;
            if tag.kind == 0 {
                return Ok(read);
            }
            read.take(&tag)?;
            at = next;
        }
    }

    fn take(&mut self, tag: &Tag<'_>) -> Result<(), LoadError> {
        let optional = tag.flags & OPTIONAL != 0;
        match tag.kind {
            1 if optional => {}
            1 => return known_requests(tag.body),
            2 => self.addresses = Some(addresses(tag)?),
            3 => self.entry = Some(tag.field(0)?),
            4 if !optional && tag.field(0)? & CONSOLE_REQUIRED != 0 => {
                return Err(LoadError::Multiboot2Console);
            }
            // Which consoles, the mode of a screen, modules on pages (they always are), and
            // what counts on EFI machines alone.
            4..=9 => {}
            10 => {
                let (least, most) = (tag.field(0)?, tag.field(1)?);
                self.loadable = Some(least.into()..u64::from(most).saturating_add(1));
            }
            _ if optional => {}
            unknown => return Err(LoadError::Multiboot2Tag(unknown)),
        }
        Ok(())
    }

    /// Places the image. Gives its entry, and the addresses from its first to its last.
    fn place<'a>(
        &self,
        image: &'a [u8],
        builder: &mut Builder<'a>,
    ) -> Result<(u32, Range<u64>), LoadError> {
        let (own_entry, filled) = match self.addresses {
            Some(fields) => (None, fields.place(image, builder)?),
            None if !elf_image::is_elf(image) => return Err(LoadError::NoAddresses(first4(image))),
            None => {
                let placed = elf_image::place(image, builder)?;
                (Some(placed.entry), placed.filled)
            }
        };
        match (self.entry, own_entry) {
            (Some(entry), _) => Ok((inside(entry, &filled)?, filled)),
            (None, Some(entry)) => Ok((entry, filled)),
            (None, None) => Err(LoadError::Multiboot2NoEntry),
        }
    }

    /// The address of an image that can be relocated, which wants to know it.
    fn checked_base(&self, filled: &Range<u64>) -> Result<Option<u32>, LoadError> {
        let Some(loadable) = &self.loadable else {
            return Ok(None);
        };
        if filled.start < loadable.start || filled.end > loadable.end {
            return Err(LoadError::Relocation {
                start: filled.start,
                end: filled.end,
                least: loadable.start,
                most_end: loadable.end,
            });
        }
        Ok(u32::try_from(filled.start).ok())
    }
}

/// The tag at `at`, and where the next one starts.
fn tag(header: &[u8], header_at: usize, at: usize) -> Result<(Tag<'_>, usize), LoadError> {
    let damaged = LoadError::Multiboot2Damaged(at);
    let fields = (
        u16_at(header, at),
        u16_at(header, at.saturating_add(2)),
        u32_at(header, at.saturating_add(4)),
    );
    let (Some(kind), Some(flags), Some(bytes)) = fields else {
        return Err(damaged);
    };
    let end = at.saturating_add(bytes as usize);
    let body = header.get(at.saturating_add(TAG_BYTES)..end);
    let body = body.ok_or(damaged)?;
    let tag = Tag {
        header_at,
        at,
        kind,
        flags,
        body,
    };
    Ok((tag, end.checked_next_multiple_of(ALIGN).unwrap_or(end)))
}

/// Refuses requests for information that nobody knows. What is known and not there is left out,
/// as the specification has it.
fn known_requests(body: &[u8]) -> Result<(), LoadError> {
    let mut requests = body.chunks_exact(4).filter_map(|chunk| u32_at(chunk, 0));
    match requests.find(|request| *request >= INFO_TAGS_END) {
        Some(unknown) => Err(LoadError::Multiboot2Request(unknown)),
        None => Ok(()),
    }
}

fn addresses(tag: &Tag<'_>) -> Result<AddressFields, LoadError> {
    Ok(AddressFields {
        header_at: tag.header_at as u64,
        header: tag.field(0)?,
        load: tag.field(1)?,
        load_end: tag.field(2)?,
        bss_end: tag.field(3)?,
    })
}
