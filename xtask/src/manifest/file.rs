//! The files that a manifest names: read once each, however many VMs use them.
//!
//! Owns what makes a file unusable before anybody looks at its content.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

use super::refusal::Refusals;
use crate::failure::Failure;
use crate::guests;

/// Contents by the names that the manifest has for them.
pub type Files = BTreeMap<String, Vec<u8>>;

type Symbolic<'a> = dyn Fn(&str) -> Result<Vec<u8>> + 'a;

/// Reads files, and remembers them.
pub(super) struct Reader<'a> {
    folder: &'a Path,
    /// Where symbolic names get their bytes; without it they are left out.
    symbolic: Option<&'a Symbolic<'a>>,
    files: Files,
}

impl<'a> Reader<'a> {
    pub(super) fn of_paths(folder: &'a Path) -> Self {
        Self {
            folder,
            symbolic: None,
            files: Files::new(),
        }
    }

    pub(super) fn of_all(folder: &'a Path, symbolic: &'a Symbolic<'a>) -> Self {
        Self {
            folder,
            symbolic: Some(symbolic),
            files: Files::new(),
        }
    }

    /// Reads the file called `name`, unless it was read before, or refuses it.
    ///
    /// # Errors
    /// A symbolic name fails for a reason that is not the manifest's.
    pub(super) fn read(&mut self, name: &str, place: &str, refusals: &mut Refusals) -> Result<()> {
        if self.files.contains_key(name) {
            return Ok(());
        }
        let bytes = match (guests::is_symbolic(name), self.symbolic) {
            (false, _) => read_path(&self.folder.join(name)).map_err(anyhow::Error::from),
            (true, Some(symbolic)) => symbolic(name),
            (true, None) => return Ok(()),
        };
        match bytes.and_then(not_empty) {
            Ok(bytes) => drop(self.files.insert(name.to_string(), bytes)),
            Err(error) => match error.downcast_ref() {
                Some(Failure::Input(text)) => refusals.add(place, format!("\"{name}\": {text}")),
                _ => return Err(error).with_context(|| place.to_string()),
            },
        }
        Ok(())
    }

    /// The content of a file that was read.
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    pub(super) fn into_files(self) -> Files {
        self.files
    }
}

fn read_path(path: &Path) -> Result<Vec<u8>, Failure> {
    let kind = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::Input(format!(
            "there is no file {}; paths start at the manifest's folder, and debian:cloud, \
             busybox:demo or stub:NAME stand for guests that need none",
            path.display()
        )),
        _ => unreadable(&error),
    })?;
    if kind.is_dir() {
        return Err(Failure::Input(
            "is a directory; name the file in it".to_string(),
        ));
    }
    if !kind.is_file() {
        return Err(Failure::Input(
            "is no regular file; copy its content to one".to_string(),
        ));
    }
    fs::read(path).map_err(|error| unreadable(&error))
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::Input(format!(
        "cannot be read: {error}; check the path and its rights"
    ))
}

fn not_empty(bytes: Vec<u8>) -> Result<Vec<u8>> {
    if bytes.is_empty() {
        return Err(Failure::Input("is empty; build or copy it again".to_string()).into());
    }
    Ok(bytes)
}
