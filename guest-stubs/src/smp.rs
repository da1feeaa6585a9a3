//! Other CPUs: from a start-up IPI to 64-bit Rust on a stack of their own.
//!
//! Owns the trampoline, a page below 1 MiB that a CPU starts in in real mode, and the stacks.
//! CPUs take numbers, slots, in the order they arrive; one that starts again takes the next.
//! They share the boot CPU's page tables, GDT and IDT; they have no task state, so an exception
//! on one of them ends the machine. What they do is the stub's.

use crate::long_mode;
use crate::{cpu, memory, tables};
use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many slots there are.
pub const SLOTS: usize = 16;
/// Where the trampoline is put; also a number in its code.
const TRAMPOLINE: u64 = 0x8000;
/// What a start-up IPI says to start there.
pub const START_PAGE: u32 = 8;

/// What the trampoline reads, at fixed places of its page; as numbers also in its code.
const STACKS_AT: u64 = 0x8fd8;
const WORK_AT: u64 = 0x8fe0;
const PAGE_MAP_AT: u64 = 0x8fe8;
const NEXT_SLOT_AT: u64 = 0x8ff0;

const STACK_WORDS: usize = 1024;

/// A stack, 8 KiB.
#[repr(C, align(4096))]
struct Stack([AtomicU64; STACK_WORDS]);
static STACKS: [Stack; SLOTS] =
    [const { Stack([const { AtomicU64::new(0) }; STACK_WORDS]) }; SLOTS];

/// What a CPU does, told its slot, 0 for the first.
pub type Work = extern "C" fn(slot: usize) -> !;

/// Puts the trampoline in its place, for CPUs that will do `work`.
pub fn prepare(work: Work) {
    unsafe extern "C" {
        safe static trampoline: u8;
        safe static trampoline_end: u8;
    }
    let (first, end) = (&raw const trampoline, &raw const trampoline_end);
    // SAFETY: all bytes between the two labels are the trampoline's, which nobody writes.
    let code = unsafe { core::slice::from_raw_parts(first, end.addr() - first.addr()) };
    memory::store(TRAMPOLINE, code);
    memory::write64(STACKS_AT, STACKS.as_ptr().addr() as u64);
    memory::write64(WORK_AT, (work as *const ()).addr() as u64);
    memory::write64(PAGE_MAP_AT, cpu::cr3());
    memory::write64(NEXT_SLOT_AT, 0);
}

/// How many CPUs have come, or come again, since [`prepare`].
#[must_use]
pub fn slots_taken() -> u64 {
    memory::read64(NEXT_SLOT_AT)
}

/// Every CPU's first step: the tables that all share.
pub fn join() {
    tables::load_shared();
}

/// A word that CPUs pass between them: 0 is empty.
#[derive(Debug)]
pub struct Mailbox(AtomicU64);

impl Mailbox {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Puts a word in, in the place of what was there.
    pub fn put(&self, word: u64) {
        self.0.store(word, core::sync::atomic::Ordering::SeqCst);
    }

    /// Takes what is there, if anything.
    pub fn take(&self) -> Option<u64> {
        let word = self.0.swap(0, core::sync::atomic::Ordering::SeqCst);
        (word != 0).then_some(word)
    }

    /// Whether nothing is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.load(Relaxed) == 0
    }
}

impl Default for Mailbox {
    fn default() -> Self {
        Self::new()
    }
}

// The GDT's first three entries are those of `entry` and of `tables`: the jump to 64-bit mode
// lands in a segment that stays the same when the stub's own table is loaded.
global_asm!(
    r#"
    .section .text.trampoline, "ax", @progbits
    .code16
    .globl trampoline
trampoline:
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl trampoline_gdt_pointer - trampoline + 0x8000
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $0x18, $(2f - trampoline + 0x8000)

    .code32
2:  movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %ss
    movl $0x620, %eax
    movl %eax, %cr4
    movl 0x8fe8, %eax
    movl %eax, %cr3
    "#,
    long_mode::turn_on!(),
    r#"
    ljmpl $8, $(3f - trampoline + 0x8000)

    .code64
3:
    "#,
    long_mode::settle_in!(),
    r#"
    movl $1, %edi
    lock xaddq %rdi, 0x8ff0
    andl $15, %edi
    leaq 1(%rdi), %rsp
    shlq $13, %rsp
    addq 0x8fd8, %rsp
    movq 0x8fe0, %rax
    xorl %ebp, %ebp
    call *%rax
    ud2

    .balign 8
trampoline_gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff
trampoline_gdt_pointer:
    .word 31
    .long trampoline_gdt - trampoline + 0x8000
    .globl trampoline_end
trampoline_end:
    .text
    "#,
    options(att_syntax)
);
