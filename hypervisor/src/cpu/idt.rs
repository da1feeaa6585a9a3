//! The interrupt table and the 256 stubs behind it.
//!
//! Owns the assembly between the CPU's interrupt frame and [`TrapFrame`]: each stub makes
//! the stack look the same whether or not the vector has an error code and saves the
//! general-purpose registers. What came from ring 0 goes to `trap::enter` and back; what came
//! from ring 3 has its frame where `ring3::enter` wants it, and that returns.

use core::arch::global_asm;

use spin::Once;
use x86_64::structures::DescriptorTablePointer;

use skerry_abi::CALL_VECTOR;

use super::{
    gdt::{self, ist},
    registers::{pop_registers, push_registers},
    ring3, trap,
};

/// What a stub leaves on the stack, lowest address first.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct TrapFrame {
    /// R15 down to R8, RDI, RSI, RBP, RBX, RDX, RCX, RAX.
    pub(super) registers: [u64; 15],
    pub(super) vector: u64,
    pub(super) error_code: u64,
    pub(super) rip: u64,
    pub(super) cs: u64,
    pub(super) rflags: u64,
    pub(super) rsp: u64,
    pub(super) ss: u64,
}

const STUB_BYTES: u64 = 16;

// Vectors with an error code: 8, 10-14, 17, 21, 29, 30
// [SDM 3A, "Error Code", ed. 085; APM 2, "Error Codes", rev. 3.42].
// The frame is 22 quadwords, a multiple of 16 bytes below the CPU-aligned stack.
global_asm!(
    r#"
    .balign 16
trap_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if (0x60227d00 >> vector) & (vector < 32) & 1
    .else
    push 0
    .endif
    push vector
    jmp trap_common
    .set vector, vector + 1
    .endr

    # A call comes from ring 3, always.
    .balign 16
call_stub:
    push 0
    push {call}
"#,
    push_registers!(),
    r#"
    jmp {left}

trap_common:
"#,
    push_registers!(),
    r#"
    test byte ptr [rsp + 144], 3
    jnz trap_from_ring3
trap_in_ring0:
    cld
    mov rdi, rsp
    call {enter}
"#,
    pop_registers!(),
    r#"
    add rsp, 16
    iretq

    # Interrupts, calls and most exceptions have written their frame in its place. A page
    # fault, on a stack of its own, is copied there; what may come anywhere is ring 0's.
trap_from_ring3:
    cmp qword ptr [rsp + 120], 32
    jb 3f
2:
    jmp {left}
3:
    mov eax, (1 << 2) | (1 << 8) | (1 << 18)
    mov ecx, [rsp + 120]
    bt eax, ecx
    jc trap_in_ring0
    cmp qword ptr [rsp + 120], 14
    jne 2b
    cld
    mov rsi, rsp
    mov rdi, [rip + {frame}]
    mov ecx, 22
    rep movsq
    jmp 2b
"#,
    call = const CALL_VECTOR as i64,
    enter = sym trap::enter,
    left = sym ring3::left,
    frame = sym ring3::FRAME,
);

unsafe extern "C" {
    #[link_name = "trap_stubs"]
    static STUBS: [u8; 256 * STUB_BYTES as usize];
    #[link_name = "call_stub"]
    static CALL_STUB: u8;
}

static TABLE: Once<[u128; 256]> = Once::new();

/// Loads the table.
pub(super) fn load() {
    let table = TABLE.call_once(|| core::array::from_fn(|vector| gate(vector as u64)));
    let pointer = DescriptorTablePointer {
        limit: size_of_val(table) as u16 - 1,
        base: x86_64::VirtAddr::from_ptr(table),
    };
    // SAFETY: the table is static and full of gates to the stubs above.
    unsafe { x86_64::instructions::tables::lidt(&pointer) };
}

/// A present 64-bit interrupt gate to the vector's stub; ring 3 may use that of a call alone
/// `[SDM 3A, "64-Bit Mode IDT", ed. 085]`.
fn gate(vector: u64) -> u128 {
    const FOR_RING0: u128 = 0x8e;
    const FOR_ALL: u128 = 0xee;
    let (stub, rights) = if vector == u64::from(CALL_VECTOR) {
        ((&raw const CALL_STUB) as u64, FOR_ALL)
    } else {
        ((&raw const STUBS) as u64 + vector * STUB_BYTES, FOR_RING0)
    };
    let stub = u128::from(stub);
    let selector = u128::from(gdt::selectors().code.0);
    let stack = match vector {
        2 => ist::NMI + 1,
        8 => ist::DOUBLE_FAULT + 1,
        14 => ist::PAGE_FAULT + 1,
        18 => ist::MACHINE_CHECK + 1,
        _ => 0,
    } as u128;
    (stub & 0xffff) | selector << 16 | stack << 32 | rights << 40 | (stub >> 16) << 48
}

const _: () = assert!(size_of::<TrapFrame>() == 22 * 8);
