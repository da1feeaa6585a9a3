//! The one table of a test run: a line for every test and every guest in it, a column for
//! every engine.
//!
//! Owns its rendering. Called by `results`.

use super::results::Case;
use crate::scenario::Excuse;
use crate::table;

/// What stands where a test did not run, or a guest was not judged.
const NONE: &str = "-";

/// The table.
pub(super) fn of(cases: &[Case]) -> String {
    let engines = distinct(cases.iter().map(|case| case.engine.as_str()));
    let header = [&["test, guest"], engines.as_slice(), &["shows that"]].concat();
    let mut table = table::with_header(&header, &[]);
    for name in distinct(cases.iter().map(|case| case.name.as_str())) {
        let of_name = |engine: &&str| {
            let mut found = cases.iter();
            found.find(|case| case.name == name && case.engine == *engine)
        };
        let row: Vec<Option<&Case>> = engines.iter().map(of_name).collect();
        let some = row.iter().copied().flatten();
        let Some(first) = some
            .clone()
            .find(|case| !case.is_well())
            .or_else(|| some.clone().next())
        else {
            continue;
        };
        table.add_row(line(name, &row, &first.title, Case::cell));
        let guests = some.flat_map(|case| {
            let left_out = case.excused.iter().map(|excused| &excused.vm);
            case.vms.iter().chain(left_out).map(String::as_str)
        });
        for vm in distinct(guests) {
            table.add_row(line(&format!("  {vm}"), &row, "", |case| of_vm(case, vm)));
        }
    }
    table::text(&table)
}

fn line(
    name: &str,
    row: &[Option<&Case>],
    title: &str,
    cell: impl Fn(&Case) -> String,
) -> Vec<String> {
    let cells = row.iter().map(|case| case.map_or(NONE.into(), &cell));
    let name = std::iter::once(name.to_string());
    name.chain(cells)
        .chain(std::iter::once(title.to_string()))
        .collect()
}

/// A guest that nothing was said against in a run that broke off was not judged.
fn of_vm(case: &Case, vm: &str) -> String {
    let against = |of: Option<&str>| case.objections.iter().any(|(vm, _)| vm.as_deref() == of);
    match (against(Some(vm)), against(None), case.excuse(vm)) {
        (true, _, _) => "FAILED".into(),
        (false, _, Some(Excuse::LeftOut)) => "left out".into(),
        (false, true, _) => NONE.into(),
        (false, false, Some(Excuse::Checks(_))) => "ok, excused".into(),
        (false, false, None) => "ok".into(),
    }
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
mod tests {
    use super::*;
    use crate::scenario::Excused;
    use std::time::Duration;

    fn case(name: &str, engine: &str, objections: &[(Option<&str>, &str)]) -> Case {
        let owned = |(vm, text): &(Option<&str>, &str)| (vm.map(String::from), text.to_string());
        Case {
            name: name.into(),
            title: "it works".into(),
            engine: engine.into(),
            objections: objections.iter().map(owned).collect(),
            vms: vec!["a".into(), "b".into()],
            excused: Vec::new(),
            took: Duration::from_secs(2),
        }
    }

    fn words(cases: &[Case]) -> Vec<Vec<String>> {
        let text = of(cases);
        let words = |line: &str| line.split_whitespace().map(String::from).collect();
        text.lines().map(words).collect()
    }

    #[test]
    fn each_guest_stands_once_with_every_engines_verdict() {
        let lines = words(&[
            case("stubs", "bochs", &[]),
            case("stubs", "qemu-tcg", &[(Some("b"), "no")]),
        ]);
        assert_eq!(lines[0][..4], ["test,", "guest", "bochs", "qemu-tcg"]);
        assert_eq!(lines[1][..5], ["stubs", "ok", "2.0s", "FAILED", "2.0s"]);
        assert_eq!(
            lines[2..],
            [vec!["a", "ok", "ok"], vec!["b", "ok", "FAILED"]]
        );
    }

    #[test]
    fn a_guest_that_a_defect_keeps_out_is_not_ok() {
        let mut there = case("stubs", "qemu-tcg", &[]);
        there.vms = vec!["a".into()];
        there.excused = vec![Excused {
            vm: "b".into(),
            kind: Excuse::LeftOut,
            why: "it aborts".into(),
        }];
        let lines = words(&[there, case("stubs", "bochs", &[])]);
        assert_eq!(lines[2], ["a", "ok", "ok"]);
        assert_eq!(lines[3], ["b", "left", "out", "ok"]);
    }

    #[test]
    fn a_run_that_broke_off_judges_no_guest_and_a_test_may_be_missing_on_an_engine() {
        let lines = words(&[
            case("one", "bochs", &[(None, "time limit")]),
            case("two", "qemu-tcg", &[]),
        ]);
        assert_eq!(lines[2], ["a", "-", "-"]);
        assert_eq!(lines[4][..4], ["two", "-", "ok", "2.0s"]);
    }
}
