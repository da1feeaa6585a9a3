//! Linux bzImages, by the 64-bit boot protocol.
//!
//! Owns the setup header's checks and the zero page. Everything here is of
//! `[Linux 6.1, Documentation/arch/x86/boot.rst]` and `zero-page.rst` beside it. The
//! real-mode part of the image is not loaded; the kernel is entered 0x200 behind its start.

use alloc::{vec, vec::Vec};

use skerry_verdict::Registers;
use skerry_words::{Gpa, Gpr, PAGE_BYTES};

use crate::bytes::{array, first4, push_u32s, push_u64s, put};
use crate::layout::{CMDLINE, CMDLINE_BYTES, GDT, MIB, PAGE_TABLES, START_INFO, map_entries};
use crate::plan::{Builder, LoadPlan};
use crate::{ImageKind, LoadError, Part, Request, entry, modules, paging};

/// Where the setup header starts, in the image as in the zero page.
const HEADER: usize = 0x1f1;
/// Where the last field used here ends (`init_size`).
const HEADER_FIELDS_END: usize = 0x264;
/// Where the zero page's room for the header ends.
const HEADER_ROOM_END: usize = 0x290;
/// Read from protocol 2.14 on; older kernels look for the table below 1 MiB.
const ACPI_RSDP_ADDR: usize = 0x70;
const E820_COUNT: usize = 0x1e8;
const E820_TABLE: usize = 0x2d0;
const SECTOR_BYTES: u64 = 512;
const PARAGRAPH_BYTES: u64 = 16;
const ENTRY_64: u64 = 0x200;
const XLF_KERNEL_64: u16 = 1;
const OLDEST_VERSION: u16 = 0x020c;
/// "An assigned boot loader ID": 0xff is "undefined" for those without one.
const TYPE_OF_LOADER: u8 = 0xff;

pub(crate) fn is_linux(image: &[u8]) -> bool {
    array(image, 0x202) == Some(*b"HdrS")
}

pub(crate) fn plan<'a>(
    request: &Request<'a>,
    mut builder: Builder<'a>,
    rsdp: Gpa,
) -> Result<LoadPlan<'a>, LoadError> {
    modules::refuse(request, ImageKind::LinuxBzImage)?;
    let kernel = Kernel::parse(request.image)?;
    let load = kernel.load_address();
    builder.reserve(Part::Kernel, load, kernel.span_bytes())?;
    builder.push(load, kernel.payload, 0);

    let cmdline_limit = u64::from(kernel.cmdline_bytes).min(CMDLINE_BYTES.saturating_sub(1));
    let cmdline = terminated(request.cmdline, cmdline_limit)?;
    let room = cmdline.len() as u64;
    builder.place(Part::BootData, CMDLINE, cmdline, room)?;
    builder.place(Part::BootData, GDT, entry::gdt(), 0)?;
    builder.place(Part::BootData, PAGE_TABLES, paging::identity_map(), 0)?;
    builder.reserve(Part::BootData, START_INFO, PAGE_BYTES)?;

    let initrd = match request.initrd {
        Some(bytes) => Some((
            builder.place_high(Part::Initrd, bytes, kernel.initrd_end)?,
            bytes.len(),
        )),
        None => None,
    };
    let zero_page = zero_page(kernel.header, initrd, rsdp, builder.memory_bytes());
    builder.push(START_INFO, zero_page, PAGE_BYTES);

    let mut state = entry::long_mode(load.0.saturating_add(ENTRY_64));
    state.set(Gpr::Rsi, START_INFO.0);
    Ok(builder.finish(state))
}

/// The command line with its terminating zero, if it has at most `limit_bytes` without.
fn terminated(cmdline: &str, limit_bytes: u64) -> Result<Vec<u8>, LoadError> {
    let cmdline_bytes = cmdline.len() as u64;
    if cmdline_bytes > limit_bytes {
        return Err(LoadError::CmdlineTooLong {
            cmdline_bytes,
            limit_bytes,
        });
    }
    Ok([cmdline.as_bytes(), &[0]].concat())
}

/// What the setup header says, checked.
struct Kernel<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    preferred: u64,
    alignment: u64,
    init_bytes: u64,
    cmdline_bytes: u32,
    /// The first address behind the initrd's last possible byte.
    initrd_end: u64,
}

