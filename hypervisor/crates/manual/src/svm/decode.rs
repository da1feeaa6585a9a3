//! From an SVM exit to the [`VmExit`] both vendors share.
//!
//! Owns the meaning of every exit code and of EXITINFO1 and 2 `[APM 2, "SVM Intercept
//! Codes" and "Instruction Intercepts", rev. 3.42]`, and which state the VMM needs for each
//! exit. What only decode assists tell is said to be unknown on CPUs without them.
//!
//! Does not own the answers. Called by `virt::svm` on every exit: the hottest code here.

use skerry_words::{
    Access, CrAccess, CrOperation, Direction, Event, EventKind, ExitKind, Gpa, Gva, MemoryAccess,
    Port, PortAccess, Segment, StateGroups, StringIo, TaskSwitch, Undefined, Vector, VmExit, Width,
};

use super::caps::Features;
use super::field::{self, VmcbRead};
use crate::{Frequent, vmx};

/// Exit codes from here on say that VMRUN itself failed: -1 an invalid VMCB, -2 a busy one,
/// -3 a CPU that must be idle.
const FIRST_FAILURE: u64 = -3_i64 as u64;

/// The exit with this code if it is a frequent one, before any other is thought of. [`decode`] says
/// the same of it.
#[inline(always)]
pub fn frequent(code: u64, vmcb: &impl VmcbRead) -> Option<Frequent> {
    match code {
        0x72 => Some(Frequent::Plain(ExitKind::Cpuid)),
        0x81 => Some(Frequent::Plain(ExitKind::Hypercall)),
        0x7c if vmcb.read(field::EXIT_INFO_1) & 1 != 0 => Some(Frequent::Plain(ExitKind::Wrmsr)),
        0x7c => Some(Frequent::Plain(ExitKind::Rdmsr)),
        0x7b => {
            let information = vmcb.read(field::EXIT_INFO_1);
            let access = port_access(information)?;
            (information & IS_STRING == 0).then_some(Frequent::Port(access))
        }
        0x78 => Some(Frequent::Plain(ExitKind::Hlt)),
        0x64 => Some(Frequent::Plain(ExitKind::InterruptWindow)),
        0x400 => Some(Frequent::Memory(nested_page_fault(vmcb))),
        _ => None,
    }
}

/// Decodes the exit with this code of a CPU with these features.
///
/// Codes that only intercepts nobody sets could cause (RDTSC, descriptor tables, SMI, traps
/// after a write, ...) are our own error: they are [`VmExit::Unknown`] with the code, which
/// ends the VM by name. A code of -1 is taken in 32 bits too, as some emulators write it.
#[inline]
pub fn decode(code: u64, features: Features, vmcb: &impl VmcbRead) -> VmExit {
    match code {
        0x00..=0x0f => control_register(code as u8, Way::Read, features, vmcb),
        0x10..=0x1f => control_register((code & 0xf) as u8, Way::Write, features, vmcb),
        0x65 => control_register(0, Way::Write, features, vmcb),
        0x20..=0x3f => VmExit::Dr,
        0x40..=0x5f => exception((code & 0x1f) as u8, vmcb),
        0x60 => VmExit::HostInterrupt(None),
        0x61 => VmExit::HostNmi,
        0x63 => VmExit::Init,
        0x64 => VmExit::InterruptWindow,
        0x6f => VmExit::Undefined(Undefined::Rdpmc),
        0x72 => VmExit::Cpuid,
        // IRET, which ends the service of an NMI: asked for while one is served.
        0x74 => VmExit::NmiWindow,
        // INVD, WBINVD and WBNOINVD.
        0x76 | 0x89 => VmExit::CacheFlush,
        0x77 => VmExit::Pause,
        0x78 => VmExit::Hlt,
        0x79 if features.contains(Features::DECODE_ASSISTS) => {
            VmExit::Invlpg(Gva(vmcb.read(field::EXIT_INFO_1)))
        }
        // INVLPGA, VMRUN, VMLOAD, VMSAVE, STGI, CLGI, SKINIT.
        0x7a | 0x80 | 0x82..=0x86 => VmExit::Undefined(Undefined::Virtualization),
        0x7b => port(features, vmcb),
        0x7c if vmcb.read(field::EXIT_INFO_1) & 1 != 0 => VmExit::Wrmsr,
        0x7c => VmExit::Rdmsr,
        0x7d => task_switch(vmcb),
        // The CPU waits for somebody to serve an FPU error: #MF is the modern way to tell.
        0x7e => VmExit::Exception(fpu_error()),
        0x7f => VmExit::TripleFault,
        0x81 => VmExit::Hypercall,
        0x8a..=0x8c => VmExit::Undefined(Undefined::MonitorMwait),
        0x8d => VmExit::Xsetbv,
        // RSM, RDPRU, INVLPGB, MCOMMIT, TLBSYNC: CPUID hides them all.
        0x73 | 0x8e | 0xa0 | 0xa1 | 0xa3 | 0xa4 => VmExit::Undefined(Undefined::SystemExtension),
        0x400 => VmExit::Memory(nested_page_fault(vmcb)),
        FIRST_FAILURE.. | 0xffff_ffff => VmExit::EntryFailed(code as u32),
        code => VmExit::Unknown(code as u32),
    }
}

