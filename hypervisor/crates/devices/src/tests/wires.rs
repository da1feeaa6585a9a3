//! The wires between devices, both interrupt controllers and the bus, as guests meet them.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

use super::{CONFIG, Guest, TSC_HZ, read, write};
use crate::lapic::Trigger;
use crate::{Effect, Message, Platform, PlatformConfig, TestDevices};
use skerry_words::{Gpa, Port, Tsc, Vector, Width};
use std::vec::Vec;

const IOAPIC: u64 = 0xfec0_0000;
const LEVEL: u32 = 1 << 15;

fn bench() -> Guest {
    let config = PlatformConfig {
        test_devices: TestDevices::Present,
        ..CONFIG
    };
    Guest {
        platform: Platform::new(&config, Tsc(0)),
        ..Guest::new()
    }
}

impl Guest {
    fn store(&mut self, at: u64, value: u32) {
        let effect = self
            .platform
            .memory_write(Gpa(at), Width::Dword, u64::from(value), self.now);
        assert_eq!(effect, Effect::None);
    }

    fn load(&mut self, at: u64) -> u64 {
        self.platform.memory_read(Gpa(at), Width::Dword, self.now)
    }

    /// Programs the lower word of a pin's entry.
    fn route(&mut self, pin: u32, low: u32) {
        self.store(IOAPIC, 0x10 + 2 * pin);
        self.store(IOAPIC + 0x10, low);
    }

    fn take(&mut self) -> Option<Message> {
        self.platform.take_message(self.now)
    }

    fn vectors(&mut self) -> Vec<u8> {
        std::iter::from_fn(|| self.take().map(|message| message.vector.0)).collect()
    }
}

#[test]
fn a_uart_interrupts_through_both_controllers() {
    let mut guest = Guest::new();
    guest.init_pics(!0x10, 0xff);
    guest.route(4, 0x44);
    guest.outb(0x08, 0x3fc);
    guest.outb(0x02, 0x3f9);
    assert!(guest.platform.interrupt_pending());
    assert_eq!(guest.vectors(), [0x44]);
    guest.outb(b'x', 0x3f8);
    assert_eq!(guest.vectors(), [0x44], "an edge for each byte sent");
}

#[test]
fn input_becomes_a_message() {
    let mut guest = Guest::new();
    guest.route(4, 0x44);
    guest.outb(0x08, 0x3fc);
    guest.outb(0x01, 0x3f9);
    assert!(!guest.platform.has_messages());
    assert_eq!(guest.platform.input(b"a"), 1);
    assert!(guest.platform.has_messages());
}

#[test]
fn the_timer_wakes_who_has_it_on_pin_2_and_no_other_pin() {
    let mut guest = Guest::new();
    guest.init_pics(0xff, 0xff);
    guest.start_timer(2, 4773);
    guest.route(0, 0x20);
    assert_eq!(guest.platform.next_deadline(), Tsc::NEVER);
    guest.route(2, 0x22);
    for _ in 0..1000 {
        let due = guest.platform.next_deadline();
        assert!(due > guest.now && due < guest.now.after(TSC_HZ / 200));
        guest.now = due;
        guest.platform.expire(due);
        assert_eq!(guest.platform.next_deadline(), Tsc::NEVER, "one waits");
        assert_eq!(guest.vectors(), [0x22]);
    }
    assert_eq!(
        guest.now.since(Tsc(0)) / 1000,
        TSC_HZ * 4773 / 1_193_182,
        "the period"
    );
}

#[test]
fn timer_edges_on_a_masked_pin_are_lost_but_the_next_one_comes() {
    let mut guest = Guest::new();
    guest.init_pics(0xff, 0xff);
    guest.start_timer(2, 4773);
    guest.now = Tsc(TSC_HZ);
    guest.route(2, 0x22);
    assert!(!guest.platform.has_messages());
    guest.now = guest.platform.next_deadline();
    guest.platform.expire(guest.now);
    assert_eq!(guest.vectors(), [0x22]);
}

#[test]
fn test_lines_go_up_and_down_at_both_controllers() {
    let mut guest = bench();
    guest.init_pics(!0x04, !0x40);
    guest.route(14, 0x9a | LEVEL);
    guest.outb(1, 0x200e);
    assert_eq!(guest.platform.acknowledge(guest.now), Some(Vector(0x3e)));
    let message = guest.take().unwrap();
    assert_eq!((message.vector.0, message.trigger), (0x9a, Trigger::Level));
    guest.platform.end_of_interrupt(Vector(0x9a), guest.now);
    assert_eq!(guest.vectors(), [0x9a], "it is still up");
    guest.outb(0, 0x200e);
    guest.store(IOAPIC + 0x40, 0x9a);
    assert!(!guest.platform.has_messages());
    assert_eq!(guest.platform.absent_accesses(), 0);
}

#[test]
fn test_lines_reach_pins_the_8259_pair_does_not_have() {
    let mut guest = bench();
    guest.init_pics(!1, 0xff);
    for (pin, vector) in [(0, 0x60), (2, 0x62), (16, 0x70), (23, 0x77)] {
        guest.route(pin, vector);
    }
    for port in [0x2000, 0x2002, 0x2010, 0x2017] {
        guest.outb(1, port);
    }
    assert_eq!(guest.vectors(), [0x60, 0x62, 0x70, 0x77]);
    assert_eq!(guest.platform.acknowledge(guest.now), Some(Vector(0x30)));
    guest.outb(1, 0x2018);
    assert_eq!(guest.platform.absent_accesses(), 1);
}

