//! The UART: sentences after Linux's driver, and the FIFO against a byte queue.
#![allow(clippy::arithmetic_side_effects)]

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::vec::Vec;

fn write(uart: &mut Uart, register: Register, value: u8) {
    assert_eq!(uart.write(register, value), Written::Quiet);
}

#[test]
fn what_is_sent_leaves_at_once() {
    let mut uart = Uart::new();
    assert_eq!(uart.write(Register::Data, b'x'), Written::Sent(b'x'));
    assert_eq!(uart.read(Register::LineStatus), 0x60);
}

#[test]
fn the_divisor_latch_hides_data_and_interrupt_enable() {
    let mut uart = Uart::new();
    write(&mut uart, Register::LineControl, 0x83);
    write(&mut uart, Register::Data, 0x0c);
    write(&mut uart, Register::InterruptEnable, 0x01);
    assert_eq!(uart.read(Register::Data), 0x0c);
    assert_eq!(uart.read(Register::InterruptEnable), 0x01);
    write(&mut uart, Register::LineControl, 0x03);
    assert_eq!(uart.read(Register::InterruptEnable), 0x00);
}

#[test]
fn the_empty_transmitter_interrupts_when_enabled_until_iir_is_read() {
    let mut uart = Uart::new();
    write(&mut uart, Register::ModemControl, mcr::OUT2);
    write(&mut uart, Register::InterruptEnable, ier::THR_EMPTY);
    assert_eq!(uart.interrupt(), Level::High);
    assert_eq!(uart.read(Register::Identification), 0x02);
    assert_eq!(uart.interrupt(), Level::Low);
    assert_eq!(uart.read(Register::Identification), 0x01);
    write(&mut uart, Register::InterruptEnable, ier::THR_EMPTY);
    assert_eq!(uart.interrupt(), Level::Low, "it was enabled already");
    write(&mut uart, Register::InterruptEnable, 0);
    write(&mut uart, Register::InterruptEnable, ier::THR_EMPTY);
    assert_eq!(uart.interrupt(), Level::High);
}

#[test]
fn every_byte_sent_brings_the_empty_transmitter_interrupt_back() {
    let mut uart = Uart::new();
    write(&mut uart, Register::InterruptEnable, ier::THR_EMPTY);
    assert_eq!(uart.read(Register::Identification), 0x02);
    assert_eq!(uart.write(Register::Data, b'a'), Written::Sent(b'a'));
    assert_eq!(uart.read(Register::Identification), 0x02);
    assert_eq!(uart.read(Register::Identification), 0x01);
}

#[test]
fn out2_gates_the_line_and_loopback_closes_the_gate() {
    let mut uart = Uart::new();
    write(&mut uart, Register::InterruptEnable, ier::THR_EMPTY);
    assert_eq!(uart.interrupt(), Level::Low);
    write(&mut uart, Register::ModemControl, mcr::OUT2 | mcr::LOOP);
    assert_eq!(uart.interrupt(), Level::Low);
    write(&mut uart, Register::ModemControl, mcr::OUT2);
    assert_eq!(uart.interrupt(), Level::High);
}

#[test]
fn received_bytes_interrupt_at_the_trigger_and_by_timeout_below_it() {
    let mut uart = Uart::new();
    write(&mut uart, Register::Identification, 0x41);
    write(&mut uart, Register::InterruptEnable, ier::RECEIVED);
    assert_eq!(uart.receive(b"abc"), 3);
    assert_eq!(uart.read(Register::Identification), 0xcc);
    assert_eq!(uart.receive(b"d"), 1);
    assert_eq!(uart.read(Register::Identification), 0xc4);
    let read: Vec<u8> = (0..4).map(|_| uart.read(Register::Data)).collect();
    assert_eq!(read, b"abcd");
    assert_eq!(uart.read(Register::Identification), 0xc1);
}

#[test]
fn without_fifos_there_is_room_for_one_byte() {
    let mut uart = Uart::new();
    assert_eq!(uart.receive(b"ab"), 1);
    assert_eq!(uart.read(Register::LineStatus), 0x61);
    assert_eq!(uart.read(Register::Data), b'a');
    assert_eq!(uart.receive(b"b"), 1);
}

