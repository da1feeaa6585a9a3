//! Defects of engines that a guest runs into: what a scenario excuses there, and why.
//!
//! Owns the keys behind `defects`, and how a scenario differs on an engine that has some. An
//! excuse is exact: a check that is said to fail there has to fail, and no other may. Called
//! by `scenario`; judging is `judge`'s.

use clap::ValueEnum;
use serde::Deserialize;

use super::{Expect, Scenario};
use crate::engine::On;

/// How a stub's line of a check that failed begins.
const FAILED: &str = "FAIL: ";

/// One defect of one engine, as one VM meets it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defect {
    /// The engine's name.
    on: String,
    /// What is wrong with it; shown with the results.
    pub why: String,
    /// The guest's checks that fail there: the beginning of what each says.
    #[serde(default)]
    pub fails: Vec<String>,
    /// What is expected of the VM there, in the place of the usual.
    expect: Option<Expect>,
    /// Its command line there.
    cmdline: Option<String>,
    /// Whether it does not run there at all.
    #[serde(default)]
    left_out: bool,
}

impl Defect {
    /// What is wrong with the defect itself.
    pub(super) fn objection(&self) -> Option<String> {
        let Self {
            on, fails, expect, ..
        } = self;
        if On::from_str(on, false).is_err() {
            return Some(format!("key `defects`: there is no engine `{on}`"));
        }
        let excuses = self.left_out || self.cmdline.is_some() || expect.is_some();
        (!excuses && fails.is_empty()).then(|| {
            "key `defects`: one has neither `left_out`, `fails`, `expect` nor `cmdline`".into()
        })
    }

    /// Whether `line` of the VM's console is a check that fails because of it.
    pub(super) fn excuses(&self, line: &str) -> bool {
        failed_check(line).is_some_and(|check| {
            self.fails
                .iter()
                .any(|known| check.starts_with(known.as_str()))
        })
    }
}

/// What a stub's check that failed says.
pub(super) fn failed_check(line: &str) -> Option<&str> {
    line.strip_prefix(FAILED)
}

impl Scenario {
    /// The scenario as it is run on `engine`.
    #[must_use]
    pub fn on(&self, engine: &str) -> Self {
        let mut here = self.clone();
        here.expects.clear();
        for expected in &self.expects {
            let mut expected = expected.clone();
            expected.defects.retain(|defect| defect.on == engine);
            let Some(defect) = expected.defects.first().cloned() else {
                here.expects.push(expected);
                continue;
            };
            if defect.left_out {
                here.source.remove(&expected.vm);
                here.left_out.push((expected.vm, defect.why));
                continue;
            }
            if let Some(cmdline) = &defect.cmdline {
                here.source.set_cmdline(&expected.vm, cmdline);
            }
            if let Some(expect) = defect.expect {
                expected.expect = expect;
            }
            here.expects.push(expected);
        }
        here
    }

    /// Whether `line` of the whole console, prefix and all, is excused by a defect.
    #[must_use]
    pub fn excuses(&self, line: &str) -> bool {
        self.expects.iter().any(|expected| {
            let own = line
                .strip_prefix('[')
                .and_then(|line| line.strip_prefix(expected.vm.as_str())?.strip_prefix("] "));
            let excuses = |text| expected.defects.iter().any(|defect| defect.excuses(text));
            own.is_some_and(excuses)
        })
    }

    /// The defects met on this engine: the VM, what became of it, and why.
    #[must_use]
    pub fn excused(&self) -> Vec<Excused> {
        let known = self.expects.iter().flat_map(|expected| {
            expected.defects.iter().map(|defect| Excused {
                vm: expected.vm.clone(),
                kind: Excuse::Checks(defect.fails.len()),
                why: defect.why.clone(),
            })
        });
        let left_out = self.left_out.iter().map(|(vm, why)| Excused {
            vm: vm.clone(),
            kind: Excuse::LeftOut,
            why: why.clone(),
        });
        known.chain(left_out).collect()
    }
}

/// A VM that an engine's defect is excused for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Excused {
    /// Its name.
    pub vm: String,
    /// How far.
    pub kind: Excuse,
    /// The defect.
    pub why: String,
}

/// What a defect excuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Excuse {
    /// So many of its checks fail; none, where it is only run or judged otherwise.
    Checks(usize),
    /// It does not run there.
    LeftOut,
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use std::path::Path;

    const TEXT: &str = r#"
title = "t"
[[vm]]
name = "a"
memory = "4M"
kernel = "stub:timer"
defects = [
    { on = "qemu-tcg", why = "w", fails = ["one"], expect = { status = 1 }, cmdline = "x" },
]
[[vm]]
name = "b"
memory = "4M"
kernel = "stub:timer"
defects = [{ on = "bochs", why = "it aborts", left_out = true }]
"#;

    fn scenario(text: &str) -> anyhow::Result<Scenario> {
        parse("s".into(), "s.toml", text, Path::new(""))
    }

    #[test]
    fn a_vm_is_left_out_only_where_the_defect_is() {
        let whole = scenario(TEXT).unwrap();
        let [tcg, bochs] = ["qemu-tcg", "bochs"].map(|engine| whole.on(engine));
        assert_eq!(tcg.source.manifest.vms.len(), 2);
        assert_eq!(bochs.source.manifest.vms.len(), 1);
        assert_eq!(bochs.excused()[0].kind, Excuse::LeftOut);
        assert_eq!(bochs.expects.len(), 1);
    }

    #[test]
    fn command_line_and_expectations_change_only_there() {
        let whole = scenario(TEXT).unwrap();
        let [tcg, bochs] = ["qemu-tcg", "bochs"].map(|engine| whole.on(engine));
        assert_eq!(tcg.source.manifest.vms[0].cmdline, "x");
        assert_eq!(tcg.expects[0].expect.status, Some(1));
        assert_eq!(bochs.source.manifest.vms[0].cmdline, "");
        assert_eq!(bochs.expects[0].expect.status, None);
        assert!(bochs.expects[0].defects.is_empty());
    }

    #[test]
    fn only_the_named_check_of_the_named_vm_is_excused() {
        let here = scenario(TEXT).unwrap().on("qemu-tcg");
        assert!(here.excuses("[a] FAIL: one more thing"));
        assert!(!here.excuses("[a] FAIL: another"));
        assert!(!here.excuses("[b] FAIL: one"));
        assert!(!here.excuses("FAIL: one"));
    }

    #[test]
    fn a_defect_of_no_engine_or_of_no_effect_is_refused() {
        let unknown = TEXT.replace("\"bochs\"", "\"boch\"");
        let error = scenario(&unknown).unwrap_err().to_string();
        assert!(error.contains("no engine `boch`"), "{error}");
        let idle = TEXT.replace(", left_out = true", "");
        assert!(scenario(&idle).is_err());
    }
}