#[test]
fn a_test_line_on_the_timers_wire_leaves_the_timer_its_deadline() {
    let mut guest = bench();
    guest.init_pics(!1, 0xff);
    guest.start_timer(2, 4773);
    guest.outb(1, 0x2002);
    assert_eq!(guest.platform.next_deadline(), Tsc::NEVER, "IRQ0 waits");
    guest.outb(0, 0x2002);
    assert!(!guest.platform.interrupt_pending());
    assert!(guest.platform.next_deadline() < guest.now.after(TSC_HZ / 200));
}

#[test]
fn a_wide_write_moves_one_test_line() {
    let mut guest = bench();
    guest.route(14, 0x5e);
    guest.route(15, 0x5f);
    assert_eq!(
        write(&mut guest.platform, 0x200e, Width::Dword, 0x100),
        Effect::None
    );
    assert_eq!(guest.vectors(), [0x5e]);
}

#[test]
fn the_scratch_ports_are_four_bytes_of_memory() {
    let mut guest = bench();
    let platform = &mut guest.platform;
    assert_eq!(
        write(platform, 0xe0, Width::Dword, 0x1234_5678),
        Effect::None
    );
    assert_eq!(write(platform, 0xe1, Width::Word, 0xaabb), Effect::None);
    assert_eq!(read(platform, 0xe0, Width::Dword), 0x12aa_bb78);
    assert_eq!(read(platform, 0xe2, Width::Byte), 0xaa);
    assert_eq!(write(platform, 0xe4, Width::Dword, 0x1000), Effect::None);
    assert_eq!(platform.absent_accesses(), 0);
}

#[test]
fn the_test_memory_is_on_the_bus() {
    let mut guest = bench();
    guest.store(0xff00_1000, 0x89ab_cdef);
    assert_eq!(guest.load(0xff00_1000), 0x89ab_cdef);
    assert_eq!(guest.platform.absent_accesses(), 0);
}

#[test]
fn the_scratch_ports_have_a_second_address_which_is_no_console_then() {
    let mut guest = bench();
    let now = guest.now;
    let effect = guest
        .platform
        .port_write(Port(0xe9), Width::Byte, 0x41, now);
    assert_eq!(effect, Effect::None);
    assert_eq!((guest.inb(0xe9), guest.inb(0xe1)), (0x41, 0x41));
    assert_eq!(guest.platform.absent_accesses(), 0);
}

#[test]
fn a_vm_without_test_devices_has_none_of_them() {
    let mut guest = Guest::new();
    guest.route(14, 0x5e);
    guest.store(0xff00_1000, 1);
    assert_eq!(guest.load(0xff00_1000), 0xffff_ffff);
    for port in [0xe0, 0xe4, 0x200e] {
        guest.outb(1, port);
        assert_eq!(guest.inb(port), 0xff);
    }
    assert!(!guest.platform.has_messages());
    assert_eq!(guest.platform.absent_accesses(), 8);
}

#[test]
fn the_ioapic_is_read_by_double_words() {
    let mut guest = Guest::new();
    guest.store(IOAPIC, 0x01);
    assert_eq!(guest.load(IOAPIC), 0x01);
    assert_eq!(guest.load(IOAPIC + 0x10), 0x0017_0020);
    assert_eq!(guest.platform.absent_accesses(), 0);
    let now = guest.now;
    let mut load = |at, width| guest.platform.memory_read(Gpa(at), width, now);
    assert_eq!(load(IOAPIC, Width::Byte), 0x01);
    assert_eq!(load(IOAPIC + 0x10, Width::Byte), 0xff);
    assert_eq!(load(IOAPIC + 0x11, Width::Dword), 0xffff_ffff);
    assert_eq!(load(IOAPIC + 0x40, Width::Dword), 0xffff_ffff);
    assert_eq!(guest.platform.absent_accesses(), 3);
}

#[test]
fn soft_off_powers_the_machine_off_at_any_width() {
    let mut guest = Guest::new();
    let platform = &mut guest.platform;
    assert_eq!(
        write(platform, 0x604, Width::Word, 0x3400),
        Effect::PowerOff
    );
    assert_eq!(write(platform, 0x605, Width::Byte, 0x34), Effect::PowerOff);
    assert_eq!(write(platform, 0x604, Width::Word, 0x2400), Effect::None);
    assert_eq!(platform.absent_accesses(), 1, "S1 is refused");
    assert_eq!(read(platform, 0x604, Width::Word), 0x0401);
}

#[test]
fn the_acpi_timer_is_read_whole_or_by_bytes() {
    let mut guest = Guest::new();
    let now = Tsc(100 * TSC_HZ);
    let mut read = |port, width| guest.platform.port_read(Port(port), width, now);
    assert_eq!(read(0x608, Width::Dword), 357_954_500);
    assert_eq!(read(0x608, Width::Word), 357_954_500 & 0xffff);
    assert_eq!(read(0x60b, Width::Byte), 357_954_500 >> 24);
}

#[test]
fn fw_cfg_tells_how_many_cpus_there_are() {
    let mut guest = Guest::new();
    assert_eq!(
        write(&mut guest.platform, 0x510, Width::Word, 5),
        Effect::None
    );
    assert_eq!([guest.inb(0x511), guest.inb(0x511)], [4, 0]);
    assert_eq!(guest.platform.absent_accesses(), 0);
}
