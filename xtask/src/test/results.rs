//! The results of a test run: one table, one last line, and JUnit for those who want it.
//!
//! Owns their rendering. Called by `test`.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::failure::Failure;
use crate::scenario::{Excuse, Excused, Objection};

/// One scenario on one engine, or the host's tests.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) engine: String,
    pub(super) objections: Vec<Objection>,
    pub(super) vms: Vec<String>,
    /// What the engine's own defects are excused for.
    pub(super) excused: Vec<Excused>,
    pub(super) took: Duration,
}

impl Case {
    pub(super) fn is_well(&self) -> bool {
        self.objections.is_empty()
    }

    /// Verdict and time.
    pub(super) fn cell(&self) -> String {
        format!("{} {:.1}s", self.word(), self.took.as_secs_f64())
    }

    fn word(&self) -> &'static str {
        if self.objections.is_empty() {
            "ok"
        } else {
            "FAILED"
        }
    }

    /// One line with its objections below.
    pub(super) fn line(&self) -> String {
        let Self {
            name, engine, took, ..
        } = self;
        let mut text = format!(
            "scenario {name} on {engine}: {} ({:.1} s)",
            self.word(),
            took.as_secs_f64()
        );
        for objection in &self.objections {
            text += &format!("\n  {}", shown(objection));
        }
        text
    }

    /// What is excused of this guest.
    pub(super) fn excuse(&self, vm: &str) -> Option<Excuse> {
        let mut excused = self.excused.iter();
        excused.find(|of| of.vm == vm).map(|of| of.kind)
    }

    fn junit(&self) -> TestSuite {
        let mut suite = TestSuite::new(format!("{}/{}", self.engine, self.name));
        suite.set_time(self.took);
        let whole = std::iter::once(None);
        for subject in whole.chain(self.vms.iter().map(Some)) {
            let against: Vec<&str> = self
                .objections
                .iter()
                .filter(|(vm, _)| vm.as_ref() == subject)
                .map(|(_, text)| text.as_str())
                .collect();
            let mut status = TestCaseStatus::success();
            if !against.is_empty() {
                status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(against.join("\n"));
            }
            let name = subject.map_or(self.title.as_str(), String::as_str);
            suite.add_test_case(TestCase::new(name, status));
        }
        suite.add_test_cases(self.excused.iter().filter_map(skipped));
        suite
    }
}

/// A guest that an engine's defect keeps out.
fn skipped(excused: &Excused) -> Option<TestCase> {
    (excused.kind == Excuse::LeftOut).then(|| {
        let mut status = TestCaseStatus::skipped();
        status.set_message(excused.why.clone());
        TestCase::new(excused.vm.as_str(), status)
    })
}

fn shown((vm, text): &Objection) -> String {
    match vm {
        Some(vm) => format!("vm \"{vm}\": {text}"),
        None => text.clone(),
    }
}

/// All results.
#[derive(Debug, Default)]
pub(super) struct Results {
    cases: Vec<Case>,
}

impl Results {
    pub(super) fn add(&mut self, case: Case) {
        self.cases.push(case);
    }

    fn failed(&self) -> usize {
        self.cases
            .iter()
            .filter(|case| !case.objections.is_empty())
            .count()
    }

    /// The objections, the table and the last line.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        for case in self.cases.iter().filter(|case| !case.objections.is_empty()) {
            text += &format!("\n{} on {} failed:\n", case.name, case.engine);
            text.extend(
                case.objections
                    .iter()
                    .map(|found| format!("  {}\n", shown(found))),
            );
        }
        let failed = self.failed();
        text + &format!(
            "\n{}{}\n{} passed, {failed} failed\n",
            super::grid::of(&self.cases),
            self.excuses(),
            self.cases.len() - failed
        )
    }

    /// A line for each defect of an engine that somebody was excused for.
    fn excuses(&self) -> String {
        let mut text = String::new();
        for case in &self.cases {
            for Excused { vm, kind, why } in &case.excused {
                let what = match kind {
                    Excuse::LeftOut => "left out".into(),
                    Excuse::Checks(0) => "run otherwise".into(),
                    Excuse::Checks(count) => format!("{count} known to fail"),
                };
                let Case { name, engine, .. } = case;
                text += &format!("{engine}, {name}, {vm}: {what}: {why}\n");
            }
        }
        match text.as_str() {
            "" => text,
            _ => format!("\nDefects of the engines:\n{text}"),
        }
    }

    pub(super) fn write_junit(&self, file: &Path) -> Result<()> {
        let mut report = Report::new("skerry");
        report.add_test_suites(self.cases.iter().map(Case::junit));
        let out = File::create(file).with_context(|| format!("create {}", file.display()))?;
        report
            .serialize(out)
            .with_context(|| format!("write {}", file.display()))
    }

    /// # Errors
    /// A test failed.
    pub(super) fn check(&self) -> Result<()> {
        match self.failed() {
            0 => Ok(()),
            failed => Err(Failure::Run(format!("{failed} of {} failed", self.cases.len())).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, objections: &[&str]) -> Case {
        let against = |text: &&str| (Some("a".to_string()), (*text).to_string());
        Case {
            name: name.into(),
            title: "it works".into(),
            engine: "bochs".into(),
            objections: objections.iter().map(against).collect(),
            vms: vec!["a".into(), "b".into()],
            excused: vec![Excused {
                vm: "c".into(),
                kind: Excuse::LeftOut,
                why: "it aborts".into(),
            }],
            took: Duration::from_millis(1500),
        }
    }

    fn results() -> Results {
        Results {
            cases: vec![case("good", &[]), case("bad", &["one", "two"])],
        }
    }

    #[test]
    fn the_last_line_counts_and_every_objection_is_shown() {
        let text = results().table();
        assert!(text.ends_with("\n1 passed, 1 failed\n"), "{text}");
        assert!(
            text.contains("vm \"a\": one") && text.contains("vm \"a\": two"),
            "{text}"
        );
        assert!(
            text.contains("bochs, good, c: left out: it aborts"),
            "{text}"
        );
        assert!(results().check().is_err());
    }

    #[test]
    fn junit_has_a_case_for_each_vm_and_the_failure_at_the_right_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        results().write_junit(file.path()).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text.matches("<testcase").count(), 8, "{text}");
        assert_eq!(text.matches("<skipped").count(), 2, "{text}");
        assert_eq!(text.matches("<failure").count(), 1, "{text}");
    }
}
