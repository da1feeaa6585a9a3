//! From the boot loader's 32-bit protected mode to 64-bit Rust.
//!
//! Owns the two 32-bit entry points (PVH and multiboot2 leave the CPU in the same state:
//! flat segments, paging off, EBX the physical address of their data), the temporary page
//! tables and segments, and the headers that boot loaders look for. The tables map the low
//! 4 GiB three times: at 0 (the code that turns paging on runs there), at the direct map,
//! and the first GiB at the image's link address. All of it is laid out by the assembler,
//! so setting up costs no instruction per entry.
//!
//! Called by boot loaders only; calls `pvh::enter` and `multiboot2::enter`.

use core::arch::global_asm;

use crate::{
    cpu::stack,
    mem::layout::{DIRECT_MAP, IMAGE_OFFSET},
};

const _: () = assert!(DIRECT_MAP == 0xffff_8000_0000_0000, "slot 256 below");
const _: () = assert!(
    IMAGE_OFFSET == 0xffff_ffff_8000_0000,
    "slots 511 and 510 below"
);

// Multiboot2 header: magic, architecture i386, length, checksum; then the tags: entry
// address (3), module alignment (6), end (0).
// [Multiboot2 Specification, "Header layout", 2.0]
global_asm!(
    r#"
    .section .multiboot2, "a"
    .balign 8
multiboot2_header:
    .long 0xe85250d6
    .long 0
    .long multiboot2_header_end - multiboot2_header
    .long 0x100000000 - (0xe85250d6 + multiboot2_header_end - multiboot2_header)
    .balign 8
    .short 3, 0
    .long 12
    .long multiboot2_start - {offset}
    .balign 8
    .short 6, 0
    .long 8
    .balign 8
    .short 0, 0
    .long 8
multiboot2_header_end:
"#,
    offset = const IMAGE_OFFSET,
);

// XEN_ELFNOTE_PHYS32_ENTRY (18). QEMU reads 8 bytes of descriptor and pads by the
// segment's alignment, which must stay 4.
// [Xen public headers, "elfnote.h"; "x86/HVM direct boot ABI (PVH)"]
global_asm!(
    r#"
    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18
    .asciz "Xen"
    .quad pvh_start - {offset}
"#,
    offset = const IMAGE_OFFSET,
);

// Present, writable; for the last level also "page size" (2 MiB).
global_asm!(
    r#"
    .section .boot.tables, "aw"
    .balign 4096
boot_level4:
    .quad boot_level3_low - {offset} + 3
    .fill 255, 8, 0
    .quad boot_level3_low - {offset} + 3
    .fill 254, 8, 0
    .quad boot_level3_high - {offset} + 3
boot_level3_low:
    .quad boot_level2 - {offset} + 0x0003
    .quad boot_level2 - {offset} + 0x1003
    .quad boot_level2 - {offset} + 0x2003
    .quad boot_level2 - {offset} + 0x3003
    .fill 508, 8, 0
boot_level3_high:
    .fill 510, 8, 0
    .quad boot_level2 - {offset} + 3
    .quad 0
boot_level2:
    .set entry, 0x83
    .rept 2048
    .quad entry
    .set entry, entry + 0x200000
    .endr
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
boot_gdt_pointer:
    .short 23
    .long boot_gdt - {offset}
"#,
    offset = const IMAGE_OFFSET,
);

// EDI tells the ways apart until the registers are arguments: multiboot2's magic, or 0.
// RDTSC comes first of all, so that the cost of booting can be told.
global_asm!(
    r#"
    .section .boot.text, "ax"
    .code32
pvh_start:
    rdtsc
    xor edi, edi
    jmp 2f
multiboot2_start:
    mov edi, eax
    rdtsc
2:
    cli
    cld
    mov [{entry_tsc} - {offset}], eax
    mov [{entry_tsc} - {offset} + 4], edx
    lgdt [boot_gdt_pointer - {offset}]
    mov eax, offset boot_level4 - {offset}
    mov cr3, eax
    mov eax, cr4
    or eax, 0x20
    mov cr4, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, cr0
    or eax, 0x80000001
    mov cr0, eax
    .byte 0xea
    .long 3f - {offset}
    .short 8
    .code64
3:
    mov eax, 16
    mov ss, eax
    mov ds, eax
    mov es, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    movabs rax, offset boot_upper_half
    jmp rax
boot_upper_half:
    lea rsp, [rip + {stack} + {stack_bytes}]
    xor ebp, ebp
    mov esi, edi
    mov edi, ebx
    test esi, esi
    jnz 5f
    call {pvh}
5:
    call {multiboot2}
    ud2
"#,
    offset = const IMAGE_OFFSET,
    entry_tsc = sym super::ENTRY_TSC,
    stack = sym stack::BOOT,
    stack_bytes = const stack::BOOT_BYTES,
    pvh = sym super::pvh::enter,
    multiboot2 = sym super::multiboot2::enter,
);
