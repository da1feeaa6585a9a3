//! Do memory instructions work on a device register as they do on memory?
//!
//! The register is the scratch register of a memory-mapped 16550, which should behave as a
//! byte of RAM does; its transmitter shows that a write has an effect, too.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::memory::{self, SCRATCH};
use guest_stubs::{Boot, Report, instruction, println, stub};

stub!(
    "memory instructions work on a device register as on memory",
    run
);

const UART: u64 = 0xfe03_0000;

fn run(report: &mut Report, boot: &Boot) {
    let register = boot.number("uart", UART) + 7;
    memory::write8(register, 0x5a);
    if memory::read8(register) != 0x5a {
        if boot.has("required") {
            report.check("there is a UART in memory", false);
        } else {
            report.skip("there is no UART in memory");
        }
        return;
    }
    check_moves(report, register);
    check_arithmetic(report, register);
    check_exchanges(report, register);
    check_strings(report, register);
    check_addressing(report, register);
    greet(boot.number("uart", UART));
}

/// Runs one instruction on the byte at RDI with AL and CL set, and gives what it left:
/// the byte, AL, and the flags CF, PF, ZF, SF and OF.
macro_rules! outcome {
    ($text:literal, $at:expr) => {{
        memory::write8($at, 0x9c);
        let (al, flags): (u64, u64);
        instruction!(
            "cmp al, al", "stc", $text, "pushfq", "pop rcx",
            in("rdi") $at, inout("rax") 0x75_u64 => al, inout("rcx") 0x3a_u64 => flags,
        );
        (memory::read8($at), al, flags & 0x8c5)
    }};
}

/// Holds instructions on the register against the same ones on memory.
macro_rules! as_on_memory {
    ($report:expr, $register:expr, $($text:literal)*) => {$({
        println!("{}:", $text);
        let wanted = outcome!($text, SCRATCH);
        let found = outcome!($text, $register);
        if found != wanted {
            println!("byte, AL and flags are {found:x?}, on memory {wanted:x?}");
        }
        $report.check("it does what it does on memory", found == wanted);
    })*};
}

fn check_moves(report: &mut Report, register: u64) {
    let mut check = |name: &str, found: u64, wanted: u64| check_form(report, name, found, wanted);
    memory::write8(register, 0x85);
    check("mov al, [m]", load(register, 0x11ff), 0x1185);
    let value: u64;
    instruction!("movzx eax, byte ptr [rdi]", in("rdi") register, out("rax") value);
    check("movzx eax, byte [m]", value, 0x85);
    let value: u64;
    instruction!("movsx rax, byte ptr [rdi]", in("rdi") register, out("rax") value);
    check("movsx rax, byte [m]", value, 0xffff_ffff_ffff_ff85);
    let value: u64;
    instruction!("movsx ax, byte ptr [rdi]", in("rdi") register, inout("rax") u64::MAX << 16 => value);
    check("movsx ax, byte [m]", value, 0xffff_ffff_ffff_ff85);
    instruction!("mov byte ptr [rdi], 0x21", in("rdi") register);
    check("mov [m], imm", memory::read8(register).into(), 0x21);
    instruction!("mov byte ptr [rdi], ah", in("rdi") register, in("rax") 0x4300_u64);
    check("mov [m], ah", memory::read8(register).into(), 0x43);
    instruction!("mov byte ptr [rdi], r9b", in("rdi") register, in("r9") 0x65_u64);
    check("mov [m], r9b", memory::read8(register).into(), 0x65);
}

fn load(register: u64, rax: u64) -> u64 {
    let value;
    instruction!("mov al, byte ptr [rdi]", in("rdi") register, inout("rax") rax => value);
    value
}

fn check_form(report: &mut Report, name: &str, found: u64, wanted: u64) {
    println!("{name}:");
    report.check_eq("it does what it does on memory", found, wanted);
}

fn check_arithmetic(report: &mut Report, register: u64) {
    as_on_memory!(
        report, register,
        "or byte ptr [rdi], cl" "and byte ptr [rdi], cl" "xor byte ptr [rdi], 0x0f"
        "add byte ptr [rdi], al" "adc byte ptr [rdi], cl" "sub byte ptr [rdi], cl"
        "sbb byte ptr [rdi], al" "inc byte ptr [rdi]" "dec byte ptr [rdi]"
        "not byte ptr [rdi]" "neg byte ptr [rdi]" "cmp byte ptr [rdi], al"
        "cmp al, byte ptr [rdi]" "test byte ptr [rdi], cl" "test byte ptr [rdi], 0x81"
        "or al, byte ptr [rdi]" "and al, byte ptr [rdi]" "add al, byte ptr [rdi]"
        "sub al, byte ptr [rdi]" "xor al, byte ptr [rdi]"
    );
}

fn check_exchanges(report: &mut Report, register: u64) {
    as_on_memory!(
        report, register,
        "xchg byte ptr [rdi], al" "lock or byte ptr [rdi], cl" "xadd byte ptr [rdi], al"
        "cmpxchg byte ptr [rdi], cl"
    );
}

fn check_strings(report: &mut Report, register: u64) {
    instruction!("stosb", inout("rdi") register => _, in("al") 0x31_u8);
    check_form(report, "stosb", memory::read8(register).into(), 0x31);
    let (value, at): (u64, u64);
    instruction!("lodsb", inout("rsi") register => at, inout("rax") 0_u64 => value);
    check_form(report, "lodsb", value, 0x31);
    check_form(report, "rsi after lodsb", at, register + 1);
    memory::write8(SCRATCH, 0x77);
    instruction!("movsb", inout("rsi") SCRATCH => _, inout("rdi") register => _);
    check_form(
        report,
        "movsb to the device",
        memory::read8(register).into(),
        0x77,
    );
    instruction!("movsb", inout("rsi") register => _, inout("rdi") SCRATCH + 1 => _);
    check_form(
        report,
        "movsb from the device",
        memory::read8(SCRATCH + 1).into(),
        0x77,
    );
    let left: u64;
    instruction!(
        "std", "rep stosb", "cld",
        inout("rdi") register => _, inout("rcx") 1_u64 => left, in("al") 0x13_u8,
    );
    check_form(
        report,
        "rep stosb, backwards",
        memory::read8(register).into(),
        0x13,
    );
    check_form(report, "rcx after it", left, 0);
}

fn check_addressing(report: &mut Report, register: u64) {
    let value: u64;
    instruction!(
        "mov byte ptr [rdi + rcx * 4 - 0x10], 0x42", "movzx eax, byte ptr [r14 + r13 * 2 + 0x100]",
        in("rdi") register - 0x30, in("rcx") 0x10_u64, in("r14") register - 0x10e,
        in("r13") 7_u64, out("rax") value,
    );
    check_form(report, "scaled index and displacement", value, 0x42);
}

/// Writes a line by the memory-mapped transmitter.
fn greet(uart: u64) {
    for byte in *b"hello by the memory-mapped UART\n" {
        (0..100_000).find(|_| memory::read8(uart + 5) & 0x20 != 0);
        memory::write8(uart, byte);
    }
}
