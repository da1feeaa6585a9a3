//! Does CPUID tell a consistent story, with no feature that is not there?
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::cpu::{self, HYPERVISOR_LEAF, cpuid};
use guest_stubs::trap::{self, GP, UD};
use guest_stubs::{Boot, Report, instruction, println, stub};

stub!("CPUID tells a consistent story", run);

const CR4_OSXSAVE: u64 = 1 << 18;

fn run(report: &mut Report, _boot: &Boot) {
    check_limits(report);
    check_upper_halves(report);
    check_hypervisor_leaf(report);
    check_hidden(report);
    check_monitor(report);
    check_apic(report);
    check_osxsave(report);
}

fn check_limits(report: &mut Report) {
    let vendor = cpu::vendor();
    println!(
        "vendor {:?}",
        core::str::from_utf8(&vendor).unwrap_or("not ASCII")
    );
    let printable = vendor.iter().all(u8::is_ascii_graphic);
    report.check("the vendor is twelve letters", printable);
    let last = cpuid(0, 0).eax;
    report.check(
        "there are at least 2 and at most 256 basic leaves",
        (1..256).contains(&last),
    );
    let extended = cpuid(0x8000_0000, 0).eax;
    let range = 0x8000_0008..0x8000_0100;
    report.check(
        "extended leaves reach the address widths",
        range.contains(&extended),
    );
    let widths = cpuid(0x8000_0008, 0).eax;
    let plausible = (32..=52).contains(&(widths & 0xff)) && matches!(widths >> 8 & 0xff, 48 | 57);
    report.check("address widths are ones a CPU can have", plausible);
    let beyond = [last + 1, 0x3fff_ffff, 0x6000_0000];
    let same = beyond
        .iter()
        .all(|leaf| cpuid(*leaf, 0) == cpuid(beyond[0], 0));
    report.check("every leaf beyond the limit gives the same answer", same);
    report.check(
        "a leaf asked twice gives the same answer",
        cpuid(1, 0) == cpuid(1, 0),
    );
}

fn check_upper_halves(report: &mut Report) {
    let (rax, rcx): (u64, u64);
    instruction!(
        "push rbx", "cpuid", "pop rbx",
        inout("rax") 0xffff_ffff_0000_0000_u64 => rax,
        inout("rcx") u64::MAX << 32 => rcx,
        out("rdx") _,
    );
    report.check_eq("CPUID clears the upper halves", (rax | rcx) >> 32, 0);
}

fn check_hypervisor_leaf(report: &mut Report) {
    if !report.on_skerry("the hypervisor leaf says SkerrySkerry") {
        return;
    }
    let last = cpuid(HYPERVISOR_LEAF, 0).eax;
    let range = HYPERVISOR_LEAF..HYPERVISOR_LEAF + 256;
    report.check(
        "the hypervisor leaf names its own limit",
        range.contains(&last),
    );
}

fn check_hidden(report: &mut Report) {
    if !report.on_skerry("features without a device or a right behind them are hidden") {
        return;
    }
    let basic = cpuid(1, 0);
    let hidden = [(3, "MONITOR"), (5, "VMX"), (6, "SMX"), (15, "PDCM")];
    for (bit, name) in hidden {
        println!("{name}:");
        report.check_eq("its bit in leaf 1 ECX is clear", basic.ecx >> bit & 1, 0);
    }
    report.check_eq("SVM is hidden", cpuid(0x8000_0001, 0).ecx >> 2 & 1, 0);
    if !cpu::has_apic() {
        let apic = (1 << 21) | (1 << 24);
        report.check_eq(
            "without APIC no x2APIC and no TSC deadline",
            basic.ecx & apic,
            0,
        );
    }
    if cpuid(0, 0).eax >= 10 {
        report.check_eq(
            "there are no performance counters",
            cpuid(10, 0).eax & 0xffff,
            0,
        );
    }
}

fn check_monitor(report: &mut Report) {
    let offered = cpuid(1, 0).ecx & (1 << 3) != 0;
    let vector = trap::vector_of(|| {
        let at = guest_stubs::memory::SCRATCH;
        instruction!("monitor", in("rax") at, in("ecx") 0, in("edx") 0, options(nostack));
    });
    let wanted = if offered { None } else { Some(UD) };
    report.check("MONITOR works if offered, else is #UD", vector == wanted);
}

fn check_apic(report: &mut Report) {
    if cpu::has_apic() {
        report.skip("there is a local APIC, so its base register may be read");
        return;
    }
    // IA32_APIC_BASE may read as a disabled APIC; what it must not do is enable one.
    let enabled = trap::attempt(|| cpu::rdmsr(0x1b) & (1 << 11) != 0);
    report.check(
        "without APIC its base register shows none",
        !matches!(enabled, Ok(true)),
    );
    let write = trap::vector_of(|| cpu::wrmsr(0x1b, 0xfee0_0900));
    report.check("and enabling one is #GP", write == Some(GP));
}

fn check_osxsave(report: &mut Report) {
    if cpuid(1, 0).ecx & (1 << 26) == 0 {
        let set = trap::vector_of(|| cpu::set_cr4(cpu::cr4() | CR4_OSXSAVE));
        report.check("without XSAVE, CR4.OSXSAVE is #GP", set == Some(GP));
        return;
    }
    let before = cpu::cr4();
    let osxsave = || cpuid(1, 0).ecx >> 27 & 1;
    cpu::set_cr4(before | CR4_OSXSAVE);
    report.check_eq("OSXSAVE is set once CR4 has it", osxsave(), 1);
    check_xsave_size(report);
    cpu::set_cr4(before & !CR4_OSXSAVE);
    report.check_eq("OSXSAVE is clear again without it", osxsave(), 0);
}

fn check_xsave_size(report: &mut Report) {
    let size = || cpuid(13, 0).ebx;
    set_xcr0(1);
    report.check_eq("x87 state alone needs 576 bytes", size(), 576);
    if cpuid(13, 0).eax & 4 != 0 {
        set_xcr0(7);
        report.check("AVX state needs more", size() > 576);
        set_xcr0(1);
    }
}

fn set_xcr0(value: u32) {
    instruction!("xsetbv", in("ecx") 0, in("eax") value, in("edx") 0, options(nostack));
}
