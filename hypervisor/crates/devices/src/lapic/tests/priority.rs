//! Tests of IRR, ISR and the priorities, against sets of vectors.
//!
//! Owns a naive model that is nothing but three sets and the task priority. With hardware
//! delivery the CPU's part is played on the page by the manual's own steps.

use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::prelude::*;
use skerry_words::Vector;

use super::*;

/// What the manual says, on sets.
#[derive(Default)]
struct Naive {
    requested: BTreeSet<u8>,
    in_service: BTreeSet<u8>,
    level: BTreeSet<u8>,
    task: u8,
}

impl Naive {
    fn accept(&mut self, vector: u8, trigger: Trigger) {
        if vector < 16 {
            return;
        }
        self.requested.insert(vector);
        match trigger {
            Trigger::Edge => self.level.remove(&vector),
            Trigger::Level => self.level.insert(vector),
        };
    }

    fn served_class(&self) -> u8 {
        self.in_service.last().map_or(0, |vector| vector / 16)
    }

    fn next(&self) -> Option<u8> {
        let top = *self.requested.last()?;
        let class = top / 16;
        (class > self.served_class() && class > self.task / 16).then_some(top)
    }

    fn acknowledge(&mut self) -> Option<u8> {
        let vector = self.next()?;
        self.requested.remove(&vector);
        self.in_service.insert(vector);
        Some(vector)
    }

    fn end(&mut self) -> Option<u8> {
        self.in_service.pop_last()
    }

