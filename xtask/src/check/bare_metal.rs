//! Clippy and rustdoc on the packages that run on bare metal.
//!
//! Owns what is done where the bare-metal toolchain is not to be had: they
//! are then checked as if for the host, and the note says so. Which packages these are, `bare`
//! knows, and which toolchain it is, `toolchain` decides; what is missing is installed as `run` and `test` do it. Called by
//! `check`.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Options, Outcome, host};
use crate::bare;
use crate::packages::{self, Need};
use crate::toolchain::{TARGET, Toolchain};

/// With everything in them: the feature adds lines and takes none away.
const FEATURES: [&str; 2] = ["--features", "skerry/record"];

fn packages() -> impl Iterator<Item = &'static str> {
    let packages = bare::packages().flat_map(|package| ["-p", package]);
    packages.chain(FEATURES)
}

/// Clippy on them.
pub(super) fn clippy(root: &Path, options: &Options) -> Result<Outcome> {
    let toolchain = Toolchain::ensure(options.install()).and_then(|found| {
        if found == Toolchain::Debian {
            packages::ensure(Need::BareMetalLints, options.install())?;
        }
        Ok(found)
    });
    if toolchain
        .as_ref()
        .is_ok_and(|found| *found == Toolchain::Debian)
        || host::is_installed("clippy")
    {
        let (mut command, looked_at) = cargo(root, "clippy", toolchain);
        command
            .args(["--quiet", "--keep-going", "--lib", "--bins"])
            .args(packages())
            .args(["--", "-Dwarnings"]);
        return host::judge(&mut command, &looked_at);
    }
    Ok(Outcome::NotRun(
        "clippy is not installed: rustup component add clippy".into(),
    ))
}

/// rustdoc on them.
pub(super) fn docs(root: &Path, options: &Options) -> Result<Outcome> {
    let toolchain = Toolchain::ensure(options.install());
    let (mut command, looked_at) = cargo(root, "doc", toolchain);
    command
        .args([
            "--quiet",
            "--keep-going",
            "--no-deps",
            "--document-private-items",
        ])
        .args(packages());
    host::judge(command.env("RUSTDOCFLAGS", "-Dwarnings"), &looked_at)
}

/// The subcommand for bare metal, or for the host where that cannot be, and a note on what
/// it looks at.
fn cargo(root: &Path, subcommand: &str, toolchain: Result<Toolchain>) -> (Command, String) {
    match toolchain {
        Ok(toolchain) => (
            toolchain.cargo(subcommand),
            format!("{} packages for {TARGET}", bare::packages().count()),
        ),
        Err(error) => {
            let mut command = host::cargo(root);
            command.arg(subcommand);
            (
                command,
                format!("as if for the host, without what is for bare metal alone: {error}"),
            )
        }
    }
}
