//! Where things are, and where things go.
//!
//! Owns the names of every folder `xtask` reads or writes; nothing else joins them.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// The workspace.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Cargo's target folder, as the user configured it.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The target folder of the bare-metal build: its own, because another compiler than the
/// host's may fill it, and `core` in it costs half a minute.
pub fn bare_target() -> PathBuf {
    target().join("bare")
}

/// The machine recipes.
pub fn recipes() -> PathBuf {
    root().join("qemu")
}

/// The scenarios.
pub fn scenarios() -> PathBuf {
    root().join("tests/scenarios")
}

/// The recorded exits.
pub fn recordings() -> PathBuf {
    root().join("hypervisor/crates/manual/tests/recorded")
}

/// What was downloaded and is good for every checkout: `$XDG_CACHE_HOME/skerry`, or
/// `~/.cache/skerry`, or the target folder where there is no home.
pub fn cache() -> PathBuf {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map_or_else(|| target().join("cache"), |caches| caches.join("skerry"))
}

/// Where the consoles of failed scenarios go.
///
/// # Errors
/// The target folder cannot be written.
pub fn logs() -> Result<PathBuf> {
    let logs = target().join("scenario-logs");
    fs::create_dir_all(&logs).with_context(|| format!("create {}", logs.display()))?;
    Ok(logs)
}

/// Where the consoles of test kernels go that did not pass.
///
/// # Errors
/// The target folder cannot be written.
pub fn consoles() -> Result<PathBuf> {
    let consoles = target().join("conform-logs");
    fs::create_dir_all(&consoles).with_context(|| format!("create {}", consoles.display()))?;
    Ok(consoles)
}

/// What becomes of a run's folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    /// It is removed with its guard.
    Remove,
    /// It stays for a look.
    Keep,
}

/// A fresh folder for one run of an engine. Folders of runs that were killed before they
/// could clean up go first.
///
/// # Errors
/// The target folder cannot be written.
pub fn run_folder(after: After) -> Result<TempDir> {
    let runs = target().join("runs");
    fs::create_dir_all(&runs).with_context(|| format!("create {}", runs.display()))?;
    remove_abandoned(&runs);
    let prefix = match after {
        After::Remove => format!("{}-", std::process::id()),
        After::Keep => "kept-".to_string(),
    };
    let mut folder = tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir_in(&runs)
        .with_context(|| format!("create a folder in {}", runs.display()))?;
    folder.disable_cleanup(after == After::Keep);
    Ok(folder)
}

fn remove_abandoned(runs: &Path) {
    let folders = fs::read_dir(runs).into_iter().flatten().flatten();
    for folder in folders.filter(|folder| is_abandoned(&folder.file_name())) {
        // Another `xtask` may be doing the same: nothing is lost if it is gone.
        let _ = fs::remove_dir_all(folder.path());
    }
}

/// Whether the process whose number the name starts with is gone.
fn is_abandoned(name: &OsStr) -> bool {
    let process = name
        .to_str()
        .and_then(|name| name.split_once('-'))
        .map(|(number, _)| number);
    process
        .and_then(|number| number.parse::<u32>().ok())
        .is_some_and(|number| !Path::new("/proc").join(number.to_string()).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_living_process_stays_and_a_kept_one_too() {
        let mine = format!("{}-abc", std::process::id());
        assert!(!is_abandoned(OsStr::new(&mine)));
        assert!(!is_abandoned(OsStr::new("kept-2026")));
    }

    #[test]
    fn the_folder_of_a_process_that_cannot_exist_goes() {
        assert!(is_abandoned(OsStr::new("4194305-abc")));
    }
}
