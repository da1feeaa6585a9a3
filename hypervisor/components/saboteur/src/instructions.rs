//! Instructions that are ring 0's, or that ring 0 does not lend.
//!
//! Each ends the component by an exception: #GP for what needs privilege, #UD for what is not
//! switched on, #NM for FPU and vectors `[SDM 3A, "Privileged Instructions", ed. 085]`.

use skerry_component::instruction;

/// Executes the instruction of this name; false if none is known.
pub fn execute(name: &str) -> bool {
    machine_state(name) || control(name) || entries(name) || borrowed(name)
}

fn machine_state(name: &str) -> bool {
    match name {
        "cli" => instruction!("cli"),
        "sti" => instruction!("sti"),
        "hlt" => instruction!("hlt"),
        "in" => instruction!("in al, dx", in("dx") 0x3f8_u16, out("al") _),
        "out" => instruction!("out dx, al", in("dx") 0x3f8_u16, in("al") b'!'),
        "outsb" => instruction!("outsb", in("dx") 0x3f8_u16, inout("rsi") 0x40_0000_u64 => _),
        "wbinvd" => instruction!("wbinvd"),
        "invd" => instruction!("invd"),
        "invlpg" => instruction!("invlpg [{0}]", in(reg) 0x40_0000_u64),
        "rdpmc" => instruction!("rdpmc", in("ecx") 0, out("eax") _, out("edx") _),
        "swapgs" => instruction!("swapgs"),
        _ => return false,
    }
    true
}

fn control(name: &str) -> bool {
    match name {
        "rdmsr" => instruction!("rdmsr", in("ecx") 0x1b, out("eax") _, out("edx") _),
        "wrmsr" => instruction!("wrmsr", in("ecx") 0xc000_0082_u32, in("eax") 0, in("edx") 0),
        "read-cr0" => instruction!("mov {0}, cr0", out(reg) _),
        "mov-cr0" => instruction!("mov cr0, {0}", in(reg) 0_u64),
        "mov-cr3" => instruction!("mov cr3, {0}", in(reg) 0_u64),
        "mov-cr4" => instruction!("mov cr4, {0}", in(reg) 0_u64),
        "mov-dr7" => instruction!("mov dr7, {0}", in(reg) 0x401_u64),
        "clts" => instruction!("clts"),
        "lgdt" => instruction!("lgdt [{0}]", in(reg) 0x40_0000_u64),
        "lidt" => instruction!("lidt [{0}]", in(reg) 0x40_0000_u64),
        "ltr" => instruction!("ltr {0:x}", in(reg) 8_u16),
        // Only CPUs with UMIP refuse it.
        "sgdt" => instruction!("sgdt [rsp - 64]"),
        "xsetbv" => instruction!("xsetbv", in("ecx") 0, in("eax") 1, in("edx") 0),
        _ => return false,
    }
    true
}

fn entries(name: &str) -> bool {
    match name {
        "syscall" => instruction!("syscall", out("rcx") _, out("r11") _),
        "sysenter" => instruction!("sysenter"),
        "sysret" => instruction!("sysretq"),
        "far-return" => instruction!("push 8", "lea rax, [rip]", "push rax", "retfq"),
        "iret" => instruction!(
            "mov rcx, rsp",
            "push 16",
            "push rcx",
            "push 2",
            "push 8",
            "lea rax, [rip]",
            "push rax",
            "iretq"
        ),
        "vmcall" => instruction!("vmcall"),
        "vmmcall" => instruction!("vmmcall"),
        "vmxoff" => instruction!("vmxoff"),
        "vmrun" => instruction!("vmrun rax", in("rax") 0_u64),
        "trap-flag" => instruction!("pushfq", "or qword ptr [rsp], 256", "popfq", "nop"),
        _ => return false,
    }
    true
}

fn borrowed(name: &str) -> bool {
    match name {
        "ud2" => instruction!("ud2"),
        "int3" => instruction!("int3"),
        "div0" => instruction!("div {0:e}", in(reg) 0, inout("eax") 1 => _, inout("edx") 0 => _),
        "sse" => instruction!("xorps xmm0, xmm0"),
        "fpu" => instruction!("fld1"),
        "mmx" => instruction!("emms"),
        "fninit" => instruction!("fninit"),
        _ => return false,
    }
    true
}
