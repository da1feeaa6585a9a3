//! Building what runs on bare metal: the hypervisor, its components and the guest stubs.
//!
//! Owns which packages are built and where their files are. How the compiler is found is
//! `toolchain`'s. Called by `run`, `test`, `bench`, `image` and `build`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::failure::Failure;
use crate::packages::Install;
use crate::toolchain::Toolchain;
use crate::{command, component, paths, say};

/// The components: their names, in a bundle and as programs, and their packages.
const COMPONENTS: [(&str, &str); 5] = [
    ("root", "root"),
    ("console", "skerry-console-component"),
    ("vmm", "vmm"),
    ("saboteur", "saboteur"),
    ("prober", "prober"),
];

/// The packages that run on bare metal.
pub fn packages() -> impl Iterator<Item = &'static str> {
    let components = COMPONENTS.iter().map(|(_, package)| *package);
    ["skerry", "guest-stubs"].into_iter().chain(components)
}

/// The names of the components.
pub fn component_names() -> impl Iterator<Item = &'static str> {
    COMPONENTS.iter().map(|(name, _)| *name)
}

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

    /// The component of this name, as a bundle carries it.
    ///
    /// # Errors
    /// There is none, or its file cannot be mapped as it stands.
    pub fn component(&self, name: &str) -> Result<Vec<u8>> {
        component_names()
            .find(|known| *known == name)
            .with_context(|| format!("no component is called \"{name}\""))?;
        let path = self.folder.join(name);
        let file = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        component::stripped(&file).with_context(|| format!("component {}", path.display()))
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

/// Builds the hypervisor, every component and every stub.
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
    let step =
        say::Step::begin("building the hypervisor, its components and the stubs for bare metal");
    let mut cargo = toolchain.cargo("build");
    cargo.args(["--release", "--bins"]);
    cargo.args(packages().flat_map(|package| ["-p", package]));
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
