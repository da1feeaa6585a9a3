//! What test kernels and Linux do with their APICs, as they do it.

use super::super::{Ipi, IpiMode, Mode, Recipients, route};
use super::*;

/// A test kernel's way to begin: off, on, spurious vector FFh.
fn start_over(apic: &mut Apic) {
    let base = apic.base();
    apic.set_base(base & !0xc00).unwrap();
    apic.set_base(apic.base() | 0x800).unwrap();
    write(apic, 0xf0, 0x1ff);
}

#[test]
fn off_and_on_again_works_from_every_mode() {
    let mut apic = xapic();
    start_over(&mut apic);
    apic.set_base(apic.base() | 0x400).unwrap();
    start_over(&mut apic);
    assert!(matches!(apic.mode(), Mode::Xapic { .. }));
    assert_eq!(accept(&mut apic, 0x20), Acceptance::Taken);
}

#[test]
fn an_id_written_is_seen_until_the_mode_changes() {
    let mut apic = reset(1, Delivery::Software);
    write(&mut apic, 0x20, 2 << 24);
    assert_eq!(read(&mut apic, 0x20), 2 << 24);
    apic.set_base(TO_X2APIC).unwrap();
    assert_eq!(wrmsr(&mut apic, 0x802, 2 << 24), Err(Refused::Absent));
    assert_eq!(rdmsr(&mut apic, 0x802), Ok(1));
    start_over(&mut apic);
    assert_eq!(read(&mut apic, 0x20), 1 << 24);
}

#[test]
fn the_trigger_mode_shows_how_the_last_request_came() {
    let mut apic = xapic();
    let bit = |apic: &mut Apic| read(apic, 0x1b0) >> 25 & 1;
    for (trigger, expected) in [(Trigger::Level, 1), (Trigger::Level, 1), (Trigger::Edge, 0)] {
        apic.accept(Vector(0x79), trigger);
        assert_eq!(bit(&mut apic), expected);
        apic.acknowledge();
        let ended = apic.write(0xb0, 0, NOW);
        let told = ended == Action::EndOfInterrupt(Vector(0x79));
        assert_eq!(told, trigger == Trigger::Level);
        assert_eq!(bit(&mut apic), expected);
    }
}

/// Two interrupts wait behind a high task priority; lowering it step by step lets first the
/// higher and then the lower one through.
#[test]
fn lowering_the_task_priority_lets_them_through_one_by_one() {
    let mut apic = xapic();
    write(&mut apic, 0x80, 0xf0);
    write(&mut apic, 0x300, 0x4_4020);
    write(&mut apic, 0x300, 0x4_403e);
    assert!(!apic.pending());
    write(&mut apic, 0x80, 0x20);
    assert_eq!(apic.acknowledge(), Some(Vector(0x3e)));
    write(&mut apic, 0xb0, 0);
    assert_eq!(apic.acknowledge(), None);
    write(&mut apic, 0x80, 0);
    assert_eq!(apic.acknowledge(), Some(Vector(0x20)));
}

/// Reads every entry back, as a test that writes each MSR's own value to it does.
#[test]
fn every_writable_msr_keeps_its_own_value() {
    let mut apic = x2apic(0);
    for msr in [
        0x808, 0x80f, 0x828, 0x830, 0x832, 0x835, 0x837, 0x838, 0x83e,
    ] {
        let value = rdmsr(&mut apic, msr).unwrap();
        let _ = wrmsr(&mut apic, msr, value).unwrap();
        assert_eq!(rdmsr(&mut apic, msr), Ok(value), "{msr:#x}");
    }
}

/// Linux brings up a processor: INIT asserted, INIT de-asserted, two start-ups.
#[test]
fn linux_starts_a_processor_with_one_init_and_two_start_ups() {
    let mut boot = reset(0, Delivery::Software);
    boot.wire_like_firmware();
    let mut application = reset(1, Delivery::Software);
    let mut arrived = std::vec::Vec::new();
    for low in [0xc500, 0x8500, 0x0699, 0x0699] {
        write(&mut boot, 0x310, 1 << 24);
        if let Action::Ipi(ipi) = boot.write(0x300, low, NOW) {
            let mut targets = route(ipi, 0, [&boot, &application]);
            assert_eq!(targets.next(), Some(1));
            assert_eq!(targets.next(), None);
            arrived.push(ipi.mode);
        }
        assert_eq!(read(&mut boot, 0x300) & 1 << 12, 0);
    }
    let start = IpiMode::StartUp(Vector(0x99));
    assert_eq!(arrived, [IpiMode::Init, start, start]);
    application.reset_by_init();
    assert_eq!(read(&mut application, 0x20), 1 << 24);
}

/// Linux sets up its local APIC: soft disable, mask all, enable, virtual wire off.
#[test]
fn linux_takes_over_from_the_firmware() {
    let mut apic = reset(0, Delivery::Software);
    apic.wire_like_firmware();
    write(&mut apic, 0xf0, 0xff);
    assert_eq!(read(&mut apic, 0x350), 0x1_0700);
    write(&mut apic, 0x80, 0x10);
    write(&mut apic, 0xf0, 0x1ff);
    write(&mut apic, 0x350, 0x1_0700);
    write(&mut apic, 0x360, 0x400);
    write(&mut apic, 0x370, 0xfe);
    assert_eq!(errors(&mut apic), 0);
    assert!(!apic.takes_external());
    write(&mut apic, 0x320, 0x4_00ec);
    apic.set_tsc_deadline(77, NOW.after(100), NOW);
    apic.expire(NOW.after(100));
    assert_eq!(apic.acknowledge(), Some(Vector(0xec)));
}

#[test]
fn a_tlb_shoot_down_reaches_all_others_and_is_served_once_each() {
    let mut apics = [0, 1, 2, 3].map(x2apic);
    let Ok(Action::Ipi(ipi)) = wrmsr(&mut apics[2], 0x830, 0xc_00fd) else {
        panic!("nothing was sent");
    };
    assert_eq!(
        ipi,
        Ipi {
            mode: IpiMode::Fixed(Vector(0xfd)),
            to: Recipients::Others
        }
    );
    for index in route(ipi, 2, &apics) {
        accept(&mut apics[index], 0xfd);
    }
    let taken = apics.each_mut().map(|apic| apic.acknowledge().is_some());
    assert_eq!(taken, [true, true, false, true]);
    for apic in &mut apics {
        assert_eq!(wrmsr(apic, 0x80b, 0), Ok(Action::None));
        assert!(!apic.pending());
    }
}
