//! The scheduler against a naive model and against what it promises.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

extern crate std;

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::share::VirtualTime;
use super::*;

const SLICE: u64 = 1000;

impl Scheduler {
    /// Begins at any virtual time, to test where it wraps.
    fn starting_at(slice_tsc: u64, floor: u64) -> Self {
        Self {
            floor: VirtualTime(floor),
            ..Self::new(slice_tsc)
        }
    }

    /// One whole turn; `None` if all sleep.
    fn turn(&mut self) -> Option<(VcpuId, u64)> {
        let id = self.pick()?;
        let ticks = self.slice(id).min(SLICE);
        self.charge(id, ticks);
        Some((id, ticks))
    }
}

#[test]
fn equals_take_turns_in_the_order_of_their_ids() {
    let mut scheduler = Scheduler::new(SLICE);
    let ids: Vec<_> = (0..3).map(|_| scheduler.add(100)).collect();
    let order: Vec<_> = (0..6)
        .filter_map(|_| scheduler.turn())
        .map(|t| t.0)
        .collect();
    assert_eq!(order, [ids.clone(), ids].concat());
}

#[test]
fn a_turn_goes_on_until_its_ticks_are_used() {
    let mut scheduler = Scheduler::new(SLICE);
    let first = scheduler.add(100);
    let second = scheduler.add(100);
    assert_eq!(scheduler.pick(), Some(first));
    scheduler.charge(first, 400);
    assert_eq!(scheduler.pick(), Some(first));
    assert_eq!(scheduler.slice(first), 600);
    assert_eq!(scheduler.slice(second), 0);
    scheduler.charge(first, 601);
    assert_eq!(scheduler.pick(), Some(second));
}

#[test]
fn alone_it_is_not_interrupted_and_asleep_nobody_is_picked() {
    let mut scheduler = Scheduler::new(SLICE);
    let only = scheduler.add(7);
    assert_eq!(scheduler.pick(), Some(only));
    assert_eq!(scheduler.slice(only), u64::MAX);
    scheduler.charge(only, 1_000_000);
    assert_eq!(scheduler.pick(), Some(only));
    scheduler.sleep(only);
    assert_eq!((scheduler.pick(), scheduler.runnable()), (None, 0));
    scheduler.wake(only);
    assert_eq!((scheduler.pick(), scheduler.runnable()), (Some(only), 1));
}

#[test]
fn who_yields_lets_the_others_go_first_and_pays_for_its_turn() {
    let mut scheduler = Scheduler::new(SLICE);
    let first = scheduler.add(100);
    let second = scheduler.add(100);
    assert_eq!(scheduler.pick(), Some(first));
    scheduler.charge(first, 10);
    scheduler.yield_now(first);
    assert_eq!(scheduler.turn(), Some((second, SLICE)));
    assert_eq!(scheduler.turn(), Some((first, SLICE)));
    assert_eq!(scheduler.turn(), Some((second, SLICE)));
}

#[test]
fn a_waking_vcpu_cuts_a_turn_short_only_if_it_is_behind() {
    let mut scheduler = Scheduler::new(SLICE);
    let busy = scheduler.add(100);
    let sleeper = scheduler.add(100);
    scheduler.sleep(sleeper);
    scheduler.pick();
    scheduler.charge(busy, 50_000);
    scheduler.wake(sleeper);
    assert_eq!(scheduler.pick(), Some(sleeper));
    scheduler.charge(sleeper, SLICE);
    scheduler.sleep(sleeper);
    assert_eq!(scheduler.pick(), Some(busy));
    scheduler.wake(sleeper);
    assert_eq!(scheduler.pick(), Some(busy));
    assert_eq!(scheduler.slice(busy), SLICE);
}

#[test]
fn a_long_sleep_earns_one_turn_of_credit_and_no_more() {
    let mut scheduler = Scheduler::new(SLICE);
    let busy = scheduler.add(100);
    let sleeper = scheduler.add(100);
    scheduler.sleep(sleeper);
    scheduler.pick();
    scheduler.charge(busy, 1_000_000);
    scheduler.wake(sleeper);
    let mut used: BTreeMap<VcpuId, u64> = BTreeMap::new();
    for _ in 0..20 {
        let (id, ticks) = scheduler.turn().unwrap();
        *used.entry(id).or_default() += ticks;
    }
    assert!(used[&sleeper] - used[&busy] <= 2 * SLICE, "{used:?}");
}

#[test]
fn leaving_and_joining_again_does_not_starve_a_neighbour() {
    let mut scheduler = Scheduler::new(SLICE);
    let restless = scheduler.add(100);
    let neighbour = scheduler.add(100);
    let mut turns = 0;
    for _ in 0..10 {
        let (id, _) = scheduler.turn().unwrap();
        turns += u32::from(id == neighbour);
        scheduler.remove(restless);
        assert_eq!(scheduler.add(100), restless);
    }
    assert!(turns >= 4, "the neighbour had {turns} of 10 turns");
}

