//! From a VT-x exit to the [`VmExit`] both vendors share.
//!
//! Owns the meaning of every basic exit reason and of the exit qualifications
//! `[SDM 3C, "Information for VM Exits"; SDM 3D, "VMX Basic Exit Reasons", ed. 085]`, and
//! which state the VMM needs for each exit. Reads only the fields a reason needs.
//!
//! Does not own the answers. Called by `virt::vmx` on every exit: the hottest code here.

use skerry_words::{
    Access, CrAccess, CrOperation, Direction, EventKind, EventWord, ExitKind, Gpa, Gva,
    MemoryAccess, Port, PortAccess, Segment, StateGroups, StringIo, TaskSwitch, Undefined, Vector,
    VmExit, Width,
};

use super::field::{self, VmcsRead};
use crate::Frequent;

/// Bit 31 of the exit reason: the entry failed, no guest instruction ran.
const ENTRY_FAILURE: u32 = 1 << 31;
/// Bit 31 of an interruption-information field: it holds an event.
const VALID: u64 = 1 << 31;
/// Bit 11 of an interruption-information field: it has an error code.
const ERROR_CODE: u64 = 1 << 11;

/// The exit with this reason if it is a frequent one, before any other is thought of. [`decode`]
/// says the same of it.
#[inline(always)]
pub fn frequent(reason: u32, vmcs: &impl VmcsRead) -> Option<Frequent> {
    match reason {
        7 => Some(Frequent::Plain(ExitKind::InterruptWindow)),
        10 => Some(Frequent::Plain(ExitKind::Cpuid)),
        12 => Some(Frequent::Plain(ExitKind::Hlt)),
        18 => Some(Frequent::Plain(ExitKind::Hypercall)),
        30 => {
            let qualification = vmcs.read(field::EXIT_QUALIFICATION);
            let access = port_access(qualification)?;
            (qualification & IS_STRING == 0).then_some(Frequent::Port(access))
        }
        31 => Some(Frequent::Plain(ExitKind::Rdmsr)),
        32 => Some(Frequent::Plain(ExitKind::Wrmsr)),
        44 => {
            let qualification = vmcs.read(field::EXIT_QUALIFICATION);
            Some(Frequent::Memory(apic_access(qualification)))
        }
        48 => Some(Frequent::Memory(ept_violation(vmcs))),
        _ => None,
    }
}

/// Decodes the exit whose reason field reads `reason`.
///
/// Reasons that only controls nobody sets could cause (monitor trap, RDTSC,
/// page-modification log, ...) and EPT misconfigurations are our own error: they
/// are [`VmExit::Unknown`] with the reason, which ends the VM by name.
#[inline]
pub fn decode(reason: u32, vmcs: &impl VmcsRead) -> VmExit {
    if reason & ENTRY_FAILURE != 0 {
        return VmExit::EntryFailed(reason & 0xffff);
    }
    match reason & 0xffff {
        0 => exception_or_nmi(vmcs),
        1 => host_interrupt(vmcs),
        2 => VmExit::TripleFault,
        // INIT signal, start-up IPI.
        3 | 4 => VmExit::Init,
        7 => VmExit::InterruptWindow,
        8 => VmExit::NmiWindow,
        9 => task_switch(vmcs),
        10 => VmExit::Cpuid,
        12 => VmExit::Hlt,
        // INVD, WBINVD and WBNOINVD.
        13 | 54 => VmExit::CacheFlush,
        14 => VmExit::Invlpg(Gva(vmcs.read(field::EXIT_QUALIFICATION))),
        15 => VmExit::Undefined(Undefined::Rdpmc),
        18 => VmExit::Hypercall,
        // VMCLEAR to VMXON, INVEPT, INVVPID, VMFUNC, SEAMCALL, TDCALL.
        19..=27 | 50 | 53 | 59 | 76 | 77 => VmExit::Undefined(Undefined::Virtualization),
        28 => control_register(vmcs.read(field::EXIT_QUALIFICATION)),
        29 => VmExit::Dr,
        30 => port(vmcs),
        31 => VmExit::Rdmsr,
        32 => VmExit::Wrmsr,
        // Invalid guest state, MSR loading, machine check: entry failures.
        reason @ (33 | 34 | 41) => VmExit::EntryFailed(reason),
        // MWAIT, MONITOR.
        36 | 39 => VmExit::Undefined(Undefined::MonitorMwait),
        40 => VmExit::Pause,
        44 => VmExit::Memory(apic_access(vmcs.read(field::EXIT_QUALIFICATION))),
        45 => VmExit::ApicEnd(Vector(vmcs.read(field::EXIT_QUALIFICATION) as u8)),
        48 => VmExit::Memory(ept_violation(vmcs)),
        52 => VmExit::Timer,
        55 => VmExit::Xsetbv,
        56 => VmExit::ApicWrite(vmcs.read(field::EXIT_QUALIFICATION) as u16 & 0xfff),
        // GETSEC, RSM, RDRAND, ENCLS, RDSEED, XSAVES, XRSTORS, PCONFIG, UMWAIT, TPAUSE,
        // LOADIWKEY, ENCLV, ENQCMD, ENQCMDS, RDMSRLIST, WRMSRLIST, URDMSR, UWRMSR, and
        // RDMSR and WRMSRNS with an immediate: CPUID hides them all.
        11 | 17 | 57 | 60 | 61 | 63..=65 | 67..=70 | 72 | 73 | 78..=81 | 84 | 85 => {
            VmExit::Undefined(Undefined::SystemExtension)
        }
        // 5, 6 SMI; 16, 51 RDTSC, RDTSCP; 37 monitor trap flag; 43 TPR below
        // threshold; 46, 47 descriptor tables; 49 EPT misconfiguration; 58 INVPCID;
        // 62 page-modification log; 66 sub-page permissions; 74 bus lock; 75 instruction
        // time-out; the rest is reserved.
        reason => VmExit::Unknown(reason),
    }
}

