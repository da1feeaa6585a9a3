//! Calls at the wrong time of an object's life, or by the wrong one; and what is told of a life.

use alloc::format;
use skerry_abi::{
    Call, ComponentRecord, ComponentState, EndCause, FieldValue, GuestRange, Handle, ObjectKind,
    Refused, layout, own,
};
use skerry_component::{calls, clock, sabotage};
use skerry_words::Tsc;

use crate::desk;
use crate::objects::Objects;
use crate::tally::Tally;

/// How long an end may take to be told. It takes microseconds.
const PATIENCE_TSC: u64 = 1_000_000_000;
const RSP: u64 = layout::FIRST_RSP;

/// Tries it all.
pub fn probe(objects: &Objects, tally: &mut Tally) {
    bits(tally);
    one_life(tally);
    tally.conclude("a component starts once, and its end is told with its cause");
    foreign_vcpu(objects, tally);
    one_guest(objects, tally);
    tally.conclude("a vCPU is its component's alone");
    told_fields(objects, tally);
    tally.conclude("a vCPU's fields are told where it has any, and nothing else is");
}

/// Bits come once, and those that are set already at once.
fn bits(tally: &mut Tally) {
    // What was left of the ends before.
    let _ = calls::wait(Tsc(0));
    let made = calls::notification_create(layout::MYSELF, 0b101);
    let Some(bell) = tally.expect_done("NotificationCreate", "of our own", made) else {
        return;
    };
    tally.expect_done("Notify", "ourselves", calls::notify(bell));
    tally.expect_result("Wait", "for bits", calls::wait(Tsc(u64::MAX)), 0b101);
    tally.expect_result("Wait", "for none", calls::wait(Tsc(0)), 0);
    tally.expect_done("Yield", "", calls::yield_now());
}

fn one_life(tally: &mut Tally) {
    let made = calls::component_create(own::MACHINE, 100);
    let Some(component) = tally.expect_done("ComponentCreate", "", made) else {
        return;
    };
    expect_life(component, ComponentState::New, EndCause::None, tally);
    let started = calls::component_start(component, layout::IMAGE, RSP, 0);
    tally.expect_done("ComponentStart", "of nothing", started);
    expect_late(component, "of what is started", tally);
    let until = Tsc(clock::now().0.saturating_add(PATIENCE_TSC));
    tally.expect_result("Wait", "for its end", calls::wait(until), layout::ENDED_BIT);
    let record = expect_life(component, ComponentState::Ended, EndCause::BadAccess, tally);
    tally.expect_equal("where it ended", record.rip, layout::IMAGE);
    tally.expect_equal("what it wanted", record.value, layout::IMAGE);
    expect_late(component, "of what has ended", tally);
    for how in ["of what has ended", "again"] {
        tally.expect_done("ComponentEnd", how, calls::component_end(component));
    }
    expect_life(component, ComponentState::Ended, EndCause::BadAccess, tally);
}

fn expect_life(
    component: Handle,
    state: ComponentState,
    cause: EndCause,
    tally: &mut Tally,
) -> ComponentRecord {
    let read = calls::component_read(component);
    let record = tally
        .expect_done("ComponentRead", "", read)
        .unwrap_or_default();
    let is = (record.state, record.cause);
    tally.expect_equal("its state and cause", is, (state as u32, cause as u32));
    record
}

/// It is too late to start it or to give it a vCPU.
fn expect_late(component: Handle, how: &str, tally: &mut Tally) {
    let late = [Refused::WrongState];
    let started = calls::component_start(component, layout::IMAGE, RSP, 0);
    tally.expect("ComponentStart", how, started.map(|()| 0), &late);
    let [start, end] = desk::GUEST_WORDS;
    let guest = calls::guest_create(own::MACHINE, &[GuestRange { start, end }], 4096);
    let Some(guest) = tally.expect_done("GuestCreate", "", guest) else {
        return;
    };
    let vcpu = calls::vcpu_create(own::MACHINE, guest, component, 0);
    tally.expect("VcpuCreate", how, vcpu.map(Handle::word), &late);
    tally.expect_done("ObjectEnd", "of the guest", calls::object_end(guest));
}

/// Having a vCPU's handle is not enough to run it: its state page is its component's.
fn foreign_vcpu(objects: &Objects, tally: &mut Tally) {
    let vcpu = objects.of(ObjectKind::Vcpu).word();
    for call in [Call::VcpuRun, Call::VcpuReset, Call::VcpuPermit] {
        let (result, _) = sabotage::call(call as u64, [vcpu, 0, 0, 0, 0, 0]);
        let refusals = [Refused::WrongState, Refused::NotPermitted];
        tally.expect(&format!("{call:?}"), "of another's vCPU", result, &refusals);
    }
    for (call, at) in [
        (Call::VcpuSave, desk::OUTPUT),
        (Call::VcpuRestore, desk::INPUT),
    ] {
        let (result, _) = sabotage::call(call as u64, [vcpu, at, 0, 0, 0, 0]);
        let (call, refused) = (format!("{call:?}"), [Refused::NotPermitted]);
        tally.expect(&call, "of another's vCPU", result, &refused);
    }
}

/// A component runs vCPUs of one guest only, made with flags that are known.
fn one_guest(objects: &Objects, tally: &mut Tally) {
    let [start, end] = desk::GUEST_WORDS;
    let other = calls::guest_create(own::MACHINE, &[GuestRange { start, end }], 4096);
    let Some(other) = tally.expect_done("GuestCreate", "", other) else {
        return;
    };
    let second = calls::vcpu_create(own::MACHINE, other, objects.runner(), 0);
    let how = "of a second guest for one component";
    let second = second.map(Handle::word);
    tally.expect("VcpuCreate", how, second, &[Refused::WrongState]);
    let guest = objects.of(ObjectKind::Guest);
    let flagged = calls::vcpu_create(own::MACHINE, guest, objects.runner(), 2);
    let flagged = flagged.map(Handle::word);
    tally.expect(
        "VcpuCreate",
        "with flag 1",
        flagged,
        &[Refused::BadArgument],
    );
    tally.expect_done("ObjectEnd", "of the guest", calls::object_end(other));
}

/// Two that every VMCS has something in, and what is no field of it and no MSR to be told.
fn told_fields(objects: &Objects, tally: &mut Tally) {
    const VT_X: u32 = 1;
    const PIN_CONTROLS: u64 = 0x4000;
    const VMX_BASIC: u64 = 1 << 63 | 0x480;
    const NEITHER: [u64; 5] = [
        0x0600,
        1 << 32 | PIN_CONTROLS,
        0x480 | 3 << 62,
        1 << 63 | 0x10,
        !0,
    ];
    let [a, b, c, d, e] = NEITHER;
    let mut fields = [PIN_CONTROLS, VMX_BASIC, a, b, c, d, e].map(|name| FieldValue {
        name,
        value: u64::MAX,
    });
    let machine = calls::machine_read(own::MACHINE).unwrap_or_default();
    let (has_vmcs, count) = (machine.backend == VT_X, fields.len() as u64);
    let told = calls::vcpu_fields(objects.of(ObjectKind::Vcpu), &mut fields);
    let wanted = if has_vmcs { count } else { 0 };
    tally.expect_result("VcpuFields", "of seven", told, wanted);
    let (known, unknown) = fields.split_at(2);
    let some = |field: &FieldValue| field.value != 0 && field.value != u64::MAX;
    tally.expect_equal("known fields are told", known.iter().all(some), has_vmcs);
    let none = unknown.iter().all(|field| field.value == 0);
    tally.expect_equal("others are not", none, true);
}
