//! PVH's `hvm_start_info`, version 1, with its memory map and module list.
//!
//! `[Xen 4.17, xen/include/public/arch-x86/hvm/start_info.h]`. Handed to every ELF kernel,
//! with or without a PVH note, so that each finds its memory and command line.

use alloc::vec::Vec;

use skerry_words::Gpa;

use crate::bytes::{push_u32s, push_u64s};
use crate::layout::{START_INFO, map_entries};

const MAGIC: u32 = 0x336e_c578;
const VERSION: u32 = 1;
const INFO_BYTES: u64 = 56;
const MODULE_BYTES: u64 = 32;

/// A module: its address, its bytes, and its command line's address.
pub(crate) type ModuleEntry = (Gpa, u64, u64);

/// The structure's bytes, to be put at [`START_INFO`]: itself, the modules, the memory map.
pub(crate) fn start_info(
    cmdline_at: u64,
    modules: &[ModuleEntry],
    rsdp: Gpa,
    memory_bytes: u64,
) -> Vec<u8> {
    let modules_at = START_INFO.0.saturating_add(INFO_BYTES);
    let list_bytes = MODULE_BYTES.saturating_mul(modules.len() as u64);
    let map_at = modules_at.saturating_add(list_bytes);
    let map: Vec<_> = map_entries(memory_bytes).collect();

    let mut bytes = Vec::new();
    push_u32s(&mut bytes, [MAGIC, VERSION, 0, modules.len() as u32]);
    push_u64s(&mut bytes, [modules_at, cmdline_at, rsdp.0, map_at]);
    push_u32s(&mut bytes, [map.len() as u32, 0]);
    for (at, module_bytes, cmdline_at) in modules {
        push_u64s(&mut bytes, [at.0, *module_bytes, *cmdline_at, 0]);
    }
    for (start, range_bytes, kind) in map {
        push_u64s(&mut bytes, [start, range_bytes]);
        push_u32s(&mut bytes, [kind, 0]);
    }
    bytes
}
