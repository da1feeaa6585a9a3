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

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the plans do not place the tables yet")
)]
mod acpi;
mod bytes;
mod elf_image;
mod entry;
mod error;
mod flat;
pub mod layout;
mod linux;
mod paging;
mod plan;
mod start_info;

pub use error::{LoadError, Part};
pub use plan::{LoadPlan, Piece};
pub use skerry_manifest::ImageKind;

use plan::Builder;

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
    let builder = Builder::new(request.memory_bytes);
    match kind {
        ImageKind::LinuxBzImage => linux::plan(request, builder),
        ImageKind::Pvh => elf_image::plan_pvh(request, builder),
        ImageKind::Elf => elf_image::plan_elf(request, builder),
        ImageKind::Flat | ImageKind::Auto => flat::plan(request, builder),
        ImageKind::Multiboot | ImageKind::Multiboot2 | ImageKind::Rom => {
            Err(LoadError::Unrecognized(bytes::first4(request.image)))
        }
    }
}

/// What an image is, by its bytes; never [`ImageKind::Auto`].
///
/// # Errors
/// An empty image, one of no known kind, and a damaged ELF file.
pub fn sniff(image: &[u8]) -> Result<ImageKind, LoadError> {
    if image.is_empty() {
        return Err(LoadError::EmptyImage);
    }
    if elf_image::is_elf(image) {
        return elf_image::sniff(image);
    }
    if linux::is_linux(image) {
        return Ok(ImageKind::LinuxBzImage);
    }
    if flat::is_boot_sector(image) {
        return Ok(ImageKind::Flat);
    }
    Err(LoadError::Unrecognized(bytes::first4(image)))
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
    if request.memory_bytes < layout::LEAST_MEMORY_BYTES {
        return Err(LoadError::Memory(request.memory_bytes));
    }
    Ok(())
}
