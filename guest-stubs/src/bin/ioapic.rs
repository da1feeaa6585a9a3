//! Do devices interrupt through the I/O APIC: by edge, by level, and not when masked?
//!
//! The level line is one of a test device that drives pins by ports 2000h and following; where
//! there is none, that is skipped, unless the command line says `required`.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::{Boot, Report, apic, console, memory, pit, port, stub};

stub!("devices interrupt through the I/O APIC", run);

/// Its page and registers `[Intel 82093AA (IOAPIC), order 290566-001]`.
const PAGE: u64 = 0xfec0_0000;
const WINDOW: u64 = PAGE + 0x10;
const VERSION: u32 = 1;
const TABLE: u32 = 0x10;

/// Of an entry's lower half.
const DELIVERY_STATUS: u32 = 1 << 12;
const ACTIVE_LOW: u32 = 1 << 13;
const REMOTE_IRR: u32 = 1 << 14;
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;

const PIT_PIN: u32 = 2;
const COM1_PIN: u32 = 4;
const VECTOR: u8 = 0x61;
const OTHER: u8 = 0x71;
/// Long enough for an interrupt that should not come.
const WHILE_TSC: u64 = 200_000;

fn run(report: &mut Report, boot: &Boot) {
    // A tick from before must not look like one of ours.
    pit::arm_once(u16::MAX);
    pit::set_up_pic(0);
    apic::set_up();
    check_registers(report);
    check_timer(report);
    check_transmitter(report);
    match free_pin() {
        Some(pin) => check_level(report, pin),
        None => {
            let why = "no test device drives a line";
            if boot.has("required") {
                report.check(why, false);
            } else {
                report.skip(why);
            }
        }
    }
}

fn read(register: u32) -> u32 {
    memory::write32(PAGE, register);
    memory::read32(WINDOW)
}

fn write(register: u32, value: u32) {
    memory::write32(PAGE, register);
    memory::write32(WINDOW, value);
}

fn entry(pin: u32) -> u32 {
    read(TABLE + 2 * pin)
}

/// Programs a pin to interrupt this CPU.
fn route(pin: u32, low: u32) {
    write(TABLE + 2 * pin + 1, apic::id() << 24);
    write(TABLE + 2 * pin, low);
}

fn pins() -> u32 {
    (read(VERSION) >> 16 & 0xff) + 1
}

fn check_registers(report: &mut Report) {
    report.check_eq("it has 24 pins", pins(), 24);
    let open = (0..pins()).filter(|pin| entry(*pin) & MASKED == 0).count();
    report.check_eq("all are masked", open, 0);
    route(COM1_PIN, MASKED | LEVEL | ACTIVE_LOW | u32::from(VECTOR));
    let kept = entry(COM1_PIN) & !(DELIVERY_STATUS | REMOTE_IRR);
    let written = MASKED | LEVEL | ACTIVE_LOW | u32::from(VECTOR);
    report.check_eq("an entry keeps what is written", kept, written);
    route(COM1_PIN, MASKED);
    write(VERSION, 0);
    report.check_eq("the version cannot be written", pins(), 24);
}

/// So many interrupts of this vector, and no more in the time after.
fn comes(vector: u8, times: u64) -> bool {
    apic::eventually(|| apic::count(vector) >= times) && {
        apic::idle(WHILE_TSC);
        apic::count(vector) == times
    }
}

fn check_timer(report: &mut Report) {
    const ROUNDS: u64 = 5;
    let what = "the PIT, pin 2";
    route(PIT_PIN, VECTOR.into());
    for round in 1..=ROUNDS {
        pit::arm_once(pit::MILLISECOND);
        if !comes(VECTOR, round) {
            return report.check_of(what, "each shot interrupts once", false);
        }
    }
    report.check_of(what, "each shot interrupts once", true);
    route(PIT_PIN, MASKED | u32::from(VECTOR));
    pit::arm_once(100);
    apic::idle(3 * pit::millisecond_tsc().unwrap_or(WHILE_TSC));
    let quiet = apic::count(VECTOR) == ROUNDS;
    report.check_of(what, "a masked pin does not interrupt", quiet);
    route(PIT_PIN, VECTOR.into());
    apic::idle(WHILE_TSC);
    let lost = apic::count(VECTOR) == ROUNDS;
    report.check_of(what, "an edge on a masked pin is lost", lost);
    route(PIT_PIN, OTHER.into());
    pit::arm_once(pit::MILLISECOND);
    report.check_of(what, "the entry has the vector", comes(OTHER, 1));
    route(PIT_PIN, MASKED);
}

