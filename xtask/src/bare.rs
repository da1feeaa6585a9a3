//! Building what runs on bare metal: the hypervisor and the guest stubs.
//!
//! Owns which packages are built and where their files are. How the compiler is found is
//! `toolchain`'s. Called by `run`, `test`, `bench`, `image` and `build`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::failure::Failure;
use crate::packages::Install;
use crate::toolchain::Toolchain;
use crate::{command, paths, say};

/// The files of one bare-metal build.
#[derive(Clone, Debug)]
pub struct Built {
    folder: PathBuf,
}

impl Built {
    /// The hypervisor's ELF file.
    pub fn hypervisor(&self) -> PathBuf {
        self.folder.join("skerry")
    }

    /// The Linux program that tells when userspace began.
    pub fn stopwatch(&self) -> PathBuf {
        self.folder.join("linux-stopwatch")
    }

    /// The guest stub of this name.
    ///
    /// # Errors
    /// [`Failure::Input`] if there is none; it lists those that there are.
    pub fn stub(&self, name: &str) -> Result<PathBuf> {
        let names = stub_names()?;
        if names.iter().any(|known| known == name) {
            return Ok(self.folder.join(name));
        }
        Err(Failure::Input(format!(
            "no stub is called \"{name}\"; there are: {}",
            names.join(", ")
        ))
        .into())
    }
}

/// Builds the hypervisor and every stub.
///
/// # Errors
/// The toolchain is missing, or the compiler refuses.
pub fn build(install: Install) -> Result<Built> {
    build_with(install, &[])
}

/// The same, but the hypervisor says the raw fields of every exit.
///
/// # Errors
/// As [`build`].
pub fn build_recorder(install: Install) -> Result<Built> {
    build_with(install, &["--features", "skerry/record"])
}

fn build_with(install: Install, features: &[&str]) -> Result<Built> {
    let toolchain = Toolchain::ensure(install)?;
    let step = say::Step::begin("building the hypervisor and the stubs for bare metal");
    let mut cargo = toolchain.cargo("build");
    cargo.args(["--release", "-p", "skerry", "-p", "guest-stubs", "--bins"]);
    cargo.args(features);
    command::shown_output(&mut cargo)?;
    step.done("built");
    Ok(Built {
        folder: toolchain.built(),
    })
}

/// The stubs, by the names of their source files.
///
/// # Errors
/// The folder cannot be read.
pub fn stub_names() -> Result<Vec<String>> {
    let folder = paths::root().join("guest-stubs/src/bin");
    let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(String::from))
        .collect();
    names.sort();
    Ok(names)
}
