//! Tests of the local APIC, by concept.
//!
//! Owns what they share: an APIC over a page of its own, and short ways to reach its
//! registers.
#![allow(clippy::arithmetic_side_effects)]

mod base;
mod guests;
mod lvt;
mod msr;
mod priority;
mod random;
mod registers;
mod route;
mod timer;

use std::boxed::Box;

use skerry_words::{ApicPage, MsrIndex, Tsc, Vector};

use super::{Acceptance, Action, Config, Delivery, LocalApic, Refused, Role, Trigger, X2apic};

type Apic = LocalApic<Box<ApicPage>>;

/// A time at which nothing is due yet.
const NOW: Tsc = Tsc(1_000_000);

const BASE_MSR_RESET: u64 = 0xfee0_0800;
const TO_X2APIC: u64 = BASE_MSR_RESET | 1 << 10;

/// As after power-up: an application processor with this ID.
fn reset(id: u32, delivery: Delivery) -> Apic {
    let config = Config {
        id,
        role: Role::Application,
        delivery,
        x2apic: X2apic::Offered,
        physical_address_bits: 40,
    };
    LocalApic::new(Box::default(), config)
}

/// In xAPIC mode, enabled by software.
fn xapic() -> Apic {
    let mut apic = reset(0, Delivery::Software);
    write(&mut apic, 0xf0, 0x1ff);
    apic
}

/// In x2APIC mode, enabled by software.
fn x2apic(id: u32) -> Apic {
    let mut apic = reset(id, Delivery::Software);
    apic.set_base(TO_X2APIC).unwrap();
    let _ = wrmsr(&mut apic, 0x80f, 0x1ff).unwrap();
    apic
}

/// A write whose effect ends inside the APIC.
fn write(apic: &mut Apic, offset: u16, value: u32) {
    assert!(ends_inside(apic.write(offset, value, NOW)));
}

fn ends_inside(action: Action) -> bool {
    matches!(action, Action::None | Action::Setting)
}

fn read(apic: &mut Apic, offset: u16) -> u32 {
    apic.read(offset, NOW)
}

fn wrmsr(apic: &mut Apic, msr: u32, value: u64) -> Result<Action, Refused> {
    apic.msr_write(MsrIndex(msr), value, NOW)
}

fn rdmsr(apic: &mut Apic, msr: u32) -> Result<u64, Refused> {
    apic.msr_read(MsrIndex(msr), NOW)
}

fn accept(apic: &mut Apic, vector: u8) -> Acceptance {
    apic.accept(Vector(vector), Trigger::Edge)
}

/// What a write to ESR makes visible in it.
fn errors(apic: &mut Apic) -> u32 {
    write(apic, 0x280, 0);
    read(apic, 0x280)
}