    fn processor_priority(&self) -> u8 {
        if self.task / 16 < self.served_class() {
            self.served_class() * 16
        } else {
            self.task
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Accept(u8, Trigger),
    Acknowledge,
    End,
    Task(u8),
    Cr8(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let trigger = prop_oneof![3 => Just(Trigger::Edge), 1 => Just(Trigger::Level)];
    let step = prop_oneof![
        4 => (any::<u8>(), trigger).prop_map(|(vector, trigger)| Step::Accept(vector, trigger)),
        3 => Just(Step::Acknowledge),
        3 => Just(Step::End),
        1 => any::<u8>().prop_map(Step::Task),
        1 => (0u8..16).prop_map(Step::Cr8),
    ];
    proptest::collection::vec(step, 1..60)
}

/// The vectors set in eight registers.
fn bank(apic: &Apic, at: u16) -> BTreeSet<u8> {
    let mut set = BTreeSet::new();
    for first in (0..=0xe0_u8).step_by(32) {
        let register = apic.page().get(at + u16::from(first) / 2);
        let bits = (0..32).filter(|bit| register >> bit & 1 != 0);
        set.extend(bits.map(|bit| first + bit));
    }
    set
}

fn assert_same(apic: &Apic, naive: &Naive) {
    assert_eq!(bank(apic, 0x100), naive.in_service);
    assert_eq!(bank(apic, 0x180), naive.level);
    assert_eq!(bank(apic, 0x200), naive.requested);
    assert_eq!(apic.page().get(0xa0), u32::from(naive.processor_priority()));
    assert_eq!(apic.pending(), naive.next().is_some());
    assert_eq!(apic.tpr(), naive.task / 16);
    let top = naive.requested.last().copied().unwrap_or(0);
    let served = naive.in_service.last().copied().unwrap_or(0);
    assert_eq!(apic.interrupt_status().to_le_bytes(), [top, served]);
}

fn expected_end(naive: &Naive, ended: Option<u8>) -> Action {
    match ended {
        Some(vector) if naive.level.contains(&vector) => Action::EndOfInterrupt(Vector(vector)),
        _ => Action::None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_page_is_what_sets_of_vectors_say(steps in steps()) {
        let mut apic = xapic();
        let mut naive = Naive::default();
        for step in steps {
            match step {
                Step::Accept(vector, trigger) => {
                    apic.accept(Vector(vector), trigger);
                    naive.accept(vector, trigger);
                }
                Step::Acknowledge => {
                    prop_assert_eq!(apic.acknowledge(), naive.acknowledge().map(Vector));
                }
                Step::End => {
                    let expected = naive.end();
                    let expected = expected_end(&naive, expected);
                    prop_assert_eq!(apic.write(0xb0, 0, NOW), expected);
                }
                Step::Task(task) => {
                    write(&mut apic, 0x80, u32::from(task));
                    naive.task = task;
                }
                Step::Cr8(class) => {
                    apic.set_tpr(class);
                    naive.task = class * 16;
                }
            }
            assert_same(&apic, &naive);
        }
    }

    #[test]
    fn what_the_cpu_does_in_the_page_counts(steps in steps()) {
        let mut apic = reset(0, Delivery::Hardware);
        write(&mut apic, 0xf0, 0x1ff);
        let mut naive = Naive::default();
        for step in steps {
            match step {
                Step::Accept(vector, trigger) => {
                    apic.accept(Vector(vector), trigger);
                    naive.accept(vector, trigger);
                }
                Step::Acknowledge => {
                    let delivered = apic.pending().then(|| cpu::deliver(&mut apic));
                    prop_assert_eq!(delivered, naive.acknowledge());
                }
                Step::End => {
                    let ended = naive.end();
                    let expected = expected_end(&naive, ended);
                    if let Some(vector) = ended {
                        cpu::end(&mut apic, vector);
                        prop_assert_eq!(apic.end_of_interrupt_seen(Vector(vector)), expected);
                    }
                }
                Step::Task(task) => {
                    apic.page.set(0x80, u32::from(task));
                    let _ = apic.written(0x80, NOW);
                    naive.task = task;
                }
                Step::Cr8(class) => {
                    apic.page.set(0x80, u32::from(class) * 16);
                    cpu::settle(&mut apic);
                    naive.task = class * 16;
                }
            }
            assert_same(&apic, &naive);
        }
    }
}

/// The CPU's own changes to a virtual-APIC page `[SDM 3C, "Virtual-Interrupt Delivery", "EOI
/// Virtualization" and "PPR Virtualization", ed. 085]`.
mod cpu {
    use super::{Apic, bank};

    fn flip(apic: &mut Apic, at: u16, vector: u8) {
        let register = at + u16::from(vector / 32) * 16;
        let word = apic.page.get(register);
        apic.page.set(register, word ^ 1 << (vector % 32));
    }

    pub(super) fn settle(apic: &mut Apic) {
        let task = apic.page.get(0x80) & 0xff;
        let served = bank(apic, 0x100).last().map_or(0, |top| u32::from(*top));
        let priority = if task >> 4 >= served >> 4 {
            task
        } else {
            served & 0xf0
        };
        apic.page.set(0xa0, priority);
    }

    pub(super) fn deliver(apic: &mut Apic) -> u8 {
        let vector = apic.interrupt_status() as u8;
        flip(apic, 0x200, vector);
        flip(apic, 0x100, vector);
        settle(apic);
        vector
    }

    pub(super) fn end(apic: &mut Apic, vector: u8) {
        flip(apic, 0x100, vector);
        settle(apic);
    }
}

#[test]
fn a_higher_class_interrupts_a_lower_one_and_the_same_class_waits() {
    let mut apic = xapic();
    accept(&mut apic, 0x51);
    assert_eq!(apic.acknowledge(), Some(Vector(0x51)));
    accept(&mut apic, 0x5f);
    assert_eq!(apic.acknowledge(), None);
    accept(&mut apic, 0x60);
    assert_eq!(apic.acknowledge(), Some(Vector(0x60)));
    write(&mut apic, 0xb0, 0);
    assert!(!apic.pending());
    write(&mut apic, 0xb0, 0);
    assert_eq!(apic.acknowledge(), Some(Vector(0x5f)));
}

#[test]
fn a_vector_asked_for_while_in_service_comes_once_more() {
    let mut apic = xapic();
    accept(&mut apic, 0x41);
    apic.acknowledge();
    accept(&mut apic, 0x41);
    accept(&mut apic, 0x41);
    write(&mut apic, 0xb0, 0);
    assert_eq!(apic.acknowledge(), Some(Vector(0x41)));
    write(&mut apic, 0xb0, 0);
    assert!(!apic.pending());
}

#[test]
fn the_task_priority_blocks_its_class_and_those_below() {
    let mut apic = xapic();
    accept(&mut apic, 0x3f);
    apic.set_tpr(3);
    assert!(!apic.pending());
    assert_eq!(apic.tpr_threshold(), 3);
    write(&mut apic, 0x80, 0x2f);
    assert!(apic.pending());
    assert_eq!(apic.tpr_threshold(), 0);
}

#[test]
fn nothing_below_vector_16_is_accepted() {
    let mut apic = xapic();
    assert_eq!(accept(&mut apic, 15), Acceptance::Dropped);
    assert!(!apic.pending());
    assert_eq!(errors(&mut apic), 0x40);
    assert_eq!(accept(&mut apic, 16), Acceptance::Taken);
    assert_eq!(apic.acknowledge(), Some(Vector(16)));
}

#[test]
fn an_apic_disabled_by_software_keeps_what_waits_and_takes_nothing_new() {
    let mut apic = xapic();
    accept(&mut apic, 0x61);
    write(&mut apic, 0xf0, 0xff);
    assert_eq!(accept(&mut apic, 0x71), Acceptance::Dropped);
    assert_eq!(apic.acknowledge(), Some(Vector(0x61)));
}

#[test]
fn an_end_of_interrupt_without_a_service_does_nothing() {
    let mut apic = xapic();
    apic.accept(Vector(0x61), Trigger::Level);
    assert_eq!(apic.write(0xb0, 0, NOW), Action::None);
    assert!(apic.pending());
}

#[test]
fn the_vmcs_is_told_of_new_requests_once() {
    let mut apic = reset(0, Delivery::Hardware);
    write(&mut apic, 0xf0, 0x1ff);
    assert_eq!(apic.take_interrupt_status(), Some(0));
    assert_eq!(apic.take_interrupt_status(), None);
    accept(&mut apic, 0x55);
    accept(&mut apic, 0x44);
    assert_eq!(apic.take_interrupt_status(), Some(0x55));
    cpu::deliver(&mut apic);
    assert_eq!(apic.take_interrupt_status(), None);
    assert_eq!(apic.interrupt_status(), 0x5544);
}

#[test]
fn the_exit_bitmap_has_the_level_triggered_vectors() {
    let mut apic = xapic();
    assert_eq!(apic.take_end_of_interrupt_exits(), Some([0; 4]));
    accept(&mut apic, 0x45);
    assert_eq!(apic.take_end_of_interrupt_exits(), None);
    apic.accept(Vector(0x45), Trigger::Level);
    apic.accept(Vector(0xff), Trigger::Level);
    let expected = [0, 1 << 5, 0, 1 << 63];
    assert_eq!(apic.take_end_of_interrupt_exits(), Some(expected));
    accept(&mut apic, 0x45);
    assert_eq!(apic.take_end_of_interrupt_exits(), Some([0, 0, 0, 1 << 63]));
}
