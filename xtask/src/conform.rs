//! `cargo xtask conform`: test kernels that others wrote, as guests, and an honest report.
//!
//! Owns the command's options and its course: images are gathered, run, judged, compared and
//! reported. Below: what an image tells is `account`'s and `sotest`'s, what that comes to
//! `verdict`'s, what is known of it `baseline`'s; how images run as guests is `guest`'s, how
//! straight on an engine `native`'s. Called by `main`.

mod account;
mod baseline;
mod case;
mod compare;
mod config;
mod end;
mod format;
mod gather;
mod guest;
mod native;
mod result;
mod sotest;
mod stubs;
mod suspect;
mod verdict;
mod watch;
mod work;

use std::fs;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::bare::{self, Built};
use crate::engine::{self, Engine};
use crate::failure::Failure;
use crate::guests::Guests;
use crate::machine::{Machine, MachineArgs};
use crate::packages::{self, Need};
use crate::{manifest, paths};
use baseline::{Baseline, Standing};
use case::Case;
use compare::{Side, compare};
use format::Format;
use gather::{Choice, Gathered, Search};
use guest::Run;
use result::{Results, Row};
use verdict::judge;
use work::{Done, Pace, Place, Share};

pub use end::End;

/// `conform`'s help beyond the options.
pub const HELP: &str = "\
Examples:
  cargo xtask conform tests/x86                      a folder, on every engine that can run here
  cargo xtask conform tests/x86 --on qemu-tcg --against native
  cargo xtask conform kernel.elf32 --append --serial
  cargo xtask conform --native guest-stubs           Skerry's own, straight on the engines

In a folder every image is run, as its unittests.cfg says if it has one. An image passes by its
exit value, its SUMMARY line or its SoTest protocol, and never by silence.

Exit status: 0 everything passed, was skipped, or is as the baseline says (with --against:
nothing was lost); 1 something else; 2 a path or an image was refused, the others were run;
3 a tool is missing; 130 Ctrl-C.";

/// `conform`'s options.
#[derive(Debug, clap::Args)]
pub struct ConformArgs {
    /// Images, folders of images, or `guest-stubs` for Skerry's own
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write the report to this file, and the table to standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How many engines run at a time [default: the number of CPUs, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    jobs: Option<u8>,
    /// How many images may share a boot of the hypervisor, at most
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = clap::value_parser!(u8).range(1..=64))]
    together: u8,
    /// An image's time limit; engines in software get more of it
    /// [default: what unittests.cfg says, or 90]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Every image's arguments
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    append: Option<String>,
    /// Every image's CPUs [default: what unittests.cfg says, or 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    vcpus: Option<u32>,
    /// Every image's memory [default: what unittests.cfg says, or 128M]
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Run only the images or tests of these names
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Run only the tests of these groups
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    group: Vec<String>,
    /// What is known not to pass, and why
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Also run every image without Skerry, and compare: only what a guest loses fails
    #[arg(long, value_enum, value_name = "WHAT")]
    against: Option<Against>,
    /// Run the images only straight on the engines, without Skerry
    #[arg(long, conflicts_with = "against")]
    native: bool,
    #[command(flatten)]
    machine: MachineArgs,
}

/// What guests are compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Against {
    /// The same image straight on the engine
    Native,
}

/// Runs the command.
///
/// # Errors
/// A path or image was refused, a result is not as it should be, an engine cannot run.
pub fn run(args: &ConformArgs) -> Result<()> {
    let choice = args.choice()?;
    let baseline = args.baseline.as_deref().map(Baseline::read).transpose()?;
    let engines = engine::choose_all(&args.machine.on, args.machine.wishes())?;
    let built = args.build()?;
    let Gathered {
        cases,
        left_out,
        refused,
    } = args.gather(&choice, built.as_ref())?;
    let mut results = Results {
        left_out,
        refused,
        ..Results::default()
    };
    let mut stopped = None;
    if !cases.is_empty() {
        let shares = args.shares(engines, built, &cases)?;
        let mut done = work::run(&shares, args.pace());
        stopped = done.stopped.take();
        results.fill(&shares, done, &baseline.unwrap_or_default())?;
    }
    args.report(&results)?;
    match stopped {
        Some(error) => Err(error),
        None => Ok(results.check()?),
    }
}

impl ConformArgs {
    fn choice(&self) -> Result<Choice> {
        let size = |text: &String| {
            manifest::parse_size(text)
                .map_err(|error| Failure::Input(format!("--memory {text}: {error}")))
        };
        Ok(Choice {
            append: self.append.clone(),
            vcpus: self.vcpus,
            memory_bytes: self.memory.as_ref().map(size).transpose()?,
            limit_s: self.timeout,
            only: self.only.clone(),
            groups: self.group.clone(),
        })
    }

    fn pace(&self) -> Pace {
        let cpus = || thread::available_parallelism().map_or(1, |cpus| cpus.get().min(4));
        Pace {
            jobs: self.jobs.map_or_else(cpus, usize::from),
            together: self.together.into(),
        }
    }