impl<'a> Kernel<'a> {
    fn parse(image: &'a [u8]) -> Result<Self, LoadError> {
        if !is_linux(image) {
            let found = image.get(0x202..).unwrap_or_default();
            return Err(LoadError::NotLinux(first4(found)));
        }
        let fields = Fields::of(image).ok_or(LoadError::Truncated {
            what: "setup header",
            needed_bytes: HEADER_FIELDS_END as u64,
            image_bytes: image.len() as u64,
        })?;
        fields.check()?;
        Ok(Self {
            header: fields.header(image),
            payload: fields.payload(image)?,
            preferred: u64::from_le_bytes(fields.get(0x258)),
            alignment: fields.u32(0x230).into(),
            init_bytes: fields.u32(0x260).into(),
            cmdline_bytes: fields.u32(0x238),
            initrd_end: u64::from(fields.u32(0x22c)).saturating_add(1),
        })
    }

    /// Where the kernel runs from: at its preferred address, aligned. Lower would not
    /// help, since it moves itself up there.
    fn load_address(&self) -> Gpa {
        let aligned = self
            .preferred
            .max(MIB)
            .checked_next_multiple_of(self.alignment);
        Gpa(aligned.unwrap_or(u64::MAX))
    }

    /// What it needs from there on before it can read the memory map.
    fn span_bytes(&self) -> u64 {
        self.init_bytes.max(self.payload.len() as u64)
    }
}

/// The image's first bytes, up to the end of the last field used here.
struct Fields<'a>(&'a [u8; HEADER_FIELDS_END]);

impl<'a> Fields<'a> {
    fn of(image: &'a [u8]) -> Option<Self> {
        image.first_chunk().map(Self)
    }

    /// The bytes of the field at an offset below [`HEADER_FIELDS_END`].
    fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        array(self.0, at).unwrap_or([0; N])
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.get(at))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.get(at))
    }

    fn check(&self) -> Result<(), LoadError> {
        let (version, xloadflags, alignment) = (self.u16(0x206), self.u16(0x236), self.u32(0x230));
        if version < OLDEST_VERSION {
            return Err(LoadError::LinuxVersion(version));
        }
        if xloadflags & XLF_KERNEL_64 == 0 {
            return Err(LoadError::Linux32Bit(xloadflags));
        }
        if !alignment.is_power_of_two() {
            return Err(LoadError::LinuxAlignment(alignment));
        }
        Ok(())
    }

    /// The setup header, as much as the zero page has room for. Its end is where the jump
    /// at its start leads.
    fn header(&self, image: &'a [u8]) -> &'a [u8] {
        let [jump] = self.get(0x201);
        let end = usize::from(jump).saturating_add(0x202);
        let end = end.clamp(HEADER_FIELDS_END, HEADER_ROOM_END);
        image.get(HEADER..end.min(image.len())).unwrap_or_default()
    }

    /// The protected-mode kernel: behind the boot sector and the setup sectors (0 means
    /// 4), for `syssize` paragraphs, the last of which some builders leave short.
    fn payload(&self, image: &'a [u8]) -> Result<&'a [u8], LoadError> {
        let setup_sectors = match self.get(HEADER) {
            [0] => 4,
            [sectors] => u64::from(sectors),
        };
        let start = setup_sectors.saturating_add(1).saturating_mul(SECTOR_BYTES);
        let paragraphs = u64::from(self.u32(0x1f4));
        let end = start.saturating_add(paragraphs.saturating_mul(PARAGRAPH_BYTES));
        let end = end.max(start.saturating_add(ENTRY_64).saturating_add(1));
        let image_bytes = image.len() as u64;
        if image_bytes <= end.saturating_sub(PARAGRAPH_BYTES) {
            return Err(LoadError::Truncated {
                what: "kernel",
                needed_bytes: end,
                image_bytes,
            });
        }
        let range = start as usize..end.min(image_bytes) as usize;
        Ok(image.get(range).unwrap_or_default())
    }
}

fn zero_page(header: &[u8], initrd: Option<(Gpa, usize)>, rsdp: Gpa, memory_bytes: u64) -> Vec<u8> {
    let mut page = vec![0; PAGE_BYTES as usize];
    put(&mut page, ACPI_RSDP_ADDR, &rsdp.0.to_le_bytes());
    put(&mut page, HEADER, header);
    put(&mut page, 0x210, &[TYPE_OF_LOADER]);
    put(&mut page, 0x228, &(CMDLINE.0 as u32).to_le_bytes());
    // Below 3 GiB both halves fit their 32-bit fields.
    let (at, bytes) = initrd.unwrap_or((Gpa(0), 0));
    put(&mut page, 0x218, &(at.0 as u32).to_le_bytes());
    put(&mut page, 0x21c, &(bytes as u32).to_le_bytes());
    let map: Vec<_> = map_entries(memory_bytes).collect();
    put(&mut page, E820_COUNT, &[map.len() as u8]);
    let mut table = Vec::new();
    for (start, range_bytes, kind) in map {
        push_u64s(&mut table, [start, range_bytes]);
        push_u32s(&mut table, [kind]);
    }
    put(&mut page, E820_TABLE, &table);
    page
}
