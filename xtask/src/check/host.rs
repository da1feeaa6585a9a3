//! The checks that are cargo's own: format, lints, documentation, dependencies.
//!
//! Owns the command lines for the packages that run on the host. Those for bare metal are
//! in `bare_metal`. What is not installed is said, never passed over. Called by `check`.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Options, Outcome};
use crate::command;

/// rustfmt on every package of the workspace.
pub(super) fn fmt(root: &Path, _options: &Options) -> Result<Outcome> {
    if !is_installed("fmt") {
        return Ok(Outcome::NotRun(
            "rustfmt is not installed: rustup component add rustfmt".into(),
        ));
    }
    let mut command = cargo(root);
    let output = command
        .args(["fmt", "--all", "--", "--check", "-l"])
        .output()?;
    let differing = String::from_utf8_lossy(&output.stdout);
    let mut objections: Vec<String> = differing
        .lines()
        .map(|file| format!("{file}: run `cargo fmt --all`"))
        .collect();
    if !output.status.success() && objections.is_empty() {
        objections.push(String::from_utf8_lossy(&output.stderr).trim().into());
    }
    Ok(match objections.is_empty() {
        true => Outcome::Passed("every package".into()),
        false => Outcome::Failed(objections),
    })
}

/// Clippy on the packages of plain `cargo test`, with their tests.
pub(super) fn clippy(root: &Path, _options: &Options) -> Result<Outcome> {
    if !is_installed("clippy") {
        return Ok(Outcome::NotRun(
            "clippy is not installed: rustup component add clippy".into(),
        ));
    }
    let mut command = cargo(root);
    command.args([
        "clippy",
        "--quiet",
        "--keep-going",
        "--all-targets",
        "--",
        "-Dwarnings",
    ]);
    judge(&mut command, "the host's packages with their tests")
}

/// rustdoc on the same packages.
pub(super) fn docs(root: &Path, _options: &Options) -> Result<Outcome> {
    let mut command = cargo(root);
    command.args([
        "doc",
        "--quiet",
        "--keep-going",
        "--no-deps",
        "--document-private-items",
    ]);
    judge(
        command.env("RUSTDOCFLAGS", "-Dwarnings"),
        "the host's packages, private items too",
    )
}

/// cargo-deny without its advisories, which need the network.
pub(super) fn deny(root: &Path, _options: &Options) -> Result<Outcome> {
    if !is_installed("deny") {
        let how = "cargo-deny is not installed: cargo install --locked cargo-deny";
        return Ok(Outcome::NotRun(how.into()));
    }
    let mut command = cargo(root);
    command.args([
        "deny",
        "--offline",
        "--log-level",
        "warn",
        "check",
        "bans",
        "licenses",
        "sources",
    ]);
    judge(
        &mut command,
        "bans, licences and sources; `cargo deny check advisories` needs the network",
    )
}

/// Runs `command` with its messages on our standard error.
pub(super) fn judge(command: &mut Command, looked_at: &str) -> Result<Outcome> {
    let line = command::shown(command);
    let status = command
        .stdout(std::io::stderr())
        .status()
        .with_context(|| line.clone())?;
    Ok(match status.success() {
        true => Outcome::Passed(looked_at.into()),
        false => Outcome::Failed(vec![format!(
            "`{line}` failed ({status}); its messages are above"
        )]),
    })
}

/// The cargo that runs us, in the workspace.
pub(super) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).stdin(Stdio::null());
    command
}

/// Whether cargo knows the subcommand and what it needs is there.
pub(super) fn is_installed(subcommand: &str) -> bool {
    let mut command = cargo(Path::new("."));
    command
        .args([subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subcommand_nobody_has_is_not_installed() {
        assert!(!is_installed("no-such-subcommand"));
    }

    #[test]
    fn a_failing_command_is_an_objection_with_its_status() {
        let Outcome::Failed(objections) =
            judge(cargo(Path::new(".")).arg("no-such-subcommand"), "").unwrap()
        else {
            panic!("it passed");
        };
        assert!(
            objections[0].contains("no-such-subcommand"),
            "{objections:?}"
        );
    }
}
