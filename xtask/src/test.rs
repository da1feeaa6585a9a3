//! `cargo xtask test`: the host's tests, then every scenario on every engine.
//!
//! Owns the command's options, the running of scenarios and the table at the end. Called by
//! `main`.

mod grid;
mod results;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bundle::Packed;
use crate::engine::{self, Engine};
use crate::failure::Failure;
use crate::machine::{Machine, MachineArgs};
use crate::recipe::{Repeat, Wishes};
use crate::scenario::{self, Scenario};
use crate::session::{Listener, Next};
use crate::transcript::{Keep, Transcript};
use crate::{bare, command, guests, paths, say};
use results::{Case, Results};

/// `test`'s options.
#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// Run only this scenario, and not the host's tests; may be given more than once
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Also write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How many engines run at a time [default: the number of CPUs, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    jobs: Option<u8>,
    #[command(flatten)]
    machine: MachineArgs,
}

/// Runs the command.
///
/// # Errors
/// A test failed; or the set-up did.
pub fn run(args: &TestArgs) -> Result<()> {
    let scenarios = chosen(&args.only)?;
    for scenario in &scenarios {
        scenario.source.check()?;
    }
    let machines = set_up(args)?;
    let mut results = Results::default();
    if args.only.is_empty() {
        results.add(host_tests()?);
    }
    let plan = plan(&machines, &scenarios)?;
    for case in run_all(&plan, args.jobs())? {
        results.add(case);
    }
    if let Some(file) = &args.junit {
        results.write_junit(file)?;
    }
    print!("{}", results.table());
    results.check()
}

impl TestArgs {
    fn jobs(&self) -> usize {
        let cpus = || thread::available_parallelism().map_or(1, |cpus| cpus.get().min(4));
        self.jobs.map_or_else(cpus, usize::from)
    }
}

fn chosen(only: &[String]) -> Result<Vec<Scenario>> {
    let mut all = scenario::all(&paths::scenarios())?;
    let names: Vec<String> = all.iter().map(|scenario| scenario.name.clone()).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(name)) {
        let known = names.join(", ");
        return Err(Failure::Input(format!("--only {unknown}: there are {known}")).into());
    }
    all.retain(|scenario| only.is_empty() || only.contains(&scenario.name));
    Ok(all)
}

/// A machine for each engine asked for, or for all that can run here. Results are worth
/// most when they repeat, so that is what the engines are asked to do.
fn set_up(args: &TestArgs) -> Result<Vec<Machine>> {
    let install = args.machine.install();
    let wishes = Wishes {
        repeat: Repeat::WherePossible,
        ..args.machine.wishes()
    };
    let engines = engine::choose_all(&args.machine.on, wishes)?;
    for engine in &engines {
        engine::ensure_tools(engine.as_ref(), install)?;
    }
    let built = bare::build(install)?;
    guests::fetch_all(install)?;
    Ok(engines
        .into_iter()
        .map(|engine| Machine::with(engine, &built, &args.machine))
        .collect())
}

fn host_tests() -> Result<Case> {
    say::note("running the host's tests");
    let start = Instant::now();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(cargo);
    cargo
        .current_dir(paths::root())
        .args(["test", "--quiet", "--no-fail-fast"]);
    let ended = command::shown_output(&mut cargo);
    crate::signals::check()?;
    let objections = ended
        .err()
        .map(|error| (None, error.to_string()))
        .into_iter()
        .collect();
    Ok(Case {
        name: "cargo-test".into(),
        title: "every crate does on the host what it says".into(),
        engine: "host".into(),
        objections,
        vms: Vec::new(),
        excused: Vec::new(),
        took: start.elapsed(),
    })
}

/// One scenario on one engine, packed.
struct Planned<'a> {
    machine: &'a Machine,
    scenario: Scenario,
    packed: Packed,
}

fn plan<'a>(machines: &'a [Machine], scenarios: &[Scenario]) -> Result<Vec<Planned<'a>>> {
    let on_each = |machine: &'a Machine| {
        let here = |scenario: &Scenario| scenario.on(machine.engine.name());
        scenarios
            .iter()
            .map(here)
            .map(move |scenario| (machine, scenario))
    };
    machines
        .iter()
        .flat_map(on_each)
        .map(|(machine, scenario)| {
            let packed = machine.pack(&scenario.source)?;
            Ok(Planned {
                machine,
                scenario,
                packed,
            })
        })
        .collect()
}