#[test]
fn loopback_overrun_is_told_once_and_comes_first() {
    let mut uart = Uart::new();
    write(&mut uart, Register::ModemControl, mcr::LOOP);
    write(&mut uart, Register::InterruptEnable, ier::ALL);
    write(&mut uart, Register::Data, b'1');
    write(&mut uart, Register::Data, b'2');
    assert_eq!(uart.receive(b"x"), 0);
    assert_eq!(uart.read(Register::Identification), 0x06);
    assert_eq!(uart.read(Register::LineStatus), 0x63);
    assert_eq!(uart.read(Register::Identification), 0x04);
    assert_eq!(
        uart.read(Register::Data),
        b'2',
        "the second replaced the first"
    );
    assert_eq!(uart.read(Register::LineStatus), 0x60);
}

#[test]
fn linux_sees_its_modem_lines_looped_back() {
    // drivers/tty/serial/8250/8250_port.c, autoconfig: MCR 1Ah must give MSR 9xh.
    let mut uart = Uart::new();
    write(&mut uart, Register::ModemControl, 0x1a);
    assert_eq!(uart.read(Register::ModemStatus) & 0xf0, 0x90);
    write(&mut uart, Register::ModemControl, 0x00);
    assert_eq!(uart.read(Register::ModemStatus), 0xb2, "DSR came back");
    assert_eq!(uart.read(Register::ModemStatus), 0xb0);
}

#[test]
fn a_modem_change_is_the_least_of_the_interrupts() {
    let mut uart = Uart::new();
    write(&mut uart, Register::ModemControl, mcr::LOOP | mcr::OUT1);
    let _ = uart.read(Register::ModemStatus);
    write(&mut uart, Register::InterruptEnable, ier::MODEM_STATUS);
    write(&mut uart, Register::ModemControl, mcr::LOOP);
    assert_eq!(uart.read(Register::Identification), 0x00);
    assert_eq!(uart.read(Register::ModemStatus), 0x04, "the end of a ring");
    assert_eq!(uart.read(Register::Identification), 0x01);
}

#[derive(Clone, Debug)]
enum Step {
    Receive(Vec<u8>),
    Send(u8),
    Read,
    Fifos(u8),
    Loopback(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Step::Receive),
        any::<u8>().prop_map(Step::Send),
        Just(Step::Read),
        Just(Step::Read),
        any::<u8>().prop_map(Step::Fifos),
        any::<bool>().prop_map(Step::Loopback),
    ]
}

proptest! {
    #[test]
    fn the_receiver_is_a_bounded_byte_queue(
        steps in proptest::collection::vec(step(), 1..30),
    ) {
        let mut uart = Uart::new();
        write(&mut uart, Register::InterruptEnable, ier::RECEIVED);
        let mut queue = VecDeque::new();
        let (mut fifos, mut looped) = (false, false);
        for step in steps {
            let room = if fifos { 16 } else { 1 };
            match step {
                Step::Receive(bytes) => {
                    let free = if looped { 0 } else { room - queue.len() };
                    prop_assert_eq!(uart.receive(&bytes), free.min(bytes.len()));
                    queue.extend(bytes.iter().take(free));
                }
                Step::Send(byte) if looped => {
                    prop_assert_eq!(uart.write(Register::Data, byte), Written::Quiet);
                    if !fifos {
                        queue.clear();
                    }
                    if queue.len() < room {
                        queue.push_back(byte);
                    }
                }
                Step::Send(byte) => {
                    prop_assert_eq!(uart.write(Register::Data, byte), Written::Sent(byte));
                }
                Step::Read => {
                    let byte = uart.read(Register::Data);
                    prop_assert!(queue.pop_front().is_none_or(|front| front == byte));
                }
                Step::Fifos(value) => {
                    write(&mut uart, Register::Identification, value);
                    if fifos != (value & 1 == 1) || (value & 3 == 3) {
                        queue.clear();
                    }
                    fifos = value & 1 == 1;
                }
                Step::Loopback(on) => {
                    write(&mut uart, Register::ModemControl, if on { 0x10 } else { 0 });
                    looped = on;
                }
            }
            prop_assert_eq!(uart.read(Register::LineStatus) & 1 == 1, !queue.is_empty());
            let told = uart.read(Register::Identification) & 0x0f != 1;
            prop_assert_eq!(told, !queue.is_empty());
        }
    }
}
