//! Into ring 3 and back: the only code between ring 0 and a component.
//!
//! Owns the registers at that moment. [`enter`] returns when anything at all interrupts ring 3:
//! a call, an exception, an interrupt. The CPU writes its frame straight to where [`enter`] took
//! it from, by way of the TSS, so nothing is copied but by a page fault's stub. Called by a
//! thread's turn.
//!
//! Calls come by an interrupt gate and not by SYSCALL: the MSRs that SYSCALL reads hold the
//! guest's values while its VMM runs, so it is off in ring 0's EFER
//! ([ADR 0007](../../adr/0007-calls-by-interrupt-gate.md)).

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use skerry_abi::{Call, layout};

use super::gdt;
use super::idt::TrapFrame;
use super::registers::pop_registers;

/// Where ring 0 was when it entered ring 3.
static RING0_STACK: AtomicU64 = AtomicU64::new(0);
/// The frame of whoever is in ring 3.
pub(super) static FRAME: AtomicU64 = AtomicU64::new(0);

/// The flags a thread starts with: interrupts on, and the bit that is always 1.
const FIRST_FLAGS: u64 = 0x202;

/// The registers of a thread that is not in ring 3.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct UserFrame(TrapFrame);

/// Places in [`TrapFrame::registers`].
const R8: usize = 7;
const R9: usize = 6;
const R10: usize = 5;
const RDI: usize = 8;
const RSI: usize = 9;
const RDX: usize = 12;
const RAX: usize = 14;

impl UserFrame {
    /// A thread that starts at `rip`, with this stack and argument.
    pub fn new(rip: u64, rsp: u64, argument: u64) -> Self {
        let selectors = gdt::selectors();
        let mut frame = TrapFrame {
            rip,
            cs: u64::from(selectors.user_code.0),
            rflags: FIRST_FLAGS,
            rsp,
            ss: u64::from(selectors.user_data.0),
            ..TrapFrame::default()
        };
        frame.registers[RDI] = argument;
        Self(frame)
    }

    /// The number of a call.
    #[inline(always)]
    pub fn number(&self) -> u64 {
        self.0.registers[RAX]
    }

    /// The first argument of a call.
    #[inline(always)]
    pub fn first(&self) -> u64 {
        self.0.registers[RDI]
    }

    /// Whether it asks to run the vCPU behind this handle.
    #[inline(always)]
    pub fn is_run_of(&self, handle: u64) -> bool {
        self.number() == Call::VcpuRun as u64 && self.first() == handle
    }

    /// All arguments of a call.
    pub fn arguments(&self) -> [u64; 6] {
        [RDI, RSI, RDX, R10, R8, R9].map(|place| self.0.registers[place])
    }

    /// Sets the result of a call.
    #[inline(always)]
    pub fn answer(&mut self, rax: u64) {
        self.0.registers[RAX] = rax;
    }

    /// Sets both results of a call.
    pub fn answer_both(&mut self, rax: u64, rdx: u64) {
        self.0.registers[RAX] = rax;
        self.0.registers[RDX] = rdx;
    }

    /// Where it is.
    pub fn rip(&self) -> u64 {
        self.0.rip
    }

    /// The error code of the exception that interrupted it.
    pub fn error_code(&self) -> u64 {
        self.0.error_code
    }

    /// Makes this the frame of whoever is in ring 3.
    pub fn use_next(&self) {
        let start = core::ptr::from_ref(self) as u64;
        FRAME.store(start, Ordering::Relaxed);
        // SAFETY: a frame has room for a frame, and lives until another is used.
        unsafe { gdt::set_ring3_frame(start + size_of::<TrapFrame>() as u64) };
    }

    /// Runs ring 3 with these registers until something interrupts it; gives the vector.
    /// [`UserFrame::use_next`] came before, and the right address space is the CPU's.
    #[inline(always)]
    pub fn enter(&mut self) -> u64 {
        // SAFETY: the selectors are ring 3's and the flags leave I/O to ring 0: both come from
        // `new`, and afterwards from the CPU itself. RIP is canonical, since the last page below
        // `USER_END` is never mapped.
        unsafe { enter(&raw mut self.0) };
        self.0.vector
    }
}

const _: () = assert!(size_of::<UserFrame>() == size_of::<TrapFrame>());
const _: () = assert!(layout::USER_END == 1 << 47);

/// # Safety
/// `frame` is one that the CPU may go on with in ring 3.
#[unsafe(naked)]
unsafe extern "sysv64" fn enter(frame: *mut TrapFrame) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rip + {stack}], rsp",
        "mov rsp, rdi",
        pop_registers!(),
        "add rsp, 16",
        "iretq",
        stack = sym RING0_STACK,
    )
}

/// Where the interrupt stubs go on when they came from ring 3: back to who called [`enter`].
/// The flags are ring 0's own again, whatever ring 3 has set.
///
/// # Safety
/// For the stubs alone.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn left() {
    naked_asm!(
        "mov rsp, [rip + {stack}]",
        "push 2",
        "popfq",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        stack = sym RING0_STACK,
    )
}
