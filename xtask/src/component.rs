//! A component's ELF file as the bundle carries it: checked, and without what is not mapped.
//!
//! Owns the cutting. What a component's file must be is `skerry-component-image`'s, which
//! ring 0 and `root` ask again. Called by `bare`.

use anyhow::{Context, Result, anyhow};
use skerry_component_image::ComponentImage;

/// Where the header has the place of the section headers, and their size, count and names
/// `[System V ABI, "ELF Header"]`: `e_shoff`; `e_shentsize`, `e_shnum`, `e_shstrndx`.
const SECTION_FIELDS: [std::ops::Range<usize>; 2] = [0x28..0x30, 0x3a..0x40];

/// The file up to the end of its last segment, without section headers.
///
/// # Errors
/// It is no component.
pub fn stripped(file: &[u8]) -> Result<Vec<u8>> {
    let image = parse(file)?;
    let ends = image
        .segments()
        .iter()
        .map(|segment| segment.bytes_at + segment.bytes.len() as u64);
    let end = usize::try_from(ends.max().unwrap_or(0))?;
    let mut cut = file.get(..end).context("the file is cut")?.to_vec();
    for field in SECTION_FIELDS {
        cut.get_mut(field).context("no ELF header")?.fill(0);
    }
    let same = parse(&cut)?.segments() == image.segments();
    same.then_some(cut)
        .context("its headers lie behind its segments")
}

fn parse(file: &[u8]) -> Result<ComponentImage<'_>> {
    ComponentImage::parse(file).map_err(|error| anyhow!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One segment of 3 bytes at 4 MiB, and 100 bytes behind it.
    fn file() -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
        for word in [0x40_0000_u64, 64, 0x1003] {
            file.extend(word.to_le_bytes());
        }
        for (half, width) in [
            (0_u32, 4),
            (64, 2),
            (56, 2),
            (1, 2),
            (64, 2),
            (1, 2),
            (0, 2),
        ] {
            file.extend(&half.to_le_bytes()[..width]);
        }
        file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
        for word in [0x1000_u64, 0x40_0000, 0x40_0000, 3, 3, 4096] {
            file.extend(word.to_le_bytes());
        }
        file.resize(0x1000, 0);
        file.extend(*b"abc");
        file.extend([7; 100]);
        file
    }

    #[test]
    fn what_is_not_mapped_is_cut_off() {
        let cut = stripped(&file()).unwrap();
        assert_eq!((cut.len(), &cut[0x1000..]), (0x1003, &b"abc"[..]));
        assert_eq!(cut[0x3c..0x3e], [0, 0]);
    }

    #[test]
    fn what_is_no_component_is_named() {
        let mut file = file();
        file[16] = 3;
        assert!(stripped(&file).unwrap_err().to_string().contains("type 3"));
    }
}
