//! Writing a bundle, on the host.
//!
//! Owns the archive's making: the manifest first, then the components and every file once,
//! however many VMs use it; and where each file's data lies. Called by `xtask`.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "on the host, and of the lengths of what is in memory"
)]

use alloc::{borrow::Cow, collections::BTreeMap, format, string::String, vec, vec::Vec};
use core::fmt;
use std::io::{self, Cursor};

use crate::bundle::{FILL, MAGIC, PAGE_BYTES};
use crate::{Bundle, BundleError, COMPONENTS, MANIFEST_NAME, Manifest, VERSION};

/// What the names of guests' files start with, so that none can take a component's.
const FILES: &str = "file/";

/// Why a bundle could not be written.
#[derive(Debug)]
pub enum WriteError {
    /// The reader would refuse it.
    Refused(BundleError),
    /// The format holds files up to 4 GiB; this one has more bytes.
    TooLarge(String, u64),
    /// The archive could not be written.
    Io(io::Error),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::TooLarge(name, bytes) => write!(
                f,
                "file \"{name}\" of {bytes} bytes does not fit the bundle's limit of 4 GiB"
            ),
            Self::Io(error) => write!(f, "the bundle could not be written: {error}"),
        }
    }
}

impl std::error::Error for WriteError {}

/// A name and what it stands for.
type Named<'a> = (&'a str, &'a [u8]);

