//! Judging a run by its scenario.
//!
//! Owns what counts as an objection. All of them are reported, not the first. Called by
//! `test`.

use skerry_manifest::report::VmReport;

use super::defect::failed_check;
use super::{Defect, Scenario, VmExpect};
use crate::transcript::Transcript;

/// An objection against one VM, or against the run as a whole.
pub type Objection = (Option<String>, String);

/// Everything about a run that is not as the scenario expects.
pub fn objections(scenario: &Scenario, run: &Transcript) -> Vec<Objection> {
    let of_vms = scenario.expects.iter().flat_map(|vm| of_vm(vm, run));
    let of_rest = match &scenario.source.manifest.root {
        Some(other) => of_component(other, run),
        None => of_host(run),
    };
    of_vms
        .chain(of_rest.into_iter().map(|text| (None, text)))
        .collect()
}

/// What the hypervisor says of itself: whatever the VMs do, all memory comes back.
fn of_host(run: &Transcript) -> Vec<String> {
    let lost = match &run.host {
        Some(host) => host.lost_frames,
        None => return vec!["the hypervisor reported nothing about itself".into()],
    };
    match lost {
        0 => Vec::new(),
        1.. => vec![format!("{lost} frames of memory were lost")],
        _ => vec![format!(
            "{} frames were given back twice",
            lost.unsigned_abs()
        )],
    }
}

/// What the lines of its checks that passed and failed begin with, of a component in `root`'s
/// place.
const CHECKS: [&str; 2] = ["skerry: PASS: ", "skerry: FAIL: "];

/// A component in `root`'s place judges by itself: every check it tells of has to pass, and
/// one at least is told of.
fn of_component(name: &str, run: &Transcript) -> Vec<String> {
    let [passed, failed] = CHECKS.map(|mark| run.lines().filter(move |l| l.starts_with(mark)));
    let mut found: Vec<String> = failed.map(String::from).collect();
    if passed.count() == 0 {
        found.push(format!("{name} told of no check that passed"));
    }
    match run.end.map_or(0, |end| end.status) {
        0 => {}
        status => found.push(format!("{name} ended with status {status}")),
    }
    found
}

fn of_vm(expected: &VmExpect, run: &Transcript) -> Vec<Objection> {
    let mut found = match run.report_on(&expected.vm) {
        Some(report) => of_report(expected, report),
        None => vec!["the hypervisor reported nothing about it".to_string()],
    };
    let says = |text: &str| run.of_vm(&expected.vm).find(|line| line.contains(text));
    for text in &expected.expect.contains {
        if says(text).is_none() {
            found.push(format!("never printed \"{text}\""));
        }
    }
    for text in &expected.expect.absent {
        if let Some(line) = says(text) {
            found.push(format!("printed \"{text}\": {line}"));
        }
    }
    found.extend(excuses_that_do_not_fit(expected, run));
    found
        .into_iter()
        .map(|text| (Some(expected.vm.clone()), text))
        .collect()
}

/// Where an engine's defect is excused, exactly its checks have to fail.
fn excuses_that_do_not_fit(expected: &VmExpect, run: &Transcript) -> Vec<String> {
    let failed: Vec<&str> = run
        .of_vm(&expected.vm)
        .filter(|line| failed_check(line).is_some())
        .collect();
    let mut found = Vec::new();
    let excusing = |defect: &&Defect| !defect.fails.is_empty();
    for defect in expected.defects.iter().filter(excusing) {
        let other = failed.iter().filter(|line| !defect.excuses(line));
        found.extend(other.map(|line| format!("no defect of the engine excuses \"{line}\"")));
        let passes = |known: &&String| {
            let says = |line: &&str| failed_check(line).is_some_and(|c| c.starts_with(*known));
            !failed.iter().any(says)
        };
        let passing = defect.fails.iter().filter(passes);
        found.extend(passing.map(|check| {
            format!("\"{check}\" does not fail on this engine: take it off the defect")
        }));
    }
    found
}

fn of_report(expected: &VmExpect, report: &VmReport) -> Vec<String> {
    let VmExpect {
        expect, background, ..
    } = expected;
    let mut found = Vec::new();
    match expect.status.or((!background).then_some(0)) {
        Some(status) if report.status != status => found.push(format!(
            "ended with status {} ({}), not {status}",
            report.status, report.stop
        )),
        _ => {}
    }
    match &expect.stop {
        Some(stop) if !report.stop.contains(stop.as_str()) => {
            found.push(format!("ended by \"{}\", not \"{stop}\"", report.stop));
        }
        _ => {}
    }
    match expect.restarts {
        Some(restarts) if report.restarts != restarts => {
            found.push(format!(
                "was started again {} times, not {restarts}",
                report.restarts
            ));
        }
        _ => {}
    }
    found
}

/// The first thing in which two runs of one scenario differ: a guest's output, how it
/// ended, or how often it exited.
pub fn difference(first: &Transcript, second: &Transcript) -> Option<Objection> {
    for report in &first.vms {
        let name = &report.name;
        let differs = |text: String| Some((Some(name.clone()), format!("the second run {text}")));
        let Some(again) = second.report_on(name) else {
            return differs("has no report".into());
        };
        if let Some((line, again)) = first_unequal(first.of_vm(name), second.of_vm(name)) {
            return differs(format!("printed \"{again}\" for \"{line}\""));
        }
        if (&report.stop, report.status) != (&again.stop, again.status) {
            return differs(format!(
                "ended by \"{}\" for \"{}\"",
                again.stop, report.stop
            ));
        }
        if report.exits != again.exits {
            return differs(format!("exited {:?} for {:?}", again.exits, report.exits));
        }
    }
    None
}

