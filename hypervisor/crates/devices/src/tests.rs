//! The platform as guests meet it: probes of real kernels, wiring, hostile sequences.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

mod linux;
mod random;
mod wires;

use crate::{Effect, Platform, PlatformConfig, TestDevices};
use skerry_words::{Gpa, Port, Tsc, Vector, Width};
use std::vec::Vec;

const TSC_HZ: u64 = 50_000_000;
const UART_AT: Gpa = Gpa(0xfe00_0000);
const CONFIG: PlatformConfig = PlatformConfig {
    tsc_hz: TSC_HZ,
    rtc_unix_seconds: 946_684_800,
    memory_bytes: 256 << 20,
    vcpus: 4,
    mmio_uart: Some(UART_AT),
    test_devices: TestDevices::Absent,
};

/// A platform with a guest's hand on it: byte accesses at a time that only goes on.
pub(super) struct Guest {
    pub(super) platform: Platform,
    pub(super) now: Tsc,
    pub(super) console: Vec<u8>,
}

impl Guest {
    pub(super) fn new() -> Self {
        Self {
            platform: Platform::new(&CONFIG, Tsc(0)),
            now: Tsc(0),
            console: Vec::new(),
        }
    }

    pub(super) fn inb(&mut self, port: u16) -> u8 {
        self.now = self.now.after(10);
        self.platform.port_read(Port(port), Width::Byte, self.now) as u8
    }

    pub(super) fn outb(&mut self, value: u8, port: u16) {
        self.now = self.now.after(10);
        let effect = self
            .platform
            .port_write(Port(port), Width::Byte, u32::from(value), self.now);
        match effect {
            Effect::None => {}
            Effect::Console(byte) => self.console.push(byte),
            Effect::Reset | Effect::PowerOff | Effect::DebugExit(_) => {
                panic!("{effect:?} by {port:#x}")
            }
        }
    }

    /// Sets the interrupt controllers up as Linux does, with the given masks.
    pub(super) fn init_pics(&mut self, master_mask: u8, slave_mask: u8) {
        for (port, base, wiring) in [(0x20, 0x30, 4), (0xa0, 0x38, 2)] {
            self.outb(0x11, port);
            for word in [base, wiring, 1] {
                self.outb(word, port + 1);
            }
        }
        self.outb(master_mask, 0x21);
        self.outb(slave_mask, 0xa1);
    }

    fn start_timer(&mut self, mode: u8, count: u16) {
        self.outb(0x30 | mode << 1, 0x43);
        let [low, high] = count.to_le_bytes();
        self.outb(low, 0x40);
        self.outb(high, 0x40);
    }
}

fn write(platform: &mut Platform, port: u16, width: Width, value: u32) -> Effect {
    platform.port_write(Port(port), width, value, Tsc(0))
}

fn read(platform: &mut Platform, port: u16, width: Width) -> u32 {
    platform.port_read(Port(port), width, Tsc(0))
}

#[test]
fn what_is_absent_reads_as_ones_and_counts_once_an_access() {
    let mut guest = Guest::new();
    let platform = &mut guest.platform;
    assert_eq!(read(platform, 0x2f8, Width::Byte), 0xff);
    assert_eq!(read(platform, 0x1f0, Width::Word), 0xffff);
    assert_eq!(read(platform, 0xffff, Width::Dword), 0xffff_ffff);
    assert_eq!(write(platform, 0x300, Width::Dword, 5), Effect::None);
    assert_eq!(
        platform.memory_read(Gpa(0xfed4_0000), Width::Dword, Tsc(0)),
        0xffff_ffff
    );
    let beyond = Gpa(UART_AT.0 + 5);
    assert_eq!(
        platform.memory_read(beyond, Width::Dword, Tsc(0)),
        0xffff_ffff
    );
    assert_eq!(
        platform.memory_write(Gpa(u64::MAX), Width::Qword, 0, Tsc(0)),
        Effect::None
    );
    assert_eq!(platform.absent_accesses(), 7);
}

