//! Is each kind of event a guest can cause what it should be, one after the other?
//!
//! For each event a line `event NAME FIRST LAST` says where its code is, so that a recording
//! of the hypervisor's exits (`cargo xtask record`) can be told by their instruction pointers.
//! Both vendors' CPUs run the same code, except where only the instruction differs and not
//! what it asks for. `end=triple-fault` ends it by one, the last event.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use guest_stubs::memory::{self, SCRATCH};
use guest_stubs::paging::SmallPages;
use guest_stubs::trap::{self, DB, GP, PF, Trap, UD};
use guest_stubs::{Boot, Report, cpu, instruction, pit, println, stub, tables};

stub!("every event a guest can cause, one after the other", run);

/// A port nobody is at.
const ABSENT_PORT: u64 = 0x5a50;
/// A guest-physical address nobody is at, in the flat map.
const HOLE: u64 = 0xb000_0000;
/// An address whose page directory is in [`HOLE`] with the tables of `cause_broken_walk`.
const UNWALKABLE: u64 = 0x4000_0000;

fn run(report: &mut Report, boot: &Boot) {
    memory::fill(SCRATCH..SCRATCH + 0x2000, 0x1122_3344_5566_7788);
    cause_cpuid_and_hypercall(report);
    cause_port_accesses(report);
    cause_string_port_accesses(report);
    if report.on_skerry("holes of memory read all ones") {
        cause_memory_accesses(report);
        cause_broken_walk(report);
    }
    cause_control_register_accesses(report);
    cause_msr_accesses(report);
    cause_xsetbv(report);
    cause_waits(report);
    cause_cache_flushes(report);
    cause_refused_instructions(report);
    cause_debug_exceptions(report);
    if boot.value("end") == Some("triple-fault") {
        report.sum();
        shut_down();
    }
}

/// The registers an event starts with, and those it leaves.
#[derive(Clone, Copy, Default)]
struct Registers {
    rax: u64,
    rcx: u64,
    rdx: u64,
    rsi: u64,
    rdi: u64,
}

/// An event that is over.
struct Event {
    name: &'static str,
    ended: Result<Registers, Trap>,
}

/// The first byte of the last event's code, and the byte behind it.
static PLACE: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Runs the code with these registers and says where it is. Its name stands in it as a comment,
/// lest the compiler make one of two events with the same code.
macro_rules! event {
    ($name:literal, $code:expr, $($register:ident: $value:expr),*) => {{
        #[allow(clippy::needless_update)] // some name all registers
        let mut registers = Registers { $($register: $value,)* ..Registers::default() };
        let ended = trap::attempt(|| {
            instruction!(
                "lea r9, [rip + 8f]", "mov [r8], r9", "lea r9, [rip + 9f]", "mov [r8 + 8], r9",
                concat!("# ", $name), "8:", $code, "9:",
                inout("rax") registers.rax, inout("rcx") registers.rcx,
                inout("rdx") registers.rdx, inout("rsi") registers.rsi,
                inout("rdi") registers.rdi, inout("r8") PLACE.as_ptr() => _, out("r9") _,
            );
            registers
        });
        announce($name, PLACE[0].load(Relaxed), PLACE[1].load(Relaxed));
        Event { name: $name, ended }
    }};
}

fn announce(name: &str, first: u64, last: u64) {
    println!("event {name} {first:#x} {last:#x}");
}

impl Event {
    /// No exception came, and `holds` of the registers it left.
    fn leaves(&self, report: &mut Report, claim: &str, holds: impl Fn(&Registers) -> bool) {
        report.check_of(self.name, claim, self.ended.as_ref().is_ok_and(holds));
    }

    /// It ended by this exception.
    fn faults(&self, report: &mut Report, claim: &str, vector: u64) {
        let found = self.ended.as_ref().err().map(|trap| trap.vector);
        report.check_of(self.name, claim, found == Some(vector));
    }
}

fn is_amd() -> bool {
    cpu::vendor() == *b"AuthenticAMD"
}

