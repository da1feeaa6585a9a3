//! Does a byte written to a console port come out?
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::{Boot, Report, console, port, println, stub};

stub!("bytes written to COM1 and to port E9h come out", run);

const E9: u16 = 0xe9;

fn run(report: &mut Report, boot: &Boot) {
    println!("hello from a guest, by COM1");
    println!("command line: {:?}", boot.command_line());
    console::drain();
    for byte in *b"hello from a guest, by port E9h\n" {
        port::write8(E9, byte);
    }
    check_debug_port(report);
    check_scratch(report);
    check_transmitter(report);
}

/// On Bochs and QEMU the port reads its own number: that is how guests find it.
fn check_debug_port(report: &mut Report) {
    match port::read8(E9) {
        0xff => report.skip("this machine has no debug port E9h"),
        found => report.check_eq("port E9h reads E9h", found, 0xe9),
    }
}

fn check_scratch(report: &mut Report) {
    let scratch = console::COM1 + 7;
    let kept = (0..=255).all(|byte| {
        port::write8(scratch, byte);
        port::read8(scratch) == byte
    });
    report.check("COM1's scratch register keeps every byte", kept);
}

fn check_transmitter(report: &mut Report) {
    console::drain();
    let status = port::read8(console::COM1 + 5);
    report.check_eq(
        "a drained COM1 shows an empty transmitter",
        status & 0x60,
        0x60,
    );
}
