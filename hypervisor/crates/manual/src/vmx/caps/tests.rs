//! The capability words against those of CPUs people have.
#![allow(clippy::unwrap_used, clippy::panic)]

extern crate std;

use std::string::ToString;

use super::*;

/// The words of Bochs 2.7's `corei7_skylake_x`; the TRUE ones are those of a real CPU
/// with the same old ones: CR3 exiting is not forced.
fn skylake_x(index: MsrIndex) -> u64 {
    match index.0 {
        0x480 => 0x00d8_1000_0000_002b,
        0x481 | 0x48d => 0x0000_007f_0000_0016,
        0x482 => 0xf7f9_fffe_0401_e172,
        0x48e => 0xf7f9_fffe_0400_6172,
        0x48b => 0x0217_7fff_0000_0000,
        0x48c => 0x0000_0f01_0633_4141,
        _ => 0,
    }
}

#[test]
fn skylake_x_has_what_a_guest_with_ept_needs() {
    let caps = Capabilities::read(skylake_x);
    assert_eq!(caps.revision(), 0x2b);
    let pin = caps.pin(
        PinControls::EXTERNAL_INTERRUPT_EXITING | PinControls::ACTIVATE_PREEMPTION_TIMER,
        PinControls::from_bits_retain(1 << 7),
    );
    assert_eq!(pin.map(|pin| pin.bits()), Ok(0x57));
    let secondary = caps.secondary(
        SecondaryControls::ENABLE_EPT | SecondaryControls::UNRESTRICTED_GUEST,
        SecondaryControls::from_bits_retain(1 << 25 | 1 << 30),
    );
    assert_eq!(secondary.map(|word| word.bits()), Ok(0x0200_0082));
    let ept = EptVpid::WALK_4
        | EptVpid::WRITE_BACK
        | EptVpid::PAGES_2M
        | EptVpid::PAGES_1G
        | EptVpid::ACCESSED_DIRTY
        | EptVpid::INVEPT_SINGLE
        | EptVpid::INVVPID_SINGLE;
    assert!(caps.ept_vpid(ept).is_ok());
}

#[test]
fn the_true_words_leave_cr3_exiting_off_where_the_old_ones_force_it() {
    let forced = PrimaryControls::from_bits_retain(1 << 15 | 1 << 16);
    let hlt = PrimaryControls::HLT_EXITING;
    let none = PrimaryControls::empty();
    let caps = Capabilities::read(skylake_x);
    let word = caps.primary(hlt, none).unwrap();
    assert!(word.contains(hlt) && !word.intersects(forced));
    let old = Capabilities::read(|index| match index.0 {
        0x480 => 0x0058_1000_0000_002b,
        _ => skylake_x(index),
    });
    assert!(old.primary(hlt, none).unwrap().contains(forced));
}

#[test]
fn what_is_missing_is_named() {
    let caps = Capabilities::read(|index| match index.0 {
        0x48e => 0xd7f9_fffe_0400_6172,
        _ => skylake_x(index),
    });
    let refused = caps.primary(
        PrimaryControls::HLT_EXITING | PrimaryControls::MONITOR_EXITING,
        PrimaryControls::empty(),
    );
    assert_eq!(
        refused.unwrap_err().to_string(),
        "this CPU lacks MONITOR_EXITING of the primary processor-based VM-execution controls"
    );
    let refused = caps.ept_vpid(EptVpid::WALK_4 | EptVpid::WALK_5);
    assert_eq!(refused.unwrap_err().feature, "WALK_5");
}

#[test]
fn a_cpu_without_secondary_controls_is_not_asked_for_their_words() {
    let caps = Capabilities::read(|index| match index.0 {
        0x48b..=0x493 => panic!("read of an absent msr {:#x}", index.0),
        _ => 0,
    });
    assert_eq!(caps.secondary, 0);
    let ept = SecondaryControls::ENABLE_EPT;
    assert_eq!(caps.secondary(ept, ept).unwrap_err().feature, "ENABLE_EPT");
}

#[test]
fn fixed_bits_are_forced() {
    let cr0 = FixedBits {
        must: 0x8000_0021,
        may: 0xffff_ffff,
    };
    assert_eq!(cr0.adjust(0x1_0000_0010), 0x8000_0031);
}

#[test]
fn firmware_may_lock_vmx_on_or_off_or_leave_it_open() {
    assert_eq!(vmx_lock(0x5), VmxLock::On);
    assert_eq!(vmx_lock(0xff07), VmxLock::On);
    assert_eq!(vmx_lock(0x1), VmxLock::Off);
    assert_eq!(vmx_lock(0x3), VmxLock::Off);
    assert_eq!(vmx_lock(0), VmxLock::Open(5));
    assert_eq!(vmx_lock(0x2), VmxLock::Open(7));
}
