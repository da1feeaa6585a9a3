//! Boot sectors and other bare real-mode code.
//!
//! Put at 0x7c00 and entered there as a PC's BIOS does it, with the first hard disk's
//! number in DL; there is no BIOS to call.

use skerry_verdict::Registers;
use skerry_words::Gpr;

use crate::layout::{BOOT_SECTOR, BOOT_SECTOR_END};
use crate::modules::refuse_companions;
use crate::plan::{Builder, LoadPlan};
use crate::{ImageKind, LoadError, Part, Request, bytes, entry};

const FIRST_HARD_DISK: u64 = 0x80;

pub(crate) fn is_boot_sector(image: &[u8]) -> bool {
    bytes::u16_at(image, 510) == Some(0xaa55)
}

pub(crate) fn plan<'a>(
    request: &Request<'a>,
    mut builder: Builder<'a>,
) -> Result<LoadPlan<'a>, LoadError> {
    refuse_companions(request, ImageKind::Flat)?;
    let limit_bytes = BOOT_SECTOR_END.saturating_sub(BOOT_SECTOR.0);
    let image_bytes = request.image.len() as u64;
    if image_bytes > limit_bytes {
        return Err(LoadError::FlatTooLarge {
            image_bytes,
            limit_bytes,
        });
    }
    builder.place(Part::Kernel, BOOT_SECTOR, request.image, image_bytes)?;
    let mut state = entry::real_mode(BOOT_SECTOR.0 as u16);
    state.set(Gpr::Rdx, FIRST_HARD_DISK);
    Ok(builder.finish(state))
}
