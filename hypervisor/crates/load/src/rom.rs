//! Firmware: a ROM that ends at 4 GiB and is entered at its reset vector.
//!
//! Its last 128 KiB are below 1 MiB too, where a PC's chipset shows them from the reset on, and
//! where firmware makes them its shadow RAM. Both are ordinary memory of the VM: what is
//! written there stays, and each can be written without the other. A ROM is handed nothing; it
//! finds the machine by itself.

use alloc::boxed::Box;

use skerry_words::{Gpa, GuestState, PAGE_BYTES};

use crate::layout::{self, MIB, ROM_END, ROM_MOST_BYTES};
use crate::modules::refuse_companions;
use crate::plan::{Builder, LoadPlan};
use crate::{ImageKind, LoadError, Part, Request};

/// What firmware chips come in: a file is taken for a ROM only if it has a multiple of this.
const CHIP_BYTES: usize = 64 << 10;
/// How far before its end a ROM is entered
/// `[SDM 3A, "First Instruction Executed", ed. 085]`.
const RESET_VECTOR: usize = 16;
/// JMP to a far address, to a near one, and to a short one.
const JUMPS: [u8; 3] = [0xea, 0xe9, 0xeb];
/// What may stand in front of it: CLI, CLD, NOP.
const BEFORE_JUMP: [u8; 3] = [0xfa, 0xfc, 0x90];
/// The end of a ROM that is seen below 1 MiB.
const SHADOW_BYTES: usize = 128 << 10;

/// Whether a file looks like a ROM: it has the size of chips, and there is a jump where it would
/// be entered, at most behind instructions that set flags. Others can be named one.
pub(crate) fn is_rom(image: &[u8]) -> bool {
    let vector = image.len().saturating_sub(RESET_VECTOR);
    let code = image.get(vector..).unwrap_or_default();
    let first = code.iter().find(|byte| !BEFORE_JUMP.contains(byte));
    image.len().is_multiple_of(CHIP_BYTES)
        && has_rom_size(image)
        && first.is_some_and(|byte| JUMPS.contains(byte))
}

/// Whether it fits where ROMs are.
pub(crate) fn has_rom_size(image: &[u8]) -> bool {
    let bytes = image.len() as u64;
    bytes != 0 && bytes <= ROM_MOST_BYTES && bytes.is_multiple_of(PAGE_BYTES)
}

pub(crate) fn plan<'a>(
    request: &Request<'a>,
    mut builder: Builder<'a>,
) -> Result<LoadPlan<'a>, LoadError> {
    refuse_companions(request, ImageKind::Rom)?;
    let image = request.image;
    if !has_rom_size(image) {
        return Err(LoadError::RomBytes(image.len() as u64));
    }
    let at = layout::rom(image.len() as u64).map_or(Gpa(ROM_END), |rom| rom.start);
    builder.place(Part::Kernel, at, image, 0)?;
    let shadow = image.get(image.len().saturating_sub(SHADOW_BYTES)..);
    let shadow = shadow.unwrap_or(image);
    let shadow_at = MIB.saturating_sub(shadow.len() as u64);
    builder.place(Part::Shadow, Gpa(shadow_at), shadow, 0)?;
    Ok(builder.finish(Box::new(GuestState::at_reset())))
}
