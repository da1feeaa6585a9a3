//! Tests of who a message goes to.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::super::{Destination, DestinationMode, Ipi, IpiMode, Recipients, Targets, route};
use super::*;

const FIXED: IpiMode = IpiMode::Fixed(Vector(0x40));
const LOWEST: IpiMode = IpiMode::LowestPriority(Vector(0x40));

fn indices(targets: Targets) -> Vec<usize> {
    targets.collect()
}

fn send(apics: &[Apic], mode: IpiMode, to: Recipients) -> Vec<usize> {
    indices(route(Ipi { mode, to }, 1, apics))
}

fn physical(id: u32) -> Recipients {
    let mode = DestinationMode::Physical;
    Recipients::Addressed(Destination { mode, id })
}

fn logical(id: u32) -> Recipients {
    let mode = DestinationMode::Logical;
    Recipients::Addressed(Destination { mode, id })
}

/// As xAPIC commands and I/O APICs say it.
fn logical_byte(id: u8) -> Recipients {
    Recipients::Addressed(Destination::from_byte(DestinationMode::Logical, id))
}

/// xAPICs with IDs 0, 1, ... and these destination formats and logical IDs.
fn xapics(logical: &[(u32, u32)]) -> Vec<Apic> {
    (0..)
        .zip(logical)
        .map(|(id, (format, own))| {
            let mut apic = reset(id, Delivery::Software);
            write(&mut apic, 0xf0, 0x1ff);
            write(&mut apic, 0xe0, *format);
            write(&mut apic, 0xd0, own << 24);
            apic
        })
        .collect()
}

const FLAT: u32 = 0xffff_ffff;
const CLUSTER: u32 = 0x0fff_ffff;

fn four() -> Vec<Apic> {
    xapics(&[(FLAT, 1), (FLAT, 2), (FLAT, 4), (FLAT, 8)])
}

#[test]
fn shorthands_are_oneself_all_and_all_others() {
    let apics = four();
    assert_eq!(send(&apics, FIXED, Recipients::Sender), [1]);
    assert_eq!(send(&apics, FIXED, Recipients::All), [0, 1, 2, 3]);
    assert_eq!(send(&apics, IpiMode::Init, Recipients::Others), [0, 2, 3]);
}

#[test]
fn a_physical_destination_is_whoever_has_the_id() {
    let mut apics = four();
    assert_eq!(send(&apics, FIXED, physical(2)), [2]);
    assert_eq!(send(&apics, FIXED, physical(4)), [0; 0]);
    assert_eq!(send(&apics, FIXED, physical(0x102)), [0; 0]);
    write(&mut apics[3], 0x20, 0x0200_0000);
    assert_eq!(send(&apics, FIXED, physical(2)), [2, 3]);
    assert_eq!(send(&apics, FIXED, physical(u32::MAX)), [0, 1, 2, 3]);
}

#[test]
fn in_the_flat_model_each_bit_is_an_apic() {
    let apics = four();
    assert_eq!(send(&apics, FIXED, logical_byte(0xd)), [0, 2, 3]);
    assert_eq!(send(&apics, FIXED, logical_byte(0xf0)), [0; 0]);
    assert_eq!(send(&apics, FIXED, logical_byte(0)), [0; 0]);
    let silent = xapics(&[(FLAT, 0), (FLAT, 1)]);
    assert_eq!(send(&silent, FIXED, logical_byte(0xff)), [0, 1]);
    assert_eq!(send(&silent, FIXED, logical_byte(0xfe)), [0; 0]);
}

#[test]
fn in_the_cluster_model_four_bits_are_the_cluster() {
    let apics = xapics(&[
        (CLUSTER, 0x11),
        (CLUSTER, 0x12),
        (CLUSTER, 0x21),
        (CLUSTER, 0x03),
    ]);
    assert_eq!(send(&apics, FIXED, logical_byte(0x13)), [0, 1]);
    assert_eq!(send(&apics, FIXED, logical_byte(0x2f)), [2]);
    assert_eq!(send(&apics, FIXED, logical_byte(0x02)), [3]);
    assert_eq!(send(&apics, FIXED, logical_byte(0x31)), [0; 0]);
    assert_eq!(send(&apics, FIXED, logical_byte(0xff)), [0, 1, 2, 3]);
}

#[test]
fn each_apic_reads_a_logical_destination_in_its_own_model() {
    let apics = xapics(&[(FLAT, 0x10), (CLUSTER, 0x13), (0x3fff_ffff, 0xff)]);
    assert_eq!(send(&apics, FIXED, logical_byte(0x12)), [0, 1]);
    assert_eq!(send(&apics, FIXED, logical_byte(0x30)), [0]);
}

