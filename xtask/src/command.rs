//! Running other programs: their output kept, their failure explained.
//!
//! Owns the one way to run a tool that ends by itself. Engines run until something happens
//! and are `leash`'s.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};

use crate::failure::Failure;
use crate::{say, signals};

/// How many lines of a failed tool's output are shown.
const TAIL_LINES: usize = 30;

/// Runs `command` with its output kept, and returns what it wrote to standard output.
///
/// # Errors
/// It cannot be started, or fails: then with the end of its output.
pub fn output(command: &mut Command) -> Result<String> {
    let name = shown(command);
    let ended = command.stdin(Stdio::null()).output();
    let ended = started(ended, command)?;
    signals::check()?;
    if ended.status.success() {
        return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
    }
    Err(Failure::Run(format!(
        "`{name}` failed ({}):\n{}",
        ended.status,
        tail(&ended)
    ))
    .into())
}

/// Runs `command` with its output going to our standard error, unless `--quiet` keeps it.
///
/// # Errors
/// As [`output`].
pub fn shown_output(command: &mut Command) -> Result<()> {
    if say::is_quiet() {
        return output(command).map(drop);
    }
    let name = shown(command);
    let ended = command.stdin(Stdio::null()).stdout(io::stderr()).status();
    let status = started(ended, command)?;
    signals::check()?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Run(format!("`{name}` failed ({status}); its output is above")).into())
}

fn started<T>(result: io::Result<T>, command: &Command) -> Result<T> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let program = command.get_program().to_string_lossy().into_owned();
            Err(Failure::Missing(format!(
                "`{program}` is not installed; `cargo xtask doctor` shows what is missing"
            ))
            .into())
        }
        other => other.with_context(|| format!("start `{}`", shown(command))),
    }
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| quoted(&word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:,./@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn tail(ended: &Output) -> String {
    let both = [ended.stdout.as_slice(), ended.stderr.as_slice()].concat();
    last_lines(&String::from_utf8_lossy(&both), TAIL_LINES)
}

/// The last `count` lines of `text`, indented.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let start = lines.len().saturating_sub(count);
    lines[start..]
        .iter()
        .map(|line| format!("    {line}\n"))
        .collect()
}

/// Takes out of `command`'s environment what cargo and rustup put into ours for *this*
/// toolchain, so that another cargo is not talked into it.
pub fn without_cargo_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if is_cargos(&name) {
            command.env_remove(name);
        }
    }
    if let Some(paths) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", without_toolchains(&paths));
    }
}

/// Where cargo keeps its registry, and how it reaches it, is the user's and stays.
fn is_cargos(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    let kept = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_TERM_",
    ];
    let dropped = [
        "CARGO",
        "RUSTUP_TOOLCHAIN",
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUST_RECURSION",
    ];
    dropped.iter().any(|prefix| name.starts_with(prefix))
        && !kept.iter().any(|prefix| name.starts_with(prefix))
}

fn without_toolchains(paths: &OsStr) -> OsString {
    let is_toolchain = |path: &Path| {
        path.components()
            .any(|part| part.as_os_str() == "toolchains" || part.as_os_str() == "deps")
            || path.ends_with("rustlib")
    };
    let kept = std::env::split_paths(paths).filter(|path| !is_toolchain(path));
    std::env::join_paths(kept).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_tool_is_named_with_its_words_and_its_last_output() {
        let error = output(Command::new("sh").args(["-c", "echo first; echo last >&2; exit 3"]));
        let text = error.unwrap_err().to_string();
        for part in [
            "sh -c 'echo first; echo last >&2; exit 3'",
            "status: 3",
            "    last\n",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn a_tool_that_is_not_there_is_missing_not_failed() {
        let error = output(&mut Command::new("/no/such/tool")).unwrap_err();
        assert!(
            matches!(error.downcast_ref(), Some(Failure::Missing(text)) if text.contains("/no/such/tool"))
        );
    }

    #[test]
    fn the_registry_settings_survive_and_the_toolchain_settings_do_not() {
        for kept in ["CARGO_HOME", "CARGO_NET_OFFLINE", "RUSTUP_HOME", "PATH"] {
            assert!(!is_cargos(OsStr::new(kept)), "{kept}");
        }
        for gone in [
            "CARGO",
            "CARGO_MANIFEST_DIR",
            "RUSTUP_TOOLCHAIN",
            "RUSTC_WRAPPER",
            "RUSTFLAGS",
        ] {
            assert!(is_cargos(OsStr::new(gone)), "{gone}");
        }
    }

    #[test]
    fn only_the_toolchains_own_library_folders_go() {
        let paths = OsStr::new("/opt/lib:/root/.rustup/toolchains/stable/lib:/w/target/debug/deps");
        assert_eq!(without_toolchains(paths), "/opt/lib");
    }
}