/// The bundle of `manifest`, the `components` it needs and the `files` it names. Those that
/// nobody names are left out; files with one content are stored once, and the stored manifest
/// names that one.
///
/// # Errors
/// Whatever [`Bundle::parse`] would refuse, and files too large for the format.
pub fn write_bundle(
    manifest: &Manifest,
    components: &[Named<'_>],
    files: &[Named<'_>],
) -> Result<Vec<u8>, WriteError> {
    let mut stored = Stored::default();
    let mut manifest = manifest.clone();
    stored.store_components(&manifest, components);
    for vm in &mut manifest.vms {
        let modules = vm.modules.iter_mut().map(|module| &mut module.file);
        let others = vm.initrd.iter_mut().chain(modules);
        for name in core::iter::once(&mut vm.kernel).chain(others) {
            stored.store(name, files)?;
        }
    }
    let head = encode(&manifest).map_err(|e| WriteError::Refused(BundleError::Manifest(e)))?;
    let bundle = archive(&head, &stored.members).map_err(WriteError::Io)?;
    Bundle::parse(&bundle).map_err(WriteError::Refused)?;
    Ok(bundle)
}

/// The archive of the manifest and these files, up to a page boundary, as the last page of
/// a file is mapped whole.
fn archive(manifest: &[u8], files: &[(String, &[u8])]) -> io::Result<Vec<u8>> {
    let mut members = vec![(MANIFEST_NAME, Cow::Borrowed(manifest))];
    let mut end = padded(header_bytes(MANIFEST_NAME) + manifest.len());
    for (name, bytes) in files {
        let header = header_bytes(name);
        let header_at = header_at(end, header);
        members.push((FILL, vec![0; header_at - end - header_bytes(FILL)].into()));
        members.push((name, Cow::Borrowed(bytes)));
        end = padded(header_at + header + bytes.len());
    }
    let inputs = members.into_iter().map(|(name, bytes)| {
        let member = cpio::NewcBuilder::new(name).mode(0o100_644);
        (member, Cursor::new(bytes))
    });
    let mut archive = cpio::write_cpio(inputs, Vec::new())?;
    archive.resize(archive.len().next_multiple_of(PAGE_BYTES), 0);
    Ok(archive)
}

/// Where a header of so many bytes goes, behind a filler that follows a file which ends at
/// `end`: the data behind the header starts a page, and the header is not in the file's last.
fn header_at(end: usize, header: usize) -> usize {
    let filled = (end + header_bytes(FILL)).max(end.next_multiple_of(PAGE_BYTES));
    (filled + header).next_multiple_of(PAGE_BYTES) - header
}

/// What stands in front of a member's data.
fn header_bytes(name: &str) -> usize {
    const FIXED_BYTES: usize = 110;
    padded(FIXED_BYTES + name.len() + 1)
}

/// The format's padding, of names and of data.
fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(4)
}

/// The archive's members so far, and which name each content went by.
#[derive(Default)]
struct Stored<'a> {
    members: Vec<(String, &'a [u8])>,
    names: BTreeMap<&'a [u8], String>,
}

impl<'a> Stored<'a> {
    /// Stores the components that the manifest needs. One that is not there is left for the
    /// reader's check.
    fn store_components(&mut self, manifest: &Manifest, components: &[Named<'a>]) {
        for needed in manifest.components() {
            let found = components.iter().find(|(name, _)| *name == needed);
            self.members
                .extend(found.map(|(name, bytes)| (format!("{COMPONENTS}{name}"), *bytes)));
        }
    }

    /// Stores the file called `name` and renames it to the member that holds its content.
    /// A file that is not there is left for the reader's check.
    fn store(&mut self, name: &mut String, files: &[Named<'a>]) -> Result<(), WriteError> {
        let Some((_, bytes)) = files.iter().find(|(found, _)| found == name) else {
            return Ok(());
        };
        if u32::try_from(bytes.len()).is_err() {
            return Err(WriteError::TooLarge(name.clone(), bytes.len() as u64));
        }
        let member = self.names.entry(bytes).or_insert_with(|| {
            let member = format!("{FILES}{name}");
            self.members.push((member.clone(), bytes));
            member
        });
        name.clone_from(member);
        Ok(())
    }
}

pub(crate) fn encode(manifest: &Manifest) -> Result<Vec<u8>, postcard::Error> {
    let mut bytes = Vec::from(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(postcard::to_allocvec(manifest)?);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use core::ops::Range;
    use proptest::prelude::*;

    /// Names and contents in the archive, with where the contents are, by another author's
    /// reader.
    fn listed(archive: &[u8]) -> Vec<(String, Range<usize>)> {
        let start = archive.as_ptr() as usize;
        let place = |bytes: &[u8]| {
            let at = bytes.as_ptr() as usize - start;
            at..at + bytes.len()
        };
        cpio_reader::iter_files(archive)
            .map(|member| (member.name().into(), place(member.file())))
            .collect()
    }

    /// What a page that `file` is in holds besides.
    fn beside<'a>(archive: &'a [u8], file: &Range<usize>) -> &'a [u8] {
        &archive[file.end..file.end.next_multiple_of(PAGE_BYTES)]
    }

    proptest! {
        #[test]
        fn each_files_data_has_its_pages_for_itself(
            manifest_bytes in 0..5000_usize,
            files in prop::collection::vec((1..40_usize, 1..9000_usize), 0..6),
        ) {
            let manifest = vec![0xee; manifest_bytes];
            let contents: Vec<_> = files.iter().map(|(_, bytes)| vec![0xdd; *bytes]).collect();
            let named: Vec<_> = files
                .iter()
                .zip(&contents)
                .map(|((name, _), content)| ("n".repeat(*name), content.as_slice()))
                .collect();
            let archive = archive(&manifest, &named).unwrap();
            prop_assert!(archive.len().is_multiple_of(PAGE_BYTES));
            let all = listed(&archive);
            let of_files: Vec<_> = all.iter().skip(1).filter(|(name, _)| name != FILL).collect();
            prop_assert_eq!(of_files.len(), named.len());
            for ((name, content), (listed, place)) in named.iter().zip(of_files) {
                prop_assert_eq!(name, listed);
                prop_assert_eq!(*content, &archive[place.clone()]);
                prop_assert!(place.start.is_multiple_of(PAGE_BYTES));
                let foreign = |byte: &u8| matches!(byte, 0xdd | 0xee | b'n');
                prop_assert!(!beside(&archive, place).iter().any(foreign));
            }
        }
    }
}
