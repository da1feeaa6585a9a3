//! The SoTest protocol: one line a test case, between a line that announces how many there
//! are and a line that ends them [SoTest, "Test Output Protocol Specification", version 1].
//!
//! Owns the reading of its lines and their sums. Called by `account`.

use super::account::{Check, Mark};

/// The protocol so far. Sums are kept here; names of test cases go to the account.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Sotest {
    /// How many test cases were announced, if any were.
    pub(super) announced: Option<u64>,
    /// How many succeeded.
    pub(super) passed: u64,
    /// How many failed.
    pub(super) failed: u64,
    /// How many were skipped.
    pub(super) skipped: u64,
    /// Whether the end was told.
    pub(super) ended: bool,
    /// Whether the image gave up.
    pub(super) panicked: bool,
}

impl Sotest {
    /// Takes a line without its first word. A line may have more behind what is meant.
    pub(super) fn line(&mut self, words: &str) -> Option<Check> {
        let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
        // What follows the end is not the protocol's.
        if self.ended {
            return None;
        }
        match word {
            "VERSION" => self.announced = announced(rest),
            "SUCCESS" => return Some(self.case(Mark::Pass, rest)),
            "FAIL" => return Some(self.case(Mark::Fail, rest)),
            "SKIP" => return Some(self.case(Mark::Skip, rest)),
            // A figure that is a test case of its own; with a colon it belongs to one.
            "BENCHMARK" => return Some(self.case(Mark::Pass, rest)),
            "END" => self.ended = true,
            "PANIC" => self.panicked = true,
            _ => {}
        }
        None
    }

    fn case(&mut self, mark: Mark, rest: &str) -> Check {
        let count = match mark {
            Mark::Pass => &mut self.passed,
            Mark::Fail => &mut self.failed,
            Mark::Skip | Mark::Known => &mut self.skipped,
        };
        *count = count.saturating_add(1);
        let name = quoted(rest).map_or_else(|| format!("case {}", self.told()), String::from);
        Check { name, mark }
    }

    /// How many test cases were told of.
    pub(super) fn told(&self) -> u64 {
        self.passed
            .saturating_add(self.failed)
            .saturating_add(self.skipped)
    }
}

/// The number in `1 BEGIN 12`.
fn announced(rest: &str) -> Option<u64> {
    let mut words = rest.split_whitespace().skip(1);
    match words.next() {
        Some("BEGIN") => words.next()?.parse().ok(),
        _ => None,
    }
}

/// What stands between the last pair of quotes: names come after units.
fn quoted(rest: &str) -> Option<&str> {
    let (_, opened) = rest.trim_end().strip_suffix('"')?.rsplit_once('"')?;
    Some(opened)
}

#[cfg(test)]
mod tests {
    use super::super::account::Account;
    use super::*;

    fn read(text: &str) -> (Sotest, Vec<Check>) {
        let mut account = Account::default();
        text.lines().for_each(|line| account.line(line));
        (account.sotest.unwrap(), account.checks)
    }

    #[test]
    fn every_test_case_is_counted_and_named() {
        let (sotest, checks) = read(
            "SOTEST VERSION 1 BEGIN 4\n\
             SOTEST SUCCESS \"timer fires\"\n\
             test case: test_next\n\
             SOTEST SKIP\n\
             SOTEST FAIL \"x2apic\"\n\
             SOTEST BENCHMARK 12 \"ns\" \"exit\"\n\
             SOTEST END\n\
             Goodbye\n",
        );
        let expected = Sotest {
            announced: Some(4),
            passed: 2,
            failed: 1,
            skipped: 1,
            ended: true,
            panicked: false,
        };
        assert_eq!(sotest, expected);
        let names: Vec<(&str, Mark)> = checks
            .iter()
            .map(|check| (check.name.as_str(), check.mark))
            .collect();
        assert_eq!(
            names,
            [
                ("timer fires", Mark::Pass),
                ("case 2", Mark::Skip),
                ("x2apic", Mark::Fail),
                ("exit", Mark::Pass),
            ]
        );
    }

    #[test]
    fn a_figure_inside_a_test_case_is_no_test_case() {
        let (sotest, checks) = read("SOTEST VERSION 1 BEGIN 1\nSOTEST BENCHMARK:exit:ns:12\n");
        assert_eq!((sotest.told(), checks.len()), (0, 0));
    }

    #[test]
    fn nothing_counts_behind_the_end() {
        let (sotest, _) = read("SOTEST VERSION 1 BEGIN 1\nSOTEST END\nSOTEST SUCCESS \"late\"\n");
        assert_eq!((sotest.told(), sotest.ended), (0, true));
    }

    #[test]
    fn a_beginning_that_announces_no_number_announces_nothing() {
        assert_eq!(read("SOTEST VERSION 1\n").0.announced, None);
        assert_eq!(read("SOTEST VERSION 1 BEGIN many\n").0.announced, None);
        assert_eq!(read("SOTEST VERSION 1 BEGIN 7 x\n").0.announced, Some(7));
    }
}
