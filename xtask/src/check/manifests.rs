//! Every TOML file in the repository is TOML, and every manifest and scenario is one.
//!
//! Owns the search; what may stand in them is `manifest`'s and `scenario`'s. Called by
//! `check`.

use std::path::Path;

use anyhow::Result;

use super::{Options, Outcome, sources};
use crate::{manifest, scenario};

const SCENARIOS: &str = "tests/scenarios";

/// Reads each of them.
pub(super) fn check(root: &Path, _options: &Options) -> Result<Outcome> {
    let files = sources::files(root, "toml")?;
    let mut faults = Vec::new();
    let mut manifests = 0;
    for file in &files {
        match file.text.parse::<toml::Table>() {
            Err(error) => faults.push(format!("{}: {error}", file.path)),
            Ok(table) if is_manifest(&file.path, &table) => {
                manifests += 1;
                let path = root.join(&file.path);
                faults.extend(fault(
                    manifest::read(&path).and_then(|source| source.check()),
                ));
            }
            Ok(_) => {}
        }
    }
    let scenarios = scenarios(root, &mut faults);
    Ok(match faults.is_empty() {
        true => Outcome::Passed(format!(
            "{} TOML files, {manifests} manifests, {scenarios} scenarios",
            files.len()
        )),
        false => Outcome::Failed(faults),
    })
}

/// A scenario has VMs too, and keys that no manifest has.
fn is_manifest(path: &str, table: &toml::Table) -> bool {
    table.contains_key("vm") && !path.starts_with(SCENARIOS)
}

fn scenarios(root: &Path, faults: &mut Vec<String>) -> usize {
    match scenario::all(&root.join(SCENARIOS)) {
        Ok(all) => {
            faults.extend(all.iter().filter_map(|one| fault(one.source.check())));
            all.len()
        }
        Err(error) => {
            faults.push(format!("{error:#}"));
            0
        }
    }
}

fn fault(result: Result<()>) -> Option<String> {
    result.err().map(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, text: &str) -> Outcome {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join(SCENARIOS)).unwrap();
        std::fs::write(root.path().join(name), text).unwrap();
        check(root.path(), &Options::default()).unwrap()
    }

    fn objections(name: &str, text: &str) -> Vec<String> {
        match outcome(name, text) {
            Outcome::Failed(objections) => objections,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_manifest_is_judged_by_its_keys_wherever_it_stands() {
        let text = "[[vm]]\nname = \"a\"\nmemory = \"4M\"\nkernel = \"stub:x\"\n";
        assert!(
            matches!(outcome("a.toml", text), Outcome::Passed(note) if note.contains("1 manifest"))
        );
        let found = objections("a.toml", &text.replace("memory", "memroy"));
        assert!(found[0].contains("memroy"), "{found:?}");
    }

    #[test]
    fn a_scenario_without_its_title_and_a_file_that_is_no_toml_are_named() {
        let found = objections("tests/scenarios/s.toml", "[[vm]]\nname = \"a\"\n");
        assert!(
            found[0].contains("s.toml") && found[0].contains("title"),
            "{found:?}"
        );
        let found = objections("b.toml", "a = ");
        assert!(found[0].starts_with("b.toml:"), "{found:?}");
    }
}