fn cause_cpuid_and_hypercall(report: &mut Report) {
    let cpuid = event!("cpuid", "xchg r9, rbx; cpuid; xchg r9, rbx", rax: 0);
    cpuid.leaves(report, "it tells the highest leaf", |left| left.rax >= 1);
    if report.on_skerry("hypercall 0 gives a version") {
        let hypercall = if is_amd() {
            event!("hypercall", "vmmcall", rax: 0)
        } else {
            event!("hypercall", "vmcall", rax: 0)
        };
        hypercall.leaves(report, "it gives a version", |left| left.rax >= 1);
    }
}

fn cause_port_accesses(report: &mut Report) {
    let reads = [
        (event!("in-8", "in al, dx", rdx: ABSENT_PORT), 0xff),
        (event!("in-16", "in ax, dx", rdx: ABSENT_PORT), 0xffff),
        (event!("in-32", "in eax, dx", rdx: ABSENT_PORT), 0xffff_ffff),
        (event!("in-8-immediate", "in al, 0xe0", rdx: 0), 0xff),
    ];
    for (read, ones) in reads {
        read.leaves(report, "it reads all ones", |left| left.rax == ones);
    }
    let writes = [
        event!("out-8", "out dx, al", rdx: 0x80, rax: 1),
        event!("out-16", "out dx, ax", rdx: ABSENT_PORT, rax: 2),
        event!("out-32", "out dx, eax", rdx: ABSENT_PORT, rax: 3),
        event!("out-8-immediate", "out 0x80, al", rax: 4),
    ];
    for write in writes {
        write.leaves(report, "it passes", |left| left.rax != 0);
    }
}

/// One instruction each, and repeats short and long enough to need several exits.
fn cause_string_port_accesses(report: &mut Report) {
    let outs = [
        (event!("outsb", "outsb", rdx: 0x80, rsi: SCRATCH), 1),
        (event!("outsw", "outsw", rdx: ABSENT_PORT, rsi: SCRATCH), 2),
        (event!("outsd", "outsd", rdx: ABSENT_PORT, rsi: SCRATCH), 4),
        (
            event!("outsb-fs", ".byte 0x64, 0x6e", rdx: 0x80, rsi: SCRATCH),
            1,
        ),
        (
            event!("outsb-address-32", ".byte 0x67, 0x6e", rdx: 0x80, rsi: SCRATCH),
            1,
        ),
        (
            event!("rep-outsb", "rep outsb", rdx: 0x80, rsi: SCRATCH, rcx: 4),
            4,
        ),
    ];
    for (event, bytes) in outs {
        event.leaves(report, "RSI goes on", |left| left.rsi == SCRATCH + bytes);
    }
    let ins = [
        (event!("insb", "insb", rdx: ABSENT_PORT, rdi: SCRATCH), 1),
        (event!("insw", "insw", rdx: ABSENT_PORT, rdi: SCRATCH), 2),
        (event!("insd", "insd", rdx: ABSENT_PORT, rdi: SCRATCH), 4),
        (
            event!("rep-insd", "rep insd", rdx: ABSENT_PORT, rdi: SCRATCH, rcx: 600),
            2400,
        ),
    ];
    for (event, bytes) in ins {
        event.leaves(report, "RDI goes on", |left| left.rdi == SCRATCH + bytes);
    }
    let ones = memory::first_other(SCRATCH..SCRATCH + 2400, u64::MAX).is_none();
    report.check("what came in by strings is all ones", ones);
    let back = event!("insb-down", "std; insb; cld", rdx: ABSENT_PORT, rdi: SCRATCH);
    back.leaves(report, "RDI goes back", |left| left.rdi == SCRATCH - 1);
}

