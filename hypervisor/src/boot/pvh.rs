//! Booted by PVH: QEMU's `-kernel`, Xen, cloud hypervisors.
//!
//! Owns the layout of the start-of-day structures. The first module (QEMU: `-initrd`) is
//! the bundle. `[Xen public headers, "arch-x86/hvm/start_info.h"]`

use skerry_frames::Span;
use skerry_words::Hpa;

use super::survey::{Survey, early};

/// `hvm_start_info`, version 1.
#[derive(Clone, Copy)]
#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    modules_at: u64,
    cmdline_at: u64,
    rsdp_at: u64,
    map_at: u64,
    map_entries: u32,
    reserved: u32,
}

/// `hvm_modlist_entry`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Module {
    at: u64,
    bytes: u64,
    cmdline_at: u64,
    reserved: u64,
}

/// `hvm_memmap_table_entry`.
#[derive(Clone, Copy)]
#[repr(C)]
struct MapEntry {
    at: u64,
    bytes: u64,
    kind: u32,
    reserved: u32,
}

const MAGIC: u32 = 0x336e_c578;

/// Goes on from the 32-bit entry, with the physical address of [`StartInfo`].
pub(super) extern "sysv64" fn enter(start_info: u32) -> ! {
    let at = Hpa(u64::from(start_info));
    let start: StartInfo = early(at);
    assert!(
        start.magic == MAGIC,
        "PVH start info has magic {:#x}",
        start.magic
    );
    let mut survey = Survey::new();
    survey.take(Span::new(at, size_of::<StartInfo>() as u64));
    for index in 0..u64::from(start.map_entries) {
        let entry: MapEntry = early(Hpa(start.map_at + index * size_of::<MapEntry>() as u64));
        survey.firmware(Span::new(Hpa(entry.at), entry.bytes), entry.kind);
    }
    if start.modules > 0 {
        let module: Module = early(Hpa(start.modules_at));
        survey.bundle(Span::new(Hpa(module.at), module.bytes));
    }
    if start.rsdp_at != 0 {
        survey.rsdp(Hpa(start.rsdp_at));
    }
    super::enter_main(survey.finish())
}
