//! The report for people.
//!
//! Owns the table, what stands below it, and the counts at the end.

use super::super::result::{Results, Row};
use crate::{lines, table};

/// What stands where an image did not run.
const NONE: &str = "-";

pub(super) fn render(results: &Results) -> String {
    let mut text = grid(results);
    for row in results.unwell() {
        text += &story(row);
    }
    for (name, why) in &results.left_out {
        text += &format!("{name}: left out: {why}\n");
    }
    for image in &results.unused {
        text += &format!("{image}: in the baseline, and was not run\n");
    }
    for broken in &results.broken {
        text += &format!("\nSkerry broke: {}\n", lines::harmless(broken));
    }
    text + "\n" + &results.counts()
}

fn grid(results: &Results) -> String {
    let places = results.places();
    let header = [&["image"], places.as_slice(), &["because"]].concat();
    let mut table = table::with_header(&header, &[]);
    for image in results.images() {
        let row: Vec<Option<&Row>> = places.iter().map(|p| results.row(image, p)).collect();
        let found = row.iter().copied().flatten();
        let telling = found.clone().find(|row| !row.is_well());
        let why = telling.or_else(|| found.clone().next());
        let cells = row.iter().map(|row| row.map_or(NONE.into(), cell));
        table.add_row(
            std::iter::once(image.to_string())
                .chain(cells)
                .chain(why.map(|row| lines::harmless(&row.verdict.why))),
        );
    }
    table::text(&table)
}

fn cell(row: &Row) -> String {
    let remark = row.remark().map(|remark| format!(", {remark}"));
    format!(
        "{}{} {:.1}s",
        row.verdict.outcome.word(),
        remark.unwrap_or_default(),
        row.took.as_secs_f64()
    )
}

/// A row that is not well, with all that may explain it.
fn story(row: &Row) -> String {
    let Row {
        image,
        place,
        verdict,
        ..
    } = row;
    let mut text = format!(
        "\n{image} on {place}: {}: {}\n",
        verdict.outcome.word(),
        lines::harmless(&verdict.why)
    );
    for line in row.details() {
        text += &format!("  {}\n", lines::harmless(&line));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::super::result::tests::row;
    use super::super::super::verdict::Outcome;
    use super::*;

    #[test]
    fn images_are_lines_places_are_columns_and_trouble_has_its_story() {
        let mut failed = row("apic", "bochs", Outcome::Fail);
        failed.account.line("FAIL: timer \x1b[2J");
        let results = Results {
            rows: vec![
                row("apic", "qemu-tcg", Outcome::Pass),
                failed,
                row("tsc", "qemu-tcg", Outcome::Skip),
            ],
            left_out: vec![("old".into(), "i386 only".into())],
            ..Results::default()
        };
        let text = render(&results);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[0], ["image", "qemu-tcg", "bochs", "because"]);
        assert_eq!(
            lines[1],
            ["apic", "pass", "1.5s", "fail", "1.5s", "because"]
        );
        assert_eq!(lines[2], ["tsc", "skip", "1.5s", "-", "because"]);
        assert!(text.contains("\napic on bochs: fail: because\n  FAIL: timer ^[[2J\n"));
        assert!(text.contains("old: left out: i386 only\n"));
    }
}
