//! `cargo xtask lines`: how much code each program of the machine is made of.
//!
//! Owns which packages count for a program: its own and those of this workspace that are
//! linked into it, but no build script, test or macro of others. What a line of code is,
//! `count/source` says. Called by `main`.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{
    DependencyKind, Metadata, MetadataCommand, Package, PackageId, Target, TargetKind,
};

use crate::summary::grouped;
use crate::toolchain::TARGET;
use crate::{bare, paths, table};

/// Counts and prints the table.
///
/// # Errors
/// Cargo does not know the workspace, or a source file cannot be read.
pub fn run() -> Result<()> {
    let metadata = MetadataCommand::new()
        .current_dir(paths::root())
        .other_options(["--filter-platform".to_string(), TARGET.to_string()])
        .exec()?;
    let mut table = table::with_header(
        &["program", "lines", "of these", "and of others"],
        &["lines"],
    );
    for program in bare::packages().filter(|name| *name != "guest-stubs") {
        let linked = Linked::of(program, &metadata)?;
        let lines = linked.lines()?;
        table.add_row([
            program.to_string(),
            grouped(lines.values().sum()),
            parts(&lines),
            linked.others.into_iter().collect::<Vec<_>>().join(", "),
        ]);
    }
    print!("{}", table::text(&table));
    println!(
        "\nLines of code as built for {TARGET} without features: no blank lines, comments, \
         tests or build scripts. The first is ring 0, the others are ring 3."
    );
    Ok(())
}

/// The packages with the most lines first.
fn parts(lines: &BTreeMap<String, u64>) -> String {
    let mut parts: Vec<_> = lines.iter().collect();
    parts.sort_by_key(|(name, lines)| (std::cmp::Reverse(**lines), *name));
    let shown = parts
        .into_iter()
        .map(|(name, lines)| format!("{} {}", name.trim_start_matches("skerry-"), grouped(*lines)));
    shown.collect::<Vec<_>>().join(", ")
}

/// What is linked into one program.
struct Linked<'a> {
    ours: Vec<&'a Package>,
    others: BTreeSet<String>,
}

impl<'a> Linked<'a> {
    fn of(program: &str, metadata: &'a Metadata) -> Result<Self> {
        let mut found = BTreeSet::new();
        let members = metadata.workspace_packages();
        let first = members.iter().find(|package| package.name == program);
        let first = first.with_context(|| format!("no package is called {program}"))?;
        reach(&first.id, metadata, &mut found)?;
        let packages = metadata.packages.iter();
        let (ours, others): (Vec<_>, Vec<_>) = packages
            .filter(|package| found.contains(&package.id))
            .partition(|package| metadata.workspace_members.contains(&package.id));
        let names = others.iter().filter(|package| !is_macro(package));
        Ok(Self {
            ours,
            others: names.map(|package| package.name.to_string()).collect(),
        })
    }

    fn lines(&self) -> Result<BTreeMap<String, u64>> {
        let count = |package: &&Package| {
            let target = package.targets.iter().find(|target| is_code(target));
            let root = target.with_context(|| format!("{} has no code", package.name))?;
            let lines = source::lines(Path::new(root.src_path.as_str()))?;
            Ok((package.name.to_string(), lines))
        };
        self.ours.iter().map(count).collect()
    }
}

/// The package and all that is linked into it. What only macros and build scripts need runs
/// on the host.
fn reach(id: &PackageId, metadata: &Metadata, found: &mut BTreeSet<PackageId>) -> Result<()> {
    if is_macro(&metadata[id]) || !found.insert(id.clone()) {
        return Ok(());
    }
    let resolve = metadata
        .resolve
        .as_ref()
        .context("cargo resolves nothing")?;
    let node = resolve.nodes.iter().find(|node| node.id == *id);
    for dependency in node.iter().flat_map(|node| &node.deps) {
        let mut kinds = dependency.dep_kinds.iter();
        let normal = kinds.any(|kind| kind.kind == DependencyKind::Normal);
        if normal && !is_optional(&metadata[id], &metadata[&dependency.pkg]) {
            reach(&dependency.pkg, metadata, found)?;
        }
    }
    Ok(())
}

/// Whether a feature brings it in: another package's here, since all are built without.
fn is_optional(of: &Package, dependency: &Package) -> bool {
    let mut declared = of.dependencies.iter();
    declared.any(|one| one.name == dependency.name.as_str() && one.optional)
}

fn is_macro(package: &Package) -> bool {
    let mut targets = package.targets.iter();
    targets.any(|target| target.kind.contains(&TargetKind::ProcMacro))
}

fn is_code(target: &Target) -> bool {
    let kinds = [TargetKind::Lib, TargetKind::Bin];
    target.kind.iter().any(|kind| kinds.contains(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_counted_with_what_is_linked_into_it() {
        let metadata = MetadataCommand::new()
            .current_dir(paths::root())
            .exec()
            .unwrap();
        let linked = Linked::of("skerry-manifest", &metadata).unwrap();
        let ours: Vec<_> = linked
            .ours
            .iter()
            .map(|package| package.name.as_str())
            .collect();
        assert!(
            ours.contains(&"skerry-newc") && !ours.contains(&"skerry-load"),
            "{ours:?}"
        );
        assert!(linked.others.contains("serde_json"));
        for absent in ["serde_derive", "cpio", "proptest"] {
            assert!(!linked.others.contains(absent), "{absent}");
        }
        let lines = linked.lines().unwrap();
        assert!(lines["skerry-manifest"] > 300, "{lines:?}");
        assert!(Linked::of("no-such-package", &metadata).is_err());
    }

    #[test]
    fn the_greatest_part_comes_first_under_its_short_name() {
        let lines = [("skerry-b", 2), ("a", 1000), ("c", 2)];
        let lines = lines.map(|(name, lines)| (name.to_string(), lines)).into();
        assert_eq!(parts(&lines), "a 1,000, c 2, b 2");
    }
}
