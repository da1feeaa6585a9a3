//! Files out of Debian's packages, without installing them.
//!
//! Owns `apt-get download` and `dpkg-deb -x` into the cache, one folder per guest. A guest
//! in the cache is used as it is, so that runs repeat; removing the folder fetches anew.
//! Called by `guests`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::failure::Failure;
use crate::packages::{self, Install, Need};
use crate::{command, paths, say};

/// A guest that Debian packages.
#[derive(Debug)]
pub struct DebianGuest {
    /// Its folder in the cache, and its file there.
    name: &'static str,
    /// The package, or the one that depends on the package of the newest version.
    package: &'static str,
    /// Whether the package only names the real one.
    meta: Meta,
    /// Folder and start of the name of the file in the package.
    file: (&'static str, &'static str),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meta {
    /// The package has the file.
    Itself,
    /// The first dependency that starts with this has it.
    Dependency(&'static str),
}

/// Debian's kernel for virtual machines.
pub const KERNEL: DebianGuest = DebianGuest {
    name: "vmlinuz",
    package: "linux-image-cloud-amd64",
    meta: Meta::Dependency("linux-image-"),
    file: ("boot", "vmlinuz-"),
};

/// Busybox without libraries.
pub const BUSYBOX: DebianGuest = DebianGuest {
    name: "busybox",
    package: "busybox-static",
    meta: Meta::Itself,
    file: ("bin", "busybox"),
};

/// SeaBIOS, as the ROM of a PC.
pub const FIRMWARE: DebianGuest = DebianGuest {
    name: "seabios",
    package: "seabios",
    meta: Meta::Itself,
    file: ("usr/share/seabios", "bios.bin"),
};

/// A guest in the cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cached {
    /// The file.
    pub file: PathBuf,
    /// The package it came from, with its version.
    pub package: String,
}

impl DebianGuest {
    fn folder(&self) -> PathBuf {
        paths::cache().join("guests").join(self.name)
    }

    /// The package to ask for.
    pub fn package(&self) -> &'static str {
        self.package
    }

    /// The guest in the cache, if it is there.
    pub fn find(&self) -> Option<Cached> {
        let folder = self.folder();
        let file = Some(folder.join(self.name)).filter(|file| file.is_file())?;
        let package = fs::read_to_string(folder.join("package")).ok();
        let package = package.map_or_else(|| "put there by hand".into(), |text| text.trim().into());
        Some(Cached { file, package })
    }

    /// The guest, fetched if it is not in the cache.
    ///
    /// # Errors
    /// It may not or cannot be fetched; the error says where to put one by hand.
    pub fn ensure(&self, install: Install) -> Result<Cached> {
        if let Some(found) = self.find() {
            return Ok(found);
        }
        if install == Install::Refused {
            return Err(self.refusal("--no-install was given"));
        }
        if !packages::missing(Need::Guests).is_empty() {
            return Err(self.refusal("this machine has no apt-get to fetch it"));
        }
        let step = say::Step::begin(format!("fetching {} (not installed here)", self.package));
        self.fetch()?;
        let found = self
            .find()
            .with_context(|| format!("{} vanished", self.folder().display()))?;
        step.done(&found.package);
        Ok(found)
    }

    fn refusal(&self, why: &str) -> anyhow::Error {
        let place = self.folder().join(self.name);
        Failure::Missing(format!(
            "no guest {}: {why}; put Debian's file from {} at {}, or name another in the manifest",
            self.name,
            self.package,
            place.display()
        ))
        .into()
    }

    fn fetch(&self) -> Result<()> {
        let guests = paths::cache().join("guests");
        fs::create_dir_all(&guests).with_context(|| format!("create {}", guests.display()))?;
        let work = tempfile::tempdir_in(&guests)?;
        let archive = match self.download(work.path()) {
            Ok(archive) => archive,
            // Lists that are absent or old name packages that are gone.
            Err(_) => packages::update_lists().and_then(|()| self.download(work.path()))?,
        };
        let tree = work.path().join("tree");
        command::output(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&tree))?;
        let file = first_named(&tree.join(self.file.0), self.file.1)?;
        let package = archive
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        self.place(work.path(), &file, &package)
    }

    fn download(&self, folder: &Path) -> Result<PathBuf> {
        let package = match self.meta {
            Meta::Itself => self.package.to_string(),
            Meta::Dependency(prefix) => dependency(self.package, prefix)?,
        };
        let mut apt_get = Command::new("apt-get");
        apt_get
            .current_dir(folder)
            .args(["-q", "download", &package]);
        command::output(&mut apt_get)?;
        first_named(folder, &package)
    }

    /// Moves the finished folder into place at once, so that nobody sees half of it.
    fn place(&self, work: &Path, file: &Path, package: &str) -> Result<()> {
        let ready = work.join("ready");
        fs::create_dir(&ready)?;
        fs::rename(file, ready.join(self.name))?;
        fs::write(ready.join("package"), package)?;
        match fs::rename(&ready, self.folder()) {
            // Another `xtask` was quicker.
            Err(_) if self.find().is_some() => Ok(()),
            other => other.with_context(|| format!("create {}", self.folder().display())),
        }
    }
}

fn dependency(package: &str, prefix: &str) -> Result<String> {
    let listed = command::output(Command::new("apt-cache").args(["depends", package]))?;
    first_dependency(&listed, prefix).with_context(|| {
        format!("apt-cache names no package that {package} depends on; is this Debian?")
    })
}

fn first_dependency(listed: &str, prefix: &str) -> Option<String> {
    let depends = listed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    depends
        .map(str::trim)
        .find(|name| name.starts_with(prefix))
        .map(String::from)
}

fn first_named(folder: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    let named = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    paths
        .into_iter()
        .find(named)
        .with_context(|| format!("{} has no file {prefix}*", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meta_package_leads_to_the_newest_kernel() {
        let listed = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        let found = first_dependency(listed, "linux-image-");
        assert_eq!(found.as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(
            first_dependency("x\n  Suggests: linux-image-1\n", "linux-image-"),
            None
        );
    }

    #[test]
    fn a_folder_without_the_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = first_named(folder.path(), "vmlinuz-")
            .unwrap_err()
            .to_string();
        assert!(error.contains("vmlinuz-*"), "{error}");
    }
}
