//! Tests of the timer, against one that really counts, tick after tick.

use std::vec::Vec;

use proptest::prelude::*;
use skerry_words::Vector;

use super::super::timer::SHORTEST_WAKE_TSC;
use super::*;

const MASKED: u32 = 1 << 16;
const PERIODIC: u32 = 1 << 17;
const DEADLINE: u32 = 2 << 17;
const VECTOR: u32 = 0xee;

/// A timer with a prescaler and a counter.
struct Naive {
    lvt: u32,
    initial: u32,
    count: u32,
    divisor: u32,
    prescaler: u32,
    /// The host's time of an armed deadline, and the guest's.
    armed: Option<(u64, u64)>,
    now: u64,
    requested: bool,
}

impl Naive {
    fn new() -> Self {
        Self {
            lvt: MASKED,
            initial: 0,
            count: 0,
            divisor: 2,
            prescaler: 0,
            armed: None,
            now: NOW.0,
            requested: false,
        }
    }

    fn counts(&self) -> bool {
        self.lvt & DEADLINE == 0
    }

    fn fire(&mut self) {
        self.requested |= self.lvt & MASKED == 0;
    }

    fn tick(&mut self) {
        self.now += 1;
        self.check_deadline();
        self.prescaler += 1;
        if self.prescaler < self.divisor {
            return;
        }
        self.prescaler = 0;
        if self.count > 0 {
            self.count -= 1;
            if self.count == 0 {
                self.fire();
                if self.lvt & PERIODIC != 0 {
                    self.count = self.initial;
                }
            }
        }
    }

    fn check_deadline(&mut self) {
        if self.armed.is_some_and(|(due, _)| self.now >= due) {
            self.armed = None;
            self.fire();
        }
    }

