//! Reading a cpio archive of format "newc", a member at a time, in place.
//!
//! Owns the header's layout `[cpio(5), "New ASCII Format"]`, and which part of an archive is
//! a member's. Does not own what the members mean. Called by ring 0, which looks for the
//! first component, and by `skerry-manifest`.
//!
//! The published no_std reader sums up every byte of every file for a checksum this format
//! does not have, which costs more than all the rest of a boot; it is the oracle of the
//! tests here instead.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

#[cfg(test)]
extern crate alloc;
#[cfg(test)]
extern crate std;

const MAGIC: &[u8] = b"070701";
const HEADER_BYTES: usize = 110;
const FILE_SIZE_FIELD: usize = 6;
const NAME_SIZE_FIELD: usize = 11;
const TRAILER: &str = "TRAILER!!!";

/// One file of an archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
    /// Where in the archive its content starts.
    pub at: usize,
}

/// The first member of this name.
#[must_use]
pub fn find<'a>(archive: &'a [u8], name: &str) -> Option<Member<'a>> {
    members(archive).find(|member| member.name == name)
}

/// The members up to the trailer, or to the first that is damaged or cut.
pub fn members(archive: &[u8]) -> impl Iterator<Item = Member<'_>> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let (member, after) = split(archive, at)?;
        at = after;
        (member.name != TRAILER).then_some(member)
    })
}

/// The member whose header is here, and where what follows it starts.
fn split(archive: &[u8], header_at: usize) -> Option<(Member<'_>, usize)> {
    let name_at = header_at.checked_add(HEADER_BYTES)?;
    let header = archive.get(header_at..name_at)?;
    if !header.starts_with(MAGIC) {
        return None;
    }
    let name_end = name_at.checked_add(field(header, NAME_SIZE_FIELD)?)?;
    let name = archive.get(name_at..name_end)?.strip_suffix(&[0])?;
    let at = aligned(name_end)?;
    let end = at.checked_add(field(header, FILE_SIZE_FIELD)?)?;
    let member = Member {
        name: core::str::from_utf8(name).ok()?,
        bytes: archive.get(at..end)?,
        at,
    };
    Some((member, aligned(end)?))
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
            for member in members(&archive) {
                prop_assert_eq!(&archive[member.at..][..member.bytes.len()], member.bytes);
                prop_assert_eq!(find(&archive, member.name), Some(member));
            }
            prop_assert_eq!(find(&archive, "file-6"), None);
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
