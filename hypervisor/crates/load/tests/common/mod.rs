//! Images made by hand, and guest memory as a plan leaves it.
//!
//! Shares no code with the loaders: the images are written field by field from the
//! formats' documents, and memory is a plain vector.
#![allow(dead_code, unreachable_pub)] // each test program uses its part

use skerry_load::{ImageKind, LoadError, LoadPlan, Request, plan};

pub const MIB: u64 = 1 << 20;

/// A request with everything but the image left at its simplest.
pub fn request(image: &[u8], memory_mib: u64) -> Request<'_> {
    Request {
        image,
        kind: ImageKind::Auto,
        initrd: None,
        cmdline: "",
        modules: &[],
        vcpus: 1,
        memory_bytes: memory_mib * MIB,
    }
}

pub fn refused(request: &Request<'_>) -> LoadError {
    plan(request).expect_err("a plan was made")
}

/// Guest memory from 0 on, after the plan was followed.
pub fn memory(plan: &LoadPlan<'_>, memory_bytes: u64) -> Vec<u8> {
    let mut memory = vec![0; memory_bytes as usize];
    for piece in &plan.pieces {
        let at = piece.at.0 as usize;
        memory[at..at + piece.bytes.len()].copy_from_slice(&piece.bytes);
    }
    memory
}

pub fn le(memory: &[u8], at: u64, bytes: usize) -> u64 {
    let at = at as usize;
    let mut value = [0; 8];
    value[..bytes].copy_from_slice(&memory[at..at + bytes]);
    u64::from_le_bytes(value)
}

/// The zero-terminated text at an address.
pub fn text(memory: &[u8], at: u64) -> String {
    let bytes = memory[at as usize..].iter().copied();
    let bytes = bytes.take_while(|byte| *byte != 0).collect();
    String::from_utf8(bytes).unwrap()
}

/// Whether every byte of every piece lies in RAM that a PC of this size has, and no two
/// at one address.
pub fn is_sound(plan: &LoadPlan<'_>, memory_bytes: u64) -> bool {
    is_sound_beside(plan, memory_bytes, 0)
}

/// The same, where a ROM of so many bytes may be too.
pub fn is_sound_beside(plan: &LoadPlan<'_>, memory_bytes: u64, rom_bytes: u64) -> bool {
    let rom_start = (4 << 30) - u128::from(rom_bytes);
    let memory_bytes = u128::from(memory_bytes);
    let low_end = memory_bytes.min(3 << 30);
    let high_end = (4 << 30) + memory_bytes.saturating_sub(3 << 30);
    let mut spans: Vec<(u128, u128)> = plan
        .pieces
        .iter()
        .map(|piece| {
            let start = u128::from(piece.at.0);
            let span = piece.bytes.len() as u128 + u128::from(piece.zero_bytes);
            (start, start + span)
        })
        .collect();
    spans.sort_unstable();
    let in_ram = |&(start, end): &(u128, u128)| {
        let low = [(0, 0xa_0000), (0xc_0000, low_end)];
        let high = [(rom_start, 4 << 30), (4 << 30, high_end)];
        [low, high]
            .concat()
            .iter()
            .any(|&(from, to)| from <= start && end <= to)
    };
    spans.iter().all(in_ram) && spans.windows(2).all(|pair| pair[0].1 <= pair[1].0)
}

/// What a bzImage's header says; the rest is as Linux 6.1 has it.
pub struct BzImage {
    pub setup_sectors: u8,
    pub version: u16,
    pub xloadflags: u16,
    pub alignment: u32,
    pub preferred: u64,
    pub init_bytes: u32,
    pub initrd_last: u32,
    pub cmdline_bytes: u32,
    pub payload: Vec<u8>,
}

impl Default for BzImage {
    fn default() -> Self {
        Self {
            setup_sectors: 2,
            version: 0x020f,
            xloadflags: 0x7f,
            alignment: 0x20_0000,
            preferred: 0x100_0000,
            init_bytes: 0x80_0000,
            initrd_last: 0x7fff_ffff,
            cmdline_bytes: 2047,
            payload: (0..0x1000u32).map(|i| (i * 7) as u8).collect(),
        }
    }
}

impl BzImage {
    pub fn build(&self) -> Vec<u8> {
        let sectors = match self.setup_sectors {
            0 => 4,
            other => usize::from(other),
        };
        let mut image = vec![0x90; (sectors + 1) * 512];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x1f1, &[self.setup_sectors]);
        put(
            0x1f4,
            &(self.payload.len().div_ceil(16) as u32).to_le_bytes(),
        );
        put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
        put(0x202, b"HdrS");
        put(0x206, &self.version.to_le_bytes());
        put(0x22c, &self.initrd_last.to_le_bytes());
        put(0x230, &self.alignment.to_le_bytes());
        put(0x234, &[1]);
        put(0x236, &self.xloadflags.to_le_bytes());
        put(0x238, &self.cmdline_bytes.to_le_bytes());
        put(0x258, &self.preferred.to_le_bytes());
        put(0x260, &self.init_bytes.to_le_bytes());
        image.extend(&self.payload);
        image
    }
}

/// One program header.
#[derive(Clone)]
pub struct Segment {
    pub kind: u32,
    pub virtual_at: u64,
    pub physical_at: u64,
    pub bytes: Vec<u8>,
    pub memory_bytes: u64,
    pub align: u64,
}

