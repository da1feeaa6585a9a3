//! Reading a cpio archive of format "newc", a member at a time, in place.
//!
//! Owns the header's layout `[cpio(5), "New ASCII Format"]`. The published no_std reader sums
//! up every byte of every file for a checksum this format does not have, which costs more
//! than all the rest of a boot; it is the oracle of the tests here instead.

const MAGIC: &[u8] = b"070701";
const HEADER_BYTES: usize = 110;
const FILE_SIZE_FIELD: usize = 6;
const NAME_SIZE_FIELD: usize = 11;
const TRAILER: &str = "TRAILER!!!";

/// One file of an archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) name: &'a str,
    pub(crate) bytes: &'a [u8],
}

/// The members up to the trailer, or to the first that is damaged or cut.
pub(crate) fn members(archive: &[u8]) -> impl Iterator<Item = Member<'_>> {
    let mut rest = archive;
    core::iter::from_fn(move || {
        let (member, after) = split(rest)?;
        rest = after;
        (member.name != TRAILER).then_some(member)
    })
}

/// The first member and what follows it.
fn split(archive: &[u8]) -> Option<(Member<'_>, &[u8])> {
    let header = archive.get(..HEADER_BYTES)?;
    if !header.starts_with(MAGIC) {
        return None;
    }
    let name_end = HEADER_BYTES.checked_add(field(header, NAME_SIZE_FIELD)?)?;
    let name = archive.get(HEADER_BYTES..name_end)?.strip_suffix(&[0])?;
    let start = aligned(name_end)?;
    let end = start.checked_add(field(header, FILE_SIZE_FIELD)?)?;
    let bytes = archive.get(start..end)?;
    let after = archive.get(aligned(end)?..).unwrap_or_default();
    Some((
        Member {
            name: core::str::from_utf8(name).ok()?,
            bytes,
        },
        after,
    ))
}

/// A header field by its number: eight hexadecimal digits.
fn field(header: &[u8], number: usize) -> Option<usize> {
    let start = number.checked_mul(8)?.checked_add(MAGIC.len())?;
    let digits = header.get(start..start.checked_add(8)?)?;
    usize::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
}

/// Names and files end at a multiple of four.
fn aligned(offset: usize) -> Option<usize> {
    offset.checked_next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]
    use super::*;
    use alloc::{format, string::String, vec, vec::Vec};
    use proptest::prelude::*;

    fn archive(files: &[Vec<u8>]) -> Vec<u8> {
        let inputs = files.iter().enumerate().map(|(number, bytes)| {
            let member = cpio::NewcBuilder::new(&format!("file-{number}")).mode(0o100_644);
            (member, std::io::Cursor::new(bytes.clone()))
        });
        cpio::write_cpio(inputs, vec![]).unwrap()
    }

    proptest! {
        #[test]
        fn reads_what_another_author_reads(
            files in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        ) {
            let archive = archive(&files);
            let ours: Vec<_> = members(&archive).map(|m| (String::from(m.name), m.bytes)).collect();
            let theirs: Vec<_> = cpio_reader::iter_files(&archive)
                .map(|m| (String::from(m.name()), m.file()))
                .collect();
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            at in any::<prop::sample::Index>(),
        ) {
            let mut damaged = archive(&[vec![7; 30], vec![]]);
            let start = at.index(damaged.len());
            let end = damaged.len().min(start + bytes.len());
            damaged[start..end].copy_from_slice(&bytes[..end - start]);
            members(&damaged).for_each(|member| assert!(member.bytes.len() <= damaged.len()));
            members(&bytes).for_each(drop);
        }
    }
}
