//! The ways in: PVH, multiboot2 and `bootloader_api`, one file each.
//!
//! Owns what happens before [`crate::main`]: getting to long mode (`entry`), reading what
//! the boot loader says, and one [`BootInfo`] as the result, whoever booted us. Does not
//! own the real page tables and memory: `mem` builds them from that `BootInfo`.

mod bootloader;
mod entry;
mod multiboot2;
mod pvh;
mod survey;

use core::sync::atomic::{AtomicU64, Ordering};

use bootloader_api::BootInfo;
use skerry_words::Tsc;

use crate::cpu::stack;

/// What the rest wants to know about the boot once it is over.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// When our first instruction ran.
    pub entry: Tsc,
}

impl Started {
    /// As the entry code left it.
    pub fn recorded() -> Self {
        Self {
            entry: Tsc(ENTRY_TSC.load(Ordering::Relaxed)),
        }
    }
}

/// The time-stamp counter at our first instruction.
static ENTRY_TSC: AtomicU64 = AtomicU64::new(0);

/// Goes on in [`crate::main`], on our own stack instead of the boot loader's, which its
/// page tables alone map.
fn enter_main(boot: &'static mut BootInfo) -> ! {
    extern "sysv64" fn on_own_stack(boot: &'static mut BootInfo) -> ! {
        crate::main(boot)
    }
    let top = stack::BOOT.top();
    // SAFETY: `top` is the 16-byte aligned end of a stack nobody uses yet (the entry code
    // is on it at most, and never returns), and `on_own_stack` takes over for good.
    unsafe {
        core::arch::asm!(
            "mov rsp, {top}",
            "xor ebp, ebp",
            "call {main}",
            "ud2",
            top = in(reg) top.as_u64(),
            main = sym on_own_stack,
            in("rdi") boot,
            options(noreturn)
        )
    }
}
