//! The keyboard controller, as Linux's i8042 driver meets it.

use super::*;

fn command(keyboard: &mut Keyboard, command: u8) {
    assert_eq!(keyboard.write_command(command), Written::Quiet);
}

fn data(keyboard: &mut Keyboard, value: u8) {
    assert_eq!(keyboard.write_data(value), Written::Quiet);
}

#[test]
fn the_self_test_and_the_interface_test_pass() {
    let mut keyboard = Keyboard::new();
    assert_eq!(keyboard.read_status() & 1, 0, "Linux's flush ends at once");
    command(&mut keyboard, 0xaa);
    assert_eq!(keyboard.read_status() & 1, 1);
    assert_eq!(keyboard.read_data(), 0x55);
    command(&mut keyboard, 0xab);
    assert_eq!(keyboard.read_data(), 0x00);
    assert_eq!(keyboard.read_status() & 1, 0);
}

#[test]
fn the_command_byte_reads_back() {
    let mut keyboard = Keyboard::new();
    command(&mut keyboard, 0x60);
    data(&mut keyboard, 0x47);
    command(&mut keyboard, 0x20);
    assert_eq!(keyboard.read_data(), 0x47);
    command(&mut keyboard, 0xa7);
    command(&mut keyboard, 0xad);
    command(&mut keyboard, 0x20);
    assert_eq!(keyboard.read_data(), 0x77);
}

#[test]
fn linux_learns_at_once_that_there_is_no_mouse() {
    // drivers/input/serio/i8042.c, i8042_check_aux: the loop's byte must not be the
    // mouse's, and the port test must fail.
    let mut keyboard = Keyboard::new();
    command(&mut keyboard, 0xd3);
    data(&mut keyboard, 0x5a);
    assert_eq!(keyboard.read_status() & 0x21, 0x01);
    assert_eq!(keyboard.read_data(), 0x5a);
    command(&mut keyboard, 0xa9);
    assert_ne!(keyboard.read_data(), 0x00);
}

#[test]
fn a_byte_for_a_missing_device_times_out_with_an_interrupt() {
    let mut keyboard = Keyboard::new();
    data(&mut keyboard, 0xf2);
    assert_eq!(keyboard.keyboard_interrupt(), Level::High);
    assert_eq!(keyboard.read_status() & 0x41, 0x41);
    assert_eq!(keyboard.read_data(), 0xfe);
    assert_eq!(keyboard.keyboard_interrupt(), Level::Low);
    command(&mut keyboard, 0x60);
    data(&mut keyboard, 0x02);
    command(&mut keyboard, 0xd4);
    data(&mut keyboard, 0xff);
    assert_eq!(keyboard.keyboard_interrupt(), Level::Low);
    assert_eq!(keyboard.mouse_interrupt(), Level::High);
}

#[test]
fn the_reset_line_is_pulled_by_a_pulse_or_by_the_output_port() {
    let mut keyboard = Keyboard::new();
    assert_eq!(keyboard.write_command(0xff), Written::Quiet);
    assert_eq!(keyboard.write_command(0xfe), Written::Reset);
    command(&mut keyboard, 0xd1);
    data(&mut keyboard, 0x03);
    command(&mut keyboard, 0xd1);
    assert_eq!(keyboard.write_data(0x02), Written::Reset);
}
