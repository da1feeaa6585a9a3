//! The tags that a multiboot2 image finds by EBX.
//!
//! Owns the information structure `[Multiboot2 Specification 2.0, "Boot information"]`. Symbols
//! of ELF files are not in it, nor is what a VM has not: a screen, a boot device, EFI.

use alloc::vec::Vec;

use crate::Rsdp;
use crate::bytes::{push_u32s, push_u64s, put};
use crate::layout::{lower_and_upper_kib, map_entries};
use crate::modules::Placed;
use crate::multiboot_info::LOADER_NAME;

const ALIGN: usize = 8;
const TAG_BYTES: usize = 8;
const MAP_ENTRY_BYTES: u32 = 24;

/// What an image is handed.
pub(crate) struct Handed<'a> {
    pub(crate) cmdline: &'a str,
    pub(crate) memory_bytes: u64,
    pub(crate) modules: &'a [Placed<'a>],
    pub(crate) rsdp: &'a Rsdp,
    /// Where an image that can be relocated is.
    pub(crate) load_base: Option<u32>,
}

/// The structure's bytes, the same for every address.
pub(crate) fn tags(handed: &Handed<'_>) -> Vec<u8> {
    let mut tags = Tags(Vec::new());
    push_u32s(&mut tags.0, [0, 0]);
    tags.push(1, [handed.cmdline.as_bytes(), &[0]].concat());
    tags.push(2, [LOADER_NAME.as_bytes(), &[0]].concat());
    for module in handed.modules {
        let mut body = Vec::new();
        push_u32s(&mut body, [module.at.0 as u32, module.end() as u32]);
        body.extend(module.cmdline.bytes());
        body.push(0);
        tags.push(3, body);
    }
    let (lower, upper) = lower_and_upper_kib(handed.memory_bytes);
    tags.push_fields(4, [lower, upper]);
    tags.push(6, map(handed.memory_bytes));
    tags.push(15, handed.rsdp.bytes.clone());
    if let Some(base) = handed.load_base {
        tags.push_fields(21, [base]);
    }
    tags.push_fields(0, []);
    tags.finish()
}

fn map(memory_bytes: u64) -> Vec<u8> {
    let mut body = Vec::new();
    push_u32s(&mut body, [MAP_ENTRY_BYTES, 0]);
    for (start, range_bytes, kind) in map_entries(memory_bytes) {
        push_u64s(&mut body, [start, range_bytes]);
        push_u32s(&mut body, [kind, 0]);
    }
    body
}

/// Tags, behind the structure's own two fields.
struct Tags(Vec<u8>);

impl Tags {
    fn push(&mut self, kind: u32, body: Vec<u8>) {
        let bytes = body.len().saturating_add(TAG_BYTES);
        push_u32s(&mut self.0, [kind, bytes as u32]);
        self.0.extend(body);
        let padded = self.0.len().checked_next_multiple_of(ALIGN);
        self.0.resize(padded.unwrap_or(self.0.len()), 0);
    }

    fn push_fields<const N: usize>(&mut self, kind: u32, fields: [u32; N]) {
        let mut body = Vec::new();
        push_u32s(&mut body, fields);
        self.push(kind, body);
    }

    fn finish(mut self) -> Vec<u8> {
        let total_bytes = self.0.len() as u32;
        put(&mut self.0, 0, &total_bytes.to_le_bytes());
        self.0
    }
}
