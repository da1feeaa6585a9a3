//! The small runtime under every stub: boot, traps, console, timers, verdicts.
//!
//! A stub is a guest that asks one question of the hypervisor under it and answers in
//! sentences: `PASS: …`, `FAIL: …` or `SKIP: …` on COM1, then status 0 or 1 through the
//! debug-exit port. It boots by PVH, under Skerry as under `qemu-system-x86_64 -kernel`,
//! so a claim about an x86 machine can be held against more than one hypervisor.
//!
//! Owns nothing of the hypervisor and shares no code with it: a test that used the tested
//! side's tables would agree with its mistakes. Called by the files in `src/bin`.
//!
//! A stub owns its whole machine. Port, MSR and CPU wrappers are therefore safe functions;
//! [`memory`] refuses addresses inside the stub's own image, the only memory that Rust
//! objects live in.
#![no_std]

#[cfg(not(target_os = "none"))]
extern crate std;

pub mod apic;
pub mod boot;
pub mod console;
pub mod cpu;
#[cfg(target_os = "none")]
mod entry;
pub mod hypercall;
mod long_mode;
pub mod memory;
pub mod paging;
pub mod pit;
pub mod port;
pub mod report;
pub mod smp;
pub mod tables;
pub mod trap;
pub mod user;

pub use boot::Boot;
pub use report::Report;

/// What a stub's own file provides: it asks, and writes its answers into the report.
pub type Run = fn(&mut Report, &Boot);

/// Makes a file of `src/bin` a stub: `stub!("what it asks", run);`.
#[macro_export]
macro_rules! stub {
    ($question:literal, $run:path) => {
        /// Where the boot code arrives in 64-bit mode.
        #[cfg(target_os = "none")]
        #[unsafe(no_mangle)]
        extern "C" fn stub_main(start: u64, image_start: u64, image_end: u64) -> ! {
            $crate::start(start, image_start..image_end, $question, $run)
        }

        #[cfg(not(target_os = "none"))]
        fn main() {
            $crate::explain($question, $run);
        }
    };
}

/// Sets the machine up, runs the stub and ends with its verdict.
pub fn start(start: u64, image: core::ops::Range<u64>, question: &str, run: Run) -> ! {
    console::set_up();
    tables::load();
    memory::set_image(image);
    let boot = Boot::read(start);
    let mut report = Report::begin(question);
    run(&mut report, &boot);
    report.finish()
}

/// What a stub says when somebody runs it as a program of the host.
#[cfg(not(target_os = "none"))]
pub fn explain(question: &str, run: Run) {
    std::eprintln!(
        "a guest of a hypervisor ({question}), entered at {run:p}; build it for \
         x86_64-unknown-none"
    );
    std::process::exit(2);
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(panic: &core::panic::PanicInfo<'_>) -> ! {
    println!("FAIL: the stub itself panicked: {panic}");
    port::exit(1)
}