/// Which way a control register went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Read,
    Write,
}

/// `[APM 2, "MOV CRx/DRx Intercepts", rev. 3.42]`: bit 63 of EXITINFO1 says that the
/// instruction was a MOV and bits 3:0 its register; LMSW, SMSW and CLTS have it off.
#[inline]
fn control_register(register: u8, way: Way, features: Features, vmcb: &impl VmcbRead) -> VmExit {
    const IS_MOVE: u64 = 1 << 63;
    let information = vmcb.read(field::EXIT_INFO_1);
    let told = features.contains(Features::DECODE_ASSISTS) && information & IS_MOVE != 0;
    let gpr = (information & 0xf) as u8;
    let operation = match way {
        Way::Read if told => CrOperation::Read(gpr),
        Way::Write if told => CrOperation::Write(gpr),
        Way::Read | Way::Write => CrOperation::Undecoded,
    };
    VmExit::Cr(CrAccess {
        register,
        operation,
    })
}

/// `[APM 2, "Error Codes", rev. 3.42]`: `#DF`, `#TS` to `#PF`, `#AC`, `#CP`, `#VC`, `#SX`.
#[cold]
fn exception(vector: u8, vmcb: &impl VmcbRead) -> VmExit {
    let has_error_code = matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30);
    VmExit::Exception(Event {
        kind: EventKind::Exception,
        vector: Vector(vector),
        error_code: has_error_code.then(|| vmcb.read(field::EXIT_INFO_1) as u32),
    })
}

fn fpu_error() -> Event {
    Event {
        kind: EventKind::Exception,
        vector: Vector(16),
        error_code: None,
    }
}

/// `[APM 2, "Task Switch Intercept", rev. 3.42]`
fn task_switch(vmcb: &impl VmcbRead) -> VmExit {
    VmExit::TaskSwitch(TaskSwitch {
        selector: vmcb.read(field::EXIT_INFO_1) as u16,
    })
}

/// In EXITINFO1 of a port exit: it was INS or OUTS.
const IS_STRING: u64 = 1 << 2;

/// The access but for what INS and OUTS add; `None` for a width that no instruction has
/// `[APM 2, "IOIO Intercept", rev. 3.42]`.
#[inline(always)]
const fn port_access(information: u64) -> Option<PortAccess> {
    let width = match (information >> 4) & 7 {
        1 => Width::Byte,
        2 => Width::Word,
        4 => Width::Dword,
        _ => return None,
    };
    let direction = if information & 1 != 0 {
        Direction::In
    } else {
        Direction::Out
    };
    Some(PortAccess {
        port: Port((information >> 16) as u16),
        width,
        direction,
        string: None,
    })
}

fn port(features: Features, vmcb: &impl VmcbRead) -> VmExit {
    let information = vmcb.read(field::EXIT_INFO_1);
    let Some(mut access) = port_access(information) else {
        return VmExit::Unknown(0x7b);
    };
    if information & IS_STRING != 0 {
        access.string = Some(string_io(information, access.direction, features));
    }
    VmExit::Port(access)
}

