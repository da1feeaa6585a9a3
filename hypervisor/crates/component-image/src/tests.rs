//! Files made here, whole and damaged.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
use super::*;
use alloc::{string::ToString, vec, vec::Vec};
use proptest::prelude::*;

const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;

/// One program header of a file that a test makes.
#[derive(Clone, Copy)]
struct Part {
    kind: u32,
    flags: u32,
    offset: u64,
    at: u64,
    file_bytes: u64,
    memory_bytes: u64,
}

const TEXT: Part = Part {
    kind: PT_LOAD,
    flags: PF_R | PF_X,
    offset: 0x1000,
    at: 0x40_0000,
    file_bytes: 0x123,
    memory_bytes: 0x123,
};
const DATA: Part = Part {
    flags: PF_R | PF_W,
    offset: 0x2000,
    at: 0x40_1000,
    file_bytes: 8,
    memory_bytes: 0x1001,
    ..TEXT
};

/// A file of 12 KiB, every byte of which tells its own page.
fn file(parts: &[Part]) -> Vec<u8> {
    let mut file: Vec<u8> = (0..3_u8).flat_map(|page| [page + 1; 4096]).collect();
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    header.extend(ET_EXEC.to_le_bytes());
    header.extend(EM_X86_64.to_le_bytes());
    header.extend(1_u32.to_le_bytes());
    for word in [TEXT.at + 16, HEADER_BYTES as u64, 0] {
        header.extend(word.to_le_bytes());
    }
    header.extend(0_u32.to_le_bytes());
    let sizes = [HEADER_BYTES, PROGRAM_HEADER_BYTES, parts.len(), 64, 0, 0];
    header.extend(sizes.iter().flat_map(|size| (*size as u16).to_le_bytes()));
    for part in parts {
        header.extend(part.kind.to_le_bytes());
        header.extend(part.flags.to_le_bytes());
        let words = [
            part.offset,
            part.at,
            part.at,
            part.file_bytes,
            part.memory_bytes,
            4096,
        ];
        header.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }
    file[..header.len()].copy_from_slice(&header);
    file
}

fn refused(parts: &[Part]) -> ImageError {
    ComponentImage::parse(&file(parts)).unwrap_err()
}

/// The whole contract, checked on whatever was let through.
fn assert_mappable(image: &ComponentImage<'_>, file: &[u8]) {
    let mut last = layout::IMAGE;
    for segment in image.segments() {
        assert!(segment.at.is_multiple_of(4096) && segment.at >= last);
        assert!(segment.memory_bytes > 0 && segment.bytes.len() as u64 <= segment.memory_bytes);
        last = segment.at + segment.pages() * 4096;
        assert!(last <= layout::HEAP);
        assert!(segment.rights.contains(Rights::READ));
        assert!(!segment.rights.contains(Rights::WRITE | Rights::RUN));
        let from_file = &file[segment.bytes_at as usize..][..segment.bytes.len()];
        assert_eq!(from_file, segment.bytes);
    }
}

#[test]
fn a_file_gives_its_entry_and_its_segments() {
    let file = file(&[TEXT, DATA]);
    let image = ComponentImage::parse(&file).unwrap();
    assert_eq!(image.entry(), 0x40_0010);
    let [text, data] = image.segments() else {
        unreachable!("{image:?}")
    };
    assert_eq!(text.rights, Rights::READ | Rights::RUN);
    assert_eq!((text.bytes, text.bytes_at), (&[2; 0x123][..], 0x1000));
    assert_eq!(data.rights, Rights::READ | Rights::WRITE);
    assert_eq!(
        (data.bytes, data.at, data.pages()),
        (&[3; 8][..], 0x40_1000, 2)
    );
    assert_mappable(&image, &file);
}

#[test]
fn what_asks_for_no_memory_is_no_segment() {
    let note = Part { kind: 4, ..DATA };
    let empty = Part {
        memory_bytes: 0,
        file_bytes: 0,
        at: 1,
        ..DATA
    };
    let image = file(&[note, TEXT, empty]);
    assert_eq!(ComponentImage::parse(&image).unwrap().segments().len(), 1);
}

#[test]
fn memory_that_is_written_and_executed_is_refused() {
    let both = Part {
        flags: PF_R | PF_W | PF_X,
        ..TEXT
    };
    assert_eq!(refused(&[both]), ImageError::WriteAndRun(TEXT.at));
    let unreadable = Part {
        flags: PF_X,
        ..TEXT
    };
    assert_eq!(refused(&[unreadable]), ImageError::NotReadable(TEXT.at));
}

