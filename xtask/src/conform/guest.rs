//! Images as guests: many VMs in one boot of the hypervisor.
//!
//! Owns the making of batches, and what happens when a boot breaks: the images that had not
//! ended are run again, each alone, and the break is reported in any case. So is an image that
//! ran out of time while its neighbours had the CPU. Called by `work`.

use std::time::Duration;

use anyhow::Result;

use super::case::{BESIDE_BYTES, BUNDLE_BYTES, Case};
use super::end::End;
use super::watch::{Heard, Watch};
use crate::machine::{Ended, Machine};
use crate::manifest;
use crate::say;

/// What all images of a boot may have together, to be gentle to the host.
const MOST_BYTES: u64 = 6 << 30;

/// One image's run.
#[derive(Debug)]
pub(super) struct Run {
    /// What was heard of it.
    pub(super) heard: Heard,
    /// How it ended.
    pub(super) end: End,
}

/// What came of a batch.
#[derive(Debug, Default)]
pub(super) struct Boots {
    /// The runs, in the cases' order.
    pub(super) runs: Vec<Run>,
    /// What broke, that must not, whatever guests do.
    pub(super) broken: Vec<String>,
}

/// The cases in batches: at most `most` in each, and no more memory than `bytes`.
pub(super) fn batches(cases: &[Case], most: usize, bytes: u64) -> Vec<Vec<usize>> {
    let bytes = bytes.saturating_sub(BUNDLE_BYTES).min(MOST_BYTES);
    let mut batches: Vec<(u64, Vec<usize>)> = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let own = case.memory_bytes.saturating_add(BESIDE_BYTES);
        match batches.last_mut() {
            Some((used, batch)) if batch.len() < most && used.saturating_add(own) <= bytes => {
                *used = used.saturating_add(own);
                batch.push(index);
            }
            _ => batches.push((own, vec![index])),
        }
    }
    batches.into_iter().map(|(_, batch)| batch).collect()
}

/// Runs a batch.
///
/// # Errors
/// The engine cannot be started, a signal stopped us.
pub(super) fn run(machine: &Machine, cases: &[&Case]) -> Result<Boots> {
    let booted = boot(machine, cases)?;
    let mut boots = Boots::default();
    if let Some(why) = &booted.broken {
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        boots.broken.push(format!("{}: {why}", names.join(", ")));
    }
    let crowded = cases.len() > 1;
    for (case, (heard, cpu)) in cases.iter().zip(booted.images) {
        let again = match (&booted.broken, &heard.end) {
            (Some(why), None) => Some(why.clone()),
            (_, Some(End::Limit)) if heard.was_starved(cpu) => {
                Some("the others had the CPU".to_string())
            }
            _ => None,
        };
        match again {
            Some(why) if crowded => {
                say::note(&format!("{} again, alone: {why}", case.name));
                let alone = run(machine, &[case])?;
                boots.runs.extend(alone.runs);
                boots.broken.extend(alone.broken);
            }
            _ => boots.runs.push(Run::of(heard, booted.broken.as_deref())),
        }
    }
    Ok(boots)
}

impl Run {
    /// What an image's run was, in a boot that broke for this reason if it did.
    fn of(heard: Heard, broken: Option<&str>) -> Self {
        let unknown = || broken.unwrap_or("the hypervisor did not say how it ended");
        let end = heard.end.clone();
        Self {
            end: end.unwrap_or_else(|| End::Broke(unknown().into())),
            heard,
        }
    }
}

/// What came of one boot.
struct Booted {
    /// What was heard of each image, and the CPU time it really had, where that was told.
    images: Vec<(Heard, Option<Duration>)>,
    /// Why the boot as a whole did not go well, if it did not.
    broken: Option<String>,
}

fn boot(machine: &Machine, cases: &[&Case]) -> Result<Booted> {
    let recipe = machine.engine.recipe();
    let limit = |case: &Case| Duration::from_secs(case.limit_s.saturating_mul(recipe.patience));
    let named = (1..)
        .zip(cases)
        .map(|(number, case)| (vm_name(number), *case));
    let vms = named.clone().map(|(name, case)| case.vm(name)).collect();
    let packed = machine.pack(&manifest::of_vms(vms))?;
    let heard = named.map(|(name, case)| (name, Heard::new(limit(case))));
    let mut watch = Watch::new(heard.collect());
    let ended = machine.boot(&packed, None, None, &mut watch)?;
    watch.finish();
    Ok(Booted {
        broken: why_broken(&ended, &watch),
        images: with_cpu_time(watch),
    })
}

/// Every image with its part of the boot's time, by the ticks that the hypervisor counted.
fn with_cpu_time(watch: Watch) -> Vec<(Heard, Option<Duration>)> {
    let Watch {
        transcript, images, ..
    } = watch;
    let ticks = |name: &str| {
        let report = transcript.report_on(name)?;
        Some(report.guest_tsc.saturating_add(report.host_tsc))
    };
    let all: u64 = images.iter().filter_map(|(name, _)| ticks(name)).sum();
    let time: Duration = images.iter().map(|(_, heard)| heard.used).sum();
    let part = |ticks: u64| time.mul_f64(ticks as f64 / all.max(1) as f64);
    images
        .into_iter()
        .map(|(name, heard)| {
            let cpu = ticks(&name).map(part);
            (heard, cpu)
        })
        .collect()
}

fn vm_name(number: u32) -> String {
    format!("v{number}")
}

fn why_broken(ended: &Ended, watch: &Watch) -> Option<String> {
    let run = &watch.transcript;
    if let Err(failure) = ended.check(run) {
        return Some(failure.to_string());
    }
    match run.host.as_ref().map_or(0, |host| host.lost_frames) {
        0 => None,
        lost => Some(format!(
            "{lost} frames of the hypervisor's memory were lost"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::tests::case;
    use super::*;
    use skerry_manifest::report::VmReport;

    #[test]
    fn the_boots_time_is_divided_by_the_ticks_that_were_counted() {
        let second = Duration::from_secs(1);
        let heard = |used: u32| {
            let mut heard = Heard::new(10 * second);
            heard.used = used * second;
            heard
        };
        let mut watch = Watch::new(vec![
            ("v1".into(), heard(10)),
            ("v2".into(), heard(10)),
            ("v3".into(), heard(0)),
        ]);
        for (name, guest_tsc) in [("v1", 100), ("v2", 2900)] {
            watch.transcript.vms.push(VmReport {
                name: name.into(),
                guest_tsc,
                host_tsc: 1000,
                ..VmReport::default()
            });
        }
        let cpu: Vec<Option<Duration>> = with_cpu_time(watch).into_iter().map(|i| i.1).collect();
        assert_eq!(cpu[1].unwrap().as_millis(), 15_600);
        assert_eq!(cpu[2], None);
        assert!(heard(10).was_starved(cpu[0]));
        assert!(!heard(10).was_starved(cpu[1]) && !heard(10).was_starved(None));
    }

    #[test]
    fn a_batch_is_full_by_number_or_by_memory() {
        let mib = |mib: u64| Case {
            memory_bytes: mib << 20,
            ..case("a")
        };
        let cases = [128, 128, 128, 600, 128].map(mib);
        let all = |most, bytes| batches(&cases, most, bytes);
        assert_eq!(all(2, 8 << 30), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(all(9, 764 << 20), [vec![0, 1, 2], vec![3], vec![4]]);
        // One that is too big by itself is alone.
        assert_eq!(all(9, 1 << 20).len(), 5);
        assert_eq!(all(9, u64::MAX), [vec![0, 1, 2, 3, 4]]);
    }
}
