//! Tests of IA32_APIC_BASE and of resets.

use skerry_words::Gpa;

use super::super::Mode;
use super::*;

const DISABLED: u64 = 0xfee0_0000;
const XAPIC: u64 = DISABLED | 1 << 11;
const EXTENDED: u64 = DISABLED | 1 << 11 | 1 << 10;
const INVALID: u64 = DISABLED | 1 << 10;

/// An APIC that legal steps brought to this value of the MSR.
fn at(value: u64) -> Apic {
    let mut apic = reset(2, Delivery::Software);
    if value != XAPIC {
        apic.set_base(value).unwrap();
    }
    assert_eq!(apic.base(), value);
    apic
}

#[test]
fn the_modes_go_over_into_each_other_as_the_manual_draws() {
    let table = [
        (
            DISABLED,
            [(DISABLED, true), (XAPIC, true), (EXTENDED, false)],
        ),
        (XAPIC, [(DISABLED, true), (XAPIC, true), (EXTENDED, true)]),
        (
            EXTENDED,
            [(DISABLED, true), (XAPIC, false), (EXTENDED, true)],
        ),
    ];
    for (from, to) in table {
        for (to, legal) in to {
            let mut apic = at(from);
            let expected = if legal {
                Ok(())
            } else {
                Err(Refused::Transition)
            };
            assert_eq!(apic.set_base(to), expected, "{from:#x} to {to:#x}");
            assert_eq!(apic.base(), if legal { to } else { from });
        }
        assert_eq!(at(from).set_base(INVALID), Err(Refused::Transition));
    }
}

#[test]
fn the_mode_is_what_the_msr_says() {
    let base = Gpa(0xfee0_0000);
    assert_eq!(at(DISABLED).mode(), Mode::Disabled);
    assert_eq!(at(XAPIC).mode(), Mode::Xapic { base });
    assert_eq!(at(EXTENDED).mode(), Mode::X2apic);
}

#[test]
fn the_registers_move_anywhere_in_physical_memory() {
    let mut apic = at(XAPIC);
    apic.set_base(0xff_ffff_f800).unwrap();
    let base = Gpa(0xff_ffff_f000);
    assert_eq!(apic.mode(), Mode::Xapic { base });
}

#[test]
fn reserved_bits_and_addresses_too_wide_are_refused() {
    for bit in (0..8).chain([9]).chain(40..64) {
        let mut apic = at(XAPIC);
        let written = apic.set_base(XAPIC | 1 << bit);
        assert_eq!(written, Err(Refused::Reserved), "bit {bit}");
        assert_eq!(apic.base(), XAPIC);
    }
}

#[test]
fn without_an_x2apic_its_bit_is_reserved() {
    let config = Config {
        x2apic: X2apic::Absent,
        ..at(XAPIC).config
    };
    let mut apic: Apic = LocalApic::new(std::boxed::Box::default(), config);
    assert_eq!(apic.set_base(EXTENDED), Err(Refused::Reserved));
    assert_eq!(apic.set_base(INVALID), Err(Refused::Reserved));
}

#[test]
fn the_bootstrap_flag_stays_whatever_is_written() {
    let config = Config {
        role: Role::Boot,
        ..at(XAPIC).config
    };
    let mut boot: Apic = LocalApic::new(std::boxed::Box::default(), config);
    assert_eq!(boot.base(), 0xfee0_0900);
    boot.set_base(XAPIC).unwrap();
    assert_eq!((boot.base(), boot.role()), (0xfee0_0900, Role::Boot));
    let mut application = at(XAPIC);
    application.set_base(0xfee0_0900).unwrap();
    assert_eq!(application.base(), XAPIC);
    assert_eq!(application.role(), Role::Application);
}

/// What every register reads after power-up, other than 0.
#[test]
fn after_power_up_the_registers_are_as_the_manual_says() {
    let mut apic = reset(0x105, Delivery::Software);
    for offset in (0..0x400_u16).step_by(16) {
        let expected = match offset {
            0x20 => 0x0500_0000,
            0x30 => 0x0005_0014,
            0xe0 => 0xffff_ffff,
            0xf0 => 0xff,
            0x320..=0x370 => 0x1_0000,
            _ => 0,
        };
        assert_eq!(read(&mut apic, offset), expected, "{offset:#x}");
    }
    assert!(!apic.takes_external());
    assert_eq!(apic.deadline(), Tsc::NEVER);
}

#[test]
fn a_page_full_of_rubbish_is_cleared() {
    let mut page = ApicPage::default();
    for word in 0..1024 {
        page.set(word * 4, 0xa5a5_a5a5);
    }
    let apic: Apic = LocalApic::new(std::boxed::Box::new(page), at(XAPIC).config);
    for word in 0x100..1024 {
        assert_eq!(apic.page().get(word * 4), 0);
    }
    assert!(!apic.pending());
}

