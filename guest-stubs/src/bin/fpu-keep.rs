//! Do registers survive that another VM uses the same ones?
//!
//! `seed=N` decides every value, `rounds=N` and `ticks=N` how often and how far apart it
//! looks. Two VMs with different seeds make it a question; one alone always passes.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::memory::{self, SCRATCH};
use guest_stubs::{Boot, Report, cpu, instruction, println, stub};

stub!(
    "FPU, vector, debug and system registers survive preemption",
    run
);

/// What XRSTOR loads; standard format `[SDM 1, "XSAVE Area", ed. 085]`.
const LOADED: u64 = SCRATCH;
/// What XSAVE stores later.
const STORED: u64 = SCRATCH + 4096;
const XSTATE_BV: u64 = 512;
/// Kept MSRs: SYSENTER_ESP and _EIP, STAR, LSTAR, CSTAR, FMASK, KERNEL_GS_BASE, FS_BASE.
const MSRS: [u32; 8] = [
    0x175,
    0x176,
    0xc000_0081,
    0xc000_0082,
    0xc000_0083,
    0xc000_0084,
    0xc000_0102,
    0xc000_0100,
];

fn run(report: &mut Report, boot: &Boot) {
    let seed = boot.number("seed", 1);
    let [rounds, ticks] = [boot.number("rounds", 40), boot.number("ticks", 400_000)];
    let mask = enable();
    println!("seed {seed}, state components {mask:#x}, {rounds} rounds of {ticks} ticks");
    build(seed, mask);
    load(mask);
    load_system(seed);
    let broken = (0..rounds).find_map(|round| {
        wait(ticks);
        first_change(seed, mask).map(|what| (round, what))
    });
    report.check_none("every register keeps its value in every round", 1, broken);
    report.check(
        "system registers keep their values",
        first_system_change(seed).is_none(),
    );
}

/// Turns SSE on, and AVX where it is: gives the state components to save.
fn enable() -> u64 {
    if cpu::cpuid(1, 0).ecx & (1 << 26) == 0 {
        return 0;
    }
    cpu::set_cr4(cpu::cr4() | 1 << 18);
    let mask = 3 | cpu::cpuid(13, 0).eax & 4;
    instruction!("xsetbv", in("ecx") 0, in("eax") mask, in("edx") 0, options(nostack));
    mask.into()
}

/// A number that depends on every bit of its inputs (a step of SplitMix64).
fn mix(seed: u64, place: u64) -> u64 {
    let mut value = seed.wrapping_add(place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value ^ value >> 27
}

/// The bytes of the area that belong to registers, as 8-byte places.
fn register_places(mask: u64) -> impl Iterator<Item = u64> {
    let x87 = (0..8).map(|register| 32 + 16 * register);
    let xmm = (160..416).step_by(8);
    let avx = if mask & 4 != 0 { 576..832 } else { 0..0 };
    x87.chain(xmm).chain(avx.step_by(8))
}

fn build(seed: u64, mask: u64) {
    memory::fill(LOADED..LOADED + 4096, 0);
    for place in register_places(mask) {
        memory::write64(LOADED + place, mix(seed, place));
    }
    // An explicit integer bit and a small exponent keep the x87 values ordinary numbers.
    for register in 0..8 {
        let at = LOADED + 32 + 16 * register;
        memory::write64(at, memory::read64(at) | 1 << 63);
        memory::write32(at + 8, 0x3fff + (mix(seed, register) & 0xff) as u32);
    }
    let rounding = (seed & 3) as u32;
    memory::write32(LOADED, 0x037f | rounding << 10);
    memory::write32(LOADED + 4, 0xff);
    memory::write32(LOADED + 24, 0x1f80 | rounding << 13);
    memory::write64(LOADED + XSTATE_BV, mask);
}

fn load(mask: u64) {
    if mask == 0 {
        instruction!("fxrstor64 [{}]", in(reg) LOADED, options(nostack));
    } else {
        instruction!("xrstor64 [{}]", in(reg) LOADED, in("eax") mask as u32, in("edx") 0);
    }
}

fn save(mask: u64) {
    memory::fill(STORED..STORED + 4096, 0);
    if mask == 0 {
        instruction!("fxsave64 [{}]", in(reg) STORED, options(nostack));
    } else {
        instruction!("xsave64 [{}]", in(reg) STORED, in("eax") mask as u32, in("edx") 0);
    }
}

fn load_system(seed: u64) {
    for index in MSRS {
        cpu::wrmsr(index, system_value(seed, index));
    }
    cpu::set_dr0(mix(seed, 0) >> 20);
    cpu::set_dr1(mix(seed, 1) >> 20);
    cpu::set_dr2(mix(seed, 2) >> 20);
    cpu::set_dr3(mix(seed, 3) >> 20);
    instruction!("mov cr2, {}", in(reg) mix(seed, 4), options(nostack));
    instruction!("mov cr8, {}", in(reg) seed & 15, options(nostack));
}

/// Canonical, and within 19 bits for the flag mask.
fn system_value(seed: u64, index: u32) -> u64 {
    let bits = if index == 0xc000_0084 { 19 } else { 47 };
    mix(seed, index.into()) & ((1 << bits) - 1)
}

fn wait(ticks: u64) {
    let start = cpu::tsc();
    while cpu::tsc() - start < ticks {}
}

fn first_change(seed: u64, mask: u64) -> Option<&'static str> {
    save(mask);
    let differs = |place: &u64| memory::read64(STORED + place) != memory::read64(LOADED + place);
    let control = |place| memory::read32(STORED + place) & 0xffff;
    if register_places(mask).any(|place| differs(&place)) {
        return Some("a vector or x87 register");
    }
    if control(0) != memory::read32(LOADED) || control(24) != memory::read32(LOADED + 24) {
        return Some("a control word");
    }
    first_system_change(seed)
}

fn first_system_change(seed: u64) -> Option<&'static str> {
    let debug = [cpu::dr0(), cpu::dr1(), cpu::dr2(), cpu::dr3()];
    let (cr2, cr8): (u64, u64);
    instruction!("mov {}, cr2", "mov {}, cr8", out(reg) cr2, out(reg) cr8);
    if MSRS
        .iter()
        .any(|index| cpu::rdmsr(*index) != system_value(seed, *index))
    {
        return Some("an MSR");
    }
    if debug != [0, 1, 2, 3].map(|place| mix(seed, place) >> 20) {
        return Some("a debug register");
    }
    (cr2 != mix(seed, 4) || cr8 != seed & 15).then_some("CR2 or CR8")
}
