//! Sequences of Linux 6.1's drivers, with the answers that keep it going.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

use super::{CONFIG, Guest, TSC_HZ};
use crate::Platform;
use skerry_words::{Port, Tsc, Vector, Width};

/// drivers/tty/serial/8250/8250_port.c, autoconfig: every access to COM1 and its answer.
/// `None` is a write.
const AUTOCONFIG: [(u16, Option<u8>, u8); 38] = [
    // Is there an interrupt-enable register?
    (1, Some(0x00), 0),
    (1, None, 0x00),
    (1, Some(0x00), 0),
    (1, None, 0x0f),
    (1, Some(0x0f), 0),
    (1, None, 0x00),
    // Does loopback work?
    (4, Some(0x00), 0),
    (3, Some(0x00), 0),
    (4, None, 0x1a),
    (6, Some(0x92), 0),
    (4, None, 0x00),
    // No enhanced features; FIFOs present and good: a 16550A.
    (3, None, 0xbf),
    (2, None, 0x00),
    (3, None, 0x00),
    (2, None, 0x01),
    (2, Some(0xc1), 0),
    (3, None, 0x80),
    (2, Some(0xc1), 0),
    (3, None, 0xbf),
    (2, Some(0xc1), 0),
    // No National SuperIO.
    (3, None, 0x00),
    (4, Some(0x00), 0),
    (3, None, 0xe0),
    (2, Some(0xc1), 0),
    (3, None, 0x00),
    (4, None, 0x10),
    (3, None, 0xe0),
    (2, Some(0xc1), 0),
    (3, None, 0x00),
    (4, None, 0x00),
    // No 16750, no XScale.
    (2, None, 0x01),
    (2, Some(0xc1), 0),
    (3, None, 0x80),
    (2, None, 0x21),
    (2, Some(0xc1), 0),
    (3, None, 0x00),
    (1, None, 0x40),
    (1, Some(0x00), 0),
];

#[test]
fn autoconfig_finds_a_16550a() {
    let mut guest = Guest::new();
    for (step, (register, answer, value)) in AUTOCONFIG.into_iter().enumerate() {
        match answer {
            Some(answer) => assert_eq!(guest.inb(0x3f8 + register), answer, "step {step}"),
            None => guest.outb(value, 0x3f8 + register),
        }
    }
    assert!(guest.console.is_empty());
}

#[test]
fn startup_finds_neither_the_thre_nor_the_txen_bug() {
    // serial8250_do_startup.
    let mut guest = Guest::new();
    guest.outb(0x02, 0x3f9);
    assert_eq!(guest.inb(0x3fa) & 1, 0, "iir1 shows an interrupt");
    guest.outb(0x00, 0x3f9);
    guest.outb(0x02, 0x3f9);
    assert_eq!(guest.inb(0x3fa) & 1, 0, "and it is asserted again");
    guest.outb(0x00, 0x3f9);
    guest.outb(0x08, 0x3fc);
    guest.outb(0x02, 0x3f9);
    assert_eq!(guest.inb(0x3fd) & 0x40, 0x40);
    assert_eq!(guest.inb(0x3fa) & 1, 0);
}

/// serial8250_interrupt: serves causes until there is none; sends up to 16 bytes for each
/// empty transmitter and switches its interrupt off when all is sent.
fn serve_uart(guest: &mut Guest, text: &mut &[u8]) {
    while guest.inb(0x3fa) & 1 == 0 {
        if guest.inb(0x3fd) & 0x20 == 0 {
            continue;
        }
        let (burst, rest) = text.split_at(text.len().min(16));
        burst.iter().for_each(|&byte| guest.outb(byte, 0x3f8));
        *text = rest;
        if text.is_empty() {
            guest.outb(0x00, 0x3f9);
        }
    }
}

#[test]
fn a_long_text_leaves_by_interrupts_alone() {
    let mut guest = Guest::new();
    guest.init_pics(!0x10, 0xff);
    guest.outb(0x01, 0x3fa);
    guest.outb(0x0b, 0x3fc);
    let sent = [b'.'; 1000];
    let mut text: &[u8] = &sent;
    guest.outb(0x02, 0x3f9);
    while guest.platform.interrupt_pending() {
        assert_eq!(guest.platform.acknowledge(guest.now), Some(Vector(0x34)));
        // handle_level_irq: mask, end of interrupt, serve, unmask.
        guest.outb(0xff, 0x21);
        guest.outb(0x64, 0x20);
        serve_uart(&mut guest, &mut text);
        guest.outb(!0x10, 0x21);
    }
    assert_eq!(guest.console, sent);
}

#[test]
fn the_quick_calibration_measures_the_tsc() {
    // arch/x86/kernel/tsc.c, quick_pit_calibrate: waits for each value of the high byte.
    let mut platform = Platform::new(&CONFIG, Tsc(0));
    let mut now = Tsc(1_000_000);
    let mut io = |now: Tsc, port: u16, value: Option<u32>| match value {
        Some(value) => {
            let _ = platform.port_write(Port(port), Width::Byte, value, now);
            0
        }
        None => platform.port_read(Port(port), Width::Byte, now),
    };
    for (port, value) in [(0x61, 1), (0x43, 0xb0), (0x42, 0xff), (0x42, 0xff)] {
        io(now, port, Some(value));
    }
    let mut reached = [Tsc(0); 3];
    for (msb, at) in [(0xff, 0), (0xfe, 1), (0xc0, 2)] {
        loop {
            now = now.after(150);
            io(now, 0x42, None);
            if io(now, 0x42, None) == msb {
                break;
            }
        }
        *reached.get_mut(at).unwrap() = now;
    }
    let [_, first, last] = reached;
    let hz = last.since(first) * 1_193_182 / (0x3e * 256);
    assert!(hz.abs_diff(TSC_HZ) < TSC_HZ / 2000, "{hz}");
}

#[test]
fn the_pci_probe_finds_mechanism_one_and_no_bridge() {
    // arch/x86/pci/direct.c, pci_check_type1.
    let mut guest = Guest::new();
    guest.outb(0x01, 0xcfb);
    let now = guest.now;
    let mut dword = |value: Option<u32>, port| match value {
        Some(value) => {
            let _ = guest
                .platform
                .port_write(Port(port), Width::Dword, value, now);
            0
        }
        None => guest.platform.port_read(Port(port), Width::Dword, now),
    };
    let saved = dword(None, 0xcf8);
    dword(Some(0x8000_0000), 0xcf8);
    assert_eq!(dword(None, 0xcf8), 0x8000_0000);
    assert_eq!(dword(None, 0xcfc), u32::MAX);
    dword(Some(saved), 0xcf8);
}
