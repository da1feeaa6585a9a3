//! The work of a conformance run: which boots there are, and their running side by side.
//!
//! Owns the tasks and the threads that take them. Called by `conform`.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::case::Case;
use super::end::End;
use super::guest::{self, Boots, Run};
use super::native;
use super::verdict::judge;
use super::watch::Heard;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::paths::After;
use crate::say;

/// Where images run.
pub(super) enum Place {
    /// As guests of Skerry.
    Guest(Machine),
    /// Straight on an engine.
    Native(Box<dyn Engine>, After),
}

/// A place, and the images for it.
pub(super) struct Share {
    /// Where.
    pub(super) place: Place,
    /// What.
    pub(super) cases: Vec<Case>,
}

/// Some images of one share that run together.
struct Task {
    share: usize,
    cases: Vec<usize>,
}

/// Everything that came of the work.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The runs, by share and case.
    pub(super) runs: BTreeMap<(usize, usize), Run>,
    /// What broke, that must not, whatever guests do.
    pub(super) broken: Vec<String>,
    /// What ended the work early, if something did.
    pub(super) stopped: Option<anyhow::Error>,
}

impl Done {
    fn settle(&mut self, task: &Task, boots: Boots) {
        let keys = task.cases.iter().map(|case| (task.share, *case));
        self.runs.extend(keys.zip(boots.runs));
        self.broken.extend(boots.broken);
    }
}

/// How much is done at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// So many engines.
    pub(super) jobs: usize,
    /// So many images in one boot, at most.
    pub(super) together: usize,
}

impl Place {
    /// Its name in reports.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Guest(machine) => machine.engine.name().into(),
            Self::Native(engine, _) => bare(engine.name()),
        }
    }

    fn run(&self, cases: &[&Case]) -> Result<Boots> {
        match self {
            Self::Guest(machine) => guest::run(machine, cases),
            Self::Native(engine, after) => {
                let runs = cases
                    .iter()
                    .map(|case| native::run(engine.as_ref(), case, *after));
                Ok(Boots {
                    runs: runs.collect::<Result<_>>()?,
                    broken: Vec::new(),
                })
            }
        }
    }
}

/// What stands behind an engine's name where Skerry is not on it.
const BARE: &str = " bare";

/// What an engine without Skerry is called.
pub(super) fn bare(engine: &str) -> String {
    format!("{engine}{BARE}")
}

/// The engine of a place.
pub(super) fn engine_of(place: &str) -> &str {
    place.strip_suffix(BARE).unwrap_or(place)
}

/// Does all of it, or as much as is done before something ends it: then that is in `stopped`.
pub(super) fn run(shares: &[Share], pace: Pace) -> Done {
    let tasks = tasks(shares, pace);
    let all: usize = shares.iter().map(|share| share.cases.len()).sum();
    let next = AtomicUsize::new(0);
    let done: Mutex<Done> = Mutex::default();
    let work = || {
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Some(share) = shares.get(task.share) else {
                break;
            };
            let cases = task.cases.iter().filter_map(|case| share.cases.get(*case));
            let cases: Vec<&Case> = cases.collect();
            announce(share, &cases);
            let boots = share.place.run(&cases);
            let boots = boots.or_else(|error| broken(error, &cases));
            let Ok(mut done) = done.lock() else { break };
            match boots {
                Ok(boots) => done.settle(task, boots),
                Err(error) => {
                    next.store(tasks.len(), Ordering::Relaxed);
                    done.stopped.get_or_insert(error);
                }
            }
            tell(share, &cases, task, &done, all);
        }
    };
    thread::scope(|scope| {
        for _ in 0..pace.jobs.min(tasks.len()) {
            scope.spawn(work);
        }
    });
    done.into_inner().unwrap_or_default()
}

/// Guests first: they take longest, and a single image fills the gaps at the end.
fn tasks(shares: &[Share], pace: Pace) -> Vec<Task> {
    let mut tasks = Vec::new();
    for (share, Share { place, cases }) in shares.iter().enumerate() {
        let batches = match place {
            Place::Guest(machine) => {
                let bytes = machine.engine.recipe().guest_memory_bytes();
                guest::batches(cases, evenly(cases.len(), pace), bytes)
            }
            Place::Native(..) => (0..cases.len()).map(|case| vec![case]).collect(),
        };
        tasks.extend(batches.into_iter().map(|cases| Task { share, cases }));
    }
    tasks
}

/// How many images go into one boot, so that every job has some.
fn evenly(cases: usize, pace: Pace) -> usize {
    let fair = cases.div_ceil(pace.jobs.max(1).saturating_mul(2));
    fair.clamp(1, pace.together.max(1))
}

fn announce(share: &Share, cases: &[&Case]) {
    let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    say::note(&format!("{}: {} ...", share.place.name(), names.join(", ")));
}

/// A boot that failed before it began is told of like one that broke; but a signal, or a tool
/// that is missing, ends everything.
fn broken(error: anyhow::Error, cases: &[&Case]) -> Result<Boots> {
    if let Some(Failure::Interrupted(_) | Failure::Missing(_)) = error.downcast_ref() {
        return Err(error);
    }
    let why = format!("{error:#}");
    let run = |_: &&Case| Run {
        heard: Heard::new(Duration::ZERO),
        end: End::Broke(why.clone()),
    };
    let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    Ok(Boots {
        runs: cases.iter().map(run).collect(),
        broken: vec![format!("{}: {why}", names.join(", "))],
    })
}

fn tell(share: &Share, cases: &[&Case], task: &Task, done: &Done, all: usize) {
    let count = done.runs.len();
    for (case, index) in cases.iter().zip(&task.cases) {
        let Some(run) = done.runs.get(&(task.share, *index)) else {
            continue;
        };
        let last_line = run.heard.console.last_line().unwrap_or_default();
        let verdict = judge(&run.heard.account, &run.end).or_in_words(last_line);
        say::note(&format!(
            "{} on {}: {}: {} ({count} of {all} done)",
            case.name,
            share.place.name(),
            verdict.outcome.word(),
            verdict.why
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::tests::case;
    use super::*;

    #[test]
    fn a_boot_that_cannot_begin_is_a_result_and_a_signal_is_not() {
        let case = case("a");
        let failed = broken(Failure::Input("too much memory".into()).into(), &[&case]).unwrap();
        assert_eq!(failed.broken, ["a: too much memory"]);
        assert_eq!(failed.runs[0].end, End::Broke("too much memory".into()));
        assert!(broken(Failure::Interrupted(2).into(), &[&case]).is_err());
        assert!(broken(Failure::Missing("qemu".into()).into(), &[&case]).is_err());
    }

    #[test]
    fn images_are_spread_over_the_jobs_before_boots_are_filled() {
        let pace = |jobs| Pace { jobs, together: 8 };
        assert_eq!(evenly(60, pace(2)), 8);
        assert_eq!(evenly(8, pace(2)), 2);
        assert_eq!(evenly(1, pace(4)), 1);
        assert_eq!(evenly(0, pace(1)), 1);
    }
}