#[test]
fn wide_accesses_reach_byte_devices_byte_by_byte() {
    let mut guest = Guest::new();
    let platform = &mut guest.platform;
    assert_eq!(write(platform, 0x3fe, Width::Word, 0x5a00), Effect::None);
    assert_eq!(read(platform, 0x3fd, Width::Dword), 0xff5a_b060);
    assert_eq!(platform.absent_accesses(), 1);
    assert_eq!(
        write(platform, 0x3f5, Width::Dword, 0x4100_0000),
        Effect::Console(0x41)
    );
}

#[test]
fn pci_is_a_bus_with_nobody_on_it() {
    let mut guest = Guest::new();
    let platform = &mut guest.platform;
    assert_eq!(
        write(platform, 0xcf8, Width::Dword, 0x8000_0003),
        Effect::None
    );
    assert_eq!(read(platform, 0xcf8, Width::Dword), 0x8000_0000);
    assert_eq!(read(platform, 0xcfc, Width::Dword), 0xffff_ffff);
    assert_eq!(read(platform, 0xcfe, Width::Word), 0xffff);
    assert_eq!(platform.absent_accesses(), 0);
}

#[test]
fn the_debug_ports_leave_the_platform_as_effects() {
    let mut guest = Guest::new();
    let platform = &mut guest.platform;
    assert_eq!(
        write(platform, 0xe9, Width::Byte, 0x141),
        Effect::Console(0x41)
    );
    assert_eq!(read(platform, 0xe9, Width::Byte), 0xe9);
    let firmware = write(platform, 0x402, Width::Byte, 0x42);
    assert_eq!(firmware, Effect::Console(0x42));
    assert_eq!(read(platform, 0x402, Width::Byte), 0xe9);
    assert_eq!(
        write(platform, 0xf4, Width::Byte, 0x107),
        Effect::DebugExit(7)
    );
    assert_eq!(
        write(platform, 0xf4, Width::Dword, 0x107),
        Effect::DebugExit(0x107)
    );
    assert_eq!(write(platform, 0x80, Width::Byte, 0x3c), Effect::None);
    assert_eq!(platform.post_code(), 0x3c);
    assert_eq!(read(platform, 0x80, Width::Byte), 0x3c);
}

#[test]
fn every_reset_port_resets_on_its_own_terms() {
    let mut guest = Guest::new();
    let platform = &mut guest.platform;
    assert_eq!(write(platform, 0x64, Width::Byte, 0xfe), Effect::Reset);
    assert_eq!(write(platform, 0xcf9, Width::Byte, 0x02), Effect::None);
    assert_eq!(write(platform, 0xcf9, Width::Byte, 0x06), Effect::Reset);
    assert_eq!(write(platform, 0x92, Width::Byte, 0x02), Effect::None);
    assert_eq!(write(platform, 0x92, Width::Byte, 0x03), Effect::Reset);
    assert_eq!(
        write(platform, 0x92, Width::Byte, 0x01),
        Effect::None,
        "no rise"
    );
    assert_eq!(read(platform, 0x92, Width::Byte), 0x03, "A20 stays open");
}

#[test]
fn an_absent_screen_shows_its_cursor_at_zero() {
    let mut guest = Guest::new();
    guest.outb(14, 0x3d4);
    assert_eq!(guest.inb(0x3d4), 14);
    assert_eq!(guest.inb(0x3d5), 0);
}

