//! The stacks of ring 0, each with an unmapped guard page below.
//!
//! Owns their memory and sizes. `mem` unmaps the guards, `gdt` points the TSS at the
//! exception stacks.

use core::cell::UnsafeCell;

use x86_64::VirtAddr;

const GUARD_BYTES: usize = 4096;

/// The size of the stack everything runs on, its guard page included.
pub const BOOT_BYTES: usize = 128 << 10;
/// The size of an exception stack, its guard page included: room for the panic path.
const TRAP_BYTES: usize = 16 << 10;

/// The stack everything runs on.
pub static BOOT: Stack<BOOT_BYTES> = Stack::new();
/// For double faults: whatever stack there was is unusable.
pub static DOUBLE_FAULT: Stack<TRAP_BYTES> = Stack::new();
/// For page faults: a stack that ran into its guard page cannot take the frame.
pub static PAGE_FAULT: Stack<TRAP_BYTES> = Stack::new();
/// For non-maskable interrupts, which may come anywhere.
pub static NMI: Stack<TRAP_BYTES> = Stack::new();
/// For machine checks, which may come anywhere.
pub static MACHINE_CHECK: Stack<TRAP_BYTES> = Stack::new();

/// Every guard page.
pub fn guards() -> [VirtAddr; 5] {
    [
        BOOT.guard(),
        DOUBLE_FAULT.guard(),
        PAGE_FAULT.guard(),
        NMI.guard(),
        MACHINE_CHECK.guard(),
    ]
}

/// A stack of `N` bytes, the lowest page of which is its guard.
#[repr(C, align(4096))]
pub struct Stack<const N: usize> {
    bytes: UnsafeCell<[u8; N]>,
}

// SAFETY: nothing reads or writes a stack through this type; it only tells addresses.
unsafe impl<const N: usize> Sync for Stack<N> {}

impl<const N: usize> Stack<N> {
    const fn new() -> Self {
        Self {
            bytes: UnsafeCell::new([0; N]),
        }
    }

    /// The guard page.
    pub fn guard(&self) -> VirtAddr {
        VirtAddr::from_ptr(self.bytes.get())
    }

    /// The lowest usable address.
    pub fn bottom(&self) -> VirtAddr {
        self.guard() + GUARD_BYTES as u64
    }

    /// Where an empty stack starts.
    pub fn top(&self) -> VirtAddr {
        self.guard() + N as u64
    }
}
