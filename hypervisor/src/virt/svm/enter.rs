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

use crate::virt::registers::{load_guest, pop_kept, push_kept, store_guest};
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
        push_kept!(),
        "push rdx",
        "push rdi",
        "clgi",
        "sti",
        "mov rax, rsi",
        load_guest!(),
        "vmload rax",
        "vmrun rax",
        "vmsave rax",
        "mov rax, [rsp + 8]",
        "vmload rax",
        "pop rax",
        store_guest!("rax"),
        "mov [rax + 56], rdi",
        "cli",
        "stgi",
        "pop rdx",
        pop_kept!(),
        "ret",
    )
}
