//! Clippy and rustdoc on the packages that run on bare metal.
//!
//! Owns their names and what is done where the bare-metal toolchain is incomplete: they
//! are then checked as if for the host, and the note says what that leaves out. Which
//! toolchain it is, `toolchain` decides. Called by `check`.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Options, Outcome, host};
use crate::toolchain::{TARGET, Toolchain};

const PACKAGES: [&str; 4] = ["-p", "skerry", "-p", "guest-stubs"];
const NOT_HOST: &str = "for the host only, without what is compiled for bare metal alone";

/// Clippy on the hypervisor and the stubs.
pub(super) fn clippy(root: &Path, _options: &Options) -> Result<Outcome> {
    let (mut command, looked_at) = match Toolchain::find() {
        Some(toolchain) if has_clippy(&toolchain) => (
            toolchain.cargo("clippy"),
            format!("skerry and guest-stubs for {TARGET}"),
        ),
        found if host::is_installed("clippy") => {
            (for_host(root, "clippy"), host_note(found.as_ref()))
        }
        _ => return Ok(Outcome::NotRun("clippy is not installed".into())),
    };
    command
        .args(["--quiet", "--lib", "--bins"])
        .args(PACKAGES)
        .args(["--", "-Dwarnings"]);
    host::judge(&mut command, &looked_at)
}

/// rustdoc on the hypervisor and the stubs.
pub(super) fn docs(root: &Path, _options: &Options) -> Result<Outcome> {
    let found = Toolchain::find();
    let (mut command, looked_at) = match &found {
        Some(toolchain) => (
            toolchain.cargo("doc"),
            format!("skerry and guest-stubs for {TARGET}"),
        ),
        None => (for_host(root, "doc"), host_note(None)),
    };
    command
        .args(["--quiet", "--no-deps", "--document-private-items"])
        .args(PACKAGES);
    host::judge(command.env("RUSTDOCFLAGS", "-Dwarnings"), &looked_at)
}

fn for_host(root: &Path, subcommand: &str) -> Command {
    let mut command = host::cargo(root);
    command.arg(subcommand);
    command
}

fn host_note(found: Option<&Toolchain>) -> String {
    match found {
        Some(Toolchain::Debian) => format!("{NOT_HOST}: apt-get install rust-web-clippy"),
        Some(Toolchain::Rustup) => format!("{NOT_HOST}: rustup component add clippy"),
        None => format!("{NOT_HOST}: no toolchain for it, see `cargo xtask doctor`"),
    }
}

/// Debian packages clippy apart from its compiler.
fn has_clippy(toolchain: &Toolchain) -> bool {
    match toolchain {
        Toolchain::Rustup => host::is_installed("clippy"),
        Toolchain::Debian => Path::new("/usr/bin/cargo-clippy").is_file(),
    }
}