#[test]
fn many_tiny_charges_cost_as_much_as_one_large_one() {
    let mut scheduler = Scheduler::new(SLICE);
    let heavy = scheduler.add(1000);
    let other = scheduler.add(1000);
    assert_eq!(scheduler.pick(), Some(heavy));
    for _ in 0..10 * SLICE {
        scheduler.charge(heavy, 1);
    }
    let picked = scheduler.turn();
    assert_eq!(picked, Some((other, SLICE)));
    assert_eq!(scheduler.slice(other), 9 * SLICE);
}

#[test]
fn unknown_ids_change_nothing() {
    let mut scheduler = Scheduler::new(0);
    let ghost = VcpuId(9);
    scheduler.wake(ghost);
    scheduler.sleep(ghost);
    scheduler.charge(ghost, 5);
    scheduler.yield_now(ghost);
    scheduler.remove(ghost);
    assert_eq!((scheduler.slice(ghost), scheduler.runnable()), (0, 0));
    assert_eq!(scheduler.pick(), None);
}

#[derive(Clone, Debug)]
enum Step {
    Add(u32),
    Remove(usize),
    Wake(usize),
    Sleep(usize),
    /// Pick, run this many thousandths of what is left of the turn, and maybe yield.
    Run(u64),
    RunAndYield(u64),
}

fn steps(weights: impl Strategy<Value = u32>) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => weights.prop_map(Step::Add),
        1 => (0..6_usize).prop_map(Step::Remove),
        3 => (0..6_usize).prop_map(Step::Wake),
        2 => (0..6_usize).prop_map(Step::Sleep),
        12 => prop_oneof![Just(1000_u64), 0..=1000_u64].prop_map(Step::Run),
        1 => (0..1000_u64).prop_map(Step::RunAndYield),
    ];
    prop::collection::vec(step, 1..120)
}

/// The same rules in exact numbers that never wrap, sorted anew for every pick.
#[derive(Default)]
struct Model {
    vcpus: BTreeMap<usize, ModelVcpu>,
    floor: i128,
    current: Option<usize>,
}

#[derive(Clone, Debug)]
struct ModelVcpu {
    /// Virtual time in ticks times 100 * 2^32; weights of the test divide that.
    at: i128,
    weight: i128,
    runnable: bool,
    turn_left: i128,
}

const ONE: i128 = 1 << 32;

impl Model {
    fn settle(&mut self) {
        let behind = self
            .vcpus
            .values()
            .filter(|v| v.runnable)
            .map(|v| v.at / ONE)
            .min();
        self.floor = self.floor.max(behind.unwrap_or(self.floor));
        for vcpu in self.vcpus.values_mut().filter(|v| !v.runnable) {
            let oldest = self.floor - i128::from(SLICE);
            if vcpu.at / ONE < oldest {
                vcpu.at = oldest * ONE + vcpu.at % ONE;
            }
        }
    }

    fn add(&mut self, weight: u32) -> usize {
        self.settle();
        let id = (0..).find(|id| !self.vcpus.contains_key(id)).unwrap();
        let vcpu = ModelVcpu {
            at: (self.floor + 1) * ONE,
            weight: i128::from(weight),
            runnable: true,
            turn_left: 0,
        };
        self.vcpus.insert(id, vcpu);
        id
    }

    fn wake(&mut self, id: usize) {
        self.settle();
        let Some(vcpu) = self.vcpus.get_mut(&id).filter(|v| !v.runnable) else {
            return;
        };
        vcpu.runnable = true;
        let woken = vcpu.at / ONE;
        if let Some(current) = self.current.and_then(|id| self.vcpus.get_mut(&id))
            && woken < current.at / ONE
        {
            current.turn_left = 0;
        }
    }

    fn sleep(&mut self, id: usize) {
        if let Some(vcpu) = self.vcpus.get_mut(&id) {
            (vcpu.runnable, vcpu.turn_left) = (false, 0);
        }
    }

    fn pick(&mut self) -> Option<usize> {
        if let Some(id) = self.current
            && self.vcpus.get(&id).is_some_and(|v| v.turn_left > 0)
        {
            return Some(id);
        }
        self.settle();
        let mut order: Vec<_> = self.vcpus.iter().filter(|(_, v)| v.runnable).collect();
        order.sort_by_key(|(id, vcpu)| (vcpu.at / ONE, **id));
        self.current = order.first().map(|(id, _)| **id);
        let vcpu = self.vcpus.get_mut(&self.current?)?;
        vcpu.turn_left = (i128::from(SLICE) * vcpu.weight / 100).max(1);
        self.current
    }

    fn charge(&mut self, id: usize, ticks: u64) {
        let vcpu = self.vcpus.get_mut(&id).unwrap();
        vcpu.at += i128::from(ticks) * 100 * ONE / vcpu.weight;
        vcpu.turn_left = (vcpu.turn_left - i128::from(ticks)).max(0);
    }

    fn yield_now(&mut self, id: usize) {
        let left = self.vcpus[&id].turn_left as u64;
        self.charge(id, left);
        self.vcpus.get_mut(&id).unwrap().at += ONE;
    }
}

