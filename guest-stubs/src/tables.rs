//! The stub's GDT, TSS and IDT.
//!
//! Every gate uses one interrupt stack, so that a stub survives an exception with a bad
//! stack pointer, and so that the CPU's frame is always at the same address: a software
//! `INT 13` pushes no error code where a real #GP does, and both are understood.

use crate::trap;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Selector of the 64-bit kernel code segment.
pub const CODE: u16 = 0x08;
/// Selector of the kernel data segment.
pub const DATA: u16 = 0x10;
/// Selector of the user data segment, with its privilege level.
pub const USER_DATA: u16 = 0x1b;
/// Selector of the 64-bit user code segment, with its privilege level.
pub const USER_CODE: u16 = 0x23;
/// Selector of the 32-bit kernel code segment.
pub const CODE32: u16 = 0x28;
/// Selector of the 32-bit user code segment, with its privilege level.
pub const USER_CODE32: u16 = 0x33;
const TASK: u16 = 0x38;

const TRAP_STACK_WORDS: usize = 2048;

/// The stack every gate switches to.
#[repr(C, align(4096))]
pub(crate) struct TrapStack([AtomicU64; TRAP_STACK_WORDS]);
pub(crate) static TRAP_STACK: TrapStack = TrapStack([const { AtomicU64::new(0) }; 2048]);

/// Bytes from the start of [`TRAP_STACK`] to its top.
pub(crate) const TRAP_STACK_BYTES: usize = TRAP_STACK_WORDS * 8;

// Descriptors `[SDM 3A, "Segment Descriptors", ed. 085]`, in the order of the selectors
// above; the last two words are the task-state segment's, filled by `load`.
static GDT: [AtomicU64; 9] = [
    AtomicU64::new(0),
    AtomicU64::new(0x00af_9b00_0000_ffff),
    AtomicU64::new(0x00cf_9300_0000_ffff),
    AtomicU64::new(0x00cf_f300_0000_ffff),
    AtomicU64::new(0x00af_fb00_0000_ffff),
    AtomicU64::new(0x00cf_9b00_0000_ffff),
    AtomicU64::new(0x00cf_fb00_0000_ffff),
    AtomicU64::new(0),
    AtomicU64::new(0),
];

/// The 64-bit task-state segment as 26 doublewords `[SDM 3A, "Task Management in 64-bit
/// Mode", ed. 085]`: RSP0 at 1, IST1 at 9, I/O map base at 25.
#[repr(C, align(8))]
struct TaskState([core::sync::atomic::AtomicU32; 26]);
static TASK_STATE: TaskState = TaskState([const { core::sync::atomic::AtomicU32::new(0) }; 26]);

static IDT: [AtomicU64; 512] = [const { AtomicU64::new(0) }; 512];

/// What LGDT and LIDT read.
#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// The address the CPU's frame of an exception starts at.
#[must_use]
pub fn trap_frame_address() -> u64 {
    TRAP_STACK.0.as_ptr().addr() as u64 + TRAP_STACK_BYTES as u64 - 40
}

pub(crate) fn load() {
    fill_task_state();
    for vector in 0..256 {
        set_gate(vector, trap::entry_address(vector), 0x8e01);
    }
    set_gate(3, trap::entry_address(3), 0xee01);
    load_registers();
}

#[allow(clippy::cast_possible_truncation)] // split into descriptor fields
fn fill_task_state() {
    let base = (&raw const TASK_STATE).addr() as u64;
    let low = 103 | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
    GDT[7].store(low, Relaxed);
    GDT[8].store(base >> 32, Relaxed);
    let top = trap_frame_address() + 40;
    for slot in [1, 9] {
        TASK_STATE.0[slot].store(top as u32, Relaxed);
        TASK_STATE.0[slot + 1].store((top >> 32) as u32, Relaxed);
    }
    TASK_STATE.0[25].store(104 << 16, Relaxed);
}

/// Points a gate to `address`; `kind` is the descriptor's second word: type and IST.
pub fn set_gate(vector: usize, address: u64, kind: u64) {
    let kind_and_stack = (kind & 0xff00) << 32 | (kind & 7) << 32;
    let low = address & 0xffff | u64::from(CODE) << 16 | kind_and_stack;
    IDT[vector * 2].store(low | (address >> 16 & 0xffff) << 48, Relaxed);
    IDT[vector * 2 + 1].store(address >> 32, Relaxed);
}

/// Loads GDTR, IDTR and TR with the stub's own tables; also after a test replaced them.
pub fn load_registers() {
    load_gdt();
    load_idt((&raw const IDT).addr() as u64, 4095);
    // A busy descriptor cannot be loaded again: mark it available first.
    GDT[7].store(GDT[7].load(Relaxed) & !(2 << 40), Relaxed);
    // SAFETY: the descriptor at TASK is the one `fill_task_state` wrote.
    unsafe { asm!("ltr {0:x}", in(reg) TASK, options(nostack)) };
}

/// Loads GDTR and IDTR on another CPU than the one that boots. Its TR stays empty.
pub fn load_shared() {
    load_gdt();
    load_idt((&raw const IDT).addr() as u64, 4095);
}

fn load_gdt() {
    let pointer = Pointer {
        limit: 71,
        base: (&raw const GDT).addr() as u64,
    };
    // SAFETY: the table is static and has the current CS and SS where they were.
    unsafe { asm!("lgdt [{}]", in(reg) &raw const pointer, options(nostack)) };
}

/// Loads IDTR; what is there decides what the next exception does.
pub fn load_idt(base: u64, limit: u16) {
    let pointer = Pointer { limit, base };
    // SAFETY: loading it has no effect until an event is delivered.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(nostack)) };
}
