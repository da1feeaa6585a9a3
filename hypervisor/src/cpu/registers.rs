//! The order of the general-purpose registers in a `TrapFrame`, written down once.
//!
//! Assembly of the interrupt stubs and of the way to ring 3 is put together from these.

/// Saves them all: R15 ends up lowest.
macro_rules! push_registers {
    () => {
        "push rax
        push rcx
        push rdx
        push rbx
        push rbp
        push rsi
        push rdi
        push r8
        push r9
        push r10
        push r11
        push r12
        push r13
        push r14
        push r15"
    };
}

/// Takes them all back.
macro_rules! pop_registers {
    () => {
        "pop r15
        pop r14
        pop r13
        pop r12
        pop r11
        pop r10
        pop r9
        pop r8
        pop rdi
        pop rsi
        pop rbp
        pop rbx
        pop rdx
        pop rcx
        pop rax"
    };
}

pub(super) use {pop_registers, push_registers};