/// The segment is told by decode assists only, and not for INS, whose operand is always in
/// ES.
#[cold]
fn string_io(information: u64, direction: Direction, features: Features) -> StringIo {
    let repeat = information & (1 << 3) != 0;
    let segment = match (direction, (information >> 10) & 7) {
        (Direction::In, _) | (Direction::Out, 0) => Segment::Es,
        (Direction::Out, 1) => Segment::Cs,
        (Direction::Out, 2) => Segment::Ss,
        (Direction::Out, 4) => Segment::Fs,
        (Direction::Out, 5) => Segment::Gs,
        (Direction::Out, _) => Segment::Ds,
    };
    let address_bytes = match (information >> 7) & 7 {
        _ if !features.contains(Features::DECODE_ASSISTS) => 0,
        1 => 2,
        2 => 4,
        4 => 8,
        _ => 0,
    };
    StringIo {
        repeat,
        address_bytes,
        segment,
    }
}

/// `[APM 2, "Nested versus Guest Page Faults, Fault Ordering", rev. 3.42]`: the error code of
/// a page fault; bit 33 for a fault in the walk of the guest's own tables. The linear
/// address is not told.
#[inline(always)]
fn nested_page_fault(vmcb: &impl VmcbRead) -> MemoryAccess {
    let information = vmcb.read(field::EXIT_INFO_1);
    let access = if information & (1 << 4) != 0 {
        Access::Execute
    } else if information & (1 << 1) != 0 {
        Access::Write
    } else {
        Access::Read
    };
    MemoryAccess {
        gpa: Gpa(vmcb.read(field::EXIT_INFO_2)),
        access,
        gva: None,
        during_walk: information & (1 << 33) != 0,
    }
}

/// [`instruction_bytes`] of an exit that is no port access.
#[inline(always)]
pub fn plain_bytes(features: Features, rip: u64, vmcb: &impl VmcbRead) -> u32 {
    if features.contains(Features::NRIP_SAVE) {
        length(rip, vmcb.read(field::NEXT_RIP))
    } else {
        0
    }
}

/// [`instruction_bytes`] of a port access.
#[inline(always)]
pub fn port_bytes(rip: u64, vmcb: &impl VmcbRead) -> u32 {
    length(rip, vmcb.read(field::EXIT_INFO_2))
}

#[inline(always)]
const fn length(rip: u64, next: u64) -> u32 {
    match next.wrapping_sub(rip) {
        length @ 1..=15 => length as u32,
        _ => 0,
    }
}

/// The length of the instruction that exited, 0 where the CPU does not tell: port exits
/// have the next address in EXITINFO2, the others need NRIP-save.
#[inline]
pub fn instruction_bytes(exit: &VmExit, features: Features, rip: u64, vmcb: &impl VmcbRead) -> u32 {
    if let VmExit::Port(_) = exit {
        port_bytes(rip, vmcb)
    } else {
        plain_bytes(features, rip, vmcb)
    }
}

/// The guest state an exit's answer may need: ring 0 fills these groups and no others. As
/// on VT-x, since the VMM is the same; there are no PDPTE registers here, and what the CPU
/// does not tell of an instruction must be fetched.
#[inline]
#[must_use]
pub const fn groups(exit: &VmExit, features: Features) -> StateGroups {
    let needed = vmx::groups(exit).difference(StateGroups::PDPTES);
    let untold = match exit {
        VmExit::Cpuid
        | VmExit::Hypercall
        | VmExit::Rdmsr
        | VmExit::Wrmsr
        | VmExit::Xsetbv
        | VmExit::Hlt
        | VmExit::Pause
        | VmExit::CacheFlush => !features.contains(Features::NRIP_SAVE),
        // These have what a fetch needs, or no answer that needs one.
        VmExit::Port(_)
        | VmExit::Memory(_)
        | VmExit::Cr(_)
        | VmExit::Dr
        | VmExit::Invlpg(_)
        | VmExit::Undefined(_)
        | VmExit::Exception(_)
        | VmExit::TaskSwitch(_)
        | VmExit::InterruptWindow
        | VmExit::NmiWindow
        | VmExit::HostInterrupt(_)
        | VmExit::HostNmi
        | VmExit::Timer
        | VmExit::TripleFault
        | VmExit::Init
        | VmExit::EntryFailed(_)
        | VmExit::Unknown(_)
        | VmExit::ApicWrite(_)
        | VmExit::ApicEnd(_) => false,
    };
    if untold {
        needed.union(StateGroups::FETCH)
    } else {
        needed
    }
}

#[cfg(test)]
mod tests;
