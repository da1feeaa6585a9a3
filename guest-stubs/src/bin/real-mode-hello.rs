//! Does a flat boot sector run in real mode, at 0:7C00 with DL = 80h?
//!
//! 512 raw bytes, not an ELF file; it uses none of the library's runtime.
#![cfg_attr(target_os = "none", no_std, no_main)]

// The panic handler that every bare-metal binary must name.
#[cfg(target_os = "none")]
use guest_stubs as _;

#[cfg(target_os = "none")]
core::arch::global_asm!(include_str!("../real_mode.s"), options(att_syntax));

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("a boot sector for a hypervisor; build it for x86_64-unknown-none");
    std::process::exit(2);
}
