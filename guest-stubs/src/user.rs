//! Code in user mode.

use crate::tables;
use crate::trap::{self, Trap};
use core::arch::asm;
use core::convert::Infallible;

const STACK_WORDS: usize = 512;
static STACK: [core::sync::atomic::AtomicU64; STACK_WORDS] =
    [const { core::sync::atomic::AtomicU64::new(0) }; STACK_WORDS];

/// Runs `code` in ring 3 with these flags beside the fixed one until an exception ends it;
/// code that has nothing left to do ends with `int3` and its result in RAX.
pub fn run(code: extern "C" fn(), rflags: u64) -> Trap {
    let stack = STACK.as_ptr_range().end.addr();
    let left = trap::attempt(|| -> Infallible {
        // SAFETY: user code runs on its own stack; whatever it does ends in `attempt`.
        unsafe {
            asm!(
                "push {data}", "push {stack}", "push {rflags}", "push {cs}", "push {code}",
                "iretq",
                data = in(reg) u64::from(tables::USER_DATA),
                stack = in(reg) stack,
                rflags = in(reg) rflags | 2,
                cs = in(reg) u64::from(tables::USER_CODE),
                code = in(reg) code as *const (),
                options(noreturn),
            );
        }
    });
    match left {
        Err(trap) => trap,
        Ok(never) => match never {},
    }
}
