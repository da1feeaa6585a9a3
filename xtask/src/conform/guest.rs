//! Images as guests: many VMs in one boot of the hypervisor.
//!
//! Owns the making of batches, and what happens when a boot breaks: the images that had not
//! ended are run again, each alone, and the break is reported in any case. Called by `work`.

use std::time::Duration;

use anyhow::Result;

use super::case::{BESIDE_BYTES, Case};
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
    let bytes = bytes.min(MOST_BYTES);
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
    let (mut images, why) = boot(machine, cases)?;
    let mut boots = Boots::default();
    let Some(why) = why else {
        boots.runs = images.into_iter().map(Run::of).collect();
        return Ok(boots);
    };
    let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    boots.broken.push(format!("{}: {why}", names.join(", ")));
    for (case, heard) in cases.iter().zip(images.drain(..)) {
        if heard.end.is_some() {
            boots.runs.push(Run::of(heard));
        } else if cases.len() == 1 {
            let end = End::Broke(why.clone());
            boots.runs.push(Run { heard, end });
        } else {
            say::note(&format!("{} again, alone: {why}", case.name));
            let alone = run(machine, &[case])?;
            boots.runs.extend(alone.runs);
            boots.broken.extend(alone.broken);
        }
    }
    Ok(boots)
}

impl Run {
    fn of(heard: Heard) -> Self {
        let end = heard.end.clone();
        Self {
            heard,
            end: end.unwrap_or_else(|| End::Broke("the hypervisor did not say how".into())),
        }
    }
}

/// One boot: what was heard of each image, and why the boot as a whole did not go well.
fn boot(machine: &Machine, cases: &[&Case]) -> Result<(Vec<Heard>, Option<String>)> {
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
    let why = why_broken(&ended, &watch);
    let images = watch.images.into_iter().map(|(_, heard)| heard).collect();
    Ok((images, why))
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

    #[test]
    fn a_batch_is_full_by_number_or_by_memory() {
        let mib = |mib: u64| Case {
            memory_bytes: mib << 20,
            ..case("a")
        };
        let cases = [128, 128, 128, 600, 128].map(mib);
        let all = |most, bytes| batches(&cases, most, bytes);
        assert_eq!(all(2, 8 << 30), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(all(9, 700 << 20), [vec![0, 1, 2], vec![3], vec![4]]);
        // One that is too big by itself is alone.
        assert_eq!(all(9, 1 << 20).len(), 5);
        assert_eq!(all(9, u64::MAX), [vec![0, 1, 2, 3, 4]]);
    }
}
