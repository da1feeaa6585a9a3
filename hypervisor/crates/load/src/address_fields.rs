//! Images whose multiboot header says itself what of the file goes where.
//!
//! Owns the four address fields that both versions have: with them an image of any format can
//! be loaded, and where they are given they win over an ELF file's program headers
//! `[Multiboot Specification 0.6.96, "The address fields of Multiboot header"]`,
//! `[Multiboot2 Specification 2.0, "The address tag of Multiboot2 header"]`.

use core::ops::Range;

use skerry_words::Gpa;

use crate::plan::Builder;
use crate::{LoadError, Part};

/// What the header says, and where in the file it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AddressFields {
    /// The header's place in the file.
    pub(crate) header_at: u64,
    /// The header's place in memory: relates the file to addresses.
    pub(crate) header: u32,
    /// The first address that is loaded.
    pub(crate) load: u32,
    /// The end of what is loaded; 0: all of the file is.
    pub(crate) load_end: u32,
    /// The end of the zeros behind it; 0: there are none.
    pub(crate) bss_end: u32,
}

impl AddressFields {
    /// Places what they say. Gives the addresses that the image fills.
    ///
    /// # Errors
    /// Fields that contradict each other or the file's length, and what [`Builder::place`]
    /// refuses.
    pub(crate) fn place<'a>(
        self,
        image: &'a [u8],
        builder: &mut Builder<'a>,
    ) -> Result<Range<u64>, LoadError> {
        let bytes = self.loaded(image)?;
        let load = u64::from(self.load);
        let load_end = load.saturating_add(bytes.len() as u64);
        let end = match u64::from(self.bss_end) {
            0 => load_end,
            bss_end => bss_end,
        };
        ordered(("bss_end_addr", end), ("end of what is loaded", load_end))?;
        builder.place(Part::Kernel, Gpa(load), bytes, end.saturating_sub(load))?;
        Ok(load..end)
    }

    /// The bytes of the file that are loaded.
    fn loaded(self, image: &[u8]) -> Result<&[u8], LoadError> {
        let (header, load) = (u64::from(self.header), u64::from(self.load));
        ordered(("header_addr", header), ("load_addr", load))?;
        let file_start = header.saturating_sub(self.header_at);
        ordered(
            ("load_addr", load),
            ("address of the file's first byte", file_start),
        )?;
        let start = self.header_at.saturating_sub(header.saturating_sub(load));
        let end = match u64::from(self.load_end) {
            0 => image.len() as u64,
            load_end => {
                ordered(("load_end_addr", load_end), ("load_addr", load))?;
                start.saturating_add(load_end.saturating_sub(load))
            }
        };
        image
            .get(start as usize..end as usize)
            .ok_or(LoadError::Truncated {
                what: "part to be loaded",
                needed_bytes: end,
                image_bytes: image.len() as u64,
            })
    }
}

/// Refuses a field of the header that is below another.
fn ordered(field: (&'static str, u64), least: (&'static str, u64)) -> Result<(), LoadError> {
    if field.1 < least.1 {
        return Err(LoadError::HeaderAddresses { field, least });
    }
    Ok(())
}
