//! The information structure that a multiboot image finds by EBX, and the place of such
//! structures in memory.
//!
//! `[Multiboot Specification 0.6.96, "Boot information format"]`. The command line is passed on
//! as it stands: who wants the image's name in front of it, as some boot loaders put it there,
//! writes it there.

use alloc::vec::Vec;

use skerry_words::Gpa;

use crate::bytes::{push_u32s, push_u64s};
use crate::layout::{INFO_WINDOWS, lower_and_upper_kib, map_entries};
use crate::modules::Placed;
use crate::plan::Builder;
use crate::texts::Texts;
use crate::{LoadError, Part, Request};

/// How the loader is called.
pub(crate) const LOADER_NAME: &str = "Skerry";

const INFO_BYTES: u64 = 120;
const MODULE_BYTES: u64 = 16;
/// What an entry of the map says of its own size: that of the rest.
const MAP_ENTRY_REST: u32 = 20;
const HAS_MEMORY: u32 = 1 << 0;
const HAS_CMDLINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;
const HAS_MAP: u32 = 1 << 6;
const HAS_LOADER_NAME: u32 = 1 << 9;

/// Places a structure, which is `written` for its address, where the image leaves room.
pub(crate) fn place_structure(
    builder: &mut Builder<'_>,
    written: impl Fn(Gpa) -> Vec<u8>,
) -> Result<Gpa, LoadError> {
    let bytes = written(Gpa(0)).len() as u64;
    let at = builder.room(Part::BootData, bytes, 8, &INFO_WINDOWS)?;
    builder.place(Part::BootData, at, written(at), 0)?;
    Ok(at)
}

/// The structure for the address `at`, below 4 GiB as all it points to: itself, the modules, the
/// memory map, the texts.
pub(crate) fn structure(at: Gpa, request: &Request<'_>, modules: &[Placed<'_>]) -> Vec<u8> {
    let map = map(request.memory_bytes);
    let modules_at = at.0.saturating_add(INFO_BYTES);
    let module_bytes = MODULE_BYTES.saturating_mul(modules.len() as u64);
    let map_at = modules_at.saturating_add(module_bytes);
    let mut texts = Texts::new(Gpa(map_at.saturating_add(map.len() as u64)));

    let (lower, upper) = lower_and_upper_kib(request.memory_bytes);
    let cmdline = texts.push(request.cmdline) as u32;
    let loader_name = texts.push(LOADER_NAME) as u32;
    let (modules_flag, modules_at) = match modules.len() {
        0 => (0, 0),
        _ => (HAS_MODULES, modules_at as u32),
    };
    let flags = HAS_MEMORY | HAS_CMDLINE | modules_flag | HAS_MAP | HAS_LOADER_NAME;
    let mut bytes = Vec::new();
    // Behind the memory, the boot device; behind the modules, symbols; behind the map, drives
    // and a configuration table: all 0, as what follows the loader's name.
    push_u32s(&mut bytes, [flags, lower, upper, 0, cmdline]);
    push_u32s(&mut bytes, [modules.len() as u32, modules_at]);
    push_u32s(&mut bytes, [0; 4]);
    push_u32s(&mut bytes, [map.len() as u32, map_at as u32]);
    push_u32s(&mut bytes, [0, 0, 0, loader_name]);
    bytes.resize(INFO_BYTES as usize, 0);
    for module in modules {
        let cmdline = texts.push(module.cmdline) as u32;
        let (start, end) = (module.at.0 as u32, module.end() as u32);
        push_u32s(&mut bytes, [start, end, cmdline, 0]);
    }
    bytes.extend(map);
    bytes.extend(texts.bytes);
    bytes
}

fn map(memory_bytes: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (start, range_bytes, kind) in map_entries(memory_bytes) {
        push_u32s(&mut bytes, [MAP_ENTRY_REST]);
        push_u64s(&mut bytes, [start, range_bytes]);
        push_u32s(&mut bytes, [kind]);
    }
    bytes
}