/// The UART's transmitter is empty at once when its interrupt is enabled
/// `[TI PC16550D, "Interrupt Enable Register", rev. June 1995]`.
fn check_transmitter(report: &mut Report) {
    const ENABLE: u16 = console::COM1 + 1;
    const IDENTITY: u16 = console::COM1 + 2;
    const CONTROL: u16 = console::COM1 + 4;
    const EMPTY: u8 = 2;
    let what = "COM1, pin 4";
    const COM1_VECTOR: u8 = 0x81;
    console::drain();
    // OUT2 is what lets a PC's UART at the line.
    port::write8(CONTROL, 0xb);
    route(COM1_PIN, COM1_VECTOR.into());
    port::write8(ENABLE, EMPTY);
    let came = comes(COM1_VECTOR, 1);
    let why = port::read8(IDENTITY) & 0xf;
    port::write8(ENABLE, 0);
    route(COM1_PIN, MASKED);
    report.check_of(what, "an empty transmitter interrupts once", came);
    report.check_eq_of(what, "and the UART says so", why, EMPTY);
}

/// A pin that the test device moves, found by what its entry says.
fn free_pin() -> Option<u32> {
    const PIN: u32 = 11;
    route(PIN, MASKED | LEVEL | u32::from(VECTOR));
    set_line(PIN, 1);
    route(PIN, LEVEL | u32::from(VECTOR));
    let driven = apic::has(apic::REQUESTS, VECTOR) || entry(PIN) & REMOTE_IRR != 0;
    route(PIN, MASKED | LEVEL | u32::from(VECTOR));
    set_line(PIN, 0);
    cpu_takes_what_waits();
    route(PIN, MASKED);
    driven.then_some(PIN)
}

fn cpu_takes_what_waits() {
    apic::idle(WHILE_TSC);
}

fn set_line(pin: u32, level: u8) {
    port::write8(0x2000 + u16::try_from(pin).unwrap_or(0), level);
}

fn check_level(report: &mut Report, pin: u32) {
    const HIGH: u8 = 0x91;
    let what = "a level line";
    route(pin, LEVEL | u32::from(HIGH));
    apic::hold(HIGH);
    set_line(pin, 1);
    let came = comes(HIGH, 1);
    report.check_of(what, "it interrupts once until its end", came);
    let waits = entry(pin) & REMOTE_IRR != 0;
    report.check_of(what, "remote IRR is set until then", waits);
    apic::end();
    report.check_of(what, "still high, it interrupts again", comes(HIGH, 2));
    set_line(pin, 0);
    apic::end();
    let free = entry(pin) & REMOTE_IRR == 0;
    report.check_of(what, "low at the end, remote IRR is clear", free);
    report.check_of(what, "and it is quiet", comes(HIGH, 2));
    apic::hold(0);
    check_masked_level(report, pin);
}

fn check_masked_level(report: &mut Report, pin: u32) {
    const MASKABLE: u8 = 0xa1;
    let what = "a level line";
    route(pin, MASKED | LEVEL | u32::from(MASKABLE));
    set_line(pin, 1);
    report.check_of(what, "masked, it does not interrupt", comes(MASKABLE, 0));
    apic::hold(MASKABLE);
    route(pin, LEVEL | u32::from(MASKABLE));
    let came = comes(MASKABLE, 1);
    report.check_of(what, "unmasked while high, it does", came);
    set_line(pin, 0);
    apic::end();
    route(pin, LEVEL | ACTIVE_LOW | MASKED | u32::from(MASKABLE));
    set_line(pin, 1);
    route(pin, LEVEL | ACTIVE_LOW | u32::from(MASKABLE));
    let quiet = comes(MASKABLE, 1);
    report.check_of(what, "active low, it is quiet while high", quiet);
    set_line(pin, 0);
    let came = comes(MASKABLE, 2);
    report.check_of(what, "and interrupts when it falls", came);
    set_line(pin, 1);
    apic::end();
    route(pin, MASKED);
    set_line(pin, 0);
}
