//! What an image's account and end come to.
//!
//! Owns the rules, in their order:
//!
//! 1. What ran the image broke: a crash.
//! 2. SoTest: the announced number of test cases was told of, the end too, and none failed.
//!    How the machine ends then is not judged; before the end it is.
//! 3. Out of time; a triple fault, a reset, a guest that its hypervisor had to stop: a crash.
//! 4. An exit value: 0 passes, 38 and 77 skip (status 77 by the exit port's `2v + 1`, or
//!    straight), any other fails; but a check or a sum that failed makes it a failure.
//! 5. No value: only a sum of the image's own, or a deliberate power-off after checks, passes.
//!
//! Silence is never a success: an image that ends without value, sum and checks fails. Called
//! for guests and for images straight on an engine.

use serde::{Deserialize, Serialize};

use super::account::{Account, Mark, Sum};
use super::end::End;
use super::sotest::Sotest;

/// The exit values that mean that nothing was asked: half of automake's 77, and 77 itself.
const SKIPPED: [u32; 2] = [38, 77];

/// Why an image that gives no reason was skipped.
const NOTHING: &str = "nothing asked";

/// What an image comes to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// Everything it asked holds.
    Pass,
    /// Something it asked does not hold, or it never said.
    Fail,
    /// It asked nothing.
    Skip,
    /// It, or what ran it, broke.
    Crash,
    /// It did not end.
    Timeout,
}

impl Outcome {
    /// All of them, in the order they are counted.
    pub(super) const ALL: [Self; 5] = [
        Self::Pass,
        Self::Fail,
        Self::Skip,
        Self::Crash,
        Self::Timeout,
    ];

    /// Its name, in reports and baselines.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::Crash => "crash",
            Self::Timeout => "timeout",
        }
    }

    /// Whether it is nothing to worry about.
    pub(super) fn is_well(self) -> bool {
        matches!(self, Self::Pass | Self::Skip)
    }
}

/// An outcome, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Verdict {
    /// What it came to.
    pub(super) outcome: Outcome,
    /// Why, in a few words.
    pub(super) why: String,
}

impl Verdict {
    pub(super) fn new(outcome: Outcome, why: impl Into<String>) -> Self {
        Self {
            outcome,
            why: why.into(),
        }
    }
}

impl Verdict {
    /// The same; an image that asked nothing without a reason has its last line for one.
    pub(super) fn or_in_words(self, last_line: &str) -> Self {
        let says = !last_line.is_empty() && !last_line.starts_with("SUMMARY: ");
        if self.why != NOTHING || !says {
            return self;
        }
        Self::new(self.outcome, last_line)
    }
}

/// Judges what an image told, and how it ended.
pub(super) fn judge(account: &Account, end: &End) -> Verdict {
    if let End::Broke(why) = end {
        return Verdict::new(Outcome::Crash, why);
    }
    if let Some(sotest) = &account.sotest
        && (sotest.ended || sotest.panicked)
    {
        return of_sotest(sotest);
    }
    match end {
        End::Broke(_) | End::Limit => Verdict::new(Outcome::Timeout, told_so_far(account)),
        End::TripleFault | End::Reset | End::Stopped(_) => {
            Verdict::new(Outcome::Crash, end.to_string())
        }
        End::Value(value) => of_value(*value, account),
        End::PowerOff | End::Halted | End::Dismissed => of_silence(account, end),
    }
}

fn of_sotest(sotest: &Sotest) -> Verdict {
    let told = sotest.told();
    if sotest.panicked {
        return Verdict::new(Outcome::Fail, format!("panicked after {told} test cases"));
    }
    if sotest.failed > 0 {
        let why = format!("{} of {told} test cases failed", sotest.failed);
        return Verdict::new(Outcome::Fail, why);
    }
    match (sotest.announced, told) {
        (None, _) => Verdict::new(Outcome::Fail, "announced no number of test cases"),
        (Some(announced), told) if announced != told => {
            let why = format!("announced {announced} test cases and told of {told}");
            Verdict::new(Outcome::Fail, why)
        }
        (Some(_), 0) => Verdict::new(Outcome::Fail, "has no test case"),
        (Some(_), _) if sotest.passed == 0 => {
            Verdict::new(Outcome::Skip, format!("all {told} test cases skipped"))
        }
        (Some(_), _) => Verdict::new(Outcome::Pass, format!("{} test cases", sotest.passed)),
    }
}

