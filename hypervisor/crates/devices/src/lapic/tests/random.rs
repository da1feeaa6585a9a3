//! Any guest at all: no sequence of accesses panics, and what is remembered beside the page
//! stays what follows from the page.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use skerry_words::MsrIndex;

use super::super::priority::Standing;
use super::super::{Lint, PinLevel};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Read(u16),
    Write(u16, u32),
    Written(u16),
    ReadMsr(u32),
    WriteMsr(u32, u64),
    Base(u64),
    Deadline(u64, u64),
    Accept(u8, Trigger),
    Acknowledge,
    Cr8(u8),
    Init,
    Pin(Lint, PinLevel),
    Pass(u64),
}

fn value() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), 0u32..0x400, (0u32..0x8_0000), Just(0x1ff)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let offset = prop_oneof![4 => (0u16..0x40).prop_map(|at| at * 16), 1 => any::<u16>()];
    let trigger = prop_oneof![Just(Trigger::Edge), Just(Trigger::Level)];
    let pin = prop_oneof![Just(Lint::Lint0), Just(Lint::Lint1)];
    let level = prop_oneof![Just(PinLevel::Asserted), Just(PinLevel::Released)];
    let base = prop_oneof![
        Just(0xfee0_0000),
        Just(BASE_MSR_RESET),
        Just(TO_X2APIC),
        any::<u64>()
    ];
    let msr = prop_oneof![4 => 0x800u32..0x840, 1 => any::<u32>()];
    let wide = prop_oneof![4 => value().prop_map(u64::from), 1 => any::<u64>()];
    let step = prop_oneof![
        1 => offset.clone().prop_map(Step::Read),
        4 => (offset.clone(), value()).prop_map(|(at, value)| Step::Write(at, value)),
        1 => offset.prop_map(Step::Written),
        1 => msr.clone().prop_map(Step::ReadMsr),
        4 => (msr, wide).prop_map(|(msr, value)| Step::WriteMsr(msr, value)),
        1 => base.prop_map(Step::Base),
        1 => (any::<u64>(), any::<u64>()).prop_map(|(guest, due)| Step::Deadline(guest, due)),
        3 => (any::<u8>(), trigger).prop_map(|(vector, trigger)| Step::Accept(vector, trigger)),
        3 => Just(Step::Acknowledge),
        1 => any::<u8>().prop_map(Step::Cr8),
        1 => Just(Step::Init),
        1 => (pin, level).prop_map(|(pin, level)| Step::Pin(pin, level)),
        2 => prop_oneof![0u64..1000, any::<u64>()].prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..80)
}

/// What comes back is not what is judged here.
fn ignore<T>(_: T) {}

fn apply(apic: &mut Apic, step: &Step, now: &mut Tsc) {
    match *step {
        Step::Read(at) => ignore(apic.read(at, *now)),
        Step::Write(at, value) => ignore(apic.write(at, value, *now)),
        Step::Written(at) => ignore(apic.written(at, *now)),
        Step::ReadMsr(msr) => ignore(apic.msr_read(MsrIndex(msr), *now)),
        Step::WriteMsr(msr, value) => ignore(apic.msr_write(MsrIndex(msr), value, *now)),
        Step::Base(value) => ignore(apic.set_base(value)),
        Step::Deadline(guest, due) => apic.set_tsc_deadline(guest, Tsc(due), *now),
        Step::Accept(vector, trigger) => ignore(apic.accept(Vector(vector), trigger)),
        Step::Acknowledge => ignore(apic.acknowledge()),
        Step::Cr8(class) => apic.set_tpr(class),
        Step::Init => apic.reset_by_init(),
        Step::Pin(pin, level) => ignore(apic.lint(pin, level)),
        Step::Pass(ticks) => {
            *now = now.after(ticks);
            apic.expire(*now);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_remembered_follows_from_the_page(steps in steps()) {
        let mut software = reset(5, Delivery::Software);
        let mut hardware = reset(5, Delivery::Hardware);
        let (mut now, mut again) = (NOW, NOW);
        for step in &steps {
            apply(&mut software, step, &mut now);
            apply(&mut hardware, step, &mut again);
            prop_assert_eq!(software.standing, Standing::scan(software.page()));
            prop_assert_eq!(software.pending(), hardware.pending());
            for offset in (0..0x400).step_by(4) {
                let word = software.page().get(offset);
                prop_assert_eq!(word, hardware.page().get(offset), "{:#x}", offset);
            }
            prop_assert_eq!(software.page().get(0x200) & 0xffff, 0);
            prop_assert_eq!(software.page().get(0x100) & 0xffff, 0);
            prop_assert!(software.deadline() > now || software.deadline() == Tsc::NEVER);
        }
    }
}
