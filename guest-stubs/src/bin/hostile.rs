//! Does everything a guest should not do get its architectural answer?
//!
//! Nothing here may end the VM, let alone the host. `garbage=N` then runs N random
//! instruction strings in ring 0, after which anything may have happened to this VM;
//! `seed=N` chooses them. `without=cr3,lgdt` spares a CPU that does not check them what would
//! ruin the rest: reserved bits of CR3, a GDT at no canonical address.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::memory::{self, SCRATCH};
use guest_stubs::trap::{self, DB, DE, GP, NP, UD};
use guest_stubs::{Boot, Report, console, cpu, instruction, pit, port, println, stub, tables};

stub!("a guest that misbehaves gets faults, and nothing else", run);

fn run(report: &mut Report, boot: &Boot) {
    check_absent_instructions(report);
    check_refused_instructions(report);
    check_control_registers(report, boot);
    check_xcr0(report);
    check_exceptions(report);
    check_descriptors(report);
    if !is_without(boot, "lgdt") {
        check_gdt(report);
    }
    check_interrupts(report);
    check_cache(report);
    check_msrs(report);
    check_port_reads(report);
    check_port_writes(report);
    check_string_io(report);
    check_halts(report);
    run_garbage(boot.number("garbage", 0), boot.number("seed", 1));
}

/// Gives the vector that ends these raw bytes, run with RAX = [`SCRATCH`] and RCX = RDX = 0.
macro_rules! raw {
    ($bytes:literal) => {
        trap::vector_of(|| {
            instruction!(
                concat!(".byte ", $bytes),
                inout("rax") SCRATCH => _, inout("rcx") 0_u64 => _, inout("rdx") 0_u64 => _,
            );
        })
    };
}

fn check_absent_instructions(report: &mut Report) {
    let mut undefined = |name: &str, vector| {
        report.check_of(name, "it is #UD", vector == Some(UD));
    };
    undefined("UD0", raw!("0x0f, 0xff, 0xc0"));
    undefined("UD1", raw!("0x0f, 0xb9, 0xc0"));
    undefined("UD2", raw!("0x0f, 0x0b"));
    undefined("INTO", raw!("0xce"));
    undefined("VMXON", raw!("0xf3, 0x0f, 0xc7, 0x30"));
    undefined("VMPTRLD", raw!("0x0f, 0xc7, 0x30"));
    undefined("VMREAD", raw!("0x0f, 0x78, 0xc0"));
    undefined("VMWRITE", raw!("0x0f, 0x79, 0xc0"));
    undefined("VMLAUNCH", raw!("0x0f, 0x01, 0xc2"));
    undefined("VMRESUME", raw!("0x0f, 0x01, 0xc3"));
    undefined("VMXOFF", raw!("0x0f, 0x01, 0xc4"));
    undefined("VMFUNC", raw!("0x0f, 0x01, 0xd4"));
    undefined("INVEPT", raw!("0x66, 0x0f, 0x38, 0x80, 0x00"));
    undefined("INVVPID", raw!("0x66, 0x0f, 0x38, 0x81, 0x00"));
    undefined("VMRUN", raw!("0x0f, 0x01, 0xd8"));
    undefined("VMLOAD", raw!("0x0f, 0x01, 0xda"));
    undefined("VMSAVE", raw!("0x0f, 0x01, 0xdb"));
    undefined("STGI", raw!("0x0f, 0x01, 0xdc"));
    undefined("CLGI", raw!("0x0f, 0x01, 0xdd"));
    undefined("SKINIT", raw!("0x0f, 0x01, 0xde"));
    undefined("INVLPGA", raw!("0x0f, 0x01, 0xdf"));
    undefined("GETSEC", raw!("0x0f, 0x37"));
    undefined("RSM", raw!("0x0f, 0xaa"));
    undefined("ENCLS", raw!("0x0f, 0x01, 0xcf"));
}

