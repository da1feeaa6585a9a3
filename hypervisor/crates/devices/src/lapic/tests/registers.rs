//! Tests of the registers in memory.

use super::super::{Destination, DestinationMode, Ipi, IpiMode, Recipients};
use super::*;

#[test]
fn only_the_first_word_of_16_bytes_is_a_register() {
    let mut apic = xapic();
    write(&mut apic, 0x80, 0x35);
    for gap in [4, 8, 12] {
        assert_eq!(read(&mut apic, 0x80 + gap), 0);
        write(&mut apic, 0x80 + gap, 0x99);
    }
    for byte in 0..4 {
        assert_eq!(read(&mut apic, 0x80 + byte), 0x35);
    }
    write(&mut apic, 0x81, 0x99);
    assert_eq!(read(&mut apic, 0x80), 0x35);
    assert_eq!(errors(&mut apic), 0);
}

#[test]
fn where_there_is_no_register_an_error_is_noted() {
    let present = |offset: u16| {
        matches!(
            offset,
            0x20 | 0x30 | 0x80 | 0xa0 | 0xb0 | 0xd0..=0x280 | 0x300..=0x390 | 0x3e0
        )
    };
    for offset in (0..0x1000_u16).step_by(16) {
        let expected = if present(offset) { 0 } else { 0x80 };
        let mut apic = xapic();
        apic.read(offset, NOW);
        assert_eq!(errors(&mut apic), expected, "read {offset:#x}");
        if offset != 0x300 {
            write(&mut apic, offset, 0);
            let seen = if offset == 0xf0 { 0 } else { errors(&mut apic) };
            assert_eq!(seen, expected, "write {offset:#x}");
        }
    }
}

#[test]
fn what_can_only_be_read_does_not_change() {
    let mut apic = xapic();
    accept(&mut apic, 0x47);
    apic.acknowledge();
    accept(&mut apic, 0x48);
    for offset in (0x30..=0x30)
        .chain([0xa0])
        .chain((0x100..0x280).step_by(16))
    {
        let before = read(&mut apic, offset);
        write(&mut apic, offset, !before);
        assert_eq!(read(&mut apic, offset), before, "{offset:#x}");
    }
}

#[test]
fn reserved_bits_do_not_stay() {
    let mut apic = xapic();
    for (offset, kept) in [
        (0x20, 0xff00_0000),
        (0x80, 0xff),
        (0xd0, 0xff00_0000),
        (0xe0, 0xffff_ffff),
        (0xf0, 0x3ff),
        (0x310, 0xff00_0000),
        (0x380, 0xffff_ffff),
        (0x3e0, 0xb),
    ] {
        write(&mut apic, offset, u32::MAX);
        assert_eq!(read(&mut apic, offset), kept, "{offset:#x}");
    }
    write(&mut apic, 0xe0, 0);
    assert_eq!(read(&mut apic, 0xe0), 0x0fff_ffff);
}

fn send(high: u32, low: u32) -> Action {
    let mut apic = xapic();
    write(&mut apic, 0x310, high);
    apic.write(0x300, low, NOW)
}

fn to(mode: DestinationMode, id: u32) -> Recipients {
    Recipients::Addressed(Destination { mode, id })
}

#[test]
fn commands_are_decoded_as_the_manual_draws_them() {
    let physical = DestinationMode::Physical;
    for (low, mode, to) in [
        (0x40f1, IpiMode::Fixed(Vector(0xf1)), to(physical, 5)),
        (0x00f1, IpiMode::Fixed(Vector(0xf1)), to(physical, 5)),
        (0xc0f1, IpiMode::Fixed(Vector(0xf1)), to(physical, 5)),
        (
            0x08f1,
            IpiMode::Fixed(Vector(0xf1)),
            to(DestinationMode::Logical, 5),
        ),
        (
            0x41f1,
            IpiMode::LowestPriority(Vector(0xf1)),
            to(physical, 5),
        ),
        (0x4200, IpiMode::Smi, to(physical, 5)),
        (0x4402, IpiMode::Nmi, to(physical, 5)),
        (0x0500, IpiMode::Init, to(physical, 5)),
        (0x4500, IpiMode::Init, to(physical, 5)),
        (0xc500, IpiMode::Init, to(physical, 5)),
        (0x4608, IpiMode::StartUp(Vector(8)), to(physical, 5)),
        (0x8_40f1, IpiMode::Fixed(Vector(0xf1)), Recipients::All),
        (0xc_4500, IpiMode::Init, Recipients::Others),
        (0x4_0500, IpiMode::Init, Recipients::Sender),
        (0x4_0400, IpiMode::Nmi, Recipients::Sender),
    ] {
        let expected = Action::Ipi(Ipi { mode, to });
        assert_eq!(send(0x0500_0000, low), expected, "{low:#x}");
    }
}

#[test]
fn init_deassert_and_reserved_modes_send_nothing() {
    for low in [0x8500, 0x8_8500, 0x4300, 0x4740] {
        assert_eq!(send(0, low), Action::None, "{low:#x}");
    }
}

#[test]
fn ff_in_xapic_mode_is_everybody() {
    let everybody = to(DestinationMode::Physical, u32::MAX);
    let mode = IpiMode::Nmi;
    let expected = Action::Ipi(Ipi {
        mode,
        to: everybody,
    });
    assert_eq!(send(0xff00_0000, 0x4400), expected);
}

#[test]
fn a_fixed_command_to_oneself_arrives_at_once() {
    let mut apic = xapic();
    write(&mut apic, 0x300, 0x4_00f1);
    assert_eq!(apic.acknowledge(), Some(Vector(0xf1)));
}

#[test]
fn an_illegal_vector_is_not_sent() {
    for low in [0x400f, 0x410f, 0x4_0000, 0xc_4005] {
        let mut apic = xapic();
        write(&mut apic, 0x300, low);
        assert_eq!(errors(&mut apic), 0x20, "{low:#x}");
        assert!(!apic.pending());
    }
}

#[test]
fn a_command_is_always_sent_and_reads_back_without_reserved_bits() {
    let mut apic = xapic();
    let _ = apic.write(0x300, 0xffff_ffff, NOW);
    assert_eq!(read(&mut apic, 0x300), 0x000c_cfff);
}

#[test]
fn what_the_cpu_wrote_to_the_page_takes_effect_as_a_write_would() {
    let mut apic = reset(1, Delivery::Hardware);
    let mut put = |offset, value| {
        apic.page.set(offset, value);
        apic.written(offset, NOW)
    };
    let _ = put(0xf0, 0xffff_f1ff);
    let _ = put(0x20, 0x0734_5678);
    let _ = put(0xe0, 0);
    let _ = put(0x350, 0xffff_ffff);
    let _ = put(0x310, 0x0300_0000);
    let sent = put(0x300, 0xfff0_4440);
    let expected = Ipi {
        mode: IpiMode::Nmi,
        to: to(DestinationMode::Physical, 3),
    };
    assert_eq!(sent, Action::Ipi(expected));
    for (offset, value) in [
        (0xf0, 0x1ff),
        (0x20, 0x0700_0000),
        (0xe0, 0x0fff_ffff),
        (0x350, 0x1a7ff),
        (0x300, 0x4440),
    ] {
        assert_eq!(apic.page().get(offset), value, "{offset:#x}");
    }
}
