//! `cargo xtask check`: everything that can be judged without running a guest.
//!
//! Owns the list of checks, their order and the table at the end. It does not own any
//! rule: each is a file beside this one. No check stops another; the status is that of
//! all of them. Called by `main`, by hand and in continuous integration.

mod bare_metal;
mod findings;
mod host;
mod items;
mod ledger;
mod ledger_table;
mod licences;
mod links;
mod manifests;
mod rules;
mod sources;

use std::path::Path;

use anyhow::{Result, bail};

use crate::packages::Install;

/// What the command line asked for.
#[derive(Debug, Default, clap::Args)]
pub struct Options {
    /// Rewrite the numbers in hypervisor/UNSAFE.md where they differ from the code
    #[arg(long)]
    pub bless: bool,
    /// Install nothing; the bare-metal packages are then checked as far as that goes
    #[arg(long)]
    pub no_install: bool,
    /// Run only these checks; all of them if none is named
    #[arg(value_name = "CHECK")]
    pub only: Vec<String>,
}

impl Options {
    fn install(&self) -> Install {
        match self.no_install {
            true => Install::Refused,
            false => Install::Allowed,
        }
    }
}

/// How one check ended.
#[derive(Debug)]
enum Outcome {
    /// Nothing to object to; what was looked at.
    Passed(String),
    /// Each objection on its own line.
    Failed(Vec<String>),
    /// It could not be run here, and why.
    NotRun(String),
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Passed(_) => "ok",
            Self::Failed(_) => "FAILED",
            Self::NotRun(_) => "not run",
        }
    }

    fn note(&self) -> String {
        match self {
            Self::Passed(note) | Self::NotRun(note) => note.clone(),
            Self::Failed(objections) => match objections.as_slice() {
                [only] if only.len() < 80 => only.clone(),
                [_] => "1 objection, listed above".into(),
                several => format!("{} objections, listed above", several.len()),
            },
        }
    }
}

type Check = fn(&Path, &Options) -> Result<Outcome>;

/// The checks: the quick ones first.
const CHECKS: [(&str, Check); 11] = [
    ("fmt", host::fmt),
    ("rules", rules::check),
    ("unsafe", ledger::check),
    ("links", links::check),
    ("manifests", manifests::check),
    ("licences", licences::check),
    ("deny", host::deny),
    ("clippy", host::clippy),
    ("clippy-bare", bare_metal::clippy),
    ("docs", host::docs),
    ("docs-bare", bare_metal::docs),
];

/// Runs the checks in the workspace at `root` and prints the table. True if none failed.
///
/// # Errors
/// An unknown name in `options.only`. A check that cannot even start is a failed check,
/// no error of this function, so that the others still run.
pub fn run(root: &Path, options: &Options) -> Result<bool> {
    let chosen = choose(&options.only)?;
    let mut ended = Vec::new();
    for (name, check) in chosen {
        eprintln!("check: {name}");
        let outcome = check(root, options)
            .unwrap_or_else(|error| Outcome::Failed(vec![format!("{error:#}")]));
        ended.push((name, outcome));
    }
    print!("{}", table(&ended));
    Ok(!ended
        .iter()
        .any(|(_, outcome)| matches!(outcome, Outcome::Failed(_))))
}

fn choose(only: &[String]) -> Result<Vec<(&'static str, Check)>> {
    let known = CHECKS.map(|(name, _)| name);
    if let Some(unknown) = only.iter().find(|name| !known.contains(&name.as_str())) {
        bail!(
            "no check is called `{unknown}`; there are: {}",
            known.join(", ")
        );
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    Ok(CHECKS
        .into_iter()
        .filter(|(name, _)| wanted(name))
        .collect())
}

fn table(ended: &[(&str, Outcome)]) -> String {
    let mut text = String::new();
    for (name, outcome) in ended {
        if let Outcome::Failed(objections) = outcome {
            text += &format!("\n{name}:\n");
            text.extend(
                objections
                    .iter()
                    .map(|objection| format!("  {objection}\n")),
            );
        }
    }
    text += &format!("\n{:<12} {:<8} {}\n", "check", "result", "note");
    for (name, outcome) in ended {
        text += &format!("{name:<12} {:<8} {}\n", outcome.word(), outcome.note());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_every_objection_and_every_check() {
        let ended = [
            ("fmt", Outcome::Passed("12 files".into())),
            (
                "rules",
                Outcome::Failed(vec!["a.rs:1: one".into(), "b.rs:2: two".into()]),
            ),
            (
                "deny",
                Outcome::NotRun("cargo-deny is not installed".into()),
            ),
        ];
        let text = table(&ended);
        for part in [
            "a.rs:1: one",
            "b.rs:2: two",
            "12 files",
            "2 objections",
            "not run  cargo-deny",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_and_names_the_known_ones() {
        let refusal = choose(&["fmt".into(), "fmtt".into()])
            .unwrap_err()
            .to_string();
        assert!(
            refusal.contains("fmtt") && refusal.contains("clippy-bare"),
            "{refusal}"
        );
    }

    #[test]
    fn a_chosen_check_runs_alone() {
        let chosen = choose(&["unsafe".into()]).unwrap();
        assert_eq!(
            chosen.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["unsafe"]
        );
    }
}
