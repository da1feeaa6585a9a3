//! `cargo xtask doctor`: what is here, what is missing, and `--fix`.
//!
//! Owns the table. What is needed and how it is found is `packages`', `toolchain`'s,
//! `guests`' and the engines' own. Called by `main`.

use anyhow::Result;

use crate::engine::{self, Engine};
use crate::failure::Failure;
use crate::guests;
use crate::packages::{self, Install, Need};
use crate::table;
use crate::toolchain::Toolchain;

/// `doctor`'s options.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Install what is missing and fetch the demo's guests
    #[arg(long)]
    fix: bool,
}

/// One line of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Finding {
    what: String,
    state: State,
    note: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Here.
    Found,
    /// Not here; `--fix` gets it.
    Missing,
    /// This machine cannot have it, and another does instead.
    Unavailable,
    /// Not here, and fetched when it is first used.
    Later,
}

/// Shows what is here; with `--fix`, gets what is missing first.
///
/// # Errors
/// [`Failure::Missing`] if something that `run` and `test` need is missing.
pub fn run(args: &DoctorArgs) -> Result<()> {
    if args.fix {
        fix()?;
    }
    let findings = findings()?;
    print!("{}", rendered(&findings));
    let missing = findings
        .iter()
        .filter(|finding| finding.state == State::Missing)
        .count();
    if missing == 0 {
        return Ok(());
    }
    let text = format!("{missing} missing; `cargo xtask doctor --fix` installs them");
    Err(Failure::Missing(text).into())
}

fn fix() -> Result<()> {
    Toolchain::ensure(Install::Allowed)?;
    for engine in engine::all()? {
        if engine.obstacles().is_empty() {
            engine::ensure_tools(engine.as_ref(), Install::Allowed)?;
        }
    }
    guests::fetch_all(Install::Allowed)
}

fn findings() -> Result<Vec<Finding>> {
    let mut all = toolchain_findings();
    let engines = engine::all()?;
    for need in [Need::Iso, Need::Bochs, Need::Qemu, Need::Guests] {
        let wanted = engines
            .iter()
            .any(|engine| engine.needs().contains(&need) && engine.obstacles().is_empty());
        let absent = if wanted { State::Missing } else { State::Later };
        all.extend(tool_findings(need, absent));
    }
    for guest in [&guests::KERNEL, &guests::BUSYBOX, &guests::FIRMWARE] {
        let found = guest.find().map(|cached| cached.package);
        all.push(finding(
            &format!("guest {}", guest.package()),
            found,
            State::Later,
        ));
    }
    all.extend(engines.iter().map(|engine| engine_finding(engine.as_ref())));
    Ok(all)
}

fn toolchain_findings() -> Vec<Finding> {
    let found = Toolchain::find();
    // With rustup's target nobody needs Debian's compiler.
    let mut all = Vec::new();
    if found != Some(Toolchain::Rustup) {
        all.extend(tool_findings(Need::BareMetal, State::Missing));
    }
    let found = found.map(|toolchain| toolchain.shown());
    all.push(finding("bare-metal toolchain", found, State::Missing));
    all
}

fn tool_findings(need: Need, absent: State) -> impl Iterator<Item = Finding> {
    packages::tools(need).map(move |tool| {
        let found = tool.find().map(|path| path.display().to_string());
        let mut finding = finding(tool.package, found, absent);
        if finding.state != State::Found {
            finding.note = format!("looked for {}", tool.mark());
        }
        finding
    })
}

fn finding(what: &str, found: Option<String>, absent: State) -> Finding {
    let state = if found.is_some() {
        State::Found
    } else {
        absent
    };
    Finding {
        what: what.into(),
        state,
        note: found.unwrap_or_default(),
    }
}

fn engine_finding(engine: &dyn Engine) -> Finding {
    let what = format!("engine {}", engine.name());
    let obstacles = engine.obstacles();
    if !obstacles.is_empty() {
        return Finding {
            what,
            state: State::Unavailable,
            note: obstacles.join("\n"),
        };
    }
    let lacking: Vec<&str> = engine
        .needs()
        .iter()
        .flat_map(|need| packages::missing(*need))
        .collect();
    if lacking.is_empty() {
        return Finding {
            what,
            state: State::Found,
            note: engine.recipe().title.clone(),
        };
    }
    Finding {
        what,
        state: State::Missing,
        note: format!("lacks {}", lacking.join(", ")),
    }
}

fn rendered(findings: &[Finding]) -> String {
    let mut table = table::with_header(&["need", "state", "note"], &[]);
    for Finding { what, state, note } in findings {
        let state = match state {
            State::Found => "found",
            State::Missing => "MISSING",
            State::Unavailable => "not here",
            State::Later => "when used",
        };
        table.add_row([what.as_str(), state, note.as_str()]);
    }
    table::text(&table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_every_state_and_what_was_looked_for() {
        let findings = [
            finding("bochs", Some("/usr/bin/bochs-bin".into()), State::Missing),
            finding("xorriso", None, State::Missing),
            finding("guest busybox-static", None, State::Later),
        ];
        let text = rendered(&findings);
        for part in ["/usr/bin/bochs-bin", "MISSING", "when used"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}