#[test]
fn segments_outside_their_place_are_refused() {
    for at in [0, 0x3f_f000, layout::HEAP - 0x1000, layout::HEAP, !0xfff] {
        assert_eq!(
            refused(&[TEXT, Part { at, ..DATA }]),
            ImageError::Outside(at)
        );
    }
    let last = Part {
        at: layout::HEAP - 0x2000,
        ..DATA
    };
    assert!(ComponentImage::parse(&file(&[TEXT, last])).is_ok());
    let endless = Part {
        memory_bytes: u64::MAX,
        ..DATA
    };
    assert_eq!(refused(&[TEXT, endless]), ImageError::Outside(DATA.at));
}

#[test]
fn segments_that_share_a_page_or_start_inside_one_are_refused() {
    let odd = Part {
        at: 0x40_1010,
        ..DATA
    };
    assert_eq!(refused(&[TEXT, odd]), ImageError::Unaligned(0x40_1010));
    let long = Part {
        memory_bytes: 0x1001,
        ..TEXT
    };
    assert_eq!(refused(&[long, DATA]), ImageError::Overlap(DATA.at));
    assert_eq!(refused(&[DATA, TEXT]), ImageError::Overlap(TEXT.at));
}

#[test]
fn bytes_that_are_not_there_are_refused() {
    let cut = Part {
        offset: 0x2ff9,
        ..DATA
    };
    assert_eq!(refused(&[TEXT, cut]), ImageError::Cut(DATA.at));
    let wrapped = Part {
        offset: u64::MAX,
        ..DATA
    };
    assert_eq!(refused(&[TEXT, wrapped]), ImageError::Cut(DATA.at));
    let more = Part {
        file_bytes: 9,
        memory_bytes: 8,
        ..DATA
    };
    assert_eq!(
        refused(&[TEXT, more]),
        ImageError::MoreBytesThanMemory(DATA.at)
    );
}

#[test]
fn an_entry_without_code_is_refused() {
    let (before, after) = (TEXT.at + 16, 16);
    assert_eq!(refused(&[]), ImageError::EntryOutside(before));
    let data = Part {
        flags: PF_R,
        ..TEXT
    };
    assert_eq!(refused(&[data]), ImageError::EntryOutside(before));
    // Zeros behind the file's bytes are no code.
    let short = Part {
        file_bytes: after,
        ..TEXT
    };
    assert_eq!(refused(&[short]), ImageError::EntryOutside(before));
}

#[test]
fn a_ninth_segment_is_refused() {
    let mut parts = vec![TEXT];
    parts.extend((0..7).map(|n| Part {
        at: DATA.at + n * 0x2000,
        ..DATA
    }));
    assert!(ComponentImage::parse(&file(&parts)).is_ok());
    parts.push(Part {
        at: DATA.at + 0x1_0000,
        ..DATA
    });
    assert_eq!(refused(&parts), ImageError::TooManySegments);
}

#[test]
fn files_for_others_are_named() {
    let with = |at: usize, byte: u8| {
        let mut file = file(&[TEXT]);
        file[at] = byte;
        ComponentImage::parse(&file).unwrap_err()
    };
    assert_eq!(with(0, 0), ImageError::NotElf);
    assert_eq!(with(16, 3), ImageError::Type(3));
    assert_eq!(with(18, 40), ImageError::Machine(40));
    assert_eq!(ComponentImage::parse(b"").unwrap_err(), ImageError::NotElf);
    assert_eq!(
        with(18, 40).to_string(),
        "an ELF file for machine 40, not for 64-bit x86"
    );
}

proptest! {
    #[test]
    fn no_damage_gets_a_file_through_that_cannot_be_mapped(
        damage in prop::collection::vec((0..240_usize, any::<u8>()), 1..6),
        length in 0..=0x3000_usize,
        whole in any::<bool>(),
    ) {
        let mut file = file(&[TEXT, DATA, Part { at: 0x41_0000, ..DATA }]);
        for (at, byte) in damage {
            file[at] = byte;
        }
        if !whole {
            file.truncate(length);
        }
        if let Ok(image) = ComponentImage::parse(&file) {
            assert_mappable(&image, &file);
        }
    }

    #[test]
    fn any_headers_give_a_mappable_image_or_a_refusal(
        parts in prop::collection::vec(
            (0..8_u32, 0..4_u64, 0..8_u64, 0..0x1800_u64, 0..0x3000_u64),
            0..10,
        ),
    ) {
        let part = |(flags, offset, page, file_bytes, more)| Part {
            kind: PT_LOAD,
            flags,
            offset: offset * 0x1000,
            at: layout::IMAGE + page * 0x1000,
            file_bytes,
            memory_bytes: file_bytes + more,
        };
        let parts: Vec<_> = parts.into_iter().map(part).collect();
        let file = file(&parts);
        if let Ok(image) = ComponentImage::parse(&file) {
            assert_mappable(&image, &file);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.extend(bytes);
        let _ = ComponentImage::parse(&file);
    }
}
