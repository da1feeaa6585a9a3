//! All results of a conformance run.
//!
//! Owns which of them fail the run, and the counts. How they are printed is `format`'s.

use std::time::Duration;

use super::account::{Account, Mark};
use super::baseline::Standing;
use super::compare::{Comparison, Parity};
use super::verdict::{Outcome, Verdict};
use crate::failure::Failure;

/// One image in one place.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The image.
    pub(super) image: String,
    /// The place.
    pub(super) place: String,
    /// What it came to.
    pub(super) verdict: Verdict,
    /// What it told.
    pub(super) account: Account,
    /// Whether it really ran there.
    pub(super) ran: bool,
    /// How it compares with the bare engine, if that was asked.
    pub(super) comparison: Option<Comparison>,
    /// What the baseline says of it.
    pub(super) standing: Standing,
    /// What it asked for and did not get.
    pub(super) wants: Vec<String>,
    /// The last line it printed.
    pub(super) last_line: String,
    /// Where its whole console is, if it was kept.
    pub(super) log: Option<String>,
    /// The time it had.
    pub(super) took: Duration,
    /// Whether it is only here to be compared with.
    pub(super) is_reference: bool,
}

/// Everything the run came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Results {
    /// Images by place, in the order they were found.
    pub(super) rows: Vec<Row>,
    /// What was left out, and why.
    pub(super) left_out: Vec<(String, String)>,
    /// What cannot be run, a line each.
    pub(super) refused: Vec<String>,
    /// What broke, that must not, whatever guests do.
    pub(super) broken: Vec<String>,
    /// Images that the baseline mentions and that were not run.
    pub(super) unused: Vec<String>,
}

impl Row {
    /// Whether it is as it should be.
    pub(super) fn is_well(&self) -> bool {
        if self.is_reference {
            return true;
        }
        match (&self.standing, &self.comparison) {
            (Standing::Expected(_), _) => true,
            (Standing::Changed(_), _) => false,
            (Standing::Unmarked, Some(comparison)) => comparison.parity != Parity::Lost,
            (Standing::Unmarked, None) => self.verdict.outcome.is_well(),
        }
    }

    /// Why a result that nobody expected does not fail the run, where it does not.
    pub(super) fn excuse(&self) -> &'static str {
        if self.is_reference {
            "for comparison only"
        } else {
            "the bare engine does no better"
        }
    }

    /// A few words that set it apart, if any do.
    pub(super) fn remark(&self) -> Option<&'static str> {
        let parity = self.comparison.as_ref().map(|of| of.parity);
        match (&self.standing, parity) {
            (Standing::Changed(_), _) => Some("CHANGED"),
            (Standing::Expected(_), _) => Some("expected"),
            (Standing::Unmarked, Some(Parity::Lost)) => Some("LOST"),
            (Standing::Unmarked, Some(Parity::Same)) | (Standing::Unmarked, None) => None,
            (Standing::Unmarked, Some(parity)) => Some(parity.word()),
        }
    }

    /// Why, with everything that may explain it, a line each.
    pub(super) fn details(&self) -> Vec<String> {
        const MOST: usize = 10;
        let mut lines = Vec::new();
        if let Standing::Changed(how) | Standing::Expected(how) = &self.standing {
            lines.push(format!("baseline: {how}"));
        }
        let failed = self.account.marked(Mark::Fail);
        let failed: Vec<String> = failed
            .map(|check| format!("FAIL: {}", check.name))
            .collect();
        let lost = self.comparison.iter().flat_map(|of| &of.lost);
        let lost: Vec<String> = lost.map(|lost| format!("lost: {lost}")).collect();
        for group in [failed, lost] {
            let more = group.len().saturating_sub(MOST);
            lines.extend(group.into_iter().take(MOST));
            if more > 0 {
                lines.push(format!("... {more} more"));
            }
        }
        if !self.last_line.is_empty() {
            lines.push(format!("last line: {}", self.last_line));
        }
        if !self.wants.is_empty() {
            lines.push(format!(
                "not given what it asks for: {}",
                self.wants.join(", ")
            ));
        }
        lines.extend(self.log.iter().map(|log| format!("console: {log}")));
        lines
    }
}

impl Results {
    /// The places, in their order.
    pub(super) fn places(&self) -> Vec<&str> {
        distinct(self.rows.iter().map(|row| row.place.as_str()))
    }

    /// The images, in their order.
    pub(super) fn images(&self) -> Vec<&str> {
        distinct(self.rows.iter().map(|row| row.image.as_str()))
    }

    /// One image in one place.
    pub(super) fn row(&self, image: &str, place: &str) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.image == image && row.place == place)
    }

    /// The rows that are not as they should be.
    pub(super) fn unwell(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.is_well())
    }

    /// The counts, a line for each place.
    pub(super) fn counts(&self) -> String {
        let mut text = String::new();
        for place in self.places() {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.place == place).collect();
            text += &format!("{place}: {}\n", counts(&rows));
        }
        let (left_out, refused) = (self.left_out.len(), self.refused.len());
        text + &format!("{left_out} left out, {refused} refused\n")
    }

    /// # Errors
    /// [`Failure::Input`] if a path or image was refused, whatever else happened;
    /// [`Failure::Run`] if a result is not as it should be, or something broke.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let unwell = self.unwell().count();
        let mut why = Vec::new();
        if unwell > 0 {
            why.push(format!(
                "{unwell} of {} are not as they should be",
                self.rows.len()
            ));
        }
        why.extend(
            self.broken
                .iter()
                .map(|broken| format!("Skerry broke: {broken}")),
        );
        if !self.refused.is_empty() {
            let lines = [self.refused.clone(), why].concat();
            return Err(Failure::Input(lines.join("\n")));
        }
        match why.is_empty() {
            true => Ok(()),
            false => Err(Failure::Run(why.join("\n"))),
        }
    }
}

