//! Tests of x2APIC mode: which MSRs there are, and what is refused.

use skerry_words::MsrIndex;

use super::super::{Destination, DestinationMode, Ipi, IpiMode, Recipients, reads_from_page};
use super::*;

/// MSRs that can be read `[SDM 3A, "x2APIC Register Address Space", ed. 085]`.
fn readable(msr: u32) -> bool {
    matches!(
        msr,
        0x802 | 0x803 | 0x808 | 0x80a | 0x80d | 0x80f | 0x810..=0x828 | 0x830 | 0x832..=0x839
            | 0x83e
    )
}

/// MSRs that can be written.
fn writable(msr: u32) -> bool {
    matches!(
        msr,
        0x808 | 0x80b | 0x80f | 0x828 | 0x830 | 0x832..=0x838 | 0x83e | 0x83f
    )
}

#[test]
fn just_the_manuals_msrs_can_be_read_and_written() {
    let mut apic = x2apic(3);
    for msr in 0x800..=0x8ff {
        let read = rdmsr(&mut apic, msr);
        assert_eq!(read.is_ok(), readable(msr), "{msr:#x}");
        let written = wrmsr(&mut apic, msr, 0);
        let expected = if writable(msr) {
            None
        } else {
            Some(Refused::Absent)
        };
        assert_eq!(written.err(), expected, "{msr:#x}");
    }
}

#[test]
fn outside_of_x2apic_mode_there_is_none() {
    let mut xapic = xapic();
    let mut disabled = reset(0, Delivery::Software);
    disabled.set_base(0xfee0_0000).unwrap();
    for msr in 0x800..=0x8ff {
        for apic in [&mut xapic, &mut disabled] {
            assert_eq!(rdmsr(apic, msr), Err(Refused::Absent));
            assert_eq!(wrmsr(apic, msr, 0), Err(Refused::Absent));
        }
    }
}

#[test]
fn msrs_far_away_are_not_there() {
    let mut apic = x2apic(0);
    for msr in [0, 0x7ff, 0x900, 0x1802, 0x1_0802, u32::MAX] {
        assert_eq!(rdmsr(&mut apic, msr), Err(Refused::Absent), "{msr:#x}");
        assert_eq!(wrmsr(&mut apic, msr, 0), Err(Refused::Absent), "{msr:#x}");
    }
}

#[test]
fn every_reserved_bit_is_refused_and_no_other() {
    // The bits that may be 1, by the figures of the registers.
    let allowed: [(u32, u64); 14] = [
        (0x808, 0xff),
        (0x80b, 0),
        (0x80f, 0x3ff),
        (0x828, 0),
        (0x830, 0xffff_ffff_000c_dfff),
        (0x832, 0x710ff),
        (0x833, 0x117ff),
        (0x834, 0x117ff),
        (0x835, 0x1f7ff),
        (0x836, 0x1f7ff),
        (0x837, 0x110ff),
        (0x838, 0xffff_ffff),
        (0x83e, 0xb),
        (0x83f, 0xff),
    ];
    for (msr, allowed) in allowed {
        for bit in 0..64 {
            let mut apic = x2apic(0);
            let written = wrmsr(&mut apic, msr, 1 << bit);
            let expected = allowed >> bit & 1 != 0;
            assert_eq!(written.is_ok(), expected, "{msr:#x} bit {bit}");
        }
    }
}

#[test]
fn a_refused_write_changes_nothing() {
    let mut apic = x2apic(0);
    let _ = wrmsr(&mut apic, 0x808, 0x20).unwrap();
    assert_eq!(wrmsr(&mut apic, 0x808, 0x130), Err(Refused::Reserved));
    assert_eq!(rdmsr(&mut apic, 0x808), Ok(0x20));
    let command = 5 << 32 | 1 << 20;
    assert_eq!(wrmsr(&mut apic, 0x830, command), Err(Refused::Reserved));
    assert_eq!(rdmsr(&mut apic, 0x830), Ok(0));
}

