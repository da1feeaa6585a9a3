//! Tests of the local vector table, the two pins and the error interrupt.

use super::super::{Lint, LocalEvent, PinLevel};
use super::*;

const MASKED: u32 = 1 << 16;

fn assert_pin(apic: &mut Apic, which: Lint, level: PinLevel) {
    assert_eq!(apic.lint(which, level), LocalEvent::None);
}

#[test]
fn entries_keep_their_own_bits_and_no_read_only_ones() {
    let mut apic = xapic();
    for (offset, kept) in [
        (0x320, 0x700ff),
        (0x330, 0x107ff),
        (0x340, 0x107ff),
        (0x350, 0x1a7ff),
        (0x360, 0x1a7ff),
        (0x370, 0x100ff),
    ] {
        write(&mut apic, offset, u32::MAX);
        assert_eq!(read(&mut apic, offset), kept, "{offset:#x}");
        write(&mut apic, offset, 0x20);
        assert_eq!(read(&mut apic, offset), 0x20, "{offset:#x}");
    }
}

#[test]
fn disabling_by_software_masks_every_entry_for_good() {
    let mut apic = xapic();
    for offset in (0x320..=0x370).step_by(16) {
        write(&mut apic, offset, 0x20);
    }
    write(&mut apic, 0xf0, 0xff);
    for offset in (0x320..=0x370).step_by(16) {
        assert_eq!(read(&mut apic, offset), 0x20 | MASKED);
        write(&mut apic, offset, 0x21);
        assert_eq!(read(&mut apic, offset), 0x21 | MASKED);
    }
    write(&mut apic, 0xf0, 0x1ff);
    assert_eq!(read(&mut apic, 0x320), 0x21 | MASKED);
    write(&mut apic, 0x320, 0x21);
    assert_eq!(read(&mut apic, 0x320), 0x21);
}

#[test]
fn disabling_by_software_silences_a_running_timer() {
    let mut apic = xapic();
    write(&mut apic, 0x320, 0x40);
    write(&mut apic, 0x380, 500);
    write(&mut apic, 0xf0, 0xff);
    assert_eq!(apic.deadline(), Tsc::NEVER);
    assert_eq!(apic.read(0x390, NOW.after(400)), 300);
    apic.expire(NOW.after(5000));
    assert!(!apic.pending());
}

#[test]
fn the_8259s_are_heard_only_by_an_unmasked_extint_entry() {
    let mut apic = xapic();
    for (lvt, heard) in [
        (0x700, true),
        (0x8700, true),
        (0x700 | MASKED, false),
        (0x030, false),
        (0x400, false),
    ] {
        write(&mut apic, 0x350, lvt);
        assert_eq!(apic.takes_external(), heard, "{lvt:#x}");
    }
    write(&mut apic, 0x350, 0x700);
    write(&mut apic, 0xf0, 0xff);
    assert!(!apic.takes_external());
}

#[test]
fn an_edge_on_a_pin_is_one_interrupt() {
    let mut apic = xapic();
    write(&mut apic, 0x350, 0x31);
    write(&mut apic, 0x360, 0x8042);
    for (which, vector) in [(Lint::Lint0, 0x31), (Lint::Lint1, 0x42)] {
        assert_pin(&mut apic, which, PinLevel::Asserted);
        assert_eq!(apic.acknowledge(), Some(Vector(vector)));
        write(&mut apic, 0xb0, 0);
        assert_pin(&mut apic, which, PinLevel::Asserted);
        assert!(!apic.pending());
        assert_pin(&mut apic, which, PinLevel::Released);
        assert_pin(&mut apic, which, PinLevel::Asserted);
        assert_eq!(apic.acknowledge(), Some(Vector(vector)));
        write(&mut apic, 0xb0, 0);
    }
}

#[test]
fn a_level_on_lint0_interrupts_again_until_it_falls() {
    let mut apic = xapic();
    write(&mut apic, 0x350, 0x8031);
    assert_pin(&mut apic, Lint::Lint0, PinLevel::Asserted);
    assert_eq!(read(&mut apic, 0x350), 0xc031);
    for _ in 0..3 {
        assert_eq!(apic.acknowledge(), Some(Vector(0x31)));
        assert!(!apic.pending());
        let _ = apic.write(0xb0, 0, NOW);
        assert!(apic.pending());
    }
    assert_pin(&mut apic, Lint::Lint0, PinLevel::Released);
    assert_eq!(apic.acknowledge(), Some(Vector(0x31)));
    let _ = apic.write(0xb0, 0, NOW);
    assert!(!apic.pending());
    assert_eq!(read(&mut apic, 0x350), 0x8031);
}