    /// The stubs are built with the hypervisor; nothing else needs it where there is none.
    fn build(&self) -> Result<Option<Built>> {
        let stubs = self.paths.iter().any(|path| stubs::are_meant(path));
        let needed = stubs || !self.native;
        needed
            .then(|| bare::build(self.machine.install()))
            .transpose()
    }

    fn gather(&self, choice: &Choice, built: Option<&Built>) -> Result<Gathered> {
        let mut search = Search::new(choice);
        for path in &self.paths {
            match built {
                Some(built) if stubs::are_meant(path) => {
                    let install = self.machine.install();
                    stubs::add(&mut search, &Guests { built, install })?;
                }
                _ => search.path(path),
            }
        }
        Ok(search.finish())
    }

    /// Every image as a guest on every engine, straight on it, or both.
    fn shares(
        &self,
        engines: Vec<Box<dyn Engine>>,
        built: Option<Built>,
        cases: &[Case],
    ) -> Result<Vec<Share>> {
        let bare = self.native || self.against.is_some();
        let install = self.machine.install();
        if bare {
            packages::ensure(Need::Iso, install)?;
        }
        let mut shares = Vec::new();
        for engine in engines {
            engine::ensure_tools(engine.as_ref(), install)?;
            let most_bytes = engine.recipe().guest_memory_bytes();
            let cases: Vec<Case> = cases.iter().map(|case| case.within(most_bytes)).collect();
            let again = bare
                .then(|| engine::again(engine.as_ref()))
                .transpose()?
                .map(|engine| Place::Native(engine, self.machine.after()));
            let guests = built
                .as_ref()
                .filter(|_| !self.native)
                .map(|built| Place::Guest(Machine::with(engine, built, &self.machine)));
            let places = guests.into_iter().chain(again);
            shares.extend(places.map(|place| Share {
                place,
                cases: cases.clone(),
            }));
        }
        Ok(shares)
    }

    fn report(&self, results: &Results) -> Result<()> {
        let text = self.format.render(results)?;
        let Some(file) = &self.output else {
            print!("{text}");
            return Ok(());
        };
        fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
        print!("{}", Format::Table.render(results)?);
        Ok(())
    }
}

impl Results {
    /// Judges, compares and marks everything that was done.
    fn fill(&mut self, shares: &[Share], done: Done, baseline: &Baseline) -> Result<()> {
        let Done { runs, broken, .. } = done;
        self.broken = broken;
        for ((share, case), run) in runs {
            let Some(of) = shares.get(share) else {
                continue;
            };
            if let Some(case) = of.cases.get(case) {
                self.rows.push(row(of, case, run)?);
            }
        }
        self.compare();
        for row in self.rows.iter_mut().filter(|row| !row.is_reference) {
            row.standing = baseline.standing(&row.image, &row.place, &row.verdict, &row.account);
        }
        let unused = baseline.unused(|image| self.row_of(image).is_some());
        self.unused = unused.into_iter().map(String::from).collect();
        Ok(())
    }

    fn row_of(&self, image: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.image == image)
    }

    /// Sets every guest beside the same image on the bare engine, where that ran too.
    fn compare(&mut self) {
        let references = self.rows.clone();
        let find = |row: &Row| {
            let place = work::bare(&row.place);
            let of_it =
                |other: &&Row| other.place == place && other.image == row.image && other.ran;
            references.iter().find(of_it)
        };
        let places: Vec<String> = self.rows.iter().map(|row| work::bare(&row.place)).collect();
        for row in &mut self.rows {
            row.comparison = find(row).map(|native| compare(native.side(), row.side()));
            row.is_reference = places.contains(&row.place);
        }
    }
}

impl Row {
    fn side(&self) -> Side<'_> {
        Side {
            verdict: &self.verdict,
            account: &self.account,
        }
    }
}

fn row(share: &Share, case: &Case, run: Run) -> Result<Row> {
    let Run { heard, end } = run;
    let place = share.place.name();
    let last_line = heard.console.last_line().unwrap_or_default();
    let verdict = judge(&heard.account, &end).or_in_words(last_line);
    let keep = verdict.outcome != verdict::Outcome::Pass;
    let log = keep
        .then(|| keep_console(&place, &case.name, &heard.console.text()))
        .transpose()?;
    Ok(Row {
        image: case.name.clone(),
        place,
        verdict,
        account: heard.account,
        ran: !matches!(end, End::Broke(_)),
        comparison: None,
        standing: Standing::Unmarked,
        wants: case.wants.clone(),
        last_line: last_line.into(),
        log,
        took: heard.used,
        is_reference: false,
    })
}

/// Writes an image's console down, and says where.
fn keep_console(place: &str, image: &str, text: &str) -> Result<String> {
    let file_name = |name: &str| name.replace(['/', ' '], "-");
    let folder = paths::consoles()?.join(file_name(place));
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let file = folder.join(format!("{}.log", file_name(image)));
    fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    Ok(file.display().to_string())
}
