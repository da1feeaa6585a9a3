//! From the PVH entry to 64-bit Rust: flat page tables, long mode, a stack.
//!
//! Entered in 32-bit protected mode, paging off, EBX = physical address of the start
//! structure `[Xen, docs/misc/pvh.pandoc, "x86/HVM direct boot ABI"]`. GRUB enters the same
//! way by multiboot2, so a stub also runs on a bare machine; it then sees no command line
//! and no memory map. Owns the page tables:
//! an identity map of the first 4 GiB in 2 MiB pages, open to user mode too, so that a stub
//! reaches every address it wants to ask about. Calls `stub_main`, made by `stub!`.

use crate::long_mode;
use core::arch::global_asm;

// XEN_ELFNOTE_PHYS32_ENTRY = 18. The address is 8 bytes, as Linux writes it in 64-bit files.
global_asm!(
    r#"
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18
    .asciz "Xen"
    .quad pvh_entry

    .section .multiboot2, "a", @progbits
    .balign 8
multiboot2:
    .long 0xe85250d6, 0, multiboot2_end - multiboot2
    .long -(0xe85250d6 + multiboot2_end - multiboot2)
    .long 0, 8
multiboot2_end:

    .section .text.entry, "ax", @progbits
    .code32
    .globl pvh_entry
pvh_entry:
    cli
    cld
    movl %ebx, %ebp
    xorl %eax, %eax
    movl $__bss_start, %edi
    movl $__bss_end, %ecx
    subl %edi, %ecx
    shrl $2, %ecx
    rep stosl
    movl $boot_stack_top, %esp

    movl $(page_directory_pointers + 7), page_map
    movl $(page_directories + 7), %eax
    movl $page_directory_pointers, %edi
    movl $4, %ecx
2:  movl %eax, (%edi)
    addl $4096, %eax
    addl $8, %edi
    loop 2b
    movl $0x87, %eax
    movl $page_directories, %edi
    movl $2048, %ecx
3:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 3b

    movl $0x620, %eax
    movl %eax, %cr4
    movl $page_map, %eax
    movl %eax, %cr3
    "#,
    long_mode::turn_on!(),
    r#"
    lgdt boot_gdt_pointer
    ljmp $8, $5f

    .code64
5:
    "#,
    long_mode::settle_in!(),
    r#"
    movl %ebp, %edi
    movl $__image_start, %esi
    movl $__image_end, %edx
    call stub_main
    ud2

    .section .data.boot_gdt, "aw", @progbits
    .balign 8
boot_gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
boot_gdt_pointer:
    .word 23
    .long boot_gdt

    .section .bss.page_tables, "aw", @nobits
    .balign 4096
page_map: .skip 4096
page_directory_pointers: .skip 4096
page_directories: .skip 16384
boot_stack: .skip 32768
boot_stack_top:
    .text
    "#,
    options(att_syntax)
);
