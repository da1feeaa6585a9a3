//! Which compiler builds for bare metal: the one place that decides.
//!
//! Owns the choice between rustup's `x86_64-unknown-none` and Debian's compiler with the
//! source of its library, and the environment each is called in. Called by `bare` to
//! build, by `check` for clippy and docs, and by `doctor`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::packages::{self, Install, Need};
use crate::{command, paths};

/// The target of everything that runs on bare metal.
pub const TARGET: &str = "x86_64-unknown-none";

/// Where Debian puts the compiler it builds browsers with.
const DEBIAN_BIN: &str = "/usr/bin";

/// A compiler that can build for [`TARGET`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Toolchain {
    /// rustup's, with the library already built for the target.
    Rustup,
    /// Debian's, which builds the library from its source first.
    Debian,
}

impl Toolchain {
    /// The toolchain that is here; `None` if there is none yet.
    pub fn find() -> Option<Self> {
        if has_target(&sysroot()?) {
            return Some(Self::Rustup);
        }
        packages::missing(Need::BareMetal)
            .is_empty()
            .then_some(Self::Debian)
    }

    /// The toolchain that is here or can be installed.
    ///
    /// # Errors
    /// Neither; the error says what to type.
    pub fn ensure(install: Install) -> Result<Self> {
        if let Some(found) = Self::find() {
            return Ok(found);
        }
        packages::ensure(Need::BareMetal, install)?;
        Ok(Self::Debian)
    }

    /// `cargo SUBCOMMAND` for bare metal, in the workspace and its own target folder.
    pub fn cargo(&self, subcommand: &str) -> Command {
        let mut command = Command::new(self.program());
        command::without_cargo_environment(&mut command);
        command.current_dir(paths::root()).arg(subcommand);
        command
            .arg("--target")
            .arg(TARGET)
            .arg("--target-dir")
            .arg(paths::bare_target());
        if *self == Self::Debian {
            // The library is built like any crate, which stable compilers call unstable.
            command
                .env("RUSTC_BOOTSTRAP", "1")
                .env("PATH", debian_path());
            command.args(["-Zbuild-std=core,alloc"]);
            command.args(["-Zbuild-std-features=compiler-builtins-mem"]);
        }
        command
    }

    /// The folder its programs land in.
    pub fn built(&self) -> PathBuf {
        paths::bare_target().join(TARGET).join("release")
    }

    /// What it is, for tables.
    pub fn shown(&self) -> String {
        match self {
            Self::Rustup => format!("rustup's {TARGET}"),
            Self::Debian => "Debian's rustc-web, builds core from rust-web-src".to_string(),
        }
    }

    fn program(&self) -> PathBuf {
        match self {
            Self::Rustup => env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from),
            Self::Debian => Path::new(DEBIAN_BIN).join("cargo"),
        }
    }
}

/// The library folder of the compiler that `rust-toolchain.toml` and rustup choose here.
fn sysroot() -> Option<PathBuf> {
    let mut rustc = Command::new("rustc");
    rustc
        .current_dir(paths::root())
        .args(["--print", "sysroot"]);
    let printed = command::output(&mut rustc).ok()?;
    Some(PathBuf::from(printed.trim()))
}

fn has_target(sysroot: &Path) -> bool {
    sysroot
        .join("lib/rustlib")
        .join(TARGET)
        .join("lib")
        .is_dir()
}

/// `PATH` with Debian's compiler before rustup's.
fn debian_path() -> std::ffi::OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(PathBuf::from(DEBIAN_BIN)).chain(env::split_paths(&path));
    env::join_paths(all).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_cargo_hears_nothing_of_rustup() {
        let command = Toolchain::Debian.cargo("build");
        assert_eq!(command.get_program(), "/usr/bin/cargo");
        // Under `cargo test` our own environment has this one.
        assert!(
            command
                .get_envs()
                .any(|env| env == ("CARGO_MANIFEST_DIR".as_ref(), None))
        );
    }

    #[test]
    fn a_sysroot_without_the_targets_library_is_not_taken() {
        let sysroot = tempfile::tempdir().unwrap();
        assert!(!has_target(sysroot.path()));
        std::fs::create_dir_all(sysroot.path().join("lib/rustlib/x86_64-unknown-none/lib"))
            .unwrap();
        assert!(has_target(sysroot.path()));
    }
}
