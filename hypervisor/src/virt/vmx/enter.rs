//! Into the guest and back: the only code between two worlds.
//!
//! Owns the general-purpose registers at the moment of VMLAUNCH, VMRESUME and VM exit.
//! Everything else the CPU switches itself from the VMCS. Called by `Vcpu::enter`.

use crate::virt::registers::{load_guest, pop_kept, push_kept, store_guest};
use core::arch::naked_asm;
use skerry_words::GuestState;

/// Enters the guest of the current VMCS with the registers of `state` (its first 128 bytes,
/// RSP apart) and returns after its exit with 0. Returns 1 if the CPU refused the
/// instruction itself; no guest instruction ran then.
///
/// # Safety
/// A VMCS made by `setup` is current, `launched` tells its launch state (0: clear), its host
/// state is this CPU's, and interrupts are off.
#[unsafe(naked)]
pub unsafe extern "sysv64" fn enter(state: *mut GuestState, launched: u64) -> u64 {
    // HOST_RSP (6c14h) is written here since only here the stack pointer is known; HOST_RIP
    // is the label at 2, written once by `exit_address`.
    naked_asm!(
        push_kept!(),
        "push rdi",
        "mov edx, 0x6c14",
        "vmwrite rdx, rsp",
        "test rsi, rsi",
        "mov rax, [rdi]",
        load_guest!(),
        "jnz 3f",
        "vmlaunch",
        "jmp 4f",
        "3:",
        "vmresume",
        "4:",
        "mov eax, 1",
        "add rsp, 8",
        "jmp 5f",
        ".global skerry_vmx_exit",
        "skerry_vmx_exit:",
        "xchg rdi, [rsp]",
        "mov [rdi], rax",
        store_guest!("rdi"),
        "pop rax",
        "mov [rdi + 56], rax",
        "mov rax, cr2",
        "mov [rdi + {cr2}], rax",
        "xor eax, eax",
        "5:",
        pop_kept!(),
        "ret",
        cr2 = const core::mem::offset_of!(GuestState, cr2),
    )
}

unsafe extern "C" {
    /// Where the CPU lands after an exit; no function to call.
    fn skerry_vmx_exit();
}

/// The value of HOST_RIP.
pub fn exit_address() -> u64 {
    skerry_vmx_exit as *const () as u64
}
