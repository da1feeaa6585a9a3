//! Does a CPU that shuts down end its own VM only?
//!
//! `way=limit` (the default) empties the IDT. The other ways put a table the CPU itself
//! reads into a hole of memory: what then happens is between the CPU and the hypervisor,
//! but it may end this VM only.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::{Boot, Report, console, cpu, instruction, println, stub, tables};

stub!("a CPU that shuts down ends its own VM", run);

const HOLE: u64 = 0xb000_0000;

fn run(report: &mut Report, boot: &Boot) {
    let way = boot.value("way").unwrap_or("limit");
    println!("going down by {way}");
    console::drain();
    match way {
        "idt" => tables::load_idt(HOLE, 4095),
        "cr3" => cpu::set_cr3(HOLE),
        "code" => instruction!("call {}", in(reg) HOLE),
        "stack" => instruction!("mov rsp, {}", "push rax", in(reg) HOLE + 64),
        _ => tables::load_idt(0, 0),
    }
    instruction!("ud2");
    report.check("the CPU shut down", false);
}
