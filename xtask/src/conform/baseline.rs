//! Baselines: what is known not to pass, and why.
//!
//! Owns the file's keys, and whether a result is the one that it marks. An entry that no
//! longer holds is a change as much as a new failure. Called by `conform`.
//!
//! ```toml
//! [[expect]]
//! image = "hypercall"      # as the report names it
//! on = "qemu-tcg"          # or "qemu-tcg bare", without Skerry; left out: everywhere
//! result = "fail"          # pass, fail, skip, crash or timeout
//! checks = ["VMCALL"]      # exactly these fail, by how their names begin; left out: any
//! reason = "asks for KVM's hypercalls"
//! ```

use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;
use serde::Deserialize;

use super::account::{Account, Mark};
use super::verdict::{Outcome, Verdict};
use super::work;
use crate::engine::On;
use crate::failure::Failure;

/// All that is expected.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    #[serde(default)]
    expect: Vec<Expect>,
}

/// One image's expected result.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    image: String,
    on: Option<String>,
    result: Outcome,
    #[serde(default)]
    checks: Vec<String>,
    reason: String,
}

/// What a result is beside its baseline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// The baseline does not mention it.
    Unmarked,
    /// It is as expected, for this reason.
    Expected(String),
    /// It is another than expected, in this way.
    Changed(String),
}

