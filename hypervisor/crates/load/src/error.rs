//! Why an image cannot be started, with the way out.
//!
//! Owns the errors' words and the manifest key each one blames. Raised by the loaders,
//! shown by `xtask` before the boot, and by the hypervisor for a bundle that others made.

use alloc::string::String;
use core::fmt;

use skerry_manifest::ImageKind;
use thiserror::Error;

use crate::layout::{HOLE_START, MIB};

/// A part of what a plan puts into memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The image of a bzImage or a boot sector, with the room it asks for.
    Kernel,
    /// The program header of this index.
    Segment(usize),
    /// The initial RAM disk.
    Initrd,
    /// The loader's own tables and the command line.
    BootData,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => write!(f, "the kernel"),
            Self::Segment(index) => write!(f, "segment {index}"),
            Self::Initrd => write!(f, "the initrd"),
            Self::BootData => write!(f, "the boot data below 0xe000"),
        }
    }
}

/// Why an image cannot be started.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum LoadError {
    /// The image has no bytes.
    #[error("the image is empty; name a bzImage, an ELF kernel or a boot sector")]
    EmptyImage,
    /// The initrd has no bytes.
    #[error("the initrd is empty; leave `initrd` out, or name a cpio archive")]
    EmptyInitrd,
    /// The command line holds a zero byte.
    #[error("the command line holds a zero byte, which would end it; remove it")]
    CmdlineNul,
    /// Less than [`crate::layout::LEAST_MEMORY_BYTES`] of memory.
    #[error("{} of memory is less than a PC has; raise `memory` to 1M or more", Size(*.0))]
    Memory(u64),
    /// No known kind of image starts with these bytes.
    #[error(
        "the image starts with {} and is no bzImage, ELF file or boot sector; \
         name another file, or set `kind = \"flat\"` to run bare code in real mode",
        Start(*.0)
    )]
    Unrecognized([u8; 4]),
    /// The image ends before a part of it does.
    #[error(
        "the image has {image_bytes} bytes, but its {what} ends at byte {needed_bytes}; \
         it is truncated, copy it again"
    )]
    Truncated {
        /// What is cut.
        what: &'static str,
        /// How many bytes the image would have to have.
        needed_bytes: u64,
        /// How many it has.
        image_bytes: u64,
    },
    /// Not a bzImage: these bytes stand where "HdrS" should.
    #[error(
        "the image has {} where a bzImage has \"HdrS\"; \
         name a bzImage, or leave `kind` out to have it found out",
        Start(*.0)
    )]
    NotLinux([u8; 4]),
    /// A boot protocol before 2.12, as major * 256 + minor.
    #[error(
        "the kernel speaks boot protocol {}.{:02}; use one of Linux 3.8 or later (2.12)",
        .0 >> 8,
        .0 & 0xff
    )]
    LinuxVersion(u16),
    /// A kernel without the 64-bit entry: its `xloadflags`.
    #[error("the kernel has no 64-bit entry (xloadflags {0:#x}); use an x86-64 kernel")]
    Linux32Bit(u16),
    /// A `kernel_alignment` that is no power of two.
    #[error("the kernel asks for an alignment of {0:#x}, no power of two; copy it again")]
    LinuxAlignment(u32),
    /// The command line is longer than the kernel takes.
    #[error(
        "the command line has {cmdline_bytes} bytes, and the kernel takes {limit_bytes}; \
         shorten `cmdline`"
    )]
    CmdlineTooLong {
        /// Its bytes.
        cmdline_bytes: u64,
        /// The most it may have.
        limit_bytes: u64,
    },
    /// This kind of image takes no such thing.
    #[error("an image of kind {1:?} takes no {0}; leave `{0}` out")]
    Unused(&'static str, ImageKind),
    /// The initrd finds no room.
    #[error(
        "initrd of {} does not fit in {} of memory beside the kernel; {}",
        Size(*initrd_bytes),
        Size(*memory_bytes),
        way_out(*needed_bytes, "use a smaller initrd")
    )]
    InitrdDoesNotFit {
        /// Its bytes.
        initrd_bytes: u64,
        /// The VM's memory.
        memory_bytes: u64,
        /// The memory that would do, if any would.
        needed_bytes: Option<u64>,
    },
    /// Not an ELF file: its first bytes.
    #[error("the image starts with {} and is no ELF file; leave `kind` out", Start(*.0))]
    NotElf([u8; 4]),
    /// A damaged ELF file, in the ELF library's words.
    #[error("the ELF file is damaged: {0}; build or copy it again")]
    Elf(String),
    /// An ELF file for another machine: its `e_machine`.
    #[error("the ELF file is for machine {0}; build it for x86-64 (62) or 386 (3)")]
    ElfMachine(u16),
    /// An ELF file that is no fixed-address executable: its `e_type`.
    #[error("the ELF file is of type {0}, no executable (2); link it with -no-pie")]
    ElfType(u16),
    /// An ELF file with nothing to load.
    #[error("the ELF file has nothing to load; name the linked kernel, no object file")]
    NoSegment,
    /// A segment with more bytes in the file than in memory.
    #[error(
        "segment {index} has {file_bytes} bytes in the file but {memory_bytes} in memory; \
         build or copy it again"
    )]
    SegmentBytes {
        /// The program header's index.
        index: usize,
        /// Its bytes in the file.
        file_bytes: u64,
        /// Its bytes in memory.
        memory_bytes: u64,
    },
    /// An ELF file without a PVH entry note.
    #[error(
        "the ELF file has no PVH entry note; \
         build Linux with CONFIG_PVH, or set `kind = \"elf\"` to use its own entry"
    )]
    NoPvhNote,
    /// A PVH entry note whose content has this many bytes.
    #[error("the PVH entry note has {0} bytes; it must have 4 or 8")]
    PvhNoteBytes(usize),
    /// A part that would lie outside the VM's RAM.
    #[error(
        "{part} would fill {start:#x} to {end:#x}, outside the RAM of a VM with {}; {}",
        Size(*memory_bytes),
        way_out(more_memory(*start, *end, *memory_bytes), "link it between 1 MiB and 3 GiB")
    )]
    OutsideRam {
        /// The part.
        part: Part,
        /// Its first address.
        start: u64,
        /// The first address behind it.
        end: u64,
        /// The VM's memory.
        memory_bytes: u64,
    },
    /// Two parts at one address.
    #[error("{second} at {start:#x} would lie over {first}; link it elsewhere, from 1 MiB on")]
    Overlap {
        /// The part that came first.
        first: Part,
        /// The one that would lie over it.
        second: Part,
        /// The second part's first address.
        start: u64,
    },
    /// The image starts at an address that it does not fill.
    #[error("the entry point {0:#x} is in no segment of the file; check its linker script")]
    EntryOutside(u64),
    /// A boot sector's image with more bytes than fit below the firmware's memory.
    #[error("a flat image of {image_bytes} bytes is over the limit of {limit_bytes}; use ELF")]
    FlatTooLarge {
        /// Its bytes.
        image_bytes: u64,
        /// The most it may have.
        limit_bytes: u64,
    },
}

