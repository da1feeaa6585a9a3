//! Objections with a place, and the list of those we live with.
//!
//! Owns `exceptions.toml`: a finding with a matching entry is dropped, and an entry that
//! matches no finding is itself one, so the list cannot outlive its reasons. Called by the
//! checks that read the sources.

use std::fmt;

use anyhow::{Context, Result};
use serde::Deserialize;

/// One objection to one place in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// The rule, as exceptions name it.
    pub(super) rule: &'static str,
    /// The file, relative to the workspace, with `/`.
    pub(super) path: String,
    /// The line, from 1.
    pub(super) line: usize,
    /// The function or type, where the rule is about one.
    pub(super) item: Option<String>,
    /// What is wrong, with the number that shows it.
    pub(super) text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {} ({})",
            self.path, self.line, self.text, self.rule
        )
    }
}

/// One entry of `exceptions.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    rule: String,
    path: String,
    /// The function or type; the whole file if absent.
    item: Option<String>,
    reason: String,
}

impl Exception {
    fn covers(&self, finding: &Finding) -> bool {
        self.rule == finding.rule
            && self.path == finding.path
            && (self.item.is_none() || self.item == finding.item)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    exception: Vec<Exception>,
}

const LIST_PATH: &str = "xtask/src/check/exceptions.toml";

/// Drops the findings the list covers and adds one for each entry that covers none or
/// gives no reason.
pub(super) fn without_exceptions(findings: Vec<Finding>) -> Result<Vec<Finding>> {
    apply(findings, include_str!("exceptions.toml"))
}

fn apply(findings: Vec<Finding>, list: &str) -> Result<Vec<Finding>> {
    let list: List = toml::from_str(list).context(LIST_PATH)?;
    let mut left: Vec<_> = findings
        .iter()
        .filter(|finding| !list.exception.iter().any(|entry| entry.covers(finding)))
        .cloned()
        .collect();
    for entry in &list.exception {
        let stale = !findings.iter().any(|finding| entry.covers(finding));
        if stale || entry.reason.trim().is_empty() {
            left.push(complaint(
                entry,
                if stale {
                    "covers nothing"
                } else {
                    "gives no reason"
                },
            ));
        }
    }
    Ok(left)
}

fn complaint(entry: &Exception, what: &str) -> Finding {
    Finding {
        rule: "exceptions",
        path: LIST_PATH.into(),
        line: 1,
        item: None,
        text: format!("the entry for {} in {} {what}", entry.rule, entry.path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_function(path: &str, item: &str) -> Finding {
        Finding {
            rule: "function-length",
            path: path.into(),
            line: 7,
            item: Some(item.into()),
            text: "61 lines".into(),
        }
    }

    const LIST: &str = r#"
        [[exception]]
        rule = "function-length"
        path = "a.rs"
        item = "table"
        reason = "a table"
    "#;

    #[test]
    fn an_entry_covers_its_item_and_nothing_else() {
        let findings = vec![
            long_function("a.rs", "table"),
            long_function("a.rs", "other"),
            long_function("b.rs", "table"),
        ];
        let left = apply(findings, LIST).unwrap();
        assert_eq!(
            left,
            [
                long_function("a.rs", "other"),
                long_function("b.rs", "table")
            ]
        );
    }

    #[test]
    fn an_entry_that_covers_nothing_is_a_finding() {
        let left = apply(Vec::new(), LIST).unwrap();
        assert_eq!(left.len(), 1);
        assert!(left[0].text.contains("covers nothing"), "{}", left[0]);
    }

    #[test]
    fn an_entry_without_a_reason_is_a_finding() {
        let left = apply(
            vec![long_function("a.rs", "table")],
            &LIST.replace("a table", " "),
        )
        .unwrap();
        assert!(left[0].text.contains("gives no reason"), "{}", left[0]);
    }

    #[test]
    fn unknown_keys_in_the_list_are_refused() {
        assert!(apply(Vec::new(), &LIST.replace("item", "itme")).is_err());
    }
}
