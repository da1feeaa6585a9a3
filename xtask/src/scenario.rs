//! Scenarios: what is booted for a test, and what has to come of it.
//!
//! Owns the schema of `tests/scenarios/*.toml`: a manifest with a title, a time limit, and
//! what is expected of each VM; or of the component that stands in `root`'s place. Judging is `scenario/judge`'s, what an engine is excused is
//! `scenario/defect`'s, running is `test`'s.

mod defect;
mod judge;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use regex::Regex;
use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use crate::bare;
use crate::failure::Failure;
use crate::manifest::{self, Source};

pub use defect::{Defect, Excuse, Excused};
pub use judge::{Objection, difference, objections};

/// The time limit of a scenario that names none.
const DEFAULT_TIMEOUT_S: u64 = 120;

/// One scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file's name without its ending.
    pub name: String,
    /// What it shows, as a sentence.
    pub title: String,
    /// Its time limit.
    pub timeout_s: u64,
    /// A line that matches one ends the run at once.
    pub fail: Vec<Regex>,
    /// Whether it is meant to fail, and fails the suite if it does not.
    pub expect_failure: bool,
    /// Whether a second run must be the same, where the engine repeats.
    pub rerun: bool,
    /// The VMs.
    pub source: Source,
    /// What is expected of them, in their order.
    pub expects: Vec<VmExpect>,
    /// The VMs that this engine's defects keep out, and why; none before the engine is known.
    pub left_out: Vec<(String, String)>,
}

/// What is expected of one VM.
#[derive(Clone, Debug)]
pub struct VmExpect {
    /// Its name.
    pub vm: String,
    /// What shall be true of it.
    pub expect: Expect,
    /// Whether the machine may end before it does.
    pub background: bool,
    /// What engines get wrong with it.
    pub defects: Vec<Defect>,
}

/// What may stand behind `expect`. What is left out is not judged, but for the status of a
/// VM that is not in the background: that has to be 0.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// A part of why it ended.
    pub stop: Option<String>,
    /// Its status.
    pub status: Option<u32>,
    /// How often it was started again.
    pub restarts: Option<u32>,
    /// Each is in one of its lines.
    #[serde(default)]
    pub contains: Vec<String>,
    /// Each is in none of its lines.
    #[serde(default)]
    pub absent: Vec<String>,
}

/// The keys that make a manifest a scenario.
#[derive(Debug, Deserialize)]
struct Head {
    title: String,
    timeout_s: Option<u64>,
    #[serde(default)]
    fail: Vec<String>,
    #[serde(default)]
    expect_failure: bool,
    #[serde(default)]
    rerun: bool,
    root: Option<String>,
    #[serde(default)]
    vm: Vec<VmHead>,
}

#[derive(Debug, Deserialize)]
struct VmHead {
    #[serde(default)]
    name: String,
    #[serde(default)]
    background: bool,
    #[serde(default)]
    expect: Expect,
    #[serde(default)]
    defects: Vec<Defect>,
}

/// The keys of a VM that are a scenario's.
const VM_KEYS: [&str; 2] = ["expect", "defects"];
const HEAD_KEYS: [&str; 6] = [
    "title",
    "timeout_s",
    "fail",
    "expect_failure",
    "rerun",
    "root",
];

/// Every scenario in `folder`, by name.
///
/// # Errors
/// One cannot be read, or is no scenario.
pub fn all(folder: &Path) -> Result<Vec<Scenario>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Scenario> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let name = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(name, &path.display().to_string(), &text, folder)
}

fn parse(name: String, shown: &str, text: &str, folder: &Path) -> Result<Scenario> {
    let refuse = |error: &dyn std::fmt::Display| Failure::Input(format!("{shown}: {error}"));
    let head: Head = toml::from_str(text).map_err(|error| refuse(&error))?;
    let manifest = without_head(text).map_err(|error| refuse(&error))?;
    let mut source = manifest::parse(shown, &manifest, folder)?;
    if let Some(objection) = head.root.as_deref().and_then(unknown_component) {
        return Err(refuse(&objection).into());
    }
    source.manifest.root = head.root;
    let fail: Result<Vec<Regex>, regex::Error> = head.fail.iter().map(|p| Regex::new(p)).collect();
    let mut defects = head.vm.iter().flat_map(|vm| &vm.defects);
    if let Some(objection) = defects.find_map(Defect::objection) {
        return Err(refuse(&objection).into());
    }
    let expects = head.vm.into_iter().map(|vm| VmExpect {
        vm: vm.name,
        expect: vm.expect,
        background: vm.background,
        defects: vm.defects,
    });
    Ok(Scenario {
        name,
        title: head.title,
        timeout_s: head.timeout_s.unwrap_or(DEFAULT_TIMEOUT_S),
        fail: fail.map_err(|error| refuse(&format!("key `fail`: {error}")))?,
        expect_failure: head.expect_failure,
        rerun: head.rerun,
        source,
        expects: expects.collect(),
        left_out: Vec::new(),
    })
}