#[test]
fn the_mapped_uart_speaks_and_interrupts_on_line_3() {
    let mut guest = Guest::new();
    guest.init_pics(!8, 0xff);
    let platform = &mut guest.platform;
    let mut store = |offset, value| {
        platform.memory_write(Gpa(UART_AT.0 + offset), Width::Byte, value, Tsc(500))
    };
    assert_eq!(store(0, 0x68), Effect::Console(b'h'));
    assert_eq!(store(4, 0x08), Effect::None);
    assert_eq!(store(1, 0x02), Effect::None);
    assert_eq!(platform.acknowledge(Tsc(500)), Some(Vector(0x33)));
    let at = |offset| Gpa(UART_AT.0 + offset);
    assert_eq!(platform.memory_read(at(2), Width::Byte, Tsc(500)), 0x02);
    assert_eq!(platform.memory_read(at(5), Width::Byte, Tsc(500)), 0x60);
    assert_eq!(
        platform.memory_read(at(4), Width::Dword, Tsc(500)),
        0x00b0_6008
    );
}

#[test]
fn input_interrupts_and_is_taken_as_far_as_there_is_room() {
    let mut guest = Guest::new();
    guest.init_pics(!0x10, 0xff);
    guest.outb(0x01, 0x3fa);
    guest.outb(0x08, 0x3fc);
    guest.outb(0x01, 0x3f9);
    assert_eq!(guest.platform.input(b"0123456789abcdefgh"), 16);
    assert!(guest.platform.interrupt_pending());
    assert_eq!(guest.inb(0x3f8), b'0');
    assert_eq!(guest.platform.input(b"gh"), 1);
}

#[test]
fn the_timer_ticks_250_times_a_second_for_ten_seconds() {
    let mut guest = Guest::new();
    guest.init_pics(!1, 0xff);
    guest.start_timer(2, 4773);
    let end = guest.now.after(10 * TSC_HZ);
    let mut ticks = 0;
    while guest.platform.next_deadline() < end {
        let due = guest.platform.next_deadline();
        guest.platform.expire(Tsc(due.0 - 1));
        assert!(!guest.platform.interrupt_pending());
        guest.platform.expire(due);
        assert_eq!(guest.platform.acknowledge(due), Some(Vector(0x30)));
        guest.now = due;
        guest.outb(0x60, 0x20);
        ticks += 1;
    }
    assert_eq!(ticks, 10 * 1_193_182 / 4773);
}

#[test]
fn periods_missed_while_the_guest_did_not_run_are_one_interrupt() {
    let mut guest = Guest::new();
    guest.init_pics(!1, 0xff);
    guest.start_timer(3, 4773);
    guest.now = Tsc(7 * TSC_HZ);
    guest.platform.expire(guest.now);
    assert_eq!(
        guest.platform.next_deadline(),
        Tsc::NEVER,
        "one waits already"
    );
    assert_eq!(guest.platform.acknowledge(guest.now), Some(Vector(0x30)));
    guest.outb(0x20, 0x20);
    assert!(!guest.platform.interrupt_pending());
    let wait = guest.platform.next_deadline().since(guest.now);
    assert!(wait <= TSC_HZ * 4773 / 1_193_182 + 2);
}

#[test]
fn a_masked_timer_wakes_nobody_but_is_not_forgotten() {
    let mut guest = Guest::new();
    guest.init_pics(0xff, 0xff);
    guest.start_timer(2, 4773);
    assert_eq!(guest.platform.next_deadline(), Tsc::NEVER);
    guest.now = Tsc(TSC_HZ);
    guest.outb(0xfe, 0x21);
    assert_eq!(guest.platform.acknowledge(guest.now), Some(Vector(0x30)));
}

#[test]
fn the_clock_interrupts_on_line_8_until_its_flags_are_read() {
    let mut guest = Guest::new();
    guest.init_pics(!4, !1);
    guest.outb(0x0b, 0x70);
    guest.outb(0x12, 0x71);
    let due = guest.platform.next_deadline();
    assert!(due > Tsc(TSC_HZ) && due < Tsc(TSC_HZ + 100));
    guest.now = due;
    guest.platform.expire(due);
    assert_eq!(guest.platform.acknowledge(due), Some(Vector(0x38)));
    guest.outb(0x0c, 0x70);
    assert_eq!(guest.inb(0x71) & 0xb0, 0x90);
}