impl Segment {
    pub fn load(at: u64, bytes: &[u8], memory_bytes: u64) -> Self {
        Self {
            kind: 1,
            virtual_at: at,
            physical_at: at,
            bytes: bytes.to_vec(),
            memory_bytes,
            align: 0x1000,
        }
    }

    /// A PVH note whose content is `desc`, behind a note of somebody else.
    pub fn pvh_note(desc: &[u8]) -> Self {
        let mut bytes = note(b"GNU\0", 3, &[0xab; 20]);
        bytes.extend(note(b"Xen\0", 5, b"linux\0"));
        bytes.extend(note(b"Xen\0", 18, desc));
        let mut segment = Self::load(0, &bytes, 0);
        segment.kind = 4;
        segment.align = 4;
        segment
    }
}

/// A multiboot header of version 1 with these flags, and the address fields behind it.
pub fn multiboot(flags: u32, addresses: &[u32]) -> Vec<u8> {
    let magic = 0x1bad_b002_u32;
    let checksum = 0_u32.wrapping_sub(magic).wrapping_sub(flags);
    let words = [&[magic, flags, checksum], addresses].concat();
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// A multiboot2 header with these tags, each its type, flags and fields; the end tag follows.
pub fn multiboot2(tags: &[(u16, u16, &[u32])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, flags, fields) in [tags, &[(0, 0, &[])]].concat() {
        body.extend(kind.to_le_bytes());
        body.extend(flags.to_le_bytes());
        body.extend((8 + 4 * fields.len() as u32).to_le_bytes());
        body.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        body.resize(body.len().next_multiple_of(8), 0);
    }
    let (magic, bytes) = (0xe852_50d6_u32, 16 + body.len() as u32);
    let checksum = 0_u32.wrapping_sub(magic).wrapping_sub(bytes);
    let head = [magic, 0, bytes, checksum];
    head.into_iter()
        .flat_map(u32::to_le_bytes)
        .chain(body)
        .collect()
}

/// An ELF file of this class that starts with `header`, and has 12 KiB of memory from 1 MiB on;
/// entered behind the header.
pub fn headed_elf(bits: u32, header: &[u8]) -> Vec<u8> {
    let code = [header, b"code"].concat();
    let segment = Segment::load(MIB, &code, 0x3000);
    let entry = MIB + header.len() as u64;
    // The header lies right behind the ELF file's own headers, on the boundary it needs.
    let mut image = Elf::new(bits, entry, vec![segment]).build();
    let at = image.len() - code.len();
    let (offset, bytes) = if bits == 64 { (72, 8) } else { (56, 4) };
    let moved = at.next_multiple_of(8);
    image.splice(at..at, vec![0; moved - at]);
    image[offset..offset + bytes].copy_from_slice(&moved.to_le_bytes()[..bytes]);
    image
}

/// An image of no format: so many bytes, the header, and 4 KiB of code.
pub fn headed_code(before: usize, header: &[u8]) -> Vec<u8> {
    [&vec![0xcc; before], header, &[0xf4; 4096][..]].concat()
}

fn note(name: &[u8], number: u32, desc: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in [name.len() as u32, desc.len() as u32, number] {
        bytes.extend(field.to_le_bytes());
    }
    for part in [name, desc] {
        bytes.extend(part);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// An ELF file: its class (32 or 64), machine, type, entry and program headers.
pub struct Elf {
    pub bits: u32,
    pub machine: u16,
    pub kind: u16,
    pub entry: u64,
    pub segments: Vec<Segment>,
}

impl Elf {
    pub fn new(bits: u32, entry: u64, segments: Vec<Segment>) -> Self {
        let machine = if bits == 64 { 62 } else { 3 };
        Self {
            bits,
            machine,
            kind: 2,
            entry,
            segments,
        }
    }

    pub fn build(&self) -> Vec<u8> {
        let wide = self.bits == 64;
        let (header_bytes, entry_bytes) = if wide { (64, 56) } else { (52, 32) };
        let class = if wide { 2 } else { 1 };
        let mut image = vec![0x7f, b'E', b'L', b'F', class, 1, 1];
        image.resize(16, 0);
        image.extend(self.kind.to_le_bytes());
        image.extend(self.machine.to_le_bytes());
        image.extend(1u32.to_le_bytes());
        let word = |image: &mut Vec<u8>, value: u64| {
            image.extend(&value.to_le_bytes()[..if wide { 8 } else { 4 }]);
        };
        word(&mut image, self.entry);
        word(&mut image, header_bytes);
        word(&mut image, 0);
        image.extend(0u32.to_le_bytes());
        for half in [
            header_bytes as u16,
            entry_bytes,
            self.segments.len() as u16,
            0,
            0,
            0,
        ] {
            image.extend(half.to_le_bytes());
        }
        let mut offset = header_bytes + u64::from(entry_bytes) * self.segments.len() as u64;
        for segment in &self.segments {
            image.extend(segment.kind.to_le_bytes());
            if wide {
                image.extend(7u32.to_le_bytes());
            }
            let file_bytes = segment.bytes.len() as u64;
            for value in [
                offset,
                segment.virtual_at,
                segment.physical_at,
                file_bytes,
                segment.memory_bytes,
            ] {
                word(&mut image, value);
            }
            if !wide {
                image.extend(7u32.to_le_bytes());
            }
            word(&mut image, segment.align);
            offset += file_bytes;
        }
        for segment in &self.segments {
            image.extend(&segment.bytes);
        }
        image
    }
}
