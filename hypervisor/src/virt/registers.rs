//! The general-purpose registers on the way into a guest and out of it, written down once.
//!
//! The assembly of both backends is put together from these. Places are those of
//! `GuestState::gpr`; RAX, RSP and the register that points to them are each backend's affair.

/// Saves what the calling convention has a function keep.
macro_rules! push_kept {
    () => {
        "push rbp
        push rbx
        push r12
        push r13
        push r14
        push r15"
    };
}

/// Takes back what [`push_kept`] has saved.
macro_rules! pop_kept {
    () => {
        "pop r15
        pop r14
        pop r13
        pop r12
        pop rbx
        pop rbp"
    };
}

/// Loads the guest's registers from the page RDI points to, RDI last.
macro_rules! load_guest {
    () => {
        "mov rcx, [rdi + 8]
        mov rdx, [rdi + 16]
        mov rbx, [rdi + 24]
        mov rbp, [rdi + 40]
        mov rsi, [rdi + 48]
        mov r8, [rdi + 64]
        mov r9, [rdi + 72]
        mov r10, [rdi + 80]
        mov r11, [rdi + 88]
        mov r12, [rdi + 96]
        mov r13, [rdi + 104]
        mov r14, [rdi + 112]
        mov r15, [rdi + 120]
        mov rdi, [rdi + 56]"
    };
}

/// Stores them, but for RDI, to the page that the register `$page` points to.
macro_rules! store_guest {
    ($page:literal) => {
        concat!(
            "mov [",
            $page,
            " + 8], rcx\n",
            "mov [",
            $page,
            " + 16], rdx\n",
            "mov [",
            $page,
            " + 24], rbx\n",
            "mov [",
            $page,
            " + 40], rbp\n",
            "mov [",
            $page,
            " + 48], rsi\n",
            "mov [",
            $page,
            " + 64], r8\n",
            "mov [",
            $page,
            " + 72], r9\n",
            "mov [",
            $page,
            " + 80], r10\n",
            "mov [",
            $page,
            " + 88], r11\n",
            "mov [",
            $page,
            " + 96], r12\n",
            "mov [",
            $page,
            " + 104], r13\n",
            "mov [",
            $page,
            " + 112], r14\n",
            "mov [",
            $page,
            " + 120], r15",
        )
    };
}

pub(super) use {load_guest, pop_kept, push_kept, store_guest};