impl LoadError {
    /// The manifest's key whose value is to blame.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::EmptyInitrd | Self::InitrdDoesNotFit { .. } => "initrd",
            Self::CmdlineNul | Self::CmdlineTooLong { .. } => "cmdline",
            Self::Unused(what, _) => what,
            Self::Memory(_) => "memory",
            Self::EmptyImage
            | Self::Unrecognized(_)
            | Self::Truncated { .. }
            | Self::NotLinux(_)
            | Self::LinuxVersion(_)
            | Self::Linux32Bit(_)
            | Self::LinuxAlignment(_)
            | Self::NotElf(_)
            | Self::Elf(_)
            | Self::ElfMachine(_)
            | Self::ElfType(_)
            | Self::NoSegment
            | Self::SegmentBytes { .. }
            | Self::NoPvhNote
            | Self::PvhNoteBytes(_)
            | Self::OutsideRam { .. }
            | Self::Overlap { .. }
            | Self::EntryOutside(_)
            | Self::FlatTooLarge { .. } => "kernel",
        }
    }
}

/// The memory that would hold `start..end`, if more memory is all it takes.
fn more_memory(start: u64, end: u64, memory_bytes: u64) -> Option<u64> {
    let would_hold = start >= MIB && end > memory_bytes && start <= end && end <= HOLE_START;
    would_hold.then_some(end)
}

/// "raise `memory` ..." where that helps, else `otherwise`.
fn way_out(needed_bytes: Option<u64>, otherwise: &str) -> String {
    match needed_bytes {
        Some(bytes) => alloc::format!("raise `memory` to {}M or more", bytes.div_ceil(MIB)),
        None => String::from(otherwise),
    }
}

/// A number of bytes, for people.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 >> 20, self.0 & 0xf_ffff);
        match (whole, rest) {
            (0, bytes) => write!(f, "{bytes} bytes"),
            (mib, 0) => write!(f, "{mib} MiB"),
            (mib, rest) => write!(f, "{mib}.{} MiB", rest.wrapping_mul(10) >> 20),
        }
    }
}

/// The first bytes of a file, for people.
struct Start([u8; 4]);

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:#010x} (\"{}\")",
            u32::from_be_bytes(self.0),
            self.0.escape_ascii()
        )
    }
}