fn unknown_component(name: &str) -> Option<String> {
    let known: Vec<_> = bare::component_names().collect();
    (!known.contains(&name)).then(|| {
        let known = known.join(", ");
        format!("key `root`: no component is called \"{name}\"; there are: {known}")
    })
}

/// The text with a scenario's own keys blanked out: a manifest, with every other key at
/// the line it had.
fn without_head(text: &str) -> Result<String, toml::de::Error> {
    let table = DeTable::parse(text)?;
    let mut blanked = text.as_bytes().to_vec();
    let mut blank = |start: usize, end: usize| {
        for byte in blanked.get_mut(start..end).into_iter().flatten() {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    };
    for (key, value) in table.get_ref() {
        if HEAD_KEYS.contains(&key.get_ref().as_ref()) {
            blank(key.span().start, value.span().end);
        }
        if let DeValue::Array(vms) = value.get_ref() {
            let tables = vms.iter().filter_map(|vm| vm.get_ref().as_table());
            for (key, value) in tables
                .flatten()
                .filter(|(key, _)| VM_KEYS.contains(&key.get_ref().as_ref()))
            {
                blank(key.span().start, value.span().end);
            }
        }
    }
    Ok(String::from_utf8_lossy(&blanked).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths;

    const TEXT: &str = "\
title = \"é\" # a title
fail = [
    \"panic\",
]
[[vm]]
name = \"a\"
memory = \"4M\"
kernel = \"stub:timer\"
expect = { status = 3, contains = [\"x\"] }
";

    fn parsed(text: &str) -> Result<Scenario> {
        parse("s".into(), "s.toml", text, Path::new(""))
    }

    #[test]
    fn a_scenario_is_a_manifest_with_more_keys() {
        let scenario = parsed(TEXT).unwrap();
        assert_eq!(scenario.source.manifest.vms[0].kernel, "stub:timer");
        assert_eq!(scenario.expects[0].expect.status, Some(3));
        assert!(scenario.fail[0].is_match("a panic!"));
        assert_eq!(scenario.timeout_s, DEFAULT_TIMEOUT_S);
    }

    #[test]
    fn a_wrong_key_is_refused_at_the_line_it_stands_in_the_file() {
        let error = parsed(&TEXT.replace("kernel", "kernle"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("s.toml:8:"), "{error}");
        let error = parsed(&TEXT.replace("status", "stauts"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("stauts"), "{error}");
    }

    #[test]
    fn a_scenario_with_another_component_in_roots_place_needs_no_vm() {
        let scenario = parsed("title = \"t\"\nroot = \"prober\"\n").unwrap();
        scenario.source.check().unwrap();
        assert_eq!(scenario.source.manifest.root.as_deref(), Some("prober"));
        assert!(parsed("title = \"t\"\n").unwrap().source.check().is_err());
        let error = parsed("title = \"t\"\nroot = \"probe\"\n").unwrap_err();
        assert!(error.to_string().contains("root, console, vmm"), "{error}");
    }

    #[test]
    fn a_pattern_that_is_none_is_refused() {
        let error = parsed(&TEXT.replace("\"panic\"", "\"(\""))
            .unwrap_err()
            .to_string();
        assert!(error.contains("key `fail`"), "{error}");
    }

    #[test]
    fn every_scenario_in_the_repository_can_be_read_and_one_is_meant_to_fail() {
        let all = all(&paths::scenarios()).unwrap();
        assert_eq!(
            all.iter()
                .filter(|scenario| scenario.expect_failure)
                .count(),
            1
        );
    }
}