fn check_refused_instructions(report: &mut Report) {
    let mut refused = |name: &str, vector| {
        report.check_of(name, "it is #GP", vector == Some(GP));
    };
    refused(
        "RDPMC",
        trap::vector_of(|| {
            instruction!("rdpmc", in("ecx") 0x1234, out("eax") _, out("edx") _);
        }),
    );
    refused(
        "a jump to no canonical address",
        trap::vector_of(|| {
            instruction!("jmp {}", in(reg) 1_u64 << 63);
        }),
    );
    refused(
        "a load from no canonical address",
        trap::vector_of(|| {
            instruction!("mov {0}, [{0}]", inout(reg) 1_u64 << 63 => _);
        }),
    );
    if cpu::cpuid(1, 0).ecx & (1 << 3) != 0 {
        report.skip("MONITOR and MWAIT are offered");
    } else {
        let both = [raw!("0x0f, 0x01, 0xc8"), raw!("0x0f, 0x01, 0xc9")];
        report.check("MONITOR and MWAIT are #UD", both == [Some(UD); 2]);
    }
}

fn is_without(boot: &Boot, check: &str) -> bool {
    let mut without = boot.value("without").unwrap_or_default().split(',');
    without.any(|word| word == check)
}

fn check_control_registers(report: &mut Report, boot: &Boot) {
    let [cr0, cr3, cr4] = [cpu::cr0(), cpu::cr3(), cpu::cr4()];
    let mut refused = |name: &str, write: &dyn Fn()| {
        report.check_of(name, "it is #GP", trap::vector_of(write) == Some(GP));
    };
    refused("CR0 without PE", &|| cpu::set_cr0(cr0 & !1));
    refused("CR0 without PG, in 64-bit code", &|| {
        cpu::set_cr0(cr0 & !(1 << 31))
    });
    refused("CR0 with NW but not CD", &|| {
        cpu::set_cr0(cr0 & !(1 << 30) | 1 << 29)
    });
    refused("CR0 with bit 32", &|| cpu::set_cr0(cr0 | 1 << 32));
    if !is_without(boot, "cr3") {
        refused("CR3 with bit 62", &|| cpu::set_cr3(cr3 | 1 << 62));
    }
    refused("CR4 without PAE", &|| cpu::set_cr4(cr4 & !(1 << 5)));
    let offered = cpu::cpuid(1, 0).ecx;
    if offered & (1 << 5) == 0 {
        refused("CR4 with VMXE", &|| cpu::set_cr4(cr4 | 1 << 13));
    }
    if offered & (1 << 6) == 0 {
        refused("CR4 with SMXE", &|| cpu::set_cr4(cr4 | 1 << 14));
    }
    refused("CR4 with bit 30", &|| cpu::set_cr4(cr4 | 1 << 30));
    refused("CR4 with bit 63", &|| cpu::set_cr4(cr4 | 1 << 63));
    refused("CR8 of 16", &|| instruction!("mov cr8, {}", in(reg) 16_u64));
    refused("DR7 with bit 32", &|| cpu::set_dr7(1 << 32 | 0x400));
    refused("EFER with bit 63", &|| {
        cpu::wrmsr(0xc000_0080, 1 << 63 | 0x500)
    });
    let after = [cpu::cr0(), cpu::cr3(), cpu::cr4()];
    report.check(
        "after that, CR0, CR3 and CR4 are as they were",
        after == [cr0, cr3, cr4],
    );
    cpu::set_cr4(cr4 | 1 << 3);
    let dr4 = raw!("0x0f, 0x23, 0xe0");
    report.check("with CR4.DE, DR4 is #UD", dr4 == Some(UD));
    let cr1 = raw!("0x0f, 0x20, 0xc8");
    report.check("CR1 is #UD", cr1 == Some(UD));
    cpu::set_cr0(cr0);
    cpu::set_cr4(cr4);
}

fn check_xcr0(report: &mut Report) {
    if cpu::cpuid(1, 0).ecx & (1 << 26) == 0 {
        return report.skip("there is no XSAVE");
    }
    let off = raw!("0x0f, 0x01, 0xd1");
    report.check("XSETBV without CR4.OSXSAVE is #UD", off == Some(UD));
    cpu::set_cr4(cpu::cr4() | 1 << 18);
    for (name, index, value) in [
        ("XCR0 = 0", 0, 0_u64),
        ("XCR0 with AVX but not SSE", 0, 5),
        ("XCR0 with bit 63", 0, 1 << 63 | 3),
        ("XCR1", 1, 3),
    ] {
        let [low, high] = [value as u32, (value >> 32) as u32];
        let vector = trap::vector_of(|| {
            instruction!("xsetbv", in("ecx") index, in("eax") low, in("edx") high);
        });
        report.check_of(name, "it is #GP", vector == Some(GP));
    }
    cpu::set_cr4(cpu::cr4() & !(1 << 18));
}