fn cause_memory_accesses(report: &mut Report) {
    let reads = [
        (event!("read-8", "mov al, [rdi]", rdi: HOLE), 0xff),
        (
            event!("read-32", "mov eax, [rdi]", rdi: HOLE + 0x10),
            0xffff_ffff,
        ),
        (
            event!("read-64", "mov rax, [rdi]", rdi: HOLE + 0x20),
            u64::MAX,
        ),
    ];
    for (read, ones) in reads {
        read.leaves(report, "it reads all ones", |left| left.rax == ones);
    }
    let writes = [
        event!("write-8", "mov [rdi], al", rdi: HOLE + 0x30, rax: 1),
        event!("write-32", "mov [rdi], eax", rdi: HOLE + 0x40, rax: 2),
        event!("write-64", "mov [rdi], rax", rdi: HOLE + 0x50, rax: 3),
    ];
    for write in writes {
        write.leaves(report, "it passes", |left| left.rax != 0);
    }
    let vector = trap::vector_of(|| instruction!("call {}", in(reg) HOLE));
    announce("fetch", HOLE, HOLE);
    report.check_of("fetch", "it is #UD", vector == Some(UD));
}

/// Page tables that go on in a hole.
fn cause_broken_walk(report: &mut Report) {
    let free = SCRATCH + 0x10_0000;
    let map = SmallPages::enter(free);
    memory::write64(free + 4096 + 8, HOLE | 7);
    let walk = event!("walk", "mov eax, [rdi]", rdi: UNWALKABLE);
    drop(map);
    walk.faults(report, "it is #PF", PF);
}

fn cause_control_register_accesses(report: &mut Report) {
    const CACHE_DISABLE: u64 = 1 << 30;
    const EMULATION: u64 = 1 << 2;
    const NOT_WRITE_THROUGH: u64 = 1 << 29;
    let (cr0, cr4) = (cpu::cr0(), cpu::cr4());
    let off = event!("cr0-cache-off", "mov cr0, rsi", rsi: cr0 | CACHE_DISABLE);
    off.leaves(report, "CR0.CD is on", |_| {
        cpu::cr0() == cr0 | CACHE_DISABLE
    });
    let on = event!("cr0-cache-on", "mov cr0, rdi", rdi: cr0);
    on.leaves(report, "CR0 is as before", |_| cpu::cr0() == cr0);
    let refused = event!("cr0-refused", "mov cr0, rax", rax: cr0 | NOT_WRITE_THROUGH);
    refused.faults(report, "NW without CD is #GP", GP);
    cpu::set_cr0(cr0);
    let lmsw = event!("lmsw", "lmsw ax", rax: (cr0 | EMULATION) & 0xffff);
    lmsw.leaves(report, "CR0.EM is on", |_| cpu::cr0() == cr0 | EMULATION);
    cpu::set_cr0(cr0);
    // QEMU's own CPU never comes back from this one.
    if report.on_skerry("a reserved bit of CR4 is #GP") {
        let reserved = event!("cr4-reserved", "mov cr4, rcx", rcx: cr4 | 1 << 30);
        reserved.faults(report, "it is #GP", GP);
    }
    let write = event!("cr8-write", "mov cr8, rdx", rdx: 3);
    write.leaves(report, "it passes", |_| true);
    let read = event!("cr8-read", "mov rsi, cr8", rsi: 0);
    read.leaves(report, "it reads what was written", |left| left.rsi == 3);
    instruction!("mov cr8, {}", in(reg) 0_u64);
}

fn cause_msr_accesses(report: &mut Report) {
    const TSC: u64 = 0x10;
    const ABSENT: u64 = 0x345;
    let read = event!("rdmsr-tsc", "rdmsr", rcx: TSC);
    read.leaves(report, "time has passed", |left| left.rax | left.rdx != 0);
    let now = cpu::tsc();
    let write = event!("wrmsr-tsc", "wrmsr", rcx: TSC, rax: now & 0xffff_ffff, rdx: now >> 32);
    write.leaves(report, "time goes on", |_| cpu::tsc() >= now);
    let absent = [
        event!("rdmsr-absent", "rdmsr", rcx: ABSENT),
        event!("wrmsr-absent", "wrmsr", rcx: ABSENT),
    ];
    for event in absent {
        event.faults(report, "it is #GP", GP);
    }
}