/// Reason 0: type 2 is an NMI of the host, everything else the guest's exception.
fn exception_or_nmi(vmcs: &impl VmcsRead) -> VmExit {
    let information = vmcs.read(field::EXIT_INTERRUPTION_INFORMATION);
    let error_code = if information & ERROR_CODE != 0 {
        vmcs.read(field::EXIT_INTERRUPTION_ERROR_CODE) << 32
    } else {
        0
    };
    match EventWord((information & 0xffff_ffff) | error_code).decode() {
        Some(event) if event.kind == EventKind::Nmi => VmExit::HostNmi,
        Some(event) => VmExit::Exception(event),
        None => VmExit::Unknown(0),
    }
}

/// Reason 1: the vector is valid with "acknowledge interrupt on exit" only.
fn host_interrupt(vmcs: &impl VmcsRead) -> VmExit {
    let information = vmcs.read(field::EXIT_INTERRUPTION_INFORMATION);
    let vector = Vector((information & 0xff) as u8);
    VmExit::HostInterrupt((information & VALID != 0).then_some(vector))
}

/// `[SDM 3C, "Exit Qualification for Task Switches", ed. 085]`
fn task_switch(vmcs: &impl VmcsRead) -> VmExit {
    VmExit::TaskSwitch(TaskSwitch {
        selector: vmcs.read(field::EXIT_QUALIFICATION) as u16,
    })
}

/// `[SDM 3C, "Exit Qualification for Control-Register Accesses", ed. 085]`
#[inline]
fn control_register(qualification: u64) -> VmExit {
    let register = (qualification & 0xf) as u8;
    let gpr = ((qualification >> 8) & 0xf) as u8;
    let (register, operation) = match (qualification >> 4) & 3 {
        0 => (register, CrOperation::Write(gpr)),
        1 => (register, CrOperation::Read(gpr)),
        2 => (0, CrOperation::Clts),
        _ => (0, CrOperation::Lmsw((qualification >> 16) as u16)),
    };
    VmExit::Cr(CrAccess {
        register,
        operation,
    })
}

/// In the qualification of a port exit: it was INS or OUTS.
const IS_STRING: u64 = 1 << 4;

/// The access but for what INS and OUTS add; `None` for a width that no instruction has
/// `[SDM 3C, "Exit Qualification for I/O Instructions", ed. 085]`.
#[inline(always)]
const fn port_access(qualification: u64) -> Option<PortAccess> {
    let width = match qualification & 7 {
        0 => Width::Byte,
        1 => Width::Word,
        3 => Width::Dword,
        _ => return None,
    };
    let direction = if qualification & (1 << 3) != 0 {
        Direction::In
    } else {
        Direction::Out
    };
    Some(PortAccess {
        port: Port((qualification >> 16) as u16),
        width,
        direction,
        string: None,
    })
}

fn port(vmcs: &impl VmcsRead) -> VmExit {
    let qualification = vmcs.read(field::EXIT_QUALIFICATION);
    let Some(mut access) = port_access(qualification) else {
        return VmExit::Unknown(30);
    };
    if qualification & IS_STRING != 0 {
        let repeat = qualification & (1 << 5) != 0;
        access.string = Some(string_io(vmcs, repeat, access.direction));
    }
    VmExit::Port(access)
}

