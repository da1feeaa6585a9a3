//! Writing a bundle, on the host.
//!
//! Owns the archive's making: the manifest first, then every file once, however many VMs
//! use it. Called by `xtask`.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;
use std::io::{self, Cursor};

use crate::bundle::MAGIC;
use crate::{Bundle, BundleError, MANIFEST_NAME, Manifest, VERSION};

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

/// The bundle of `manifest` and the `files` it names (name, content). Files nobody names
/// are left out; files with one content are stored once, and the stored manifest names
/// that one.
///
/// # Errors
/// Whatever [`Bundle::parse`] would refuse, and files too large for the format.
pub fn write_bundle(manifest: &Manifest, files: &[(&str, &[u8])]) -> Result<Vec<u8>, WriteError> {
    let mut stored = Stored::default();
    let mut manifest = manifest.clone();
    for vm in &mut manifest.vms {
        for name in core::iter::once(&mut vm.kernel).chain(&mut vm.initrd) {
            stored.store(name, files)?;
        }
    }
    let head = encode(&manifest).map_err(|e| WriteError::Refused(BundleError::Manifest(e)))?;
    let mut members = std::vec![(MANIFEST_NAME, head.as_slice())];
    members.extend(stored.members);
    let inputs = members.iter().map(|(name, bytes)| {
        let member = cpio::NewcBuilder::new(name).mode(0o100_644);
        (member, Cursor::new(*bytes))
    });
    let bundle = cpio::write_cpio(inputs, Vec::new()).map_err(WriteError::Io)?;
    Bundle::parse(&bundle).map_err(WriteError::Refused)?;
    Ok(bundle)
}

/// The archive's members so far, and which name each content went by.
#[derive(Default)]
struct Stored<'a> {
    members: Vec<(&'a str, &'a [u8])>,
    names: BTreeMap<&'a [u8], &'a str>,
}

impl<'a> Stored<'a> {
    /// Stores the file called `name` and renames it to the member that holds its content.
    /// A file that is not there is left for the reader's check.
    fn store(
        &mut self,
        name: &mut String,
        files: &[(&'a str, &'a [u8])],
    ) -> Result<(), WriteError> {
        let Some((found, bytes)) = files.iter().find(|(found, _)| found == name) else {
            return Ok(());
        };
        if u32::try_from(bytes.len()).is_err() {
            return Err(WriteError::TooLarge(name.clone(), bytes.len() as u64));
        }
        let member = *self.names.entry(bytes).or_insert_with(|| {
            self.members.push((found, bytes));
            found
        });
        if member != name {
            *name = String::from(member);
        }
        Ok(())
    }
}

fn encode(manifest: &Manifest) -> Result<Vec<u8>, postcard::Error> {
    let mut bytes = Vec::from(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(postcard::to_allocvec(manifest)?);
    Ok(bytes)
}
