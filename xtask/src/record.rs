//! `cargo xtask record`: real exits, written down for the tests of their decode.
//!
//! Owns the recordings in `hypervisor/crates/manual/tests/recorded`: which lines of a run go
//! into them, and in which form. The raw fields are the hypervisor's lines, in a build with
//! its feature `record`; which exit belongs to which event, the stub `events` says by the
//! addresses of its code. Called by `main`, and by hand only: whoever changes the stub or the
//! fields records anew on every engine.

use std::fmt::Write;
use std::fs;
use std::ops::RangeInclusive;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::engine::{self, Engine};
use crate::failure::Failure;
use crate::machine::{Machine, MachineArgs};
use crate::manifest::{self, Source};
use crate::recipe::{Repeat, Wishes};
use crate::session::Silent;
use crate::transcript::{Keep, Transcript};
use crate::{bare, command, paths, say};

/// The VM that causes the events.
const VM: &str = "events";
/// What its lines about code start with.
const EVENT: &str = "event ";
/// What the hypervisor's lines about exits start with.
const EXIT: &str = "skerry: exit ";
/// How long it may take.
const LIMIT: Duration = Duration::from_secs(120);

/// `record`'s options.
#[derive(Debug, clap::Args)]
pub struct RecordArgs {
    #[command(flatten)]
    machine: MachineArgs,
}

/// One kind of event, and where its code is.
struct Event<'a> {
    name: &'a str,
    code: RangeInclusive<u64>,
}

/// Runs the command.
///
/// # Errors
/// A run failed, or said nothing of the kind.
pub fn run(args: &RecordArgs) -> Result<()> {
    let source = manifest::read(&paths::recipes().join("record.toml"))?;
    let wishes = Wishes {
        repeat: Repeat::WherePossible,
        ..args.machine.wishes()
    };
    let built = bare::build_recorder(args.machine.install())?;
    for engine in engine::choose_all(&args.machine.on, wishes)? {
        engine::ensure_tools(engine.as_ref(), args.machine.install())?;
        record(&Machine::with(engine, &built, &args.machine), &source)?;
    }
    Ok(())
}

fn record(machine: &Machine, source: &Source) -> Result<()> {
    let name = machine.engine.name();
    let step = say::Step::begin(format!("recording on {name}"));
    let mut silent = Silent(Transcript::new(Keep::All));
    let ended = machine.boot(&machine.pack(source)?, Some(LIMIT), None, &mut silent)?;
    let Silent(run) = silent;
    ended.check(&run)?;
    let exits = exits(&run)?;
    let path = paths::recordings().join(format!("{name}.txt"));
    fs::write(&path, header(machine.engine.as_ref()) + &exits)
        .with_context(|| format!("write {}", path.display()))?;
    step.done(&format!("{} exits", exits.lines().count()));
    Ok(())
}

fn header(engine: &dyn Engine) -> String {
    let name = engine.name();
    format!(
        "# {name} ({}), {}; by `cargo xtask record --on {name}`.\n\
         # One exit a line: the event of the stub `events` that caused it, and the raw fields.\n",
        version(name),
        engine.recipe().title
    )
}

/// The engine's version, as its package has it.
fn version(engine: &str) -> String {
    let package = match engine {
        "bochs" => "bochs",
        _ => "qemu-system-x86",
    };
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${Package} ${Version}", package]);
    command::output(&mut query).unwrap_or_else(|_| "version not known".into())
}

/// The exits that the stub's events caused, one a line, in the order they came.
fn exits(run: &Transcript) -> Result<String> {
    if let Some(failed) = run.of_vm(VM).find(|line| line.starts_with("FAIL:")) {
        return Err(Failure::Run(format!("the stub {VM} is not content: {failed}")).into());
    }
    let events: Vec<Event> = run.of_vm(VM).filter_map(Event::read).collect();
    let mut text = String::new();
    for fields in run.lines().filter_map(|line| line.strip_prefix(EXIT)) {
        let at = address(fields, "rip=").context("an exit without its address")?;
        if let Some(event) = events.iter().find(|event| event.code.contains(&at)) {
            writeln!(text, "{} {fields}", event.name)?;
        }
    }
    if text.is_empty() {
        return Err(Failure::Run(format!("no exit of the stub {VM} was told")).into());
    }
    Ok(text)
}

impl<'a> Event<'a> {
    /// From `event NAME FIRST LAST`.
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.strip_prefix(EVENT)?.split_ascii_whitespace();
        let name = words.next()?;
        let first = address(words.next()?, "")?;
        let last = address(words.next()?, "")?;
        Some(Self {
            name,
            code: first..=last,
        })
    }
}

/// The hexadecimal number behind `key`, at the start of `text`.
fn address(text: &str, key: &str) -> Option<u64> {
    let digits = text.strip_prefix(key)?.strip_prefix("0x")?;
    let number = digits.split_ascii_whitespace().next()?;
    u64::from_str_radix(number, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exits_of(text: &str) -> Result<String> {
        let mut run = Transcript::new(Keep::All);
        run.push(text.as_bytes(), |_| {});
        exits(&run)
    }

    #[test]
    fn only_exits_at_an_events_code_are_kept_and_get_its_name() {
        let text = "skerry: exit rip=0x10 reason=0xa\n\
                    skerry: exit rip=0x2f reason=0x1\n\
                    [events] event cpuid 0x10 0x12\n\
                    [events] event walk 0x20 0x22\n\
                    skerry: exit rip=0x22 reason=0x30\n";
        assert_eq!(
            exits_of(text).unwrap(),
            "cpuid rip=0x10 reason=0xa\nwalk rip=0x22 reason=0x30\n"
        );
    }

    #[test]
    fn a_guest_cannot_invent_an_exit() {
        let text = "[events] event cpuid 0x10 0x12\n[events] skerry: exit rip=0x10 reason=0xa\n";
        assert!(exits_of(text).is_err());
    }

    #[test]
    fn a_stub_that_is_not_content_makes_no_recording() {
        let text = "skerry: exit rip=0x10 reason=0xa\n\
                    [events] event cpuid 0x10 0x12\n[events] FAIL: cpuid: it tells\n";
        assert!(
            exits_of(text)
                .unwrap_err()
                .to_string()
                .contains("FAIL: cpuid")
        );
    }
}