impl Baseline {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Failure::Input`]: it cannot be read, a key is wrong, a reason is missing, or two
    /// entries speak of one result.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let refuse = |why: String| Failure::Input(format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path)
            .map_err(|error| refuse(format!("the baseline cannot be read: {error}")))?;
        Ok(Self::parse(&text).map_err(refuse)?)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let baseline: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        for (index, expect) in baseline.expect.iter().enumerate() {
            let earlier = baseline.expect.get(..index).unwrap_or_default();
            if let Some(why) = expect.objection(earlier) {
                return Err(format!("image \"{}\": {why}", expect.image));
            }
        }
        Ok(baseline)
    }

    /// What the result of `image` on `engine` is.
    pub(super) fn standing(
        &self,
        image: &str,
        engine: &str,
        verdict: &Verdict,
        account: &Account,
    ) -> Standing {
        let of_it = |expect: &&Expect| expect.is_of(image, engine);
        let Some(expect) = self.expect.iter().find(of_it) else {
            return Standing::Unmarked;
        };
        match expect.difference(verdict, account) {
            None => Standing::Expected(expect.reason.clone()),
            Some(difference) => Standing::Changed(format!(
                "{difference}; the baseline says: {}",
                expect.reason
            )),
        }
    }

    /// The images that the baseline mentions and nobody ran.
    pub(super) fn unused(&self, ran: impl Fn(&str) -> bool) -> Vec<&str> {
        let images = self.expect.iter().map(|expect| expect.image.as_str());
        images.filter(|image| !ran(image)).collect()
    }
}

impl Expect {
    fn is_of(&self, image: &str, engine: &str) -> bool {
        self.image == image && self.on.as_deref().is_none_or(|on| on == engine)
    }

    fn objection(&self, earlier: &[Self]) -> Option<String> {
        if self.reason.trim().is_empty() {
            return Some("key `reason` says nothing; every expectation has one".into());
        }
        if let Some(on) = &self.on
            && On::from_str(work::engine_of(on), false).is_err()
        {
            return Some(format!("key `on`: there is no engine \"{on}\""));
        }
        let collides = |other: &Self| {
            let both = self.on.is_none() || other.on.is_none() || self.on == other.on;
            self.image == other.image && both
        };
        earlier
            .iter()
            .any(collides)
            .then(|| "two entries speak of one result".into())
    }

    /// How the result differs from what is expected.
    fn difference(&self, verdict: &Verdict, account: &Account) -> Option<String> {
        let (expected, found) = (self.result.word(), verdict.outcome.word());
        if self.result != verdict.outcome {
            return Some(format!("{found} ({}), expected {expected}", verdict.why));
        }
        if self.checks.is_empty() {
            return None;
        }
        let failed: Vec<&str> = account
            .marked(Mark::Fail)
            .map(|check| check.name.as_str())
            .collect();
        let known = |name: &str| self.checks.iter().any(|known| name.starts_with(known));
        if let Some(new) = failed.iter().find(|name| !known(name)) {
            return Some(format!("the check \"{new}\" fails too"));
        }
        let passes = |known: &&String| !failed.iter().any(|name| name.starts_with(*known));
        let mended = self.checks.iter().find(passes)?;
        Some(format!("the check \"{mended}\" fails no more"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[[expect]]
image = "hypercall"
on = "qemu-tcg"
result = "fail"
checks = ["VMCALL", "VMMCALL to"]
reason = "KVM's own"

[[expect]]
image = "access"
result = "timeout"
reason = "takes hours"
"#;

    fn standing(image: &str, engine: &str, outcome: Outcome, lines: &str) -> Standing {
        let mut account = Account::default();
        lines.lines().for_each(|line| account.line(line));
        let baseline = Baseline::parse(TEXT).unwrap();
        baseline.standing(image, engine, &Verdict::new(outcome, "w"), &account)
    }

    fn changed(standing: Standing) -> String {
        match standing {
            Standing::Changed(how) => how,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_result_is_expected_where_its_entry_says_so_and_nowhere_else() {
        let both = "FAIL: VMCALL\nFAIL: VMMCALL to edge\n";
        assert_eq!(
            standing("hypercall", "qemu-tcg", Outcome::Fail, both),
            Standing::Expected("KVM's own".into())
        );
        assert_eq!(
            standing("hypercall", "bochs", Outcome::Fail, both),
            Standing::Unmarked
        );
        for engine in ["bochs", "qemu-tcg"] {
            assert_eq!(
                standing("access", engine, Outcome::Timeout, ""),
                Standing::Expected("takes hours".into())
            );
        }
        assert_eq!(
            standing("smptest", "bochs", Outcome::Fail, ""),
            Standing::Unmarked
        );
    }

    #[test]
    fn a_pass_that_was_not_expected_is_a_change() {
        let how = changed(standing("access", "bochs", Outcome::Pass, ""));
        assert_eq!(
            how,
            "pass (w), expected timeout; the baseline says: takes hours"
        );
    }

    #[test]
    fn another_set_of_failing_checks_is_a_change_either_way() {
        let more = "FAIL: VMCALL\nFAIL: VMMCALL to edge\nFAIL: new\n";
        let how = changed(standing("hypercall", "qemu-tcg", Outcome::Fail, more));
        assert!(how.starts_with("the check \"new\" fails too"), "{how}");
        let fewer = "FAIL: VMCALL\n";
        let how = changed(standing("hypercall", "qemu-tcg", Outcome::Fail, fewer));
        assert!(
            how.starts_with("the check \"VMMCALL to\" fails no more"),
            "{how}"
        );
    }

    #[test]
    fn an_entry_without_a_reason_an_engine_or_a_result_that_exists_is_refused() {
        for (text, part) in [
            (
                TEXT.replace("takes hours", " "),
                "image \"access\": key `reason`",
            ),
            (TEXT.replace("reason = \"takes hours\"", ""), "reason"),
            (TEXT.replace("qemu-tcg", "qemu"), "no engine \"qemu\""),
            (TEXT.replace("\"fail\"", "\"bad\""), "bad"),
            (TEXT.replace("checks", "cheks"), "cheks"),
            (TEXT.replace("access", "hypercall"), "two entries"),
        ] {
            let error = Baseline::parse(&text).unwrap_err();
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn images_that_were_not_run_are_named() {
        let baseline = Baseline::parse(TEXT).unwrap();
        assert_eq!(baseline.unused(|image| image == "access"), ["hypercall"]);
    }
}
