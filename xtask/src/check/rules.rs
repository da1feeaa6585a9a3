//! The house rules that a program can judge: lengths, first lines, names, leftovers.
//!
//! Owns the limits. It does not own the list of exceptions (`findings`) nor what needs a
//! reader's judgement. Called by `check`.

use std::path::Path;

use anyhow::Result;

use super::findings::{self, Finding};
use super::items::{Function, Items};
use super::sources::{self, SourceFile};
use super::{Options, Outcome};

/// The longest a source file may be, in lines.
const FILE_LINES: usize = 500;
/// The longest a function may be, in lines from its `fn` to its closing brace.
const FUNCTION_LINES: usize = 60;

/// Judges every Rust file.
pub(super) fn check(root: &Path, _options: &Options) -> Result<Outcome> {
    let mut findings = Vec::new();
    let mut lengths = Vec::new();
    let files = sources::files(root, "rs")?;
    for file in &files {
        findings.extend(of_file(file));
        match Items::of(&file.text) {
            Ok(items) => {
                lengths.extend(items.functions.iter().map(|function| function.lines));
                findings.extend(of_items(&file.path, &items));
            }
            Err(error) => findings.push(not_rust(file, &error)),
        }
    }
    let findings = findings::without_exceptions(findings)?;
    if findings.is_empty() {
        return Ok(Outcome::Passed(format!(
            "{} files, {}",
            files.len(),
            statistics(lengths)
        )));
    }
    Ok(Outcome::Failed(
        findings.iter().map(ToString::to_string).collect(),
    ))
}

fn not_rust(file: &SourceFile, error: &anyhow::Error) -> Finding {
    let (path, text) = (file.path.clone(), format!("not Rust: {error}"));
    Finding {
        rule: "syntax",
        path,
        line: 1,
        item: None,
        text,
    }
}

/// What can be judged by the text alone.
fn of_file(file: &SourceFile) -> Vec<Finding> {
    let finding = |rule, line, text: String| Finding {
        rule,
        path: file.path.clone(),
        line,
        item: None,
        text,
    };
    let mut found = Vec::new();
    let lines = file.text.lines().count();
    if lines > FILE_LINES {
        found.push(finding(
            "file-length",
            lines,
            format!("{lines} lines, the limit is {FILE_LINES}"),
        ));
    }
    if !file.text.starts_with("//! ") {
        found.push(finding(
            "first-line",
            1,
            "a file opens with `//!` and its tagline".into(),
        ));
    }
    if needs_forbid(&file.path) && !file.text.contains("#![forbid(unsafe_code)]") {
        found.push(finding(
            "forbid-unsafe",
            1,
            "no `#![forbid(unsafe_code)]`".into(),
        ));
    }
    for (index, line) in file.text.lines().enumerate() {
        if let Some(word) = leftover(line) {
            found.push(finding(
                "leftover",
                index + 1,
                format!("`{word}` is not finished work"),
            ));
        }
    }
    found
}

/// Only ring 0, the runtime of ring 3 and the guests may hold `unsafe`; every other crate
/// forbids it, components included.
fn needs_forbid(path: &str) -> bool {
    let crate_root = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
    const MAY: [&str; 3] = [
        "hypervisor/src/",
        "hypervisor/components/rt/",
        "guest-stubs/",
    ];
    crate_root && !MAY.iter().any(|start| path.starts_with(start))
}

fn leftover(line: &str) -> Option<&'static str> {
    const WORDS: [&str; 4] = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("unimpl", "emented!("),
    ];
    WORDS.into_iter().find(|word| line.contains(word))
}

fn of_items(path: &str, items: &Items) -> Vec<Finding> {
    let finding = |rule, line, item: &str, text: String| Finding {
        rule,
        path: path.into(),
        line,
        item: Some(item.into()),
        text,
    };
    let mut found = Vec::new();
    for Function {
        name,
        line,
        lines,
        bool_parameter,
    } in &items.functions
    {
        if *lines > FUNCTION_LINES {
            let text = format!("`{name}` has {lines} lines, the limit is {FUNCTION_LINES}");
            found.push(finding("function-length", *line, name, text));
        }
        if let Some(parameter) = bool_parameter.as_ref().filter(|_| !is_test(path)) {
            let text = format!(
                "`{name}` takes the bool `{parameter}`: what would `true` mean to a reader?"
            );
            found.push(finding("bool-parameter", *line, name, text));
        }
        if let Some(part) = vague(name) {
            found.push(finding(
                "vague-name",
                *line,
                name,
                format!("`{name}`: `{part}` says nothing"),
            ));
        }
    }
    for (name, line) in &items.types {
        let vague = ["Mgr", "Manager", "Info"]
            .into_iter()
            .find(|part| name.ends_with(part));
        if let Some(part) = vague.filter(|_| !GIVEN_NAMES.contains(&name.as_str())) {
            let text = format!("`{name}`: `{part}` says nothing");
            found.push(finding("vague-name", *line, name, text));
        }
    }
    found
}