/// What one step let run, for how long.
fn apply(scheduler: &mut Scheduler, step: &Step) -> Option<(VcpuId, u64)> {
    match *step {
        Step::Add(weight) => {
            scheduler.add(weight);
        }
        Step::Remove(id) => scheduler.remove(VcpuId(id)),
        Step::Wake(id) => scheduler.wake(VcpuId(id)),
        Step::Sleep(id) => scheduler.sleep(VcpuId(id)),
        Step::Run(part) | Step::RunAndYield(part) => {
            let id = scheduler.pick()?;
            let most = scheduler.slice(id).min(10 * SLICE);
            let ticks = most * part / 1000;
            scheduler.charge(id, ticks);
            if matches!(step, Step::RunAndYield(_)) {
                scheduler.yield_now(id);
            }
            return Some((id, ticks));
        }
    }
    None
}

fn apply_to_model(model: &mut Model, step: &Step, ran: Option<(VcpuId, u64)>) {
    match *step {
        Step::Add(weight) => {
            model.add(weight);
        }
        Step::Remove(id) => {
            model.sleep(id);
            model.vcpus.remove(&id);
        }
        Step::Wake(id) => model.wake(id),
        Step::Sleep(id) => model.sleep(id),
        Step::Run(_) | Step::RunAndYield(_) => {
            assert_eq!(model.pick(), ran.map(|(id, _)| id.0));
            let Some((id, ticks)) = ran else { return };
            model.charge(id.0, ticks);
            if matches!(step, Step::RunAndYield(_)) {
                model.yield_now(id.0);
            }
        }
    }
}

/// Weights of which 100 * 2^32 is a multiple: the fixed-point inverse is exact.
fn exact_weights() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![1, 2, 5, 16, 25, 50, 64, 100, 200, 400, 800])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_agrees_with_the_naive_model_wherever_the_counter_stands(
        start in prop_oneof![Just(0), Just(u64::MAX - 3000), Just(i64::MAX as u64 - 2000), any::<u64>()],
        steps in steps(exact_weights()),
    ) {
        let mut scheduler = Scheduler::starting_at(SLICE, start);
        let mut model = Model { floor: i128::from(start), ..Model::default() };
        for step in &steps {
            let ran = apply(&mut scheduler, step);
            apply_to_model(&mut model, step, ran);
            let runnable = model.vcpus.values().filter(|vcpu| vcpu.runnable).count();
            prop_assert_eq!(scheduler.runnable(), runnable);
        }
    }

    #[test]
    fn the_always_runnable_keep_to_their_weights_within_one_slice(
        first in 1..=1000_u32,
        second in 1..=1000_u32,
        steps in steps(1..=1000_u32),
    ) {
        let mut scheduler = Scheduler::new(SLICE);
        let pair = [(scheduler.add(first), first), (scheduler.add(second), second)];
        let mut used = [0_f64; 2];
        for step in &steps {
            let touches_pair = match step {
                Step::Remove(id) | Step::Sleep(id) => *id < 2,
                Step::RunAndYield(_) => true,
                Step::Add(_) | Step::Wake(_) | Step::Run(_) => false,
            };
            if touches_pair {
                continue;
            }
            if let Some((id, ticks)) = apply(&mut scheduler, step)
                && let Some(index) = pair.iter().position(|(member, _)| *member == id)
            {
                used[index] += ticks as f64 * 100.0 / f64::from(pair[index].1);
            }
            // One tick of rounding on either side.
            prop_assert!((used[0] - used[1]).abs() <= SLICE as f64 + 2.0, "{:?}", used);
        }
    }

    #[test]
    fn whoever_is_runnable_runs_before_the_others_have_had_three_turns_each(
        weights in prop::collection::vec(1..=1000_u32, 1..5),
        steps in steps(1..=1000_u32),
    ) {
        let mut scheduler = Scheduler::new(SLICE);
        let patient = scheduler.add(1);
        for weight in &weights {
            scheduler.add(*weight);
        }
        let mut waited: BTreeMap<VcpuId, u64> = BTreeMap::new();
        for step in &steps {
            if matches!(step, Step::Add(_) | Step::Remove(_) | Step::Sleep(0)) {
                continue;
            }
            match apply(&mut scheduler, step) {
                Some((id, _)) if id == patient => waited.clear(),
                Some((id, ticks)) => *waited.entry(id).or_default() += ticks,
                None => {}
            }
            for (id, ticks) in &waited {
                let weight = u64::from(weights[id.0 - 1]);
                prop_assert!(*ticks <= 3 * (SLICE * weight / 100 + 1), "{waited:?}");
            }
        }
    }

    #[test]
    fn any_charge_and_any_weight_leave_it_working(
        charges in prop::collection::vec((any::<u64>(), any::<u32>()), 1..50),
    ) {
        let mut scheduler = Scheduler::new(u64::MAX);
        for (ticks, weight) in charges {
            scheduler.add(weight);
            let picked = scheduler.pick();
            prop_assert!(picked.is_some());
            scheduler.charge(picked.unwrap(), ticks);
        }
    }
}
