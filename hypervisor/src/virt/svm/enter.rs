//! Into the guest and back: the only code between two worlds.
//!
//! Owns the general-purpose registers at the moment of VMRUN and `#VMEXIT`, the global
//! interrupt flag, and the state that only VMLOAD and VMSAVE move. Called by `Vcpu::enter`.
//!
//! VMRUN and `#VMEXIT` switch neither TR, LDTR, FS and GS nor the system-call registers
//! `[APM 2, "VMRUN and #VMEXIT", rev. 3.42]`. Ring 0 uses none of them but TR, and TR it
//! needs at any time: its task-state segment names the stacks for NMI, machine check and
//! double fault, and a guest's TR would have the CPU take them from an address the guest
//! chose. So both are moved on every entry, while the flag is off; that is three
//! instructions, and the VMCB is complete in between.
//!
//! With V_INTR_MASKING the host's RFLAGS.IF at VMRUN decides whether a physical interrupt
//! causes an exit, hence STI under CLGI.

use core::arch::naked_asm;
use skerry_words::GuestState;

/// Runs the guest of the VMCB at physical address `guest` with the registers of `state`
/// (RAX and RSP are in the VMCB) until it exits, and comes back with the host's state of
/// the VMCB at `host`.
///
/// # Safety
/// EFER.SVME and VM_HSAVE_PA are set up, `guest` is a VMCB made by `setup`, `host` one that
/// VMSAVE filled on this CPU, and interrupts are off.
#[unsafe(naked)]
pub unsafe extern "sysv64" fn enter(state: *mut GuestState, guest: u64, host: u64) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rdx",
        "push rdi",
        "clgi",
        "sti",
        "mov rax, rsi",
        "mov rcx, [rdi + 8]",
        "mov rdx, [rdi + 16]",
        "mov rbx, [rdi + 24]",
        "mov rbp, [rdi + 40]",
        "mov rsi, [rdi + 48]",
        "mov r8, [rdi + 64]",
        "mov r9, [rdi + 72]",
        "mov r10, [rdi + 80]",
        "mov r11, [rdi + 88]",
        "mov r12, [rdi + 96]",
        "mov r13, [rdi + 104]",
        "mov r14, [rdi + 112]",
        "mov r15, [rdi + 120]",
        "mov rdi, [rdi + 56]",
        "vmload rax",
        "vmrun rax",
        "vmsave rax",
        "mov rax, [rsp + 8]",
        "vmload rax",
        "pop rax",
        "mov [rax + 8], rcx",
        "mov [rax + 16], rdx",
        "mov [rax + 24], rbx",
        "mov [rax + 40], rbp",
        "mov [rax + 48], rsi",
        "mov [rax + 56], rdi",
        "mov [rax + 64], r8",
        "mov [rax + 72], r9",
        "mov [rax + 80], r10",
        "mov [rax + 88], r11",
        "mov [rax + 96], r12",
        "mov [rax + 104], r13",
        "mov [rax + 112], r14",
        "mov [rax + 120], r15",
        "cli",
        "stgi",
        "pop rdx",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}
