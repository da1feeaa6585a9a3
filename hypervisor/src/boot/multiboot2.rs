//! Booted by multiboot2: GRUB, on BIOS and UEFI machines and in Bochs.
//!
//! Owns the translation of its tags; the crate `multiboot2` parses them. The first module
//! is the bundle. `[Multiboot2 Specification, "Boot information format", 2.0]`

use multiboot2::{BootInformation, BootInformationHeader};
use skerry_frames::Span;
use skerry_words::Hpa;

use super::survey::{Survey, early_pointer};
use crate::mem::layout::DIRECT_MAP;

/// Goes on from the 32-bit entry, with the physical address of the boot information and
/// the magic number that EAX held.
pub(super) extern "sysv64" fn enter(information: u32, magic: u32) -> ! {
    assert!(magic == multiboot2::MAGIC, "entered with magic {magic:#x}");
    let at = Hpa(u64::from(information));
    let pointer = early_pointer(at).cast::<BootInformationHeader>();
    // SAFETY: the boot loader's contract: `information` is the address of a complete boot
    // information that nobody changes; the temporary tables map it.
    let loaded = unsafe { BootInformation::load(pointer) };
    match loaded {
        Ok(tags) => {
            let mut survey = Survey::new();
            survey.take(Span::new(at, tags.total_size() as u64));
            read(&tags, &mut survey);
            super::enter_main(survey.finish())
        }
        Err(error) => panic!("multiboot2 boot information: {error}"),
    }
}

fn read(tags: &BootInformation<'_>, survey: &mut Survey) {
    if let Some(map) = tags.memory_map_tag() {
        for area in map.memory_areas() {
            let kind = u32::from(area.typ());
            survey.firmware(Span::new(Hpa(area.start_address()), area.size()), kind);
        }
    }
    if let Some(module) = tags.module_tags().next() {
        let start = Hpa(u64::from(module.start_address()));
        survey.bundle(Span::new(start, u64::from(module.module_size())));
    }
    if let Some(tag) = tags.rsdp_v2_tag() {
        survey.rsdp(behind_header(tag));
    } else if let Some(tag) = tags.rsdp_v1_tag() {
        survey.rsdp(behind_header(tag));
    }
}

/// Where a tag's content lies: behind its 8-byte header. The RSDP tags hold a copy of the
/// firmware's structure; the survey keeps that memory out of use.
fn behind_header<T>(tag: &T) -> Hpa {
    Hpa((&raw const *tag) as u64 - DIRECT_MAP + 8)
}
