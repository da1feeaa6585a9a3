//! The repository's files, as the checks read them.
//!
//! Owns the walk: which directories are part of the project and which are products of a
//! build. Called by every check that reads files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use walkdir::{DirEntry, WalkDir};

/// A text file of the project.
#[derive(Debug)]
pub(super) struct SourceFile {
    /// Relative to the workspace, with `/`.
    pub(super) path: String,
    /// Its text.
    pub(super) text: String,
}

/// Every file below `root` whose name ends in `.extension`, in the order of their paths.
pub(super) fn files(root: &Path, extension: &str) -> Result<Vec<SourceFile>> {
    let mut found = Vec::new();
    let walk = WalkDir::new(root).sort_by_file_name();
    for entry in walk
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || is_ours(entry))
    {
        let entry = entry?;
        if entry.path().extension().is_some_and(|end| end == extension) && entry.path().is_file() {
            let text = fs::read_to_string(entry.path())
                .with_context(|| entry.path().display().to_string())?;
            found.push(SourceFile {
                path: relative(root, entry.path()),
                text,
            });
        }
    }
    Ok(found)
}

/// The path of `file` below `root`, with `/` on every host.
pub(super) fn relative(root: &Path, file: &Path) -> String {
    let below = file.strip_prefix(root).unwrap_or(file);
    below
        .iter()
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}

/// Build products and what version control or an editor keeps are not the project's.
fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    let hidden = name.starts_with('.') && name != ".cargo" && name != ".ci";
    let product = entry.file_type().is_dir() && (name == "target" || name.starts_with("target-"));
    !hidden && !product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_and_use_slashes() {
        let root = Path::new("top");
        assert_eq!(relative(root, &root.join("a").join("b.rs")), "a/b.rs");
    }

    #[test]
    fn the_walk_finds_this_file_and_no_build_product() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let found = files(root, "rs").unwrap();
        assert!(
            found
                .iter()
                .any(|file| file.path.ends_with("check/sources.rs"))
        );
        assert!(!found.iter().any(|file| file.path.contains("target/")));
    }
}