#[test]
fn x2apics_are_addressed_by_cluster_and_bit_of_sixteen() {
    let apics = [3, 0x11, 0x12, 0x1234_5678].map(x2apic);
    assert_eq!(send(&apics, FIXED, logical(0x1_0006)), [1, 2]);
    assert_eq!(send(&apics, FIXED, logical(0x1_0010)), [0; 0]);
    assert_eq!(send(&apics, FIXED, logical_byte(0x0f)), [0]);
    assert_eq!(send(&apics, FIXED, logical_byte(0xff)), [0, 1, 2, 3]);
    assert_eq!(send(&apics, FIXED, logical(u32::MAX)), [0, 1, 2, 3]);
    assert_eq!(send(&apics, FIXED, physical(0x1234_5678)), [3]);
    assert_eq!(send(&apics, FIXED, physical(0x78)), [0; 0]);
}

#[test]
fn the_x2apic_with_id_255_is_no_broadcast() {
    let apics = [0, 255].map(x2apic);
    assert_eq!(send(&apics, FIXED, physical(255)), [1]);
}

#[test]
fn a_wide_logical_destination_means_no_xapic() {
    assert_eq!(send(&four(), FIXED, logical(0x1_0001)), [0; 0]);
}

#[test]
fn a_globally_disabled_apic_hears_nothing() {
    let mut apics = four();
    apics[2].set_base(0xfee0_0000).unwrap();
    for to in [Recipients::All, physical(u32::MAX), logical_byte(0xf)] {
        assert_eq!(send(&apics, IpiMode::Nmi, to), [0, 1, 3]);
    }
}

#[test]
fn one_disabled_by_software_still_gets_init_and_nmi() {
    let mut apics = four();
    write(&mut apics[2], 0xf0, 0xff);
    assert_eq!(send(&apics, IpiMode::Nmi, physical(2)), [2]);
    assert_eq!(send(&apics, IpiMode::Init, Recipients::Others), [0, 2, 3]);
    assert_eq!(send(&apics, LOWEST, physical(2)), [0; 0]);
}

#[test]
fn lowest_priority_goes_to_the_least_busy_and_the_first_of_them() {
    let mut apics = four();
    assert_eq!(send(&apics, LOWEST, logical_byte(0xf)), [0]);
    apics[0].set_tpr(2);
    assert_eq!(send(&apics, LOWEST, logical_byte(0xf)), [1]);
    accept(&mut apics[1], 0x51);
    assert_eq!(send(&apics, LOWEST, logical_byte(0xf)), [2]);
    assert_eq!(send(&apics, LOWEST, logical_byte(0x3)), [0]);
    apics[1].acknowledge();
    write(&mut apics[2], 0xf0, 0xff);
    assert_eq!(send(&apics, LOWEST, logical_byte(0x6)), [1]);
    assert_eq!(send(&apics, LOWEST, logical_byte(0x10)), [0; 0]);
}

#[test]
fn targets_are_a_set_of_64() {
    let apics: Vec<Apic> = (0..66).map(x2apic).collect();
    let ipi = Ipi {
        mode: FIXED,
        to: Recipients::All,
    };
    let targets = route(ipi, 0, &apics);
    assert!(targets.contains(63) && !targets.contains(64));
    assert_eq!(targets.count(), 64);
    assert!(route(ipi, 0, &vec![] as &Vec<Apic>).is_empty());
}

proptest! {
    #[test]
    fn all_is_oneself_and_the_others(count in 1usize..20, sender in 0usize..20) {
        let apics: Vec<Apic> = (0..count as u32).map(x2apic).collect();
        let send = |to| route(Ipi { mode: FIXED, to }, sender, &apics);
        let mut parts: Vec<_> = send(Recipients::Sender).chain(send(Recipients::Others)).collect();
        parts.sort_unstable();
        prop_assert_eq!(parts, indices(send(Recipients::All)));
    }

    #[test]
    fn every_x2apic_is_reached_alone_by_its_own_ids(
        ids in proptest::collection::btree_set(0u32..0xf_ffff, 1..16),
    ) {
        let mut apics: Vec<Apic> = ids.iter().map(|id| x2apic(*id)).collect();
        for index in 0..apics.len() {
            let own = rdmsr(&mut apics[index], 0x802).unwrap() as u32;
            let own_logical = rdmsr(&mut apics[index], 0x80d).unwrap() as u32;
            prop_assert_eq!(send(&apics, FIXED, physical(own)), [index]);
            prop_assert_eq!(send(&apics, FIXED, logical(own_logical)), [index]);
        }
    }

    #[test]
    fn lowest_priority_picks_one_of_those_a_fixed_message_reaches(
        busy in proptest::collection::vec(0u8..16, 8),
        destination: u8,
    ) {
        let mut apics = xapics(&[1, 2, 4, 8, 16, 32, 64, 128].map(|own| (FLAT, own)));
        for (apic, class) in apics.iter_mut().zip(&busy) {
            apic.set_tpr(*class);
        }
        let reached = send(&apics, FIXED, logical_byte(destination));
        let least = reached.iter().copied().min_by_key(|index| busy[*index]);
        let picked = send(&apics, LOWEST, logical_byte(destination));
        prop_assert_eq!(picked, Vec::from_iter(least));
    }
}
