//! Do INS and OUTS move every byte, in both directions and across pages?
//!
//! COM1's scratch register is the far end: it gives back the last byte it was sent. Where
//! the UART has a working loopback, order is checked with its FIFO too.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::memory::{self, SCRATCH};
use guest_stubs::paging::SmallPages;
use guest_stubs::{Boot, Report, console, instruction, port, stub, trap};

stub!("string port instructions move what they should", run);

const UART_SCRATCH: u16 = console::COM1 + 7;
const PAGE: u64 = 4096;
/// Four pages for page tables, out of the way of the buffers.
const TABLES: u64 = SCRATCH + 64 * PAGE;
/// A buffer address whose 16 bytes lie on both sides of a page boundary.
const ACROSS: u64 = SCRATCH + PAGE - 6;

fn run(report: &mut Report, _boot: &Boot) {
    check_outs(report);
    check_ins(report);
    check_nothing(report);
    check_wide(report);
    check_long(report);
    check_order(report);
    check_fault(report);
    console_line();
}

/// REP OUTSB (backwards if `std`), giving RSI and RCX as they are afterwards.
macro_rules! rep {
    ($direction:literal, $what:literal, $pointer:tt, $port:expr, $at:expr, $count:expr) => {{
        let (at, left): (u64, u64);
        instruction!(
            $direction, $what, "cld",
            in("dx") $port, inout($pointer) $at => at, inout("rcx") $count => left,
        );
        (at, left)
    }};
}

fn check_outs(report: &mut Report) {
    (0..16).for_each(|index| memory::write8(ACROSS + index, 0x40 + index as u8));
    let end = rep!("cld", "rep outsb", "rsi", UART_SCRATCH, ACROSS, 16_u64);
    report.check(
        "REP OUTSB goes to the end of its buffer",
        end == (ACROSS + 16, 0),
    );
    report.check_eq(
        "and its last byte is the last",
        port::read8(UART_SCRATCH),
        0x4f,
    );
    let end = rep!("std", "rep outsb", "rsi", UART_SCRATCH, ACROSS + 15, 16_u64);
    report.check("with DF set it goes to the start", end == (ACROSS - 1, 0));
    report.check_eq(
        "and its last byte is the first",
        port::read8(UART_SCRATCH),
        0x40,
    );
    let end = rep!("cld", "outsb", "rsi", UART_SCRATCH, ACROSS + 3, 9_u64);
    report.check("OUTSB alone moves one byte", end == (ACROSS + 4, 9));
    report.check_eq("the one it points to", port::read8(UART_SCRATCH), 0x43);
}

fn check_ins(report: &mut Report) {
    memory::fill(SCRATCH..SCRATCH + 2 * PAGE, 0);
    port::write8(UART_SCRATCH, 0xa7);
    let end = rep!("cld", "rep insb", "rdi", UART_SCRATCH, ACROSS, 16_u64);
    report.check(
        "REP INSB goes to the end of its buffer",
        end == (ACROSS + 16, 0),
    );
    let mut found = [0; 18];
    memory::fetch(ACROSS - 1, &mut found);
    let only_inside = found[0] == 0 && found[17] == 0 && found[1..17] == [0xa7; 16];
    report.check("it fills the buffer and nothing else", only_inside);
    port::write8(UART_SCRATCH, 0x7a);
    let end = rep!("std", "rep insb", "rdi", UART_SCRATCH, ACROSS + 15, 15_u64);
    report.check("with DF set it goes backwards", end == (ACROSS, 0));
    memory::fetch(ACROSS - 1, &mut found);
    let only_inside = found[1] == 0xa7 && found[17] == 0 && found[2..17] == [0x7a; 15];
    report.check("and stops where it should", only_inside);
}

fn check_nothing(report: &mut Report) {
    port::write8(UART_SCRATCH, 1);
    let end = rep!("cld", "rep outsb", "rsi", UART_SCRATCH, ACROSS, 0_u64);
    let untouched = end == (ACROSS, 0) && port::read8(UART_SCRATCH) == 1;
    report.check("REP with a count of 0 does nothing", untouched);
    let (at, left): (u64, u64);
    instruction!(
        "addr32 rep outsb",
        in("dx") UART_SCRATCH,
        inout("rsi") ACROSS => at,
        inout("rcx") 0x7_0000_0002_u64 => left,
    );
    report.check_eq(
        "with 32-bit addresses ECX alone counts",
        left & 0xffff_ffff,
        0,
    );
    report.check_eq("and ESI alone points", at, ACROSS + 2);
}

