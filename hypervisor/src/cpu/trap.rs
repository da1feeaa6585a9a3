//! What happens on each vector: exceptions end in a panic, interrupts are dispatched.
//!
//! Owns the fixup table: instructions that may fault on purpose (see `msr::try_read`) go on
//! at another address. Called by the stubs in `idt` only.

use skerry_words::{PAGE_BYTES, Vector};
use x86_64::registers::control::Cr2;

use super::{idt::TrapFrame, interrupt, stack};

const NMI: u64 = 2;
const PAGE_FAULT: u64 = 14;
const EXCEPTIONS: u64 = 32;

/// Entered from the stubs, on the interrupted stack or an exception stack.
pub(super) extern "sysv64" fn enter(frame: &mut TrapFrame) {
    match frame.vector {
        NMI => interrupt::note_nmi(),
        EXCEPTIONS.. => interrupt::dispatch(Vector(frame.vector as u8)),
        _ => match fixup(frame.rip) {
            Some(landing) => frame.rip = landing,
            None => report(frame),
        },
    }
}

/// An instruction that may fault, and where to go on then.
#[repr(C)]
struct Fixup {
    instruction: u64,
    landing: u64,
}

fn fixup(rip: u64) -> Option<u64> {
    let table = crate::mem::layout::fixups();
    let entries = (table.end - table.start) as usize / size_of::<Fixup>();
    // SAFETY: the linker script puts whole `Fixup`s, and nothing else, between the bounds.
    let fixups = unsafe { core::slice::from_raw_parts(table.start as *const Fixup, entries) };
    let found = fixups.iter().find(|fixup| fixup.instruction == rip)?;
    Some(found.landing)
}

/// Ends in a panic that shows the registers.
fn report(frame: &TrapFrame) -> ! {
    const NAMES: [&str; 16] = [
        "r15", "r14", "r13", "r12", "r11", "r10", "r9 ", "r8 ", "rdi", "rsi", "rbp", "rbx", "rdx",
        "rcx", "rax", "rsp",
    ];
    let values = frame.registers.iter().chain([&frame.rsp]);
    let mut shown = NAMES.iter().zip(values);
    while let (Some(a), Some(b)) = (shown.next(), shown.next()) {
        last_words(format_args!("{} {:016x}  {} {:016x}", a.0, a.1, b.0, b.1));
    }
    let TrapFrame {
        vector,
        error_code,
        rip,
        rflags,
        ..
    } = *frame;
    last_words(format_args!("rip {rip:016x}  rflags {rflags:x}"));
    match vector {
        PAGE_FAULT => report_page_fault(Cr2::read_raw(), error_code, rip),
        _ => panic!(
            "{} (vector {vector}), error code {error_code:#x}, at {rip:#x}",
            name(vector)
        ),
    }
}

fn last_words(text: core::fmt::Arguments<'_>) {
    // SAFETY: `report` alone calls this, and ends in a panic.
    unsafe { crate::panic::line(text) };
}

fn report_page_fault(address: u64, error_code: u64, rip: u64) -> ! {
    let page = address & !(PAGE_BYTES - 1);
    if stack::guards().iter().any(|guard| guard.as_u64() == page) {
        panic!("stack overflow at {address:#x}, from {rip:#x}");
    }
    panic!("page fault at {address:#x}, error code {error_code:#x}, from {rip:#x}");
}

/// The exception's name `[SDM 3A, "Sources of Interrupts", ed. 085]`.
fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug exception",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid opcode",
        7 => "device not available",
        8 => "double fault",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack-segment fault",
        13 => "general protection",
        16 => "x87 floating-point error",
        17 => "alignment check",
        18 => "machine check",
        19 => "SIMD floating-point exception",
        20 => "virtualization exception",
        21 => "control protection exception",
        _ => "reserved exception",
    }
}