fn cause_xsetbv(report: &mut Report) {
    if cpu::cpuid(1, 0).ecx & (1 << 26) == 0 {
        return report.skip("there is no XSAVE");
    }
    cpu::set_cr4(cpu::cr4() | 1 << 18);
    let xsetbv = event!("xsetbv", "xsetbv", rcx: 0, rax: 3, rdx: 0);
    xsetbv.leaves(report, "it passes", |_| true);
    cpu::set_cr4(cpu::cr4() & !(1 << 18));
}

fn cause_waits(report: &mut Report) {
    pit::set_up_pic(1 << pit::LINE);
    let before = trap::irqs(pit::LINE);
    pit::arm_once(pit::MILLISECOND);
    let hlt = event!("hlt", "sti; hlt; cli", rax: 0);
    hlt.leaves(report, "an interrupt ends it", |_| {
        trap::irqs(pit::LINE) == before + 1
    });
    pit::arm_once(2);
    let asked = (0..100_000).any(|_| pit::pic_requests() & 1 != 0);
    report.check("the timer asks while interrupts are off", asked);
    let window = event!("interrupt-window", "sti; nop; nop; nop; cli", rax: 0);
    window.leaves(report, "the interrupt comes", |_| {
        trap::irqs(pit::LINE) == before + 2
    });
    pit::set_up_pic(0);
    let pause = event!("pause-loop", "2: pause; loop 2b", rcx: 10_000);
    pause.leaves(report, "a loop of it ends", |left| left.rcx == 0);
}

fn cause_cache_flushes(report: &mut Report) {
    let wbinvd = event!("wbinvd", "wbinvd", rax: 0);
    wbinvd.leaves(report, "it passes", |_| true);
    if report.on_skerry("INVD keeps memory (a real one may lose it)") {
        let invd = event!("invd", "invd", rax: 0);
        invd.leaves(report, "it passes", |_| true);
    }
}

fn cause_refused_instructions(report: &mut Report) {
    let rdpmc = event!("rdpmc", "rdpmc", rcx: 0x1234);
    rdpmc.faults(report, "it is #GP", GP);
    // VMRUN of what is no VMCB, and VMLAUNCH without a VMCS.
    let nesting = if is_amd() {
        event!("nested-entry", ".byte 0x0f, 0x01, 0xd8", rax: SCRATCH)
    } else {
        event!("nested-entry", "vmlaunch", rax: 0)
    };
    nesting.faults(report, "it is #UD", UD);
    if cpu::cpuid(1, 0).ecx & (1 << 3) != 0 {
        return report.skip("MONITOR and MWAIT are offered");
    }
    let monitors = [
        event!("monitor", ".byte 0x0f, 0x01, 0xc8", rax: SCRATCH),
        event!("mwait", ".byte 0x0f, 0x01, 0xc9", rax: 0),
    ];
    for event in monitors {
        event.faults(report, "it is #UD", UD);
    }
}

fn cause_debug_exceptions(report: &mut Report) {
    let step = event!(
        "single-step", "pushfq; or qword ptr [rsp], 0x100; popfq; nop; nop", rax: 0
    );
    step.faults(report, "it is #DB", DB);
    // Breakpoint 0: four bytes, when written.
    cpu::set_dr0(SCRATCH);
    cpu::set_dr7(0xd_0401);
    let watch = event!("watchpoint", "mov [rdi], eax; nop; nop", rdi: SCRATCH);
    cpu::set_dr7(0x400);
    watch.faults(report, "it is #DB", DB);
    cpu::set_dr6(0);
}

/// An undefined instruction without an IDT.
fn shut_down() -> ! {
    let code = SCRATCH;
    memory::store(code, &[0x0f, 0x0b]);
    announce("triple-fault", code, code);
    guest_stubs::console::drain();
    tables::load_idt(0, 0);
    instruction!("call {}", in(reg) code);
    println!("FAIL: the CPU did not shut down");
    guest_stubs::port::exit(1)
}