    /// Ticks until the timer fires, if it does within `limit`.
    fn until_fired(&self, limit: u64) -> Option<u64> {
        let counted = match self.count {
            0 => None,
            count => Some(u64::from(count) * u64::from(self.divisor) - u64::from(self.prescaler)),
        };
        let armed = self.armed.map(|(due, _)| due - self.now);
        counted.or(armed).filter(|ticks| *ticks <= limit)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Lvt(u32),
    Initial(u32),
    Divide(u32, u32),
    Deadline { guest: u64, ahead: u64 },
    Take,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mode = prop_oneof![Just(0), Just(PERIODIC), Just(DEADLINE)];
    let mask = prop_oneof![3 => Just(0), 1 => Just(MASKED)];
    let divide = prop_oneof![
        Just((0b0000, 2)),
        Just((0b0001, 4)),
        Just((0b0010, 8)),
        Just((0b0011, 16)),
        Just((0b1000, 32)),
        Just((0b1001, 64)),
        Just((0b1010, 128)),
        Just((0b1011, 1)),
    ];
    let step = prop_oneof![
        6 => (0u64..300).prop_map(Step::Pass),
        1 => (4000u64..9000).prop_map(Step::Pass),
        2 => (mode, mask).prop_map(|(mode, mask)| Step::Lvt(mode | mask | VECTOR)),
        2 => (0u32..60).prop_map(Step::Initial),
        1 => divide.prop_map(|(code, divisor)| Step::Divide(code, divisor)),
        2 => (0u64..3, 0u64..200).prop_map(|(guest, ahead)| Step::Deadline { guest, ahead }),
        2 => Just(Step::Take),
    ];
    proptest::collection::vec(step, 1..40)
}

fn apply(step: &Step, apic: &mut Apic, naive: &mut Naive) {
    let now = Tsc(naive.now);
    match *step {
        Step::Pass(ticks) => (0..ticks).for_each(|_| naive.tick()),
        Step::Lvt(lvt) => {
            let _ = apic.write(0x320, lvt, now);
            if (lvt ^ naive.lvt) & DEADLINE != 0 {
                (naive.initial, naive.count, naive.armed) = (0, 0, None);
            }
            naive.lvt = lvt;
        }
        Step::Initial(count) => {
            let _ = apic.write(0x380, count, now);
            if naive.counts() {
                (naive.initial, naive.count, naive.prescaler) = (count, count, 0);
            }
        }
        Step::Divide(code, divisor) => {
            let _ = apic.write(0x3e0, code, now);
            (naive.divisor, naive.prescaler) = (divisor, 0);
        }
        Step::Deadline { guest, ahead } => {
            apic.set_tsc_deadline(guest, now.after(ahead), now);
            if !naive.counts() {
                naive.armed = (guest != 0).then_some((naive.now + ahead, guest));
                naive.check_deadline();
            }
        }
        Step::Take => {}
    }
}

fn assert_same(apic: &mut Apic, naive: &mut Naive) {
    let now = Tsc(naive.now);
    apic.expire(now);
    assert_eq!(apic.read(0x380, now), naive.initial);
    assert_eq!(apic.read(0x390, now), naive.count);
    let armed = naive.armed.map_or(0, |(_, guest)| guest);
    assert_eq!(apic.tsc_deadline(now), armed);
    assert_eq!(apic.pending(), naive.requested);
    let wake = apic.deadline().since(now);
    match naive.until_fired(u64::MAX) {
        Some(ticks) if naive.lvt & MASKED == 0 => {
            assert!(wake >= ticks);
            assert!(wake <= ticks.max(SHORTEST_WAKE_TSC), "{wake} {ticks}");
        }
        _ => assert_eq!(apic.deadline(), Tsc::NEVER),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn it_counts_like_one_that_ticks(steps in steps()) {
        let mut apic = xapic();
        let mut naive = Naive::new();
        for step in &steps {
            apply(step, &mut apic, &mut naive);
            assert_same(&mut apic, &mut naive);
            if matches!(step, Step::Take) {
                let taken = apic.acknowledge();
                prop_assert_eq!(taken.is_some(), core::mem::take(&mut naive.requested));
                let _ = apic.write(0xb0, 0, Tsc(naive.now));
            }
        }
    }
}

/// An APIC whose timer divides by one.
fn timer(mode: u32) -> Apic {
    let mut apic = xapic();
    write(&mut apic, 0x320, mode | VECTOR);
    write(&mut apic, 0x3e0, 0xb);
    apic
}

#[test]
fn one_shot_fires_once_and_stays_at_zero() {
    let mut apic = timer(0);
    write(&mut apic, 0x380, 1000);
    assert_eq!(apic.deadline(), NOW.after(1000));
    apic.expire(NOW.after(999));
    assert_eq!(apic.read(0x390, NOW.after(999)), 1);
    assert!(!apic.pending());
    apic.expire(NOW.after(1000));
    assert_eq!(apic.acknowledge(), Some(Vector(VECTOR as u8)));
    assert_eq!(apic.read(0x390, NOW.after(5000)), 0);
    assert_eq!(apic.deadline(), Tsc::NEVER);
}

#[test]
fn a_masked_timer_wakes_nobody_and_counts_all_the_same() {
    let mut apic = timer(PERIODIC | MASKED);
    write(&mut apic, 0x380, 1000);
    assert_eq!(apic.deadline(), Tsc::NEVER);
    assert_eq!(apic.read(0x390, NOW.after(2300)), 700);
    let _ = apic.write(0x320, PERIODIC | VECTOR, NOW.after(2400));
    assert!(!apic.pending());
    assert_eq!(apic.deadline(), NOW.after(3000));
}

#[test]
fn years_of_missed_periods_are_one_interrupt_and_no_work() {
    let mut apic = timer(PERIODIC);
    write(&mut apic, 0x380, 3);
    let late = NOW.after(3 * 1_000_000_000_000_000_000 + 1);
    apic.expire(late);
    assert_eq!(apic.acknowledge(), Some(Vector(VECTOR as u8)));
    assert_eq!(apic.read(0x390, late), 2);
    let _ = apic.write(0xb0, 0, late);
    assert!(!apic.pending());
}

#[test]
fn a_period_of_one_tick_leaves_the_guest_time_to_run() {
    let mut apic = timer(PERIODIC);
    write(&mut apic, 0x380, 1);
    assert_eq!(apic.deadline(), NOW.after(1));
    apic.expire(NOW.after(1));
    assert_eq!(apic.deadline(), NOW.after(1 + SHORTEST_WAKE_TSC));
    assert_eq!(apic.read(0x390, NOW.after(1)), 1);
}

#[test]
fn a_slow_period_is_met_exactly() {
    let mut apic = timer(PERIODIC);
    write(&mut apic, 0x380, 10_000);
    apic.expire(NOW.after(10_000 + 37));
    assert_eq!(apic.deadline(), NOW.after(20_000));
}

#[test]
fn the_longest_count_there_is_is_two_to_the_39() {
    let mut apic = timer(0);
    write(&mut apic, 0x3e0, 0xa);
    write(&mut apic, 0x380, u32::MAX);
    assert_eq!(apic.deadline(), NOW.after(0xffff_ffff << 7));
}

#[test]
fn counting_goes_on_between_one_shot_and_periodic() {
    let mut apic = timer(0);
    write(&mut apic, 0x380, 1000);
    let _ = apic.write(0x320, PERIODIC | VECTOR, NOW.after(600));
    assert_eq!(apic.read(0x390, NOW.after(600)), 400);
    assert_eq!(apic.read(0x390, NOW.after(1001)), 999);
    let _ = apic.write(0x320, VECTOR, NOW.after(1500));
    assert_eq!(apic.read(0x390, NOW.after(1500)), 500);
    assert_eq!(apic.read(0x390, NOW.after(2000)), 0);
    let _ = apic.write(0x320, PERIODIC | VECTOR, NOW.after(2000));
    assert_eq!(apic.read(0x390, NOW.after(2001)), 0);
    assert_eq!(apic.read(0x380, NOW.after(2001)), 1000);
}

#[test]
fn deadline_mode_disarms_what_counted_and_takes_no_count() {
    let mut apic = timer(0);
    write(&mut apic, 0x380, 1000);
    write(&mut apic, 0x320, DEADLINE | VECTOR);
    assert_eq!(apic.deadline(), Tsc::NEVER);
    write(&mut apic, 0x380, 500);
    assert_eq!(read(&mut apic, 0x380), 0);
    assert_eq!(read(&mut apic, 0x390), 0);
    assert_eq!(apic.deadline(), Tsc::NEVER);
}

#[test]
fn a_deadline_reads_back_until_it_is_reached() {
    let mut apic = timer(DEADLINE);
    apic.set_tsc_deadline(0x1234, NOW.after(50), NOW);
    assert_eq!(apic.tsc_deadline(NOW.after(49)), 0x1234);
    assert_eq!(apic.deadline(), NOW.after(50));
    apic.expire(NOW.after(50));
    assert_eq!(apic.acknowledge(), Some(Vector(VECTOR as u8)));
    assert_eq!(apic.tsc_deadline(NOW.after(50)), 0);
}

#[test]
fn a_deadline_already_over_fires_at_once() {
    let mut apic = timer(DEADLINE);
    apic.set_tsc_deadline(5, Tsc(5), NOW);
    assert!(apic.pending());
    assert_eq!(apic.tsc_deadline(NOW), 0);
    assert_eq!(apic.deadline(), Tsc::NEVER);
}

#[test]
fn a_deadline_can_be_moved_and_zero_disarms_it() {
    let mut apic = timer(DEADLINE);
    apic.set_tsc_deadline(100, NOW.after(100), NOW);
    apic.set_tsc_deadline(300, NOW.after(300), NOW);
    apic.expire(NOW.after(100));
    assert!(!apic.pending());
    apic.set_tsc_deadline(0, NOW, NOW.after(200));
    apic.expire(NOW.after(300));
    assert!(!apic.pending());
    assert_eq!(apic.tsc_deadline(NOW.after(300)), 0);
}

#[test]
fn a_deadline_in_another_mode_is_not_taken() {
    for mode in [0, PERIODIC, 3 << 17] {
        let mut apic = timer(mode);
        apic.set_tsc_deadline(5, Tsc(5), NOW);
        assert_eq!(apic.tsc_deadline(NOW), 0);
        assert!(!apic.pending());
    }
}

#[test]
fn a_deadline_that_passes_masked_is_gone() {
    let mut apic = timer(DEADLINE | MASKED);
    apic.set_tsc_deadline(9, NOW.after(10), NOW);
    let _ = apic.write(0x320, DEADLINE | VECTOR, NOW.after(20));
    assert!(!apic.pending());
    assert_eq!(apic.tsc_deadline(NOW.after(20)), 0);
}

#[test]
fn an_interrupt_due_before_its_entry_is_rewritten_has_the_old_vector() {
    let mut apic = timer(0);
    write(&mut apic, 0x380, 10);
    let _ = apic.write(0x320, 0x33, NOW.after(10));
    assert_eq!(apic.acknowledge(), Some(Vector(VECTOR as u8)));
}

#[test]
fn the_same_holds_where_the_cpu_has_written_the_page_already() {
    let mut apic = timer(0);
    write(&mut apic, 0x380, 10);
    apic.page.set(0x320, 0xffff_fff3);
    let _ = apic.written(0x320, NOW.after(10));
    assert_eq!(apic.acknowledge(), Some(Vector(VECTOR as u8)));
    assert_eq!(apic.page().get(0x320), 0x0007_00f3);
}

#[test]
fn an_interrupt_due_before_any_change_to_the_timer_is_not_lost() {
    for (offset, value) in [(0x380, 50), (0x380, 0), (0x3e0, 0), (0xf0, 0xff)] {
        let mut apic = timer(0);
        write(&mut apic, 0x380, 10);
        let _ = apic.write(offset, value, NOW.after(10));
        assert!(apic.pending(), "{offset:#x}");
    }
}
