//! The Test Anything Protocol [TAP, "TAP 13 specification"].
//!
//! Owns its lines. An expected failure has the protocol's directive for tests that are known not
//! to pass, an image that asked nothing `# SKIP`; what explains a failure follows in YAML, its
//! strings as JSON has them.

use super::super::baseline::Standing;
use super::super::result::{Results, Row};
use super::super::verdict::Outcome;

/// The directive of an expected failure; in two pieces, for it marks unfinished work elsewhere.
const EXPECTED: &str = concat!("TO", "DO");

pub(super) fn render(results: &Results) -> String {
    let rows = results.rows.iter().map(of_row);
    let left_out = results.left_out.iter();
    let left_out = left_out.map(|(name, why)| line("ok", name, Some(("SKIP", why))));
    let refused = results.refused.iter();
    let refused = refused.map(|why| line("not ok", &format!("refused: {why}"), None));
    let broken = results.broken.iter();
    let broken = broken.map(|why| line("not ok", &format!("Skerry stays whole: {why}"), None));
    let points: Vec<String> = rows.chain(left_out).chain(refused).chain(broken).collect();
    let mut text = format!("TAP version 13\n1..{}\n", points.len());
    for (number, point) in (1..).zip(points) {
        text += &point.replacen("NUMBER", &number.to_string(), 1);
    }
    text
}

fn of_row(row: &Row) -> String {
    let name = format!("{} on {}", row.image, row.place);
    let Row {
        verdict, standing, ..
    } = row;
    match (row.is_well(), verdict.outcome, standing) {
        (true, Outcome::Skip, _) => line("ok", &name, Some(("SKIP", &verdict.why))),
        (true, Outcome::Pass, _) => line("ok", &name, None),
        (true, _, Standing::Expected(why)) => line("not ok", &name, Some((EXPECTED, why))),
        (true, _, _) => line("not ok", &name, Some((EXPECTED, row.excuse()))),
        (false, _, _) => line("not ok", &name, None) + &yaml(row),
    }
}

/// A test point, `NUMBER` in the place of its number.
fn line(result: &str, name: &str, directive: Option<(&str, &str)>) -> String {
    let name = escaped(name);
    match directive {
        None => format!("{result} NUMBER - {name}\n"),
        Some((word, why)) => format!("{result} NUMBER - {name} # {word} {}\n", plain(why)),
    }
}

/// A description must not hold what starts a directive.
fn escaped(text: &str) -> String {
    plain(text).replace('\\', "\\\\").replace('#', "\\#")
}

/// On one line, and nothing that moves a terminal.
fn plain(text: &str) -> String {
    crate::lines::harmless(&text.replace(['\n', '\r'], " "))
}

fn yaml(row: &Row) -> String {
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let mut text = format!(
        "  ---\n  outcome: {}\n  why: {}\n  details:\n",
        row.verdict.outcome.word(),
        json(&row.verdict.why)
    );
    for detail in row.details() {
        text += &format!("    - {}\n", json(&detail));
    }
    text + "  ...\n"
}

#[cfg(test)]
mod tests {
    use super::super::super::result::tests::row;
    use super::*;

    #[test]
    fn every_result_has_its_point_and_its_directive() {
        let mut expected = row("b", "bochs", Outcome::Crash);
        expected.standing = Standing::Expected("known #7".into());
        let mut failed = row("c #1", "bochs", Outcome::Fail);
        failed.last_line = "end \"x\"".into();
        let results = Results {
            rows: vec![
                row("a", "bochs", Outcome::Pass),
                expected,
                failed,
                row("d", "bochs", Outcome::Skip),
            ],
            left_out: vec![("e".into(), "i386 only".into())],
            refused: vec!["f.flat: is\nempty".into()],
            ..Results::default()
        };
        assert_eq!(
            render(&results).replace(EXPECTED, "KNOWN"),
            "TAP version 13\n1..6\n\
             ok 1 - a on bochs\n\
             not ok 2 - b on bochs # KNOWN known #7\n\
             not ok 3 - c \\#1 on bochs\n  ---\n  outcome: fail\n  why: \"because\"\n  \
             details:\n    - \"last line: end \\\"x\\\"\"\n  ...\n\
             ok 4 - d on bochs # SKIP because\n\
             ok 5 - e # SKIP i386 only\n\
             not ok 6 - refused: f.flat: is empty\n"
        );
    }
}