/// `[SDM 3C, "Format of the VM-Exit Instruction-Information Field as Used for INS and
/// OUTS", ed. 085]`: the segment is undefined for INS, whose operand is always in ES.
#[cold]
fn string_io(vmcs: &impl VmcsRead, repeat: bool, direction: Direction) -> StringIo {
    let information = vmcs.read(field::EXIT_INSTRUCTION_INFORMATION);
    let address_bytes = match (information >> 7) & 7 {
        0 => 2,
        1 => 4,
        _ => 8,
    };
    let segment = match (direction, (information >> 15) & 7) {
        (Direction::In, _) | (Direction::Out, 0) => Segment::Es,
        (Direction::Out, 1) => Segment::Cs,
        (Direction::Out, 2) => Segment::Ss,
        (Direction::Out, 4) => Segment::Fs,
        (Direction::Out, 5) => Segment::Gs,
        (Direction::Out, _) => Segment::Ds,
    };
    StringIo {
        repeat,
        address_bytes,
        segment,
    }
}

/// `[SDM 3C, "Exit Qualification for EPT Violations", ed. 085]`: with EPT accessed and
/// dirty flags a walk of the guest's tables counts as read and write, hence write first.
#[inline(always)]
fn ept_violation(vmcs: &impl VmcsRead) -> MemoryAccess {
    let qualification = vmcs.read(field::EXIT_QUALIFICATION);
    let access = if qualification & (1 << 2) != 0 {
        Access::Execute
    } else if qualification & (1 << 1) != 0 {
        Access::Write
    } else {
        Access::Read
    };
    let linear_valid = qualification & (1 << 7) != 0;
    MemoryAccess {
        gpa: Gpa(vmcs.read(field::GUEST_PHYSICAL_ADDRESS)),
        access,
        gva: linear_valid.then(|| Gva(vmcs.read(field::GUEST_LINEAR_ADDRESS))),
        during_walk: linear_valid && qualification & (1 << 8) == 0,
    }
}

/// `[SDM 3C, "Exit Qualification for APIC-Access VM Exits", ed. 085]`: an access to the page at
/// `fee00000` that the CPU does not carry out. The linear address is not told.
#[inline(always)]
const fn apic_access(qualification: u64) -> MemoryAccess {
    const PAGE: u64 = 0xfee0_0000;
    let (access, during_walk) = match (qualification >> 12) & 0xf {
        0 => (Access::Read, false),
        2 => (Access::Execute, false),
        10 | 15 => (Access::Read, true),
        _ => (Access::Write, false),
    };
    MemoryAccess {
        gpa: Gpa(PAGE | qualification & 0xfff),
        access,
        gva: None,
        during_walk,
    }
}

/// The guest state an exit's answer may need: ring 0 fills these groups and no others.
#[inline]
#[must_use]
pub const fn groups(exit: &VmExit) -> StateGroups {
    // The instruction or its operand is found through segments and page tables.
    const OPERAND: StateGroups = StateGroups::INSTRUCTION
        .union(StateGroups::CONTROL)
        .union(StateGroups::OPERAND)
        .union(StateGroups::PDPTES)
        .union(StateGroups::PRIVILEGE)
        .union(StateGroups::STACK);
    // Paging or long mode may go on or off: CS.L, TR and the PDPTEs have a say.
    const MODE: StateGroups = OPERAND.union(StateGroups::SEGMENTS);
    match exit {
        VmExit::Hypercall | VmExit::Xsetbv => {
            StateGroups::INSTRUCTION.union(StateGroups::PRIVILEGE)
        }
        VmExit::Rdmsr | VmExit::Wrmsr => StateGroups::INSTRUCTION.union(StateGroups::CONTROL),
        VmExit::Port(PortAccess { string: None, .. }) => StateGroups::INSTRUCTION,
        VmExit::Port(_) | VmExit::Memory(_) => OPERAND,
        VmExit::Cr(CrAccess {
            operation: CrOperation::Clts | CrOperation::Read(_),
            ..
        }) => StateGroups::INSTRUCTION.union(StateGroups::CONTROL),
        VmExit::Cr(_) | VmExit::TaskSwitch(_) => MODE,
        VmExit::Dr => StateGroups::INSTRUCTION.union(StateGroups::DEBUG),
        VmExit::Exception(_) => StateGroups::INSTRUCTION.union(StateGroups::DEBUG),
        VmExit::HostInterrupt(_) | VmExit::HostNmi | VmExit::Init => StateGroups::empty(),
        VmExit::EntryFailed(_) | VmExit::Unknown(_) => StateGroups::all(),
        VmExit::Cpuid
        | VmExit::Hlt
        | VmExit::Pause
        | VmExit::CacheFlush
        | VmExit::Invlpg(_)
        | VmExit::Undefined(_)
        | VmExit::InterruptWindow
        | VmExit::NmiWindow
        | VmExit::Timer
        | VmExit::TripleFault
        | VmExit::ApicWrite(_)
        | VmExit::ApicEnd(_) => StateGroups::INSTRUCTION,
    }
}

#[cfg(test)]
mod tests;