fn check_wide(report: &mut Report) {
    let end = rep!("cld", "rep outsw", "rsi", 0x80_u16, ACROSS + 1, 7_u64);
    report.check("REP OUTSW steps by two", end == (ACROSS + 15, 0));
    let end = rep!("cld", "rep outsd", "rsi", 0x80_u16, ACROSS + 1, 3_u64);
    report.check("REP OUTSD steps by four", end == (ACROSS + 13, 0));
    let end = rep!(
        "cld",
        "rep insd",
        "rdi",
        UART_SCRATCH + 0x1000,
        ACROSS + 1,
        3_u64
    );
    report.check("REP INSD steps by four", end == (ACROSS + 13, 0));
}

/// More than any budget a hypervisor would do in one go.
fn check_long(report: &mut Report) {
    let bytes = 5 * PAGE + 3;
    port::write8(UART_SCRATCH, 0xc3);
    memory::write8(SCRATCH + bytes, 0);
    let end = rep!("cld", "rep insb", "rdi", UART_SCRATCH, SCRATCH, bytes);
    report.check(
        "REP INSB over five pages comes to its end",
        end == (SCRATCH + bytes, 0),
    );
    let wrong = (SCRATCH..SCRATCH + bytes).find(|at| memory::read8(*at) != 0xc3);
    report.check_none("every byte arrived", 1, wrong);
    report.check_eq("and none too many", memory::read8(SCRATCH + bytes), 0);
}

/// The UART in loopback with its FIFO on: what goes out comes in, in order.
fn check_order(report: &mut Report) {
    let [control, fifo] = [console::COM1 + 4, console::COM1 + 2];
    console::drain();
    port::write8(control, 0x13);
    port::write8(fifo, 0x07);
    (0..16).for_each(|index| memory::write8(ACROSS + index, 0x60 + index as u8));
    rep!("cld", "rep outsb", "rsi", console::COM1, ACROSS, 16_u64);
    console::drain();
    let arrived = port::read8(console::COM1 + 5) & 1 != 0;
    let back = ACROSS + 3 * PAGE;
    rep!("cld", "rep insb", "rdi", console::COM1, back, 16_u64);
    port::write8(control, 0x03);
    let same = (0..16).all(|index| memory::read8(back + index) == 0x60 + index as u8);
    if arrived {
        report.check("16 bytes through a looped UART keep their order", same);
    } else {
        report.skip("this UART gives nothing back in loopback");
    }
}

/// A fault half-way leaves the registers at the byte that faulted.
fn check_fault(report: &mut Report) {
    let pages = SmallPages::enter(TABLES);
    pages.unmap(SCRATCH + PAGE);
    let fault = trap::attempt(|| rep!("cld", "rep insb", "rdi", UART_SCRATCH, ACROSS, 16_u64));
    drop(pages);
    let Err(fault) = fault else {
        return report.check("REP INSB into an unmapped page is #PF", false);
    };
    report.check_eq(
        "REP INSB into an unmapped page is #PF",
        fault.vector,
        trap::PF,
    );
    report.check_eq("as a write to an absent page", fault.error_code, 2);
    report.check_eq("at the first byte of the page", fault.cr2, SCRATCH + PAGE);
    report.check_eq("with RDI at that byte", fault.rdi, SCRATCH + PAGE);
    report.check_eq("and RCX counting what is left", fault.rcx, 10);
    let bogus = trap::vector_of(|| {
        rep!("cld", "rep outsb", "rsi", UART_SCRATCH, 1_u64 << 63, 4_u64);
    });
    report.check(
        "an address that is not canonical is #GP",
        bogus == Some(trap::GP),
    );
}

/// No longer than the FIFO of a real 16550.
fn console_line() {
    let text = b"by one OUTSB\n";
    memory::store(ACROSS, text);
    console::drain();
    rep!(
        "cld",
        "rep outsb",
        "rsi",
        console::COM1,
        ACROSS,
        text.len() as u64
    );
    console::drain();
}
