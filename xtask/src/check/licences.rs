//! Every dependency's licence is one we accept.
//!
//! Owns the judgement over `cargo metadata`, so that it is made wherever cargo is, with
//! or without cargo-deny. The accepted licences are those of `deny.toml`. Called by
//! `check`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;
use serde::Deserialize;
use spdx::{Expression, ParseMode};

use super::{Options, Outcome};

#[derive(Deserialize)]
struct DenyConfig {
    licenses: Licenses,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

/// Judges every package of the lock file.
pub(super) fn check(root: &Path, _options: &Options) -> Result<Outcome> {
    let text = fs::read_to_string(root.join("deny.toml")).context("deny.toml")?;
    let config: DenyConfig = toml::from_str(&text).context("deny.toml")?;
    let metadata = MetadataCommand::new().current_dir(root).exec()?;
    let mut refused = Vec::new();
    for package in &metadata.packages {
        if let Some(why) = refusal(package.license.as_deref(), &config.licenses.allow) {
            refused.push(format!("{} {}: {why}", package.name, package.version));
        }
    }
    Ok(match refused.is_empty() {
        true => Outcome::Passed(format!("{} packages", metadata.packages.len())),
        false => Outcome::Failed(refused),
    })
}

fn refusal(license: Option<&str>, allow: &[String]) -> Option<String> {
    let Some(license) = license else {
        return Some("it names no licence".into());
    };
    let expression = match Expression::parse_mode(license, ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => {
            return Some(format!(
                "`{license}` is no licence expression: {}",
                error.reason
            ));
        }
    };
    let accepted = expression.evaluate(|requirement| {
        let name = requirement.to_string();
        allow.contains(&name)
    });
    (!accepted).then(|| format!("`{license}` is not covered by deny.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(license: &str) -> Option<String> {
        refusal(
            Some(license),
            &["MIT".into(), "Apache-2.0 WITH LLVM-exception".into()],
        )
    }

    #[test]
    fn one_accepted_branch_of_an_or_is_enough_and_an_and_needs_all() {
        assert_eq!(verdict("MIT OR GPL-3.0-only"), None);
        assert_eq!(verdict("GPL-3.0-only/MIT"), None);
        assert!(verdict("MIT AND GPL-3.0-only").is_some());
    }

    #[test]
    fn an_exception_is_part_of_the_name() {
        assert_eq!(verdict("Apache-2.0 WITH LLVM-exception"), None);
        assert!(verdict("Apache-2.0").is_some());
    }

    #[test]
    fn no_licence_and_no_expression_are_refused() {
        assert!(refusal(None, &[]).is_some());
        assert!(verdict("do what you like").is_some());
    }
}
