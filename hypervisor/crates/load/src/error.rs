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
    /// An image that is one piece, with the room it asks for.
    Kernel,
    /// The program header of this index.
    Segment(usize),
    /// The initial RAM disk.
    Initrd,
    /// The module of this index in the manifest.
    Module(usize),
    /// The loader's own tables and the command lines.
    BootData,
    /// The ACPI tables.
    Acpi,
    /// The end of a ROM, as it is seen below 1 MiB.
    Shadow,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => write!(f, "the kernel"),
            Self::Segment(index) => write!(f, "segment {index}"),
            Self::Initrd => write!(f, "the initrd"),
            Self::Module(index) => write!(f, "module {}", index.saturating_add(1)),
            Self::BootData => write!(f, "the boot data"),
            Self::Acpi => write!(f, "the ACPI tables from 0xe0000 on"),
            Self::Shadow => write!(f, "the ROM's shadow below 1 MiB"),
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
    /// The module of this index has no bytes.
    #[error("module {} is empty; leave it out of `modules`", .0.saturating_add(1))]
    EmptyModule(usize),
    /// The command line of the module of this index holds a zero byte.
    #[error(
        "the command line of module {} holds a zero byte, which would end it; remove it",
        .0.saturating_add(1)
    )]
    ModuleCmdlineNul(usize),
    /// So many modules, more than [`crate::MOST_MODULES`].
    #[error("{0} modules; an image takes at most 8, put them in one archive")]
    TooManyModules(usize),
    /// The command lines of kernel and modules have so many bytes, and there is room for so
    /// many.
    #[error(
        "the command lines of the kernel and its modules have {0} bytes together, more than \
         {1}; shorten them"
    )]
    CmdlinesTooLong(u64, u64),
    /// The command line holds a zero byte.
    #[error("the command line holds a zero byte, which would end it; remove it")]
    CmdlineNul,
    /// Less than [`crate::layout::LEAST_MEMORY_BYTES`] of memory.
    #[error("{} of memory is less than a PC has; raise `memory` to 1M or more", Size(*.0))]
    Memory(u64),
    /// No known kind of image starts with these bytes.
    #[error(
        "the image starts with {} and is no bzImage, ELF or multiboot file, boot sector or ROM; \
         name another file, or set `kind` to \"flat\" for bare code in real mode, or to \"rom\"",
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
    /// A part that has no address of its own finds no room.
    #[error(
        "{part} of {} does not fit in {} of memory beside the kernel; {}",
        Size(*part_bytes),
        Size(*memory_bytes),
        way_out(*needed_bytes, "use a smaller one")
    )]
    DoesNotFit {
        /// The part.
        part: Part,
        /// Its bytes.
        part_bytes: u64,
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
    /// No multiboot header of this version in so many first bytes.
    #[error(
        "the image has no multiboot{} header in its first {} KiB; \
         leave `kind` out to have it found out",
        if *version == 1 { "" } else { "2" },
        .search_bytes >> 10
    )]
    NoMultibootHeader {
        /// 1 or 2.
        version: u8,
        /// Where it would have to be.
        search_bytes: usize,
    },
    /// A multiboot header with these flags, of which some required ones are unknown.
    #[error(
        "the multiboot header has flags {0:#x}; of 0xffff, which are required, only 0x7 are \
         known: build it for multiboot 0.6.96"
    )]
    MultibootFlags(u32),
    /// A multiboot image that is neither an ELF file nor says itself where it goes: its first
    /// bytes.
    #[error(
        "the image starts with {} and is no ELF file, and its multiboot header has no address \
         fields; link it as ELF, or add them",
        Start(*.0)
    )]
    NoAddresses([u8; 4]),
    /// A field of a multiboot header that is below what it cannot be below.
    #[error(
        "the multiboot header's {} is {:#x}, below its {} of {:#x}; check its address fields",
        .field.0, .field.1, .least.0, .least.1
    )]
    HeaderAddresses {
        /// The field's name and value.
        field: (&'static str, u64),
        /// What it is compared to.
        least: (&'static str, u64),
    },
    /// A multiboot2 header whose tag at this byte of the file is cut or too short.
    #[error("the multiboot2 header is damaged at byte {0:#x} of the file; build it again")]
    Multiboot2Damaged(usize),
    /// A multiboot2 header that requires a tag of this unknown type.
    #[error("the multiboot2 header requires tag {0}, which is unknown; make it optional")]
    Multiboot2Tag(u16),
    /// A multiboot2 header that requires information of this unknown type.
    #[error("the multiboot2 header requires information {0}, which is unknown; make it optional")]
    Multiboot2Request(u32),
    /// A multiboot2 header that requires a console.
    #[error("the multiboot2 header requires a screen, which a VM has not; make it optional")]
    Multiboot2Console,
    /// A multiboot2 header with an address tag and no entry tag.
    #[error("the multiboot2 header has an address tag, but no entry address tag; add one")]
    Multiboot2NoEntry,
    /// An image that is linked where its multiboot2 header does not want it.
    #[error(
        "the image is linked from {start:#x} to {end:#x}, and its multiboot2 header wants it \
         between {least:#x} and {most_end:#x}; link it there"
    )]
    Relocation {
        /// Its first address.
        start: u64,
        /// The first address behind it.
        end: u64,
        /// The least address it may have.
        least: u64,
        /// Where it must end.
        most_end: u64,
    },
    /// A ROM with so many bytes.
    #[error("a ROM of {0} bytes; it must be a multiple of 4096, and at most 16 MiB")]
    RomBytes(u64),
    /// A boot sector's image with more bytes than fit below the firmware's memory.
    #[error("a flat image of {image_bytes} bytes is over the limit of {limit_bytes}; use ELF")]
    FlatTooLarge {
        /// Its bytes.
        image_bytes: u64,
        /// The most it may have.
        limit_bytes: u64,
    },
}

impl Part {
    /// The manifest's key that it comes from.
    const fn key(self) -> &'static str {
        match self {
            Self::Initrd => "initrd",
            Self::Module(_) => "modules",
            Self::Kernel | Self::Segment(_) | Self::BootData | Self::Acpi | Self::Shadow => {
                "kernel"
            }
        }
    }
}

impl LoadError {
    /// The index of the module to blame, if one is.
    #[must_use]
    pub const fn module(&self) -> Option<usize> {
        if let Self::EmptyModule(index)
        | Self::ModuleCmdlineNul(index)
        | Self::DoesNotFit {
            part: Part::Module(index),
            ..
        } = self
        {
            return Some(*index);
        }
        None
    }

    /// The manifest's key whose value is to blame.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::EmptyInitrd => "initrd",
            Self::EmptyModule(_)
            | Self::ModuleCmdlineNul(_)
            | Self::TooManyModules(_)
            | Self::CmdlinesTooLong(..) => "modules",
            Self::DoesNotFit { part, .. } => part.key(),
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
            | Self::NoMultibootHeader { .. }
            | Self::MultibootFlags(_)
            | Self::NoAddresses(_)
            | Self::HeaderAddresses { .. }
            | Self::Multiboot2Damaged(_)
            | Self::Multiboot2Tag(_)
            | Self::Multiboot2Request(_)
            | Self::Multiboot2Console
            | Self::Multiboot2NoEntry
            | Self::Relocation { .. }
            | Self::RomBytes(_)
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