fn counts(rows: &[&Row]) -> String {
    let of = |outcome| {
        rows.iter()
            .filter(|row| row.verdict.outcome == outcome)
            .count()
    };
    let words = ["passed", "failed", "skipped", "crashed", "out of time"];
    let mut parts: Vec<String> = Outcome::ALL
        .into_iter()
        .zip(words)
        .map(|(outcome, word)| format!("{} {word}", of(outcome)))
        .collect();
    let marked = |is: fn(&Standing) -> bool| rows.iter().filter(|row| is(&row.standing)).count();
    let expected = marked(|standing| matches!(standing, Standing::Expected(_)));
    let changed = marked(|standing| matches!(standing, Standing::Changed(_)));
    if expected + changed > 0 {
        parts.push(format!(
            "{expected} as the baseline expects, {changed} changed"
        ));
    }
    let compared = |parity| {
        let of_row = |row: &&&Row| row.comparison.as_ref().is_some_and(|c| c.parity == parity);
        rows.iter().filter(of_row).count()
    };
    let text = parts.join(", ");
    if rows.iter().all(|row| row.comparison.is_none()) {
        return text;
    }
    let parities = Parity::ALL.map(|parity| format!("{} {}", compared(parity), parity.word()));
    format!("{text}; against bare: {}", parities.join(", "))
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A row of this outcome.
    pub(crate) fn row(image: &str, place: &str, outcome: Outcome) -> Row {
        Row {
            image: image.into(),
            place: place.into(),
            verdict: Verdict::new(outcome, "because"),
            account: Account::default(),
            ran: true,
            comparison: None,
            standing: Standing::Unmarked,
            wants: Vec::new(),
            last_line: String::new(),
            log: None,
            took: Duration::from_millis(1500),
            is_reference: false,
        }
    }

    fn compared(parity: Parity, outcome: Outcome) -> Row {
        let comparison = Comparison {
            parity,
            lost: vec!["b: fails".into()],
            gained: 0,
        };
        Row {
            comparison: Some(comparison),
            ..row("a", "bochs", outcome)
        }
    }

    #[test]
    fn a_failure_a_crash_and_a_time_out_fail_the_run_unless_they_are_expected() {
        for outcome in [Outcome::Fail, Outcome::Crash, Outcome::Timeout] {
            let mut row = row("a", "bochs", outcome);
            assert!(!row.is_well(), "{outcome:?}");
            row.standing = Standing::Expected("known".into());
            assert!(row.is_well(), "{outcome:?}");
        }
        let mut pass = row("a", "bochs", Outcome::Pass);
        assert!(pass.is_well());
        pass.standing = Standing::Changed("pass, expected fail".into());
        assert!(!pass.is_well());
    }

    #[test]
    fn against_the_bare_engine_only_a_loss_fails_the_run() {
        assert!(!compared(Parity::Lost, Outcome::Fail).is_well());
        for parity in [
            Parity::Same,
            Parity::Withheld,
            Parity::Gained,
            Parity::Engines,
        ] {
            assert!(compared(parity, Outcome::Fail).is_well(), "{parity:?}");
        }
        let mut lost = compared(Parity::Lost, Outcome::Fail);
        lost.standing = Standing::Expected("known".into());
        assert!(lost.is_well());
        let reference = Row {
            is_reference: true,
            ..row("a", "bochs bare", Outcome::Fail)
        };
        assert!(reference.is_well());
    }

    #[test]
    fn what_was_refused_is_told_before_what_failed_and_decides_the_status() {
        let mut results = Results {
            rows: vec![row("a", "bochs", Outcome::Pass)],
            ..Results::default()
        };
        assert!(results.check().is_ok());
        results.broken.push("a panic".into());
        assert!(matches!(results.check(), Err(Failure::Run(why)) if why.contains("a panic")));
        results.refused.push("x.flat: no image".into());
        assert!(
            matches!(results.check(), Err(Failure::Input(why)) if why.starts_with("x.flat: no image\n"))
        );
    }

    #[test]
    fn every_outcome_is_counted_by_place() {
        let results = Results {
            rows: vec![
                row("a", "bochs", Outcome::Pass),
                row("b", "bochs", Outcome::Crash),
                compared(Parity::Lost, Outcome::Timeout),
            ],
            left_out: vec![("c".into(), "i386 only".into())],
            ..Results::default()
        };
        let counts = results.counts();
        for part in [
            "bochs: 1 passed, 0 failed, 0 skipped, 1 crashed, 1 out of time; against bare: 0 same, 1 lost",
            "\n1 left out, 0 refused\n",
        ] {
            assert!(counts.contains(part), "{part} is missing in {counts}");
        }
    }

    #[test]
    fn details_are_cut_short_and_say_so() {
        let mut row = row("a", "bochs", Outcome::Fail);
        (0..12).for_each(|number| row.account.line(&format!("FAIL: check {number}")));
        row.wants.push("-cpu qemu64".into());
        let details = row.details();
        assert_eq!(details[9], "FAIL: check 9");
        assert_eq!(details[10], "... 2 more");
        assert_eq!(details[11], "not given what it asks for: -cpu qemu64");
    }
}
