//! When did Linux reach its userspace?
//!
//! No stub but a Linux program: `/init` of `cargo xtask bench boot`. Its first instruction,
//! userspace's first, reads the time-stamp counter. It then says what it read, as
//! `userspace at tsc <decimal>`, and restarts the machine, which `reboot=t` on the kernel's
//! command line makes a triple fault: the end of a VM, and of an engine.
//!
//! Needs no library and no other file than the console that the kernel opens for it.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the /init of a guest (when did Linux reach its userspace?); see `bench boot`");
    std::process::exit(2);
}

#[cfg(target_os = "none")]
mod init {
    use core::arch::{asm, naked_asm};

    const BEFORE: &[u8] = b"userspace at tsc ";
    /// The digits of 2^64 - 1.
    const DIGITS: usize = 20;
    const CONSOLE: usize = 1;

    /// System calls `[Linux, "arch/x86/entry/syscalls/syscall_64.tbl", 6.1]`.
    const WRITE: usize = 1;
    const IOCTL: usize = 16;
    const REBOOT: usize = 169;
    /// `tcdrain` `[Linux man-pages, "ioctl_tty(2)", 6.03]`.
    const TCSBRK: usize = 0x5409;
    /// `[Linux man-pages, "reboot(2)", 6.03]`
    const REBOOT_MAGIC: [usize; 2] = [0xfee1_dead, 0x2812_1969];
    const RESTART: usize = 0x0123_4567;

    /// Where the kernel enters, with the arguments on the stack.
    #[unsafe(no_mangle)]
    #[unsafe(naked)]
    extern "C" fn _start() -> ! {
        naked_asm!(
            "rdtsc", "shl rdx, 32", "lea rdi, [rdx + rax]",
            "and rsp, -16", "call {go_on}", "ud2",
            go_on = sym go_on,
        )
    }

    extern "C" fn go_on(tsc: u64) -> ! {
        let mut line = [b'\n'; BEFORE.len() + DIGITS + 1];
        let used = write_line(&mut line, tsc);
        system_call(WRITE, [CONSOLE, line.as_ptr().addr(), used]);
        // What is not sent yet is lost with the machine.
        system_call(IOCTL, [CONSOLE, TCSBRK, 1]);
        loop {
            system_call(REBOOT, [REBOOT_MAGIC[0], REBOOT_MAGIC[1], RESTART]);
        }
    }

    /// How many bytes of `line` the sentence takes, its line end included.
    fn write_line(line: &mut [u8], tsc: u64) -> usize {
        let mut digits = [0; DIGITS];
        let mut rest = tsc;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let leading = digits[..DIGITS - 1]
            .iter()
            .take_while(|digit| **digit == b'0');
        let shown = &digits[leading.count()..];
        let text = BEFORE.iter().chain(shown);
        line.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        BEFORE.len() + shown.len() + 1
    }

    fn system_call(number: usize, arguments: [usize; 3]) {
        let [first, second, third] = arguments;
        // SAFETY: the calls above write no memory of this process; the kernel changes RAX,
        // RCX and R11 only.
        unsafe {
            asm!(
                "syscall", inout("rax") number => _,
                in("rdi") first, in("rsi") second, in("rdx") third,
                out("rcx") _, out("r11") _, options(nostack),
            );
        }
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {
            core::hint::spin_loop();
        }
    }
}