#[test]
fn the_id_is_32_bits_and_the_logical_one_follows_from_it() {
    for (id, logical) in [
        (0, 0x1),
        (3, 0x8),
        (15, 0x8000),
        (16, 0x1_0001),
        (0x12f, 0x12_8000),
        (0xf_ffff, 0xffff_8000),
    ] {
        let mut apic = x2apic(id);
        assert_eq!(rdmsr(&mut apic, 0x802), Ok(u64::from(id)));
        assert_eq!(rdmsr(&mut apic, 0x80d), Ok(logical));
    }
}

#[test]
fn the_command_is_64_bits_and_one_write_sends_it() {
    let mut apic = x2apic(0);
    let sent = wrmsr(&mut apic, 0x830, 0x0001_0203_0000_48d3);
    let destination = Destination {
        mode: DestinationMode::Logical,
        id: 0x1_0203,
    };
    assert_eq!(
        sent,
        Ok(Action::Ipi(Ipi {
            mode: IpiMode::Fixed(Vector(0xd3)),
            to: Recipients::Addressed(destination),
        }))
    );
    assert_eq!(rdmsr(&mut apic, 0x830), Ok(0x0001_0203_0000_48d3));
}

#[test]
fn ff_is_one_apic_and_ffffffff_is_all() {
    let mut apic = x2apic(0);
    for id in [0xff, 0xffff_ffff_u32] {
        let sent = wrmsr(&mut apic, 0x830, u64::from(id) << 32 | 0x40);
        let mode = DestinationMode::Physical;
        let to = Recipients::Addressed(Destination { mode, id });
        let mode = IpiMode::Fixed(Vector(0x40));
        assert_eq!(sent, Ok(Action::Ipi(Ipi { mode, to })));
    }
}

#[test]
fn the_self_ipi_register_interrupts_its_own_cpu() {
    let mut apic = x2apic(7);
    assert_eq!(wrmsr(&mut apic, 0x83f, 0x91), Ok(Action::None));
    assert_eq!(apic.acknowledge(), Some(Vector(0x91)));
    assert_eq!(wrmsr(&mut apic, 0x83f, 0x0f), Ok(Action::None));
    assert!(!apic.pending());
    let _ = wrmsr(&mut apic, 0x828, 0).unwrap();
    assert_eq!(rdmsr(&mut apic, 0x828), Ok(0x20));
}

#[test]
fn an_illegal_self_ipi_may_come_by_way_of_the_page() {
    let mut apic = x2apic(7);
    apic.page.set(0x3f0, 3);
    assert_eq!(apic.written(0x3f0, NOW), Action::None);
    let _ = wrmsr(&mut apic, 0x828, 0).unwrap();
    assert_eq!(rdmsr(&mut apic, 0x828), Ok(0x20));
}

#[test]
fn all_but_the_current_count_can_be_read_from_the_page_alone() {
    let mut apic = x2apic(0x21);
    let _ = wrmsr(&mut apic, 0x832, 0x2_0055).unwrap();
    let _ = wrmsr(&mut apic, 0x838, 0x1000).unwrap();
    let _ = wrmsr(&mut apic, 0x830, 9 << 32 | 0xc_0040);
    for msr in 0x7f0..=0x90f {
        let plain = reads_from_page(MsrIndex(msr));
        assert_eq!(plain, readable(msr) && msr != 0x839, "{msr:#x}");
        if plain {
            let at = (msr - 0x800) as u16 * 16;
            let [low, high] = [at, at + 4].map(|at| u64::from(apic.page().get(at)));
            assert_eq!(rdmsr(&mut apic, msr), Ok(high << 32 | low), "{msr:#x}");
        }
    }
    assert_eq!(apic.msr_read(MsrIndex(0x839), NOW.after(0x200)), Ok(0xf00));
}