/// The first pair of lines that differ; a missing one is empty.
fn first_unequal<'a>(
    mut first: impl Iterator<Item = &'a str>,
    mut second: impl Iterator<Item = &'a str>,
) -> Option<(&'a str, &'a str)> {
    loop {
        match (first.next(), second.next()) {
            (None, None) => return None,
            (line, again) if line == again => {}
            (line, again) => return Some((line.unwrap_or(""), again.unwrap_or(""))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::parse;
    use crate::transcript::Keep;
    use skerry_manifest::report::{HostReport, Report};
    use std::path::Path;

    const SCENARIO: &str = r#"
title = "t"
[[vm]]
name = "a"
memory = "4M"
kernel = "stub:timer"
expect = { stop = "halted", contains = ["yes"], absent = ["no"], restarts = 0 }
"#;

    fn run(text: &str) -> Transcript {
        let mut run = Transcript::new(Keep::All);
        run.push(text.as_bytes(), |_| {});
        run
    }

    fn report(stop: &str, status: u32, cpuid: u64) -> String {
        let report = VmReport {
            name: "a".into(),
            stop: stop.into(),
            status,
            exits: [("cpuid".to_string(), cpuid)].into(),
            ..VmReport::default()
        };
        format!("{}\n", Report::Vm(report))
    }

    fn host(lost_frames: i64) -> String {
        let report = HostReport {
            lost_frames,
            ..HostReport::default()
        };
        format!("{}\n", Report::Host(report))
    }

    fn judged_by(scenario: &str, text: &str) -> Vec<String> {
        let scenario = parse("s".into(), "s.toml", scenario, Path::new("")).unwrap();
        objections(&scenario, &run(text))
            .into_iter()
            .map(|(_, text)| text)
            .collect()
    }

    /// Judges a run in which no memory was lost.
    fn judged(text: &str) -> Vec<String> {
        judged_by(SCENARIO, &format!("{text}{}", host(0)))
    }

    #[test]
    fn lost_frames_are_an_objection_in_every_scenario() {
        let well = format!("[a] yes\n{}", report("halted", 0, 1));
        let with = |host: &str| judged_by(SCENARIO, &format!("{well}{host}"));
        assert_eq!(with(&host(0)), [""; 0]);
        assert_eq!(with(&host(3)), ["3 frames of memory were lost"]);
        assert_eq!(with(&host(-1)), ["1 frames were given back twice"]);
        assert_eq!(with("")[0], "the hypervisor reported nothing about itself");
    }

    #[test]
    fn a_component_in_roots_place_is_judged_by_its_checks_and_its_status() {
        let judged = |text: &str| judged_by("title = \"t\"\nroot = \"prober\"\n", text);
        let (pass, fail) = ("skerry: PASS: one\n", "skerry: FAIL: two\n");
        let end = |status| format!("@skerry end {{\"status\":{status}}}\n");
        assert_eq!(judged(&format!("{pass}{}", end(0))), [""; 0]);
        let found = judged(&format!("{pass}{fail}{}", end(1)));
        assert_eq!(found, ["skerry: FAIL: two", "prober ended with status 1"]);
        assert_eq!(judged(&end(0)), ["prober told of no check that passed"]);
    }

    #[test]
    fn a_run_as_expected_draws_no_objection() {
        assert_eq!(
            judged(&format!("[a] yes\n[b] no\n{}", report("halted", 0, 1))),
            [""; 0]
        );
    }

    #[test]
    fn every_objection_is_reported_not_the_first() {
        let found = judged(&format!("[a] no\n{}", report("triple fault", 1, 1)));
        assert_eq!(found.len(), 4, "{found:?}");
    }

    #[test]
    fn a_vm_without_a_report_is_an_objection() {
        assert!(judged("[a] yes\n")[0].contains("reported nothing"));
    }

    #[test]
    fn exactly_the_excused_checks_fail() {
        let text = SCENARIO.replace(
            "expect = {",
            "defects = [{ on = \"bochs\", why = \"w\", fails = [\"one\", \"two\"] }]\nexpect = {",
        );
        let scenario = parse("s".into(), "s.toml", &text, Path::new("")).unwrap();
        let objections_to = |engine, lines: &str| {
            let report = report("halted", 0, 1);
            let run = run(&format!("[a] yes\n{lines}{report}{}", host(0)));
            objections(&scenario.on(engine), &run).len()
        };
        let both = "[a] FAIL: one\n[a] FAIL: two\n";
        assert_eq!(objections_to("bochs", both), 0);
        assert_eq!(objections_to("bochs", "[a] FAIL: one\n"), 1);
        assert_eq!(
            objections_to("bochs", &format!("{both}[a] FAIL: three\n")),
            1
        );
    }

    #[test]
    fn another_vms_words_do_not_count() {
        let found = judged(&format!("[b] yes\n{}", report("halted", 0, 1)));
        assert_eq!(found, ["never printed \"yes\""]);
    }

    #[test]
    fn two_runs_differ_by_one_exit_or_one_letter() {
        let one = run(&format!("[a] x\n{}", report("halted", 0, 7)));
        assert_eq!(difference(&one, &one), None);
        let other = run(&format!("[a] x\n{}", report("halted", 0, 8)));
        assert!(difference(&one, &other).unwrap().1.contains("8"));
        let other = run(&format!("[a] x\n[a] y\n{}", report("halted", 0, 7)));
        assert!(difference(&one, &other).unwrap().1.contains("\"y\""));
    }
}
