//! What does each kind of exit cost?
//!
//! RDTSC before and after, 256 times, the median, as `exit-cost <row> <ticks>` or
//! `exit-cost <row> n/a`. The rows are listed in this package's README; their names are an
//! interface. Give the VM 4 KiB second-stage pages, or `first-touch` is no exit. `only=apic`
//! measures the local APIC's rows and no others, `suffix=-exit` ends their names with that: so
//! one machine's can be held against each other, looked after by the CPU and not.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::arch::{asm, naked_asm};
use guest_stubs::memory::{self, SCRATCH};
use guest_stubs::{
    Boot, Report, apic, console, cpu, hypercall, instruction, pit, port, println, stub, tables,
};

stub!("what each kind of exit costs, in TSC ticks", run);

const ROUNDS: usize = 256;
const UART_IN_MEMORY: u64 = 0xfe03_0000;
const SCRATCH_REGISTER: u64 = 7;
const PAT: u32 = 0x277;
const LINE_STATUS: u16 = console::COM1 + 5;

fn run(report: &mut Report, boot: &Boot) {
    pit::set_up_pic(1 << pit::LINE);
    if boot.value("only") != Some("apic") {
        measure_all_but_apic(boot);
    }
    measure_apic(boot.value("suffix").unwrap_or(""));
    if boot.value("only") != Some("apic") {
        measure_loop();
    }
    if apic::has_x2apic() {
        let left = apic::has(apic::REQUESTS, VECTOR) || apic::has(apic::IN_SERVICE, VECTOR);
        report.check("every interrupt was taken and ended", !left);
    }
    report.check("every row was measured", true);
}

fn measure_all_but_apic(boot: &Boot) {
    measure_touches(boot);
    row("rdtsc-pair", median(|_| ()));
    row("cpuid", median(|_| _ = cpu::cpuid(0, 0)));
    measure_hypercall();
    measure_ports();
    measure_mmio(boot.number("uart", UART_IN_MEMORY));
    let pat = cpu::rdmsr(PAT);
    row("rdmsr-pat", median(|_| _ = cpu::rdmsr(PAT)));
    row("wrmsr-pat", median(|_| cpu::wrmsr(PAT, pat)));
    let cr3 = cpu::cr3();
    row("mov-cr3", median(|_| cpu::set_cr3(cr3)));
    measure_timer();
}

fn row(name: &str, ticks: u64) {
    println!("exit-cost {name} {ticks}");
}

fn not_here(name: &str) {
    println!("exit-cost {name} n/a");
}

/// The low half of the TSC: one instruction to keep, where all of it would be three.
#[inline(always)]
fn stamp() -> u32 {
    let low;
    // SAFETY: RDTSC changes EDX:EAX only; memory accesses do not move across it.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") _, options(nostack)) };
    low
}

/// The median ticks of `exit(round)`, with nothing else between the two readings.
#[inline(always)]
fn median(mut exit: impl FnMut(u64)) -> u64 {
    median_after(|_| (), |round, ()| exit(round))
}

/// The same, with something to prepare before the first reading.
#[inline(always)]
fn median_after<P>(prepare: impl Fn(u64) -> P, exit: impl FnMut(u64, P)) -> u64 {
    median_of(&mut samples_after(prepare, exit))
}

fn median_of(samples: &mut [u32]) -> u64 {
    samples.sort_unstable();
    samples[samples.len() / 2].into()
}

/// The ticks of each round.
#[inline(always)]
fn samples_after<P>(prepare: impl Fn(u64) -> P, mut exit: impl FnMut(u64, P)) -> [u32; ROUNDS] {
    let mut samples = [0_u32; ROUNDS];
    for (round, sample) in (0..).zip(&mut samples) {
        let prepared = prepare(round);
        let start = stamp();
        exit(round, prepared);
        *sample = stamp().wrapping_sub(start);
    }
    samples
}

/// Comes first: what other rows use, they have touched.
fn measure_touches(boot: &Boot) {
    let pages = boot.free().end - ROUNDS as u64 * 4096;
    if pages < SCRATCH + 16 * 4096 {
        not_here("first-touch");
        return not_here("page-mapped");
    }
    let place = |round: u64| pages + round * 4096;
    row("first-touch", median_after(place, |_, page| store(page)));
    row("page-mapped", median_after(place, |_, page| store(page)));
}

/// One store, without the checks that [`memory::write8`] makes first. Of the same encoding
/// wherever it stands, because a hypervisor may have to decode it: no SIB byte, as R12 wants.
#[inline(always)]
fn store(at: u64) {
    instruction!("mov byte ptr [rsi], 0", in("rsi") at, options(nostack, preserves_flags));
}

/// One load of a byte.
#[inline(always)]
fn load_byte(at: u64) {
    instruction!("mov al, byte ptr [rsi]", out("al") _, in("rsi") at, options(nostack));
}

/// One load of a doubleword.
#[inline(always)]
fn load(at: u64) {
    instruction!("mov eax, dword ptr [rsi]", out("eax") _, in("rsi") at, options(nostack));
}

fn measure_hypercall() {
    if !cpu::is_skerry() {
        not_here("hypercall");
    } else if cpu::vendor() == *b"AuthenticAMD" {
        row(
            "hypercall",
            median(|_| _ = hypercall::vmmcall(hypercall::VERSION, 0, 0)),
        );
    } else {
        row(
            "hypercall",
            median(|_| _ = hypercall::vmcall(hypercall::VERSION, 0, 0)),
        );
    }
}