#[test]
fn a_level_that_stands_is_seen_when_the_entry_is_unmasked() {
    let mut apic = xapic();
    assert_pin(&mut apic, Lint::Lint0, PinLevel::Asserted);
    write(&mut apic, 0x350, 0x8031 | MASKED);
    assert!(!apic.pending());
    write(&mut apic, 0x350, 0x8031);
    assert_eq!(apic.acknowledge(), Some(Vector(0x31)));
}

#[test]
fn an_edge_entry_and_an_init_forget_the_level_being_served() {
    let served = || {
        let mut apic = xapic();
        write(&mut apic, 0x350, 0x8031);
        assert_pin(&mut apic, Lint::Lint0, PinLevel::Asserted);
        apic.acknowledge();
        assert_eq!(read(&mut apic, 0x350), 0xc031);
        apic
    };
    let mut apic = served();
    write(&mut apic, 0x350, 0x0031);
    assert_eq!(read(&mut apic, 0x350), 0x0031);
    let mut apic = served();
    apic.reset_by_init();
    write(&mut apic, 0xf0, 0x1ff);
    write(&mut apic, 0x350, 0x8042);
    assert_eq!(apic.acknowledge(), Some(Vector(0x42)));
}

#[test]
fn pins_can_be_nmi_smi_and_init_by_their_edges() {
    let mut apic = xapic();
    for (lvt, event) in [
        (0x400, LocalEvent::Nmi),
        (0x200, LocalEvent::Smi),
        (0x500, LocalEvent::Init),
        (0x700, LocalEvent::None),
        (0x300, LocalEvent::None),
        (0x400 | MASKED, LocalEvent::None),
    ] {
        write(&mut apic, 0x360, lvt);
        assert_eq!(
            apic.lint(Lint::Lint1, PinLevel::Asserted),
            event,
            "{lvt:#x}"
        );
        assert_pin(&mut apic, Lint::Lint1, PinLevel::Asserted);
        assert_pin(&mut apic, Lint::Lint1, PinLevel::Released);
    }
    assert!(!apic.pending());
}

#[test]
fn with_the_apic_disabled_the_pins_are_intr_and_nmi() {
    let mut apic = xapic();
    apic.set_base(0xfee0_0000).unwrap();
    assert_pin(&mut apic, Lint::Lint0, PinLevel::Asserted);
    let nmi = apic.lint(Lint::Lint1, PinLevel::Asserted);
    assert_eq!(nmi, LocalEvent::Nmi);
}

#[test]
fn errors_show_only_after_a_write_and_then_only_new_ones() {
    let mut apic = xapic();
    accept(&mut apic, 4);
    assert_eq!(read(&mut apic, 0x280), 0);
    write(&mut apic, 0x280, 0xffff_ffff);
    assert_eq!(read(&mut apic, 0x280), 0x40);
    write(&mut apic, 0x310, 0);
    write(&mut apic, 0x300, 0x4005);
    assert_eq!(read(&mut apic, 0x280), 0x40);
    write(&mut apic, 0x280, 0);
    assert_eq!(read(&mut apic, 0x280), 0x20);
    write(&mut apic, 0x280, 0);
    assert_eq!(read(&mut apic, 0x280), 0);
}

#[test]
fn the_first_error_interrupts_and_a_write_arms_it_again() {
    let mut apic = xapic();
    write(&mut apic, 0x370, 0xfe);
    for _ in 0..2 {
        accept(&mut apic, 4);
        assert_eq!(apic.acknowledge(), Some(Vector(0xfe)));
        write(&mut apic, 0xb0, 0);
        accept(&mut apic, 5);
        assert!(!apic.pending());
        write(&mut apic, 0x280, 0);
    }
}

#[test]
fn an_error_interrupt_with_an_illegal_vector_is_one_more_error() {
    let mut apic = xapic();
    write(&mut apic, 0x370, 0x02);
    write(&mut apic, 0x300, 0x4_0003);
    assert!(!apic.pending());
    assert_eq!(errors(&mut apic), 0x60);
}

#[test]
fn a_timer_with_an_illegal_vector_is_an_error() {
    let mut apic = xapic();
    write(&mut apic, 0x320, 0x0f);
    write(&mut apic, 0x380, 1);
    apic.expire(NOW.after(2));
    assert!(!apic.pending());
    assert_eq!(errors(&mut apic), 0x40);
}
