//! From a guest's image to the plan of its start.
//!
//! Owns what an image is ([`sniff`]), whether it can be started in so much memory, and
//! the [`LoadPlan`]: which bytes go where, and the vCPU's first state. [`layout`] says
//! what guest-physical memory looks like. Every function is pure: a plan touches nothing,
//! so `xtask` makes one before the boot to refuse bad images, and the hypervisor makes it
//! again to follow it.
//!
//! Does not own frames, the second stage or copying: the hypervisor applies the plan.
//! Images are hostile: whatever the bytes, the answer is a plan inside the VM's RAM
//! without overlaps, or a [`LoadError`].
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

extern crate alloc;

mod acpi;
mod address_fields;
mod bios;
mod bytes;
mod elf_image;
mod entry;
mod error;
mod flat;
pub mod layout;
mod linux;
mod modules;
mod multiboot;
mod multiboot2;
mod multiboot2_info;
mod multiboot_info;
mod paging;
mod plan;
mod rom;
mod start_info;
mod texts;

pub use error::{LoadError, Part};
pub use plan::{Firmware, LoadPlan, Piece};
pub use skerry_manifest::{ImageKind, MOST_MODULES};

use alloc::vec::Vec;

use plan::Builder;
use skerry_words::Gpa;

/// A file that an image is handed in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Module<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The command line that goes with it.
    pub cmdline: &'a str,
}

/// What shall be started, and in how much memory.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The image.
    pub image: &'a [u8],
    /// What it is said to be.
    pub kind: ImageKind,
    /// The initial RAM disk; the first module, with an empty command line, of an image that
    /// takes modules.
    pub initrd: Option<&'a [u8]>,
    /// The command line.
    pub cmdline: &'a str,
    /// The modules behind the initial RAM disk.
    pub modules: &'a [Module<'a>],
    /// How many vCPUs the VM has, from 1 on.
    pub vcpus: u32,
    /// The VM's memory, in bytes, as [`layout::ram`] lays it out.
    pub memory_bytes: u64,
}

/// The plan to start `request`.
///
/// # Errors
/// What is wrong with the image, its companions or the memory.
pub fn plan<'a>(request: &Request<'a>) -> Result<LoadPlan<'a>, LoadError> {
    check(request)?;
    let kind = if request.kind == ImageKind::Auto {
        sniff(request.image)?
    } else {
        request.kind
    };
    let mut builder = Builder::new(request.memory_bytes, rom_bytes(request.image, kind));
    if kind == ImageKind::Rom {
        return rom::plan(request, builder);
    }
    let rsdp = place_acpi(request.vcpus, &mut builder)?;
    match kind {
        ImageKind::LinuxBzImage => linux::plan(request, builder, rsdp.at),
        ImageKind::Pvh => elf_image::plan_pvh(request, builder, rsdp.at),
        ImageKind::Elf => elf_image::plan_elf(request, builder, rsdp.at),
        ImageKind::Multiboot => multiboot::plan(request, builder),
        ImageKind::Multiboot2 => multiboot2::plan(request, builder, &rsdp),
        ImageKind::Flat | ImageKind::Auto | ImageKind::Rom => flat::plan(request, builder),
    }
}

/// What an image is, by its bytes; never [`ImageKind::Auto`].
///
/// An ELF file is by the first of these that it has: a PVH note; a multiboot2 header; a multiboot
/// header; its own entry. Any other file: a bzImage's signature; the size and the first
/// instruction of a ROM, without a boot sector's signature; a multiboot2 header; a multiboot
/// header; a boot sector's signature. ROMs come early, since U-Boot's has a multiboot header for
/// those that start it as a ROM.
///
/// # Errors
/// An empty image, one of no known kind, and a damaged ELF file.
pub fn sniff(image: &[u8]) -> Result<ImageKind, LoadError> {
    if image.is_empty() {
        return Err(LoadError::EmptyImage);
    }
    if elf_image::is_elf(image) {
        return sniff_elf(image);
    }
    let is_boot_sector = flat::is_boot_sector(image);
    if linux::is_linux(image) {
        Ok(ImageKind::LinuxBzImage)
    } else if rom::is_rom(image) && !is_boot_sector {
        Ok(ImageKind::Rom)
    } else if let Some(kind) = sniff_header(image) {
        Ok(kind)
    } else if is_boot_sector {
        Ok(ImageKind::Flat)
    } else {
        Err(LoadError::Unrecognized(bytes::first4(image)))
    }
}

fn sniff_elf(image: &[u8]) -> Result<ImageKind, LoadError> {
    match (elf_image::has_pvh_note(image), sniff_header(image)) {
        (Ok(true), _) => Ok(ImageKind::Pvh),
        (_, Some(kind)) => Ok(kind),
        (Ok(false), None) => Ok(ImageKind::Elf),
        (Err(damaged), None) => Err(damaged),
    }
}

/// The version of multiboot that the image has a header of.
fn sniff_header(image: &[u8]) -> Option<ImageKind> {
    if multiboot2::has_header(image) {
        Some(ImageKind::Multiboot2)
    } else {
        multiboot::has_header(image).then_some(ImageKind::Multiboot)
    }
}

/// How much memory an image of this kind needs below 4 GiB: its own size if it is a ROM, or
/// found to be one; else 0. For [`layout::backed`].
#[must_use]
pub fn rom_bytes(image: &[u8], kind: ImageKind) -> u64 {
    let is_rom = match kind {
        ImageKind::Rom => rom::has_rom_size(image),
        ImageKind::Auto => rom::is_rom(image) && sniff(image) == Ok(ImageKind::Rom),
        ImageKind::LinuxBzImage
        | ImageKind::Pvh
        | ImageKind::Elf
        | ImageKind::Flat
        | ImageKind::Multiboot
        | ImageKind::Multiboot2 => false,
    };
    if is_rom { image.len() as u64 } else { 0 }
}

/// The root of the ACPI tables.
struct Rsdp {
    at: Gpa,
    bytes: Vec<u8>,
}

/// The bytes of an RSDP of ACPI 2.0 and later.
const RSDP_BYTES: usize = 36;

/// Places the tables, which every image but a ROM finds.
fn place_acpi(vcpus: u32, builder: &mut Builder<'_>) -> Result<Rsdp, LoadError> {
    let tables = acpi::tables(vcpus);
    let mut rsdp = Rsdp {
        at: tables.rsdp,
        bytes: Vec::new(),
    };
    for (at, bytes) in tables.pieces {
        if at == rsdp.at {
            rsdp.bytes = bytes.iter().copied().take(RSDP_BYTES).collect();
        }
        builder.place(Part::Acpi, at, bytes, 0)?;
    }
    Ok(rsdp)
}

fn check(request: &Request<'_>) -> Result<(), LoadError> {
    if request.image.is_empty() {
        return Err(LoadError::EmptyImage);
    }
    if request.initrd.is_some_and(<[u8]>::is_empty) {
        return Err(LoadError::EmptyInitrd);
    }
    if request.cmdline.contains('\0') {
        return Err(LoadError::CmdlineNul);
    }
    modules::check(request)?;
    if request.memory_bytes < layout::LEAST_MEMORY_BYTES {
        return Err(LoadError::Memory(request.memory_bytes));
    }
    Ok(())
}