fn check_exceptions(report: &mut Report) {
    let divide = trap::vector_of(|| {
        instruction!("div {0:r}", in(reg) 0_u64, inout("rax") 1_u64 => _, inout("rdx") 0_u64 => _);
    });
    report.check("a division by zero is #DE", divide == Some(DE));
    let step = trap::vector_of(|| {
        instruction!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop");
    });
    report.check("a single step is #DB", step == Some(DB));
    report.check_eq("and DR6 says so", cpu::dr6() & 1 << 14, 1 << 14);
    cpu::set_dr6(0);
    let step_exit = trap::attempt(|| {
        instruction!(
            "pushfq", "or qword ptr [rsp], 0x100", "popfq", "in al, 0x80", "2: nop", "jmp 2b",
            out("al") _,
        );
    });
    let vector = step_exit.map_err(|trap| trap.vector);
    report.check(
        "a single step over a port access is #DB too",
        vector == Err(DB),
    );
    report.check("ICEBP is #DB", raw!("0xf1") == Some(DB));
    let stack = trap::vector_of(|| {
        instruction!("mov rsp, {}", "push rax", in(reg) 1_u64 << 63);
    });
    report.check("a stack at no canonical address is #SS", stack == Some(12));
    cpu::set_dr6(0);
}

fn check_descriptors(report: &mut Report) {
    let load_ds = |selector: u64| {
        trap::attempt(|| instruction!("mov ds, {0:e}", in(reg) selector))
            .map_err(|trap| (trap.vector, trap.error_code))
    };
    report.check(
        "a selector beyond the GDT is #GP",
        load_ds(0xfff8) == Err((GP, 0xfff8)),
    );
    let null_stack = trap::vector_of(|| instruction!("mov ss, {0:e}", in(reg) 0x1b_u64));
    report.check("SS of another privilege is #GP", null_stack == Some(GP));
    let busy = trap::vector_of(|| instruction!("ltr {0:x}", in(reg) 0x38_u64));
    report.check("LTR of a busy task is #GP", busy == Some(GP));
    let ldt = trap::vector_of(|| instruction!("lldt {0:x}", in(reg) 0x10_u64));
    report.check("LLDT of a data segment is #GP", ldt == Some(GP));
    let far = trap::vector_of(|| {
        instruction!("push 0x10", "lea {0}, [rip]", "push {0}", "retfq", out(reg) _);
    });
    report.check("a far return to data is #GP", far == Some(GP));
}

fn check_gdt(report: &mut Report) {
    let gdt = trap::vector_of(|| {
        memory::write64(SCRATCH, 0xffff);
        memory::write64(SCRATCH + 2, 1 << 63);
        instruction!("lgdt [{}]", in(reg) SCRATCH);
    });
    report.check("LGDT of no canonical address is #GP", gdt == Some(GP));
}

fn check_interrupts(report: &mut Report) {
    tables::set_gate(0x50, 0, 0x0e01);
    tables::set_gate(0x51, 0, 0);
    let code =
        |result: Result<(), trap::Trap>| result.map_err(|trap| (trap.vector, trap.error_code));
    let absent = code(trap::attempt(|| instruction!("int 0x50")));
    report.check(
        "INT through an absent gate is #NP",
        absent == Err((NP, 0x50 * 8 + 2)),
    );
    let wrong = code(trap::attempt(|| instruction!("int 0x51")));
    report.check(
        "INT through no gate is #GP",
        wrong == Err((GP, 0x51 * 8 + 2)),
    );
    macro_rules! software {
        ($($vector:literal)*) => {
            [$((trap::vector_of(|| instruction!("int {}", const $vector)), $vector)),*]
        };
    }
    let found = software!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 16 17 18 19 0x30 0x80 0xff);
    let right = found.iter().all(|(found, wanted)| *found == Some(*wanted));
    report.check("INT n arrives as vector n, exceptions' numbers too", right);
}

