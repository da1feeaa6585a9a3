//! Exceptions a stub can catch, and interrupts it can count.
//!
//! [`attempt`] runs a closure and gives `Err(Trap)` if an exception ends it. So "this must
//! #GP" is one line of a test. Interrupts of the PIC (vectors 0x20 to 0x2f) are counted and
//! acknowledged on a path of a few instructions, because `exit-cost` measures it.

use crate::{port, println, tables};
use core::arch::{asm, naked_asm};
use core::mem::{MaybeUninit, offset_of};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Divide error.
pub const DE: u64 = 0;
/// Debug exception.
pub const DB: u64 = 1;
/// Breakpoint.
pub const BP: u64 = 3;
/// Invalid opcode.
pub const UD: u64 = 6;
/// Segment not present.
pub const NP: u64 = 11;
/// General protection.
pub const GP: u64 = 13;
/// Page fault.
pub const PF: u64 = 14;
/// The first of the 16 vectors the PIC pair delivers.
pub const IRQ_BASE: u8 = 0x20;

/// One exception that was caught.
#[derive(Clone, Copy, Debug)]
pub struct Trap {
    /// Its vector.
    pub vector: u64,
    /// The error code the CPU pushed; 0 where it pushed none.
    pub error_code: u64,
    /// Where it happened.
    pub rip: u64,
    /// CR2, the address of a page fault.
    pub cr2: u64,
    /// RAX at that time: what code in user mode hands back.
    pub rax: u64,
    /// RCX: how far a repeated string instruction had to go.
    pub rcx: u64,
    /// RDI: where it would have stored.
    pub rdi: u64,
}

/// What the entry code pushes, lowest address first.
#[repr(C)]
struct Saved {
    rax: u64,
    rcx: u64,
    rdx_rbx_rbp_rsi: [u64; 4],
    rdi: u64,
    r8_to_r15: [u64; 8],
    vector: u64,
    /// The error code, or already the frame's RIP where the CPU pushed none.
    next: u64,
}