/// A file of tests alone: its helpers are read where they are called.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Names that the specifications of PVH and `bootloader_api` gave, and the system call that
/// closes a handle.
const GIVEN_NAMES: [&str; 4] = ["start_info", "StartInfo", "BootInfo", "handle_close"];

/// The part of a function's name that stands for no thought.
fn vague(name: &str) -> Option<&str> {
    if GIVEN_NAMES.iter().any(|given| name.contains(given)) {
        return None;
    }
    let opens = ["handle_", "do_"]
        .into_iter()
        .find(|opening| name.starts_with(opening));
    opens.or_else(|| {
        name.split('_')
            .find(|part| ["mgr", "manager", "info"].contains(part))
    })
}

fn statistics(mut lengths: Vec<usize>) -> String {
    lengths.sort_unstable();
    let at = |tenths: usize| {
        lengths
            .get(lengths.len() * tenths / 10)
            .copied()
            .unwrap_or(0)
    };
    format!(
        "{} functions, half under {} lines, nine of ten under {}",
        lengths.len(),
        at(5) + 1,
        at(9) + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_of(path: &str, text: &str) -> Vec<&'static str> {
        let file = SourceFile {
            path: path.into(),
            text: text.into(),
        };
        of_file(&file)
            .into_iter()
            .map(|finding| finding.rule)
            .collect()
    }

    #[test]
    fn a_file_is_too_long_from_501_lines_on() {
        let lines = |count: usize| "//! a\n".repeat(count);
        assert!(rules_of("a.rs", &lines(500)).is_empty());
        assert_eq!(rules_of("a.rs", &lines(501)), ["file-length"]);
    }

    #[test]
    fn a_file_opens_with_its_tagline() {
        assert_eq!(rules_of("a.rs", "use a;\n//! late\n"), ["first-line"]);
    }

    #[test]
    fn a_pure_crate_forbids_unsafe_and_a_bare_metal_one_need_not() {
        assert_eq!(
            rules_of("hypervisor/crates/a/src/lib.rs", "//! a\n"),
            ["forbid-unsafe"]
        );
        assert_eq!(
            rules_of("hypervisor/components/vmm/src/main.rs", "//! a\n"),
            ["forbid-unsafe"]
        );
        assert!(rules_of("hypervisor/src/main.rs", "//! a\n").is_empty());
        assert!(rules_of("hypervisor/components/rt/src/lib.rs", "//! a\n").is_empty());
        assert!(rules_of("guest-stubs/src/lib.rs", "//! a\n").is_empty());
    }

    #[test]
    fn leftovers_are_found_by_line() {
        let text = format!("//! a\nfn f() {{ {}) }}\n", concat!("todo", "!("));
        let file = SourceFile {
            path: "a.rs".into(),
            text,
        };
        let found = of_file(&file);
        assert_eq!((found[0].rule, found[0].line), ("leftover", 2));
    }

    fn item_rules(text: &str) -> Vec<(&'static str, usize)> {
        let items = Items::of(text).unwrap();
        of_items("a.rs", &items)
            .into_iter()
            .map(|finding| (finding.rule, finding.line))
            .collect()
    }

    #[test]
    fn a_function_is_too_long_from_61_lines_on() {
        let body = |lines: usize| format!("fn f() {{\n{}}}\n", "a();\n".repeat(lines - 2));
        assert!(item_rules(&body(60)).is_empty());
        assert_eq!(item_rules(&body(61)), [("function-length", 1)]);
    }

    #[test]
    fn vague_names_and_bools_are_found() {
        assert_eq!(
            item_rules("fn a() {}\nfn handle_exit() {}\n"),
            [("vague-name", 2)]
        );
        assert_eq!(
            item_rules("fn vm_info() {}\nstruct VmManager;"),
            [("vague-name", 1), ("vague-name", 2)]
        );
        assert_eq!(item_rules("fn information() {}\nstruct Informed;"), []);
        assert_eq!(
            item_rules("fn set(level: bool) {}"),
            [("bool-parameter", 1)]
        );
    }

    #[test]
    fn the_statistics_are_the_median_and_the_ninth_decile() {
        let text = statistics((1..=10).collect());
        assert_eq!(
            text,
            "10 functions, half under 7 lines, nine of ten under 11"
        );
    }
}
