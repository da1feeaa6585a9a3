//! What an image told of itself: its checks, and what it made of them.
//!
//! Owns the reading of result lines: `PASS: name` and its kin with a `SUMMARY: ` or `stub: `
//! line at the end, as kvm-unit-tests and Skerry's own stubs print them. The other protocol
//! is `sotest`'s. What all of it comes to is `verdict`'s. Called with every line of a console,
//! however it was run.

use super::sotest::Sotest;

/// An image can print for ever; so many checks are remembered by name.
const MOST_CHECKS: usize = 100_000;

/// What became of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    /// It holds.
    Pass,
    /// It does not, and should.
    Fail,
    /// It was not asked.
    Skip,
    /// It does not hold, as the image itself expects.
    Known,
}

/// The words that open a line about a check. A check that passes against the image's own
/// expectation counts as failed, as the image counts it.
const MARKS: [(&str, Mark); 6] = [
    ("PASS", Mark::Pass),
    ("FAIL", Mark::Fail),
    ("SKIP", Mark::Skip),
    ("XPASS", Mark::Fail),
    ("XFAIL", Mark::Known),
    ("KFAIL", Mark::Known),
];

/// One check, as it was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Check {
    /// What it is about; empty where the image does not say.
    pub(super) name: String,
    /// What became of it.
    pub(super) mark: Mark,
}

/// The image's own sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Sum {
    /// How many checks there were, those that were not asked among them.
    pub(super) tests: u64,
    /// How many failed.
    pub(super) failed: u64,
    /// How many were not asked.
    pub(super) skipped: u64,
}

/// Everything an image told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Account {
    /// Its checks, in order.
    pub(super) checks: Vec<Check>,
    /// Its sum, the last if there are several.
    pub(super) sum: Option<Sum>,
    /// Its SoTest protocol, if it speaks that.
    pub(super) sotest: Option<Sotest>,
}

impl Account {
    /// Takes one line of the console.
    pub(super) fn line(&mut self, line: &str) {
        let line = line.trim();
        if let Some(words) = line.strip_prefix("SOTEST ") {
            let check = self.sotest.get_or_insert_default().line(words);
            self.checks.extend(check);
        } else if let Some(sum) = summary(line).or_else(|| stub_sum(line)) {
            self.sum = Some(sum);
        } else if let Some(check) = check(line)
            && self.checks.len() < MOST_CHECKS
        {
            self.checks.push(check);
        }
    }

    /// The checks with this mark.
    pub(super) fn marked(&self, mark: Mark) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(move |check| check.mark == mark)
    }

    /// How many checks have this mark.
    pub(super) fn count(&self, mark: Mark) -> usize {
        self.marked(mark).count()
    }
}

/// A check's line, `PASS: name` or just `PASS`.
fn check(line: &str) -> Option<Check> {
    let (word, name) = line.split_once(':').unwrap_or((line, ""));
    let (_, mark) = MARKS.iter().find(|(known, _)| *known == word)?;
    Some(Check {
        name: name.trim().into(),
        mark: *mark,
    })
}

/// `SUMMARY: 5 tests, 1 unexpected failures, 2 skipped`
fn summary(line: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    for part in line.strip_prefix("SUMMARY: ")?.split(", ") {
        let (count, what) = part.split_once(' ')?;
        let count = count.parse().ok()?;
        match what {
            "tests" | "test" => sum.tests = count,
            "unexpected failures" => sum.failed = count,
            "skipped" => sum.skipped = count,
            // Failures that the image itself expects.
            _ => {}
        }
    }
    Some(sum)
}

/// `stub: 5 passed, 0 failed, 1 skipped`
fn stub_sum(line: &str) -> Option<Sum> {
    let mut counts = line.strip_prefix("stub: ")?.split(", ");
    let mut next = |what: &str| -> Option<u64> {
        let (count, of) = counts.next()?.split_once(' ')?;
        (of == what).then(|| count.parse().ok())?
    };
    let (passed, failed, skipped) = (next("passed")?, next("failed")?, next("skipped")?);
    Some(Sum {
        tests: passed.saturating_add(failed).saturating_add(skipped),
        failed,
        skipped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(text: &str) -> Account {
        let mut account = Account::default();
        text.lines().for_each(|line| account.line(line));
        account
    }

    #[test]
    fn every_word_for_a_check_has_its_mark() {
        let text = "PASS: a\nFAIL: b: found 1\nSKIP: c\nXFAIL: d\nKFAIL: e\nXPASS: f\nPASS\n";
        let account = account(text);
        let marks: Vec<Mark> = account.checks.iter().map(|check| check.mark).collect();
        assert_eq!(
            marks,
            [
                Mark::Pass,
                Mark::Fail,
                Mark::Skip,
                Mark::Known,
                Mark::Known,
                Mark::Fail,
                Mark::Pass
            ]
        );
        assert_eq!(account.checks[1].name, "b: found 1");
        assert_eq!(account.checks[6].name, "");
    }

    #[test]
    fn a_word_inside_a_line_or_another_word_is_no_check() {
        let account = account("test PASS: a\nPASSED: b\nINFO: FAIL: c\nPASS a\nfail: d\n");
        assert_eq!(account, Account::default());
    }

    #[test]
    fn the_sum_is_read_in_every_form() {
        let sums = [
            "SUMMARY: 5 tests",
            "SUMMARY: 138 tests, 72 unexpected failures, 2 expected failures, 3 skipped",
            "stub: 4 passed, 1 failed, 2 skipped",
        ]
        .map(|line| {
            let sum = account(line).sum.unwrap();
            (sum.tests, sum.failed, sum.skipped)
        });
        assert_eq!(sums, [(5, 0, 0), (138, 72, 3), (7, 1, 2)]);
    }

    #[test]
    fn what_only_looks_like_a_sum_is_none() {
        for line in [
            "SUMMARY: all well",
            "SUMMARY: x tests",
            "stub: FPU state survives",
            "stub: 1 passed, 2 skipped",
        ] {
            assert_eq!(account(line).sum, None, "{line}");
        }
    }

    #[test]
    fn an_image_that_checks_without_end_does_not_fill_our_memory() {
        let mut endless = Account::default();
        for _ in 0..MOST_CHECKS + 5 {
            endless.line("PASS: again");
        }
        assert_eq!(endless.checks.len(), MOST_CHECKS);
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_the_reader_panic(line in "(PASS|SUMMARY|stub|SOTEST)[: ].*") {
            Account::default().line(&line);
        }
    }
}
