//! What reads and writes of registers give, and what they move.

use super::*;
use alloc::boxed::Box;
use skerry_devices::lapic::{Config, Delivery, Role, X2apic};

const NOW: Tsc = Tsc(77);

/// A first vCPU as at power-on, at time 0.
fn cpu() -> Cpu<Box<ApicPage>> {
    let config = Config {
        id: 0,
        role: Role::Boot,
        delivery: Delivery::Software,
        x2apic: X2apic::Offered,
        physical_address_bits: 39,
    };
    Cpu::new(Box::default(), config, 0)
}

fn at(index: u32, value: u64) -> GuestState {
    let mut state = GuestState::at_reset();
    state.dirty = StateGroups::empty();
    state.instruction_bytes = 2;
    state.set(Gpr::Rcx, u64::from(index));
    state.set(Gpr::Rax, value & 0xffff_ffff);
    state.set(Gpr::Rdx, value >> 32);
    state
}

#[test]
fn an_unknown_register_faults_both_ways_and_leaves_the_state_alone() {
    for index in [0x0, 0xce, 0xfe, 0x345, 0x480, 0x8000_0000, 0xc001_0015] {
        let mut state = at(index, 5);
        assert_eq!(
            read(&mut state, &mut cpu(), NOW),
            Err(REFUSED),
            "{index:#x}"
        );
        assert_eq!(
            write(&mut state, &mut cpu(), NOW),
            Err(REFUSED),
            "{index:#x}"
        );
        assert_eq!((state.rip, state.get(Gpr::Rax)), (0xfff0, 5));
    }
}

#[test]
fn feature_control_reads_locked_and_cannot_be_written() {
    let mut state = at(0x3a, 5);
    assert_eq!(write(&mut state, &mut cpu(), NOW), Err(REFUSED));
    assert_eq!(read(&mut state, &mut cpu(), NOW), Ok(()));
    assert_eq!(
        (state.get(Gpr::Rax), state.get(Gpr::Rdx), state.rip),
        (1, 0, 0xfff2)
    );
}

#[test]
fn writing_the_counter_asks_ring_0_to_move_the_offset() {
    let mut state = at(0x10, 0x1_0000_0002);
    assert_eq!(write(&mut state, &mut cpu(), NOW), Ok(Action::Setting));
    assert_eq!(state.tsc_offset, 0x1_0000_0002 - NOW.0);
    assert!(state.dirty.contains(StateGroups::TSC));
}

#[test]
fn what_can_only_stay_as_it_is_refuses_to_change() {
    assert_eq!(
        write(&mut at(0x1a0, MISC_ENABLE_VALUE), &mut cpu(), NOW),
        Ok(Action::Setting)
    );
    assert_eq!(write(&mut at(0x1a0, 0), &mut cpu(), NOW), Err(REFUSED));
    assert_eq!(
        write(&mut at(0x1d9, 1), &mut cpu(), NOW),
        Err(REFUSED),
        "last-branch records"
    );
}

#[test]
fn the_counter_and_what_was_added_to_it_move_together() {
    let mut cpu = cpu();
    let write_one = |cpu: &mut Cpu<_>, index, value| {
        let mut state = at(index, value);
        assert_eq!(write(&mut state, cpu, NOW), Ok(Action::Setting));
        state.tsc_offset
    };
    assert_eq!(write_one(&mut cpu, 0x3b, 1000), 1000);
    assert_eq!(write_one(&mut cpu, 0x10, 500), 500 - NOW.0);
    let mut state = at(0x3b, 0);
    assert_eq!(read(&mut state, &mut cpu, NOW), Ok(()));
    assert_eq!(state.get(Gpr::Rax), 500 - NOW.0);
    assert_eq!(write_one(&mut cpu, 0x3b, 0), 0, "back to where it started");
}

#[test]
fn moving_the_counter_moves_the_deadline_that_waits_for_it() {
    let mut cpu = cpu();
    // The timer's entry: TSC-deadline mode, vector 50h.
    let _ = cpu.apic.write(0x320, 0x4_0050, NOW);
    assert_eq!(
        write(&mut at(0x6e0, 10_000), &mut cpu, NOW),
        Ok(Action::Setting)
    );
    assert_eq!(cpu.apic.deadline(), Tsc(10_000));
    assert_eq!(
        write(&mut at(0x3b, 4_000), &mut cpu, NOW),
        Ok(Action::Setting)
    );
    assert_eq!(cpu.apic.deadline(), Tsc(6_000));
}