/// What the CPU pushes.
#[repr(C)]
struct Frame {
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// The stack pointer to go on with after an exception; 0 when none is expected.
static RECOVERY: AtomicU64 = AtomicU64::new(0);
static CAUGHT: [AtomicU64; 7] = [const { AtomicU64::new(0) }; 7];
static IRQS: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

/// How often this line of the PIC pair has interrupted.
#[must_use]
pub fn irqs(line: usize) -> u64 {
    IRQS[line].load(Relaxed)
}

/// Runs `test`; an exception in it ends it and is the result.
///
/// # Errors
/// The exception. `test` is then left where it was, without unwinding.
pub fn attempt<R, F: FnOnce() -> R>(test: F) -> Result<R, Trap> {
    let mut call = Call {
        test: Some(test),
        result: MaybeUninit::uninit(),
    };
    if guarded(run_call::<F, R>, (&raw mut call).cast(), &RECOVERY) == 0 {
        // SAFETY: `guarded` returned 0, so `run_call` came to its end and wrote it.
        Ok(unsafe { call.result.assume_init() })
    } else {
        Err(caught())
    }
}

fn caught() -> Trap {
    let words = CAUGHT.each_ref().map(|word| word.load(Relaxed));
    let [vector, error_code, rip, cr2, rax, rcx, rdi] = words;
    Trap {
        vector,
        error_code,
        rip,
        cr2,
        rax,
        rcx,
        rdi,
    }
}

/// The vector that ends `test`, or `None` if nothing does.
pub fn vector_of(test: impl FnOnce()) -> Option<u64> {
    attempt(test).err().map(|trap| trap.vector)
}

struct Call<F, R> {
    test: Option<F>,
    result: MaybeUninit<R>,
}

extern "C" fn run_call<F: FnOnce() -> R, R>(call: *mut u8) {
    // SAFETY: `attempt` passes its own `Call<F, R>`, borrowed by nobody else meanwhile.
    let call = unsafe { &mut *call.cast::<Call<F, R>>() };
    if let Some(test) = call.test.take() {
        call.result.write(test());
    }
}

/// Calls `function(data)` with `recovery` set to this frame; gives 0 if it returns and 1 if
/// the trap handler came back here instead.
#[unsafe(naked)]
extern "C" fn guarded(
    function: extern "C" fn(*mut u8),
    data: *mut u8,
    recovery: &AtomicU64,
) -> u64 {
    naked_asm!(
        "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15", "pushfq",
        "mov [rdx], rsp",
        "mov rbx, rdx",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "mov qword ptr [rbx], 0",
        "xor eax, eax",
        "jmp {end}",
        end = sym guarded_end,
    )
}

#[unsafe(naked)]
extern "C" fn guarded_caught() -> u64 {
    naked_asm!("cld", "mov eax, 1", "jmp {end}", end = sym guarded_end)
}

#[unsafe(naked)]
extern "C" fn guarded_end() -> u64 {
    naked_asm!(
        "popfq", "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx", "ret"
    )
}

/// Where the gate of `vector` points.
pub(crate) fn entry_address(vector: usize) -> u64 {
    (entries as *const ()).addr() as u64 + 16 * vector as u64
}

/// 256 entries of 16 bytes: each pushes its vector and goes on in `common`, or, for the
/// PIC's lines, in `interrupt`.
#[unsafe(naked)]
extern "C" fn entries() {
    naked_asm!(
        ".set skerry_vector, 0",
        ".rept 256",
        ".balign 16",
        "push skerry_vector",
        ".if (skerry_vector >= 0x20) && (skerry_vector < 0x30)",
        "jmp {interrupt}",
        ".else",
        "jmp {common}",
        ".endif",
        ".set skerry_vector, skerry_vector + 1",
        ".endr",
        ".balign 16",
        interrupt = sym interrupt,
        common = sym common,
    )
}

/// Counts the line and ends the interrupt at the PIC pair (non-specific EOI)
/// `[Intel 8259A data sheet, "End of Interrupt (EOI)", 1988]`.
#[unsafe(naked)]
extern "C" fn interrupt() {
    naked_asm!(
        "push rax",
        "push rdx",
        "mov rax, [rsp + 16]",
        "lea rdx, [rip + {irqs}]",
        "inc qword ptr [rdx + rax * 8 - 0x20 * 8]",
        "cmp eax, 0x28",
        "mov al, 0x20",
        "jb 2f",
        "out 0xa0, al",
        "2:",
        "out 0x20, al",
        "pop rdx",
        "pop rax",
        "add rsp, 8",
        "iretq",
        irqs = sym IRQS,
    )
}

#[unsafe(naked)]
extern "C" fn common() {
    naked_asm!(
        "push r15", "push r14", "push r13", "push r12", "push r11", "push r10", "push r9",
        "push r8", "push rdi", "push rsi", "push rbp", "push rbx", "push rdx", "push rcx",
        "push rax",
        "cld",
        "mov rdi, rsp",
        "lea rsi, [rip + {stack} + {bytes} - 40]",
        "mov rbx, rsp",
        "mov rbp, rsi",
        "and rsp, -16",
        "call {exception}",
        "mov rsp, rbx",
        "mov r15, rbp",
        "pop rax", "pop rcx", "pop rdx", "pop rbx", "pop rbp", "pop rsi", "pop rdi", "pop r8",
        "pop r9", "pop r10", "pop r11", "pop r12", "pop r13", "pop r14",
        "mov rsp, r15",
        "iretq",
        stack = sym tables::TRAP_STACK,
        bytes = const tables::TRAP_STACK_BYTES,
        exception = sym exception,
    )
}

/// Notes the exception and goes on behind the attempt; without one, the stub has failed.
extern "C" fn exception(saved: &Saved, frame: &mut Frame) {
    let next_address = (&raw const *saved).addr() + offset_of!(Saved, next);
    let has_code = next_address != (&raw const *frame).addr();
    let error_code = if has_code { saved.next } else { 0 };
    let Saved {
        vector,
        rax,
        rcx,
        rdi,
        ..
    } = *saved;
    let words = [vector, error_code, frame.rip, cr2(), rax, rcx, rdi];
    for (slot, word) in CAUGHT.iter().zip(words) {
        slot.store(word, Relaxed);
    }
    let recovery = RECOVERY.swap(0, Relaxed);
    if recovery == 0 {
        fail(&caught());
    }
    frame.rip = (guarded_caught as *const ()).addr() as u64;
    frame.cs = tables::CODE.into();
    frame.ss = tables::DATA.into();
    frame.rflags = 2;
    frame.rsp = recovery;
}

fn fail(trap: &Trap) -> ! {
    println!("FAIL: unexpected exception: {trap:x?}");
    port::exit(1)
}

fn cr2() -> u64 {
    let value;
    // SAFETY: reading CR2 changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack)) };
    value
}

/// Runs instructions that may fault: `instruction!("wrmsr", in("ecx") 0x10, …)` is inline
/// assembly with the reason why it is allowed written once.
#[macro_export]
macro_rules! instruction {
    ($($text:tt)*) => {
        // SAFETY: the caller's instructions touch no Rust object but their operands. What
        // else they may break is the machine's state, which is the stub's to break, and a
        // fault lands in `attempt` or ends the stub with a message.
        unsafe { core::arch::asm!($($text)*) }
    };
}
