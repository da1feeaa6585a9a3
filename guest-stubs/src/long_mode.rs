//! The way into 64-bit mode, as pieces of assembly for `entry` and `smp`.
//!
//! Owns what both ways have in common. Does not own the tables: CR3 and the GDT are the caller's,
//! and the far jump between the pieces too.

/// With CR4.PAE and CR3 set: EFER.LME, then paging. Changes EAX, ECX and EDX.
macro_rules! turn_on {
    () => {
        r#"
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl $0x80010033, %eax
    movl %eax, %cr0
        "#
    };
}

/// The first steps in 64-bit mode: the data segments, the stack's from the GDT, the FPU. Changes
/// EAX.
macro_rules! settle_in {
    () => {
        r#"
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl $0x10, %eax
    movl %eax, %ss
    fninit
        "#
    };
}

pub(crate) use {settle_in, turn_on};