/// Runs every planned scenario, `jobs` at a time; the results are in the plan's order.
fn run_all(plan: &[Planned], jobs: usize) -> Result<Vec<Case>> {
    let next = AtomicUsize::new(0);
    let ended: Mutex<BTreeMap<usize, Result<Case>>> = Mutex::default();
    let work = || {
        while let Some((number, planned)) = take(plan, &next) {
            let case = planned.run();
            let stop = case.is_err();
            if let Ok(mut ended) = ended.lock() {
                ended.insert(number, case);
            }
            if stop {
                next.store(plan.len(), Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.min(plan.len()) {
            scope.spawn(work);
        }
    });
    let ended = ended.into_inner().unwrap_or_default();
    ended.into_values().collect()
}

fn take<'a, 'b>(plan: &'a [Planned<'b>], next: &AtomicUsize) -> Option<(usize, &'a Planned<'b>)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    Some((number, plan.get(number)?))
}

impl Planned<'_> {
    /// Runs the scenario, twice if it says so, and judges it.
    fn run(&self) -> Result<Case> {
        let start = Instant::now();
        let engine = self.machine.engine.as_ref();
        say::note(&format!(
            "scenario {} on {} ...",
            self.scenario.name,
            engine.name()
        ));
        let (first, mut objections) = self.run_once()?;
        if self.scenario.rerun && objections.is_empty() && engine.recipe().repeats {
            let (second, more) = self.run_once()?;
            objections.extend(more);
            objections.extend(scenario::difference(&first, &second));
        }
        if !objections.is_empty() && !self.scenario.expect_failure {
            self.keep_log(&first)?;
        }
        let case = self.case(engine, objections, start.elapsed());
        say::note(&case.line());
        Ok(case)
    }

    fn run_once(&self) -> Result<(Transcript, Vec<scenario::Objection>)> {
        let mut judge = Judge {
            transcript: Transcript::new(Keep::All),
            scenario: &self.scenario,
        };
        let limit = Some(Duration::from_secs(self.scenario.timeout_s));
        let ended = self.machine.boot(&self.packed, limit, None, &mut judge)?;
        let mut run = judge.transcript;
        run.finish(|_| {});
        let mut objections = Vec::new();
        if let Err(failure) = ended.check(&run) {
            objections.push((None, failure.to_string()));
        }
        // A run that was cut short has one objection; the rest would follow from it.
        if run.end.is_some() {
            objections.extend(scenario::objections(&self.scenario, &run));
        }
        Ok((run, objections))
    }

    /// A scenario that is meant to fail passes by failing.
    fn case(&self, engine: &dyn Engine, found: Vec<scenario::Objection>, took: Duration) -> Case {
        let scenario = &self.scenario;
        let objections = match (scenario.expect_failure, found.is_empty()) {
            (false, _) => found,
            (true, false) => Vec::new(),
            (true, true) => vec![(None, "is meant to fail, and nothing objected".to_string())],
        };
        let meant = if scenario.expect_failure {
            " (meant to fail, and did)"
        } else {
            ""
        };
        Case {
            name: scenario.name.clone(),
            title: format!(
                "{}{}",
                scenario.title,
                if objections.is_empty() { meant } else { "" }
            ),
            engine: engine.name().into(),
            objections,
            vms: scenario
                .expects
                .iter()
                .map(|expected| expected.vm.clone())
                .collect(),
            excused: scenario.excused(),
            took,
        }
    }

    fn keep_log(&self, run: &Transcript) -> Result<()> {
        let folder = paths::logs()?;
        let file = format!("{}-{}.log", self.scenario.name, self.machine.engine.name());
        let text: String = run.lines().map(|line| format!("{line}\n")).collect();
        std::fs::write(folder.join(&file), text)?;
        say::note(&format!(
            "its console is in {}",
            folder.join(file).display()
        ));
        Ok(())
    }
}

/// Listens for lines that end a run at once.
struct Judge<'a> {
    transcript: Transcript,
    scenario: &'a Scenario,
}

impl Listener for Judge<'_> {
    fn hear(&mut self, bytes: &[u8]) -> Next {
        let mut stop = None;
        self.transcript.push(bytes, |line| {
            let mut fail = self.scenario.fail.iter();
            if let Some(pattern) = fail.find(|pattern| pattern.is_match(line))
                && !self.scenario.excuses(line)
            {
                stop.get_or_insert_with(|| {
                    format!("the line `{line}` matches fail = \"{pattern}\"")
                });
            }
        });
        match stop {
            Some(why) => Next::Stop(why),
            None if self.transcript.is_over() => Next::Over,
            None => Next::GoOn,
        }
    }
}