fn of_value(value: u32, account: &Account) -> Verdict {
    if let Some(unended) = &account.sotest {
        let why = format!(
            "exit value {value} after {} test cases, before SOTEST END",
            unended.told()
        );
        return Verdict::new(Outcome::Fail, why);
    }
    if let Some(failed) = failures(account) {
        return Verdict::new(Outcome::Fail, failed);
    }
    match value {
        0 => Verdict::new(Outcome::Pass, passed(account)),
        value if SKIPPED.contains(&value) => Verdict::new(Outcome::Skip, skipped(account)),
        value => {
            let why = format!("exit value {value}, {}", told_so_far(account));
            Verdict::new(Outcome::Fail, why)
        }
    }
}

/// An image that ends without a value has to have had the last word before.
fn of_silence(account: &Account, end: &End) -> Verdict {
    if let Some(unended) = &account.sotest {
        let why = format!(
            "{end} after {} test cases, before SOTEST END",
            unended.told()
        );
        return Verdict::new(Outcome::Fail, why);
    }
    if let Some(failed) = failures(account) {
        return Verdict::new(Outcome::Fail, failed);
    }
    match (account.sum, end) {
        (Some(Sum { tests: 0, .. }), _) => Verdict::new(Outcome::Fail, "has no check"),
        (Some(sum), _) if sum.tests == sum.skipped => Verdict::new(Outcome::Skip, skipped(account)),
        (Some(_), _) => Verdict::new(Outcome::Pass, passed(account)),
        (None, End::PowerOff) if account.count(Mark::Pass) > 0 => {
            Verdict::new(Outcome::Pass, passed(account))
        }
        (None, _) => {
            let why = format!("{end} without a verdict, {}", told_so_far(account));
            Verdict::new(Outcome::Fail, why)
        }
    }
}

/// What failed by the image's own words, if anything did.
fn failures(account: &Account) -> Option<String> {
    let of_sum = account.sum.map_or(0, |sum| sum.failed);
    let told = account.count(Mark::Fail) as u64;
    let failed = of_sum.max(told);
    let all = account
        .sum
        .map_or(account.checks.len() as u64, |sum| sum.tests);
    (failed > 0).then(|| format!("{failed} of {} failed", checks(all.max(failed))))
}

fn passed(account: &Account) -> String {
    match (account.sum, account.count(Mark::Pass)) {
        (None, 0) => "no check told of; its exit value says so".into(),
        (None, told) => checks(told as u64),
        (Some(sum), _) => {
            let asked = sum.tests.saturating_sub(sum.skipped);
            match sum.skipped {
                0 => checks(asked),
                skipped => format!("{}, {skipped} skipped", checks(asked)),
            }
        }
    }
}

/// The image's own reason, if it is the only one.
fn skipped(account: &Account) -> String {
    let mut skips = account.marked(Mark::Skip);
    match (skips.next(), skips.next()) {
        (Some(only), None) if !only.name.is_empty() => only.name.clone(),
        (None, _) => NOTHING.into(),
        _ => format!("{} checks skipped", account.count(Mark::Skip)),
    }
}

/// A number of checks in words.
fn checks(count: u64) -> String {
    match count {
        1 => "1 check".into(),
        count => format!("{count} checks"),
    }
}

fn told_so_far(account: &Account) -> String {
    let [passed, failed] = [Mark::Pass, Mark::Fail].map(|mark| account.count(mark));
    match (passed, failed) {
        (0, 0) => "no check told of".into(),
        (passed, 0) => format!("{} passed so far", checks(passed as u64)),
        (passed, failed) => format!(
            "{} passed and {failed} failed so far",
            checks(passed as u64)
        ),
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
