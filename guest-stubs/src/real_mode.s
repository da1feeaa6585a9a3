# A boot sector: says hello, checks what real mode promises, exits by port F4h.
    .section .boot, "ax", @progbits
    .code16
    .globl boot_sector
boot_sector:
    cli
    cld
    movw %cs, %ax
    movw %ax, %cx               # CS as entered
    ljmp $0, $1f
1:  xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    movb %dl, drive
    movw %cx, segment

    movw $hello, %si
    call print

    xorl %ebx, %ebx             # failures
    movw $claim_real, %si
    smsw %ax
    testb $1, %al
    setz %al
    call judge

    movw $claim_entry, %si
    cmpw $0, segment
    sete %al
    call judge

    movw $claim_drive, %si
    cmpb $0x80, drive
    sete %al
    call judge

    # FFFF:0010 is one byte past 1 MiB: with A20 open it is not the byte at 0:0.
    movw $claim_high, %si
    movw $0xffff, %ax
    movw %ax, %es
    movb $0x5a, 0x500
    movb $0xa5, %es:0x510
    cmpb $0x5a, 0x500
    sete %al
    call judge

    # An interrupt by the real-mode vector table.
    movw $claim_interrupt, %si
    movw $isr, 0x80 * 4
    movw $0, 0x80 * 4 + 2
    movw $0, counter
    int $0x80
    cmpw $1, counter
    sete %al
    call judge

    # Unreal mode: a 4 GiB limit loaded in protected mode stays in real mode.
    movw $claim_unreal, %si
    lgdtl gdt_pointer
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    movw $8, %cx
    movw %cx, %ds
    andb $0xfe, %al
    movl %eax, %cr0
    xorw %cx, %cx
    movw %cx, %ds
    movl $0x00300000, %edi
    movl $0x13579bdf, (%edi)
    cmpl $0x13579bdf, (%edi)
    sete %al
    call judge

    movl %ebx, %eax
    movw $0xf4, %dx
    outl %eax, %dx
2:  cli
    hlt
    jmp 2b

# Prints "PASS: " or "FAIL: " by AL, then the claim at SI.
judge:
    pushw %si
    movw $pass, %si
    testb %al, %al
    jnz 3f
    movw $fail, %si
    movl $1, %ebx
3:  call print
    popw %si
    # fall through to print
print:
    lodsb
    testb %al, %al
    jz 5f
    movb %al, %ah
    movw $0x3fd, %dx
4:  inb %dx, %al
    testb $0x20, %al
    jz 4b
    movb $0xf8, %dl
    movb %ah, %al
    outb %al, %dx
    jmp print
5:  ret

isr:
    incw counter
    iretw

pass: .asciz "PASS: "
fail: .asciz "FAIL: "
hello: .asciz "stub: hello from real mode\n"
claim_real: .asciz "CR0.PE is clear\n"
claim_entry: .asciz "CS is 0\n"
claim_drive: .asciz "DL is 80h\n"
claim_high: .asciz "A20 is open\n"
claim_interrupt: .asciz "INT goes by the vector table\n"
claim_unreal: .asciz "unreal mode reaches 3 MiB\n"
    .balign 4
gdt: .quad 0, 0x00cf92000000ffff
gdt_pointer:
    .word 15
    .long gdt
drive: .byte 0
    .balign 2
segment: .word 0
counter: .word 0
    .org boot_sector + 510
    .byte 0x55, 0xaa
    .text
    .code64