fn check_cache(report: &mut Report) {
    memory::write64(SCRATCH, 0x1122_3344);
    instruction!("wbinvd");
    report.check_eq("WBINVD keeps memory", memory::read64(SCRATCH), 0x1122_3344);
    if report.on_skerry("INVD keeps memory (a real one may lose it)") {
        instruction!("invd");
        report.check_eq("INVD keeps memory", memory::read64(SCRATCH), 0x1122_3344);
    }
}

/// What cannot be read cannot be written, over both usual ranges.
fn check_msrs(report: &mut Report) {
    // Write-only registers: microcode update and the two speculation commands.
    let write_only = [0x49, 0x79, 0x10b];
    let ranges = (0..0x1000)
        .chain(0xc000_0000..0xc000_1000)
        .chain(0x4000_0000..0x4000_0100);
    let unreadable = ranges.filter(|index| trap::attempt(|| cpu::rdmsr(*index)).is_err());
    let mut unknown = 0_u32;
    let taken = unreadable
        .filter(|index| !write_only.contains(index))
        .inspect(|_| unknown += 1);
    let first = { taken }.find(|index| trap::vector_of(|| cpu::wrmsr(*index, 0)) != Some(GP));
    println!("{unknown} MSRs are not there");
    report.check_none("an MSR that cannot be read cannot be written", 1, first);
}

fn check_port_reads(report: &mut Report) {
    let present = (0..=u16::MAX).filter(|at| port::read8(*at) != 0xff).count();
    println!("{present} of 65536 ports do not read all ones");
    let wide = [
        port::read32(0x5a50),
        port::read16(0x5a50).into(),
        port::read32(0xfffe),
    ];
    let ones = [u32::MAX, 0xffff, u32::MAX];
    report.check("absent ports read all ones in every width", wide == ones);
    report.check("most ports are absent", present < 2000);
}

/// Only where ports are known to be harmless: under Skerry, less those that end or reset.
fn check_port_writes(report: &mut Report) {
    if !report.on_skerry("a write to every port does no harm") {
        return;
    }
    console::drain();
    let harmless =
        |at: &u16| !matches!(at, 0x60 | 0x64 | 0x92 | 0xe9 | 0xf4..=0xf7 | 0x3f8..=0x3ff | 0xcf9);
    (0..=u16::MAX)
        .filter(harmless)
        .for_each(|at| port::write8(at, 0));
    (0x1000..=u16::MAX)
        .step_by(64)
        .for_each(|at| port::write32(at, u32::MAX));
    report.check("a write to every port does no harm", true);
}

fn check_string_io(report: &mut Report) {
    let left: u64;
    instruction!(
        "rep outsb",
        in("dx") 0x80_u16, inout("rsi") 0xb000_0000_u64 => _, inout("rcx") 4096_u64 => left,
    );
    report.check_eq("REP OUTSB from a hole comes to its end", left, 0);
    let left: u64;
    instruction!(
        "rep insd",
        in("dx") 0x5a50_u16, inout("rdi") 0xb000_0000_u64 => _, inout("rcx") 1024_u64 => left,
    );
    report.check_eq("REP INSD into a hole comes to its end", left, 0);
    let bogus = trap::vector_of(|| {
        instruction!("insb", in("dx") 0x5a50_u16, inout("rdi") 1_u64 << 62 => _);
    });
    report.check("INSB to no canonical address is #GP", bogus == Some(GP));
}

fn check_halts(report: &mut Report) {
    pit::set_up_pic(1 << pit::LINE);
    let before = trap::irqs(pit::LINE);
    for _ in 0..200 {
        pit::arm_once(2);
        cpu::sleep();
    }
    report.check_eq(
        "200 short sleeps wake 200 times",
        trap::irqs(pit::LINE) - before,
        200,
    );
}

/// Random bytes as code. They may break the stub itself, so this comes last and claims
/// nothing.
fn run_garbage(rounds: u64, seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for round in 0..rounds {
        for at in (SCRATCH..SCRATCH + 64).step_by(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            memory::write64(at, state);
        }
        memory::write64(SCRATCH + 64, 0xcccc_cccc_cccc_cccc);
        let vector = trap::vector_of(|| instruction!("call {}", in(reg) SCRATCH, clobber_abi("C")));
        println!("garbage {round} ended by {vector:?}");
    }
}