fn measure_ports() {
    row("port-read", median(|_| _ = port::read8(LINE_STATUS)));
    row("port-write", median(|_| port::write8(0x80, 0)));
    row(
        "port-write-uart",
        median(|_| port::write8(console::COM1 + 7, 0)),
    );
    row("port-read-absent", median(|_| _ = port::read8(0x5a50)));
    memory::fill(SCRATCH..SCRATCH + 16, 0);
    row(
        "port-string-16",
        median(|_| {
            instruction!("rep outsb", in("dx") 0x80_u16, inout("rsi") SCRATCH => _, inout("rcx") 16_u64 => _);
        }),
    );
}

fn measure_mmio(uart: u64) {
    let register = uart + SCRATCH_REGISTER;
    memory::write8(register, 0xa5);
    if memory::read8(register) == 0xa5 {
        row("mmio-read", median(|_| load_byte(register)));
        row("mmio-write", median(|_| store(register)));
    } else {
        not_here("mmio-read");
        not_here("mmio-write");
    }
}

fn measure_timer() {
    row("pit-arm", median(|_| pit::arm_once(0xffff)));
    let pending = |_| {
        pit::arm_once(50);
        while pit::pic_requests() & 1 == 0 {}
    };
    row("hlt-wake-pit", median_after(pending, |_, ()| cpu::sleep()));
    measure_lateness();
}

/// How long after the PIT's deadline the instruction behind HLT runs. Needs the TSC's
/// frequency from CPUID.
///
/// A PIT may count from its next clock on, and of a TSC of 1 GHz a clock is 838 ticks, so
/// rounds begin at all phases of it: the median of what the luckiest phase of each sweep took.
fn measure_lateness() {
    const CLOCKS: u16 = 1000;
    const PHASES: u64 = 16;
    let Some(tsc_hz) = cpu::tsc_hz() else {
        return not_here("hlt-wake-late");
    };
    let wanted = u64::from(CLOCKS) * tsc_hz / pit::PIT_HZ;
    // Between the last write that arms the PIT and the first reading nothing else runs, so
    // the deadline counts from there.
    let arm = |round| {
        wait(round % PHASES * tsc_hz / pit::PIT_HZ / PHASES);
        pit::arm_once(CLOCKS);
    };
    let slept = samples_after(arm, |_, ()| cpu::sleep());
    let mut shortest = [0; ROUNDS / PHASES as usize];
    for (shortest, sweep) in shortest.iter_mut().zip(slept.chunks(PHASES as usize)) {
        *shortest = sweep.iter().copied().min().unwrap_or(0);
    }
    row(
        "hlt-wake-late",
        median_of(&mut shortest).saturating_sub(wanted),
    );
}

/// Lets so many ticks pass.
fn wait(ticks: u64) {
    let start = cpu::tsc();
    while cpu::tsc() - start < ticks {}
}

/// What a local APIC costs. The names of its rows end with `suffix`.
fn measure_apic(suffix: &str) {
    let apic_row = |name: &str, ticks: u64| println!("exit-cost {name}{suffix} {ticks}");
    if cpu::has_apic() {
        apic_row("xapic-read", median(|_| load(0xfee0_0020)));
    } else {
        not_here("xapic-read");
    }
    if apic::has_x2apic() {
        measure_x2apic(&apic_row);
    } else {
        [
            "x2apic-self-ipi",
            "self-ipi-isr",
            "hlt-pending",
            "tsc-deadline",
        ]
        .into_iter()
        .for_each(not_here);
    }
}

const APIC_EOI: u32 = 0x80b;
const APIC_SELF_IPI: u32 = 0x83f;
const VECTOR: u8 = 0x40;

fn measure_x2apic(apic_row: &impl Fn(&str, u64)) {
    apic::enter_x2apic();
    apic::switch_on();
    tables::set_gate(
        VECTOR.into(),
        (acknowledge as *const ()).addr() as u64,
        0x8e01,
    );
    let request = || cpu::wrmsr(APIC_SELF_IPI, VECTOR.into());
    apic_row("x2apic-self-ipi", median(|_| request()));
    cpu::let_interrupts_in();
    let taken = median(|_| {
        request();
        cpu::let_interrupts_in();
    });
    apic_row("self-ipi-isr", taken);
    let woken = median_after(|_| request(), |_, ()| cpu::sleep());
    apic_row("hlt-pending", woken);
    if cpu::cpuid(1, 0).ecx & (1 << 24) == 0 {
        return not_here("tsc-deadline");
    }
    apic::write(apic::LVT_TIMER, apic::AT_DEADLINE | u32::from(VECTOR));
    let far = cpu::tsc() + (1 << 40);
    let armed = median(|round| cpu::wrmsr(apic::TSC_DEADLINE, far + round));
    apic_row("tsc-deadline", armed);
    cpu::wrmsr(apic::TSC_DEADLINE, 0);
}

/// An interrupt routine that does nothing but end the interrupt.
#[unsafe(naked)]
extern "C" fn acknowledge() {
    naked_asm!(
        "push rax", "push rcx", "push rdx",
        "mov ecx, {eoi}", "xor eax, eax", "xor edx, edx", "wrmsr",
        "pop rdx", "pop rcx", "pop rax", "iretq",
        eoi = const APIC_EOI,
    )
}

/// Eight million instructions that need no exit: what others' time slices and the
/// hypervisor's own interrupts add to them.
fn measure_loop() {
    const LOOPS: u64 = 4_000_000;
    let start = cpu::tsc();
    instruction!("2: dec {}", "jnz 2b", inout(reg) LOOPS => _, options(nostack));
    let ticks = cpu::tsc() - start;
    row("loop-8m", ticks.saturating_sub(2 * LOOPS));
}
