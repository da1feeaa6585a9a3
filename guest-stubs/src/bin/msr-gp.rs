//! Are unknown MSRs #GP, and do the known ones hold what is written?
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::cpu::{self, rdmsr, wrmsr};
use guest_stubs::trap::{self, GP};
use guest_stubs::{Boot, Report, println, stub};

stub!("unknown MSRs are #GP and known ones keep their values", run);

const PAT: u32 = 0x277;
const EFER: u32 = 0xc000_0080;
const EFER_SCE: u64 = 1;
const EFER_LME: u64 = 1 << 8;
const EFER_NXE: u64 = 1 << 11;
const UNKNOWN: [u32; 8] = [
    0x5,
    0x480,
    0x48b,
    0x1234_5678,
    0x4fff_ffff,
    0xc000_1234,
    0xc001_0114,
    0xffff_ffff,
];

fn run(report: &mut Report, _boot: &Boot) {
    check_unknown(report);
    check_kept(report);
    check_pat(report);
    check_efer(report);
    check_canonical(report);
    check_tsc(report);
}

fn check_unknown(report: &mut Report) {
    if !report.on_skerry("unknown MSRs are #GP") {
        return;
    }
    for index in UNKNOWN {
        println!("MSR {index:#x}:");
        let read = trap::attempt(|| rdmsr(index));
        let code = read.map_err(|trap| (trap.vector, trap.error_code));
        report.check("reading it is #GP with error code 0", code == Err((GP, 0)));
        let write = trap::vector_of(|| wrmsr(index, 0));
        report.check("writing it is #GP", write == Some(GP));
    }
}

fn check_kept(report: &mut Report) {
    let known = [
        ("IA32_SYSENTER_CS", 0x174, 0x8),
        ("IA32_SYSENTER_ESP", 0x175, 0xffff_8000_1234_5678),
        ("IA32_SYSENTER_EIP", 0x176, 0x7fff_8765_4321),
        ("IA32_STAR", 0xc000_0081, 0x0013_0008_dead_beef),
        ("IA32_LSTAR", 0xc000_0082, 0xffff_ffff_8100_0000),
        ("IA32_CSTAR", 0xc000_0083, 0xffff_ffff_8200_0000),
        ("IA32_FMASK", 0xc000_0084, 0x4_7700),
        ("IA32_FS_BASE", 0xc000_0100, 0x1000_2000_3000),
        ("IA32_GS_BASE", 0xc000_0101, 0xffff_8888_0000_1000),
        ("IA32_KERNEL_GS_BASE", 0xc000_0102, 0xffff_9999_0000_1000),
    ];
    for (name, index, value) in known {
        println!("{name}:");
        let before = rdmsr(index);
        wrmsr(index, value);
        report.check_eq("it keeps a value", rdmsr(index), value);
        wrmsr(index, before);
        report.check_eq("and another", rdmsr(index), before);
    }
}

fn check_pat(report: &mut Report) {
    let before = rdmsr(PAT);
    let other = 0x0007_0506_0007_0106;
    wrmsr(PAT, other);
    report.check_eq("PAT keeps its memory types", rdmsr(PAT), other);
    wrmsr(PAT, before);
    let reserved = trap::vector_of(|| wrmsr(PAT, before & !0xff | 2));
    report.check("memory type 2 in PAT is #GP", reserved == Some(GP));
    report.check_eq("and leaves PAT as it was", rdmsr(PAT), before);
}

fn check_efer(report: &mut Report) {
    let before = rdmsr(EFER);
    report.check_eq(
        "EFER shows long mode enabled and active",
        before & 0x500,
        0x500,
    );
    wrmsr(EFER, before | EFER_SCE | EFER_NXE);
    report.check_eq(
        "SCE and NXE can be set",
        rdmsr(EFER),
        before | EFER_SCE | EFER_NXE,
    );
    wrmsr(EFER, before);
    report.check_eq("and cleared", rdmsr(EFER), before);
    let off = trap::vector_of(|| wrmsr(EFER, before & !EFER_LME));
    report.check("clearing LME with paging on is #GP", off == Some(GP));
    let reserved = trap::vector_of(|| wrmsr(EFER, before | 1 << 20 | 1 << 63));
    report.check("reserved bits of EFER are #GP", reserved == Some(GP));
    if cpu::cpuid(0x8000_0001, 0).ecx & 4 == 0 {
        let svm = trap::vector_of(|| wrmsr(EFER, before | 1 << 12));
        report.check("SVME without SVM is #GP", svm == Some(GP));
    }
    report.check_eq("after all that EFER is as it was", rdmsr(EFER), before);
}

fn check_canonical(report: &mut Report) {
    for (name, index) in [
        ("IA32_SYSENTER_ESP", 0x175),
        ("IA32_SYSENTER_EIP", 0x176),
        ("IA32_LSTAR", 0xc000_0082),
        ("IA32_CSTAR", 0xc000_0083),
        ("IA32_FS_BASE", 0xc000_0100),
        ("IA32_GS_BASE", 0xc000_0101),
        ("IA32_KERNEL_GS_BASE", 0xc000_0102),
    ] {
        let write = trap::vector_of(|| wrmsr(index, 0x8000_0000_0000_0000));
        let claim = "an address that is not canonical is #GP";
        report.check_of(name, claim, write == Some(GP));
    }
}

fn check_tsc(report: &mut Report) {
    let [first, by_msr, last] = [cpu::tsc(), rdmsr(0x10), cpu::tsc()];
    report.check(
        "IA32_TSC reads between two RDTSCs",
        first <= by_msr && by_msr <= last,
    );
}