#[test]
fn firmware_leaves_the_8259s_wired_through() {
    let mut apic = reset(0, Delivery::Software);
    apic.wire_like_firmware();
    assert!(apic.takes_external());
    assert_eq!(read(&mut apic, 0xf0), 0x1ff);
    assert_eq!(read(&mut apic, 0x350), 0x700);
    assert_eq!(read(&mut apic, 0x360), 0x400);
    assert_eq!(accept(&mut apic, 0x30), Acceptance::Taken);
}

/// An APIC with something in every part of it.
fn busy(mut apic: Apic) -> Apic {
    write(&mut apic, 0xf0, 0x1ff);
    write(&mut apic, 0xe0, 0x0fff_ffff);
    write(&mut apic, 0xd0, 0x1200_0000);
    write(&mut apic, 0x80, 0x20);
    write(&mut apic, 0x320, 0x2_0040);
    write(&mut apic, 0x380, 1000);
    accept(&mut apic, 0x50);
    apic.acknowledge();
    accept(&mut apic, 0x60);
    accept(&mut apic, 3);
    apic
}

fn assert_fresh(apic: &mut Apic) {
    assert_eq!(errors(apic), 0);
    let mut fresh = reset(2, Delivery::Software);
    for offset in (0x30..0x400_u16).step_by(16) {
        assert_eq!(read(apic, offset), read(&mut fresh, offset), "{offset:#x}");
    }
    assert_eq!(apic.deadline(), Tsc::NEVER);
    assert!(!apic.pending());
    assert_eq!(apic.tpr(), 0);
}

#[test]
fn an_init_resets_all_but_the_id_and_the_base() {
    let mut apic = busy(reset(2, Delivery::Software));
    write(&mut apic, 0x20, 0x0900_0000);
    apic.set_base(0xfed4_0800).unwrap();
    apic.reset_by_init();
    assert_eq!(apic.base(), 0xfed4_0800);
    assert_eq!(read(&mut apic, 0x20), 0x0900_0000);
    assert_fresh(&mut apic);
}

#[test]
fn an_init_in_x2apic_mode_keeps_the_mode_and_both_ids() {
    let mut apic = x2apic(0x123);
    let _ = wrmsr(&mut apic, 0x808, 0x70).unwrap();
    apic.reset_by_init();
    assert_eq!(apic.mode(), Mode::X2apic);
    assert_eq!(rdmsr(&mut apic, 0x802), Ok(0x123));
    assert_eq!(rdmsr(&mut apic, 0x80d), Ok(0x12_0008));
    assert_eq!(rdmsr(&mut apic, 0x808), Ok(0));
    assert_eq!(rdmsr(&mut apic, 0x80f), Ok(0xff));
}

#[test]
fn disabled_and_enabled_again_it_is_as_after_reset() {
    for way in [&[DISABLED, XAPIC][..], &[EXTENDED, DISABLED, XAPIC]] {
        let mut apic = busy(reset(2, Delivery::Software));
        write(&mut apic, 0x20, 0x0900_0000);
        for value in way {
            apic.set_base(*value).unwrap();
        }
        assert_eq!(read(&mut apic, 0x20), 0x0200_0000);
        assert_fresh(&mut apic);
    }
}

#[test]
fn to_x2apic_mode_most_registers_come_along() {
    let mut apic = busy(reset(2, Delivery::Software));
    write(&mut apic, 0x20, 0x0900_0000);
    write(&mut apic, 0x310, 0x0700_0000);
    apic.set_base(EXTENDED).unwrap();
    assert_eq!(rdmsr(&mut apic, 0x802), Ok(2));
    assert_eq!(rdmsr(&mut apic, 0x80d), Ok(4));
    assert_eq!(rdmsr(&mut apic, 0x830), Ok(0));
    assert_eq!(rdmsr(&mut apic, 0x808), Ok(0x20));
    assert_eq!(rdmsr(&mut apic, 0x80f), Ok(0x1ff));
    assert_eq!(rdmsr(&mut apic, 0x832), Ok(0x2_0040));
    assert_eq!(apic.acknowledge(), Some(Vector(0x60)));
    assert_eq!(apic.deadline(), NOW.after(2000));
}

#[test]
fn a_disabled_apic_takes_nothing_but_still_has_a_task_priority() {
    let mut apic = at(DISABLED);
    assert_eq!(accept(&mut apic, 0x50), Acceptance::Dropped);
    apic.set_tpr(0xf);
    assert_eq!(apic.tpr(), 0xf);
    assert!(apic.takes_external());
    apic.set_base(XAPIC).unwrap();
    assert_eq!(read(&mut apic, 0x80), 0xf0);
    assert_eq!(read(&mut apic, 0xa0), 0xf0);
}
