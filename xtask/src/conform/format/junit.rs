//! JUnit XML.
//!
//! Owns the mapping: a suite for each place, a case for each image; what was left out, refused
//! or broken is a suite of its own.

use anyhow::Result;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::super::baseline::Standing;
use super::super::result::{Results, Row};
use super::super::verdict::Outcome;

/// The suite of what did not run anywhere.
const REST: &str = "conform";

pub(super) fn render(results: &Results) -> Result<String> {
    let mut report = Report::new("skerry conform");
    for place in results.places() {
        let mut suite = TestSuite::new(place);
        let rows = results.rows.iter().filter(|row| row.place == place);
        suite.add_test_cases(rows.map(of_row));
        report.add_test_suite(suite);
    }
    let rest = rest(results);
    if rest.tests > 0 {
        report.add_test_suite(rest);
    }
    Ok(report.to_string()?)
}

fn rest(results: &Results) -> TestSuite {
    let mut suite = TestSuite::new(REST);
    for (name, why) in &results.left_out {
        suite.add_test_case(TestCase::new(name.as_str(), skipped(why)));
    }
    for (name, lines) in [("refused", &results.refused), ("broke", &results.broken)] {
        for line in lines {
            suite.add_test_case(TestCase::new(
                name,
                non_success(NonSuccessKind::Error, line),
            ));
        }
    }
    suite
}

fn of_row(row: &Row) -> TestCase {
    let Row {
        verdict, standing, ..
    } = row;
    let status = match (row.is_well(), verdict.outcome, standing) {
        (false, outcome, _) => {
            let kind = match outcome {
                Outcome::Crash | Outcome::Timeout => NonSuccessKind::Error,
                Outcome::Pass | Outcome::Fail | Outcome::Skip => NonSuccessKind::Failure,
            };
            let mut status = non_success(kind, &verdict.why);
            status.set_type(outcome.word());
            status.set_description(row.details().join("\n"));
            status
        }
        (true, Outcome::Pass, _) => TestCaseStatus::success(),
        (true, Outcome::Skip, _) => skipped(&verdict.why),
        (true, outcome, Standing::Expected(why)) => {
            skipped(&format!("{}, as expected: {why}", outcome.word()))
        }
        (true, outcome, _) => skipped(&format!("{}, {}", outcome.word(), row.excuse())),
    };
    let mut case = TestCase::new(row.image.as_str(), status);
    case.set_classname(row.place.as_str());
    case.set_time(row.took);
    case
}

fn skipped(why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(why);
    status
}

fn non_success(kind: NonSuccessKind, why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(why);
    status
}

#[cfg(test)]
mod tests {
    use super::super::super::result::tests::row;
    use super::*;

    #[test]
    fn every_result_is_a_case_of_the_right_kind() {
        let mut expected = row("b", "bochs", Outcome::Fail);
        expected.standing = Standing::Expected("known".into());
        let results = Results {
            rows: vec![
                row("a", "qemu-tcg", Outcome::Pass),
                row("a", "bochs", Outcome::Fail),
                expected,
                row("c", "bochs", Outcome::Timeout),
                row("d", "bochs", Outcome::Skip),
            ],
            left_out: vec![("e".into(), "i386 only".into())],
            refused: vec!["f.flat: is empty".into()],
            ..Results::default()
        };
        let text = render(&results).unwrap();
        let count = |what: &str| text.matches(what).count();
        assert_eq!(count("<testsuite "), 3, "{text}");
        assert_eq!(count("<testcase "), 7, "{text}");
        assert_eq!(count("<failure "), 1, "{text}");
        assert_eq!(count("<error "), 2, "{text}");
        assert_eq!(count("<skipped "), 3, "{text}");
        assert!(text.contains("fail, as expected: known"), "{text}");
    }
}
