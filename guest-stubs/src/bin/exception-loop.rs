//! Can a guest hang its host by an exception whose delivery raises it again?
//!
//! Two old ways: #DB, by a breakpoint on the stack that #DB pushes to; and `way=ac`, #AC, by
//! a handler in 32-bit user mode whose stack is misaligned. Neither loop ever reaches an
//! instruction, so only the hypervisor's own timer ends it. The VM need not end.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::memory::{self, SCRATCH};
use guest_stubs::{Boot, Report, console, cpu, instruction, println, stub, tables, trap};

stub!("an endless loop of exceptions stays inside its VM", run);

/// Breakpoint 0, on writes of 8 bytes `[SDM 3B, "Debug Control Register (DR7)", ed. 085]`.
const BREAK_ON_WRITE_8: u64 = 0x400 | 3 | 1 << 16 | 2 << 18;

fn run(report: &mut Report, boot: &Boot) {
    println!("raising exceptions without end");
    console::drain();
    if boot.value("way") == Some("ac") {
        alignment_loop();
    } else {
        debug_loop(report);
    }
}

fn debug_loop(report: &mut Report) {
    cpu::set_dr0(tables::trap_frame_address());
    let end = trap::vector_of(|| {
        cpu::set_dr7(BREAK_ON_WRITE_8);
        instruction!("int3");
    });
    cpu::set_dr7(0x400);
    println!("the loop came to an end with vector {end:?}");
    report.check("the loop ended by an exception", end.is_some());
}

/// The 32-bit IDT: one gate, for #AC, that stays in user mode.
const IDT: u64 = SCRATCH;
const CODE: u64 = SCRATCH + 0x1000;

/// Leaves long mode for 32-bit user mode with alignment checks; does not come back.
fn alignment_loop() -> ! {
    let handler = copy_code();
    let gate = u64::from(tables::USER_CODE32) << 16 | 0xee00 << 32;
    memory::fill(IDT..IDT + 256 * 8, 0);
    memory::write64(
        IDT + 17 * 8,
        gate | handler & 0xffff | (handler >> 16) << 48,
    );
    tables::load_idt(IDT, 2047);
    instruction!(
        "push {cs}", "push {code}", "retfq",
        cs = in(reg) u64::from(tables::CODE32), code = in(reg) CODE, options(noreturn),
    )
}

/// Puts the code where only 32-bit addresses are needed; gives the handler's address.
fn copy_code() -> u64 {
    // 32-bit code:
    //   mov eax, cr0; and eax, 0x7fffffff; or eax, 1 << 18 (AM); mov cr0, eax
    //   mov ecx, 0xc0000080; xor eax, eax; xor edx, edx; wrmsr
    //   mov eax, USER_DATA; mov ds, eax; mov es, eax
    //   push USER_DATA; push misaligned stack; push flags (AC, IOPL 3); push USER_CODE32
    //   push user; iretd
    let kernel: [u8; 63] = [
        0x0f, 0x20, 0xc0, 0x25, 0xff, 0xff, 0xff, 0x7f, 0x0d, 0x00, 0x00, 0x04, 0x00, 0x0f, 0x22,
        0xc0, 0xb9, 0x80, 0x00, 0x00, 0xc0, 0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30, 0xb8, 0x1b, 0x00,
        0x00, 0x00, 0x8e, 0xd8, 0x8e, 0xc0, 0x68, 0x1b, 0x00, 0x00, 0x00, 0x68, 0x01, 0x80, 0x20,
        0x00, 0x68, 0x02, 0x30, 0x04, 0x00, 0x6a, 0x33, 0x68, 0x80, 0x10, 0x20, 0x00, 0xcf, 0x90,
        0x90, 0x90, 0x90,
    ];
    //   mov eax, [misaligned]; then the handler: mov eax, 0; mov edx, 0xf4; out dx, eax; jmp $
    let user = [
        0xa1, 0x01, 0x90, 0x20, 0x00, 0x31, 0xc0, 0xba, 0xf4, 0x00, 0x00, 0x00, 0xef, 0xeb, 0xfe,
    ];
    memory::store(CODE, &kernel);
    memory::store(CODE + 0x80, &user);
    CODE + 0x85
}
