//! PVH's `hvm_start_info`, version 1, with its memory map and module list.
//!
//! `[Xen 4.17, xen/include/public/arch-x86/hvm/start_info.h]`. Handed to every ELF kernel,
//! with or without a PVH note, so that each finds its memory and command line.

use alloc::vec::Vec;

use skerry_words::Gpa;

use crate::layout::{CMDLINE, START_INFO, memory_map};

const MAGIC: u32 = 0x336e_c578;
const VERSION: u32 = 1;
const INFO_BYTES: u64 = 56;
const MODULE_BYTES: u64 = 32;

/// The structure's bytes, to be put at [`START_INFO`]: itself, the module, the memory map.
pub(crate) fn start_info(module: Option<(Gpa, usize)>, memory_bytes: u64) -> Vec<u8> {
    let modules_at = START_INFO.0.saturating_add(INFO_BYTES);
    let map_at = modules_at.saturating_add(MODULE_BYTES);
    let map: Vec<_> = memory_map(memory_bytes).collect();

    let mut bytes = Vec::new();
    put32(&mut bytes, [MAGIC, VERSION, 0, u32::from(module.is_some())]);
    put64(&mut bytes, [modules_at, CMDLINE.0, 0, map_at]);
    put32(&mut bytes, [map.len() as u32, 0]);
    let (at, module_bytes) = module.unwrap_or((Gpa(0), 0));
    put64(&mut bytes, [at.0, module_bytes as u64, 0, 0]);
    for (range, kind) in map {
        let range_bytes = range.end.0.saturating_sub(range.start.0);
        put64(&mut bytes, [range.start.0, range_bytes]);
        put32(&mut bytes, [kind.number(), 0]);
    }
    bytes
}

fn put32<const N: usize>(bytes: &mut Vec<u8>, values: [u32; N]) {
    bytes.extend(values.into_iter().flat_map(u32::to_le_bytes));
}

fn put64<const N: usize>(bytes: &mut Vec<u8>, values: [u64; N]) {
    bytes.extend(values.into_iter().flat_map(u64::to_le_bytes));
}
