//! The CPU state no VM control structure switches: FPU and vectors, debug registers, the
//! system-call MSRs, and CR2, of which the shared page has the copy.
//!
//! Owns one copy of it for each vCPU that is not on the CPU. The hypervisor is built without
//! FPU or vector instructions and uses none of these MSRs, so while one VM runs nothing
//! is copied at all: the price is paid when the CPU changes to another VM, and no value of
//! one ever reaches the next. What a VMM sets is made harmless first: it may not make ring 0
//! fault. Called by `Vcpu::load` and `Vcpu::unload`.

use super::own_msrs;
use crate::cpu;
use crate::mem::OwnedFrame;
use core::arch::asm;
use skerry_words::{ExtendedState, GuestState, MsrIndex};
use x86_64::registers::control::{Cr4, Cr4Flags};

/// STAR, LSTAR, CSTAR, FMASK, KERNEL_GS_BASE; TSC_AUX and PKRS, where guests have them. The host's
/// CR4.PKS is off, so PKRS concerns guests alone.
const MSRS: [MsrIndex; 7] = [
    MsrIndex(0xc000_0081),
    MsrIndex(0xc000_0082),
    MsrIndex(0xc000_0083),
    MsrIndex(0xc000_0084),
    MsrIndex(0xc000_0102),
    MsrIndex(0xc000_0103),
    MsrIndex(own_msrs::PKRS),
];
/// Which of them are the system calls', as bits.
const SYSTEM: u8 = 0b001_1111;
const TSC_AUX: u8 = 1 << 5;
const PKRS: u8 = 1 << 6;
/// x87, SSE, AVX, AVX-512 and PKRU: what a guest may enable, and so all that must be kept.
const COMPONENTS: u64 = 0x2e7;

/// What this CPU has to switch.
#[derive(Clone, Copy, Debug)]
pub struct Switch {
    xcr0: Option<u64>,
    /// Bit `n` for the MSR at that place in [`MSRS`].
    msrs: u8,
}

/// Who switches STAR, LSTAR, CSTAR, FMASK and KERNEL_GS_BASE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SystemMsrs {
    /// Nobody else: this file.
    Context,
    /// The CPU, with the VM control structure.
    ControlBlock,
}

impl Switch {
    /// Turns on XSAVE where the CPU has it; `tsc_aux` counts the last MSR in.
    pub fn enable(tsc_aux: super::TscAux, system_msrs: SystemMsrs) -> Self {
        const XSAVE: u32 = 1 << 26;
        let leaf = |leaf, subleaf| core::arch::x86_64::__cpuid_count(leaf, subleaf);
        let has_xsave = leaf(1, 0).ecx & XSAVE != 0;
        let mut bits = Cr4Flags::OSFXSR;
        bits.set(Cr4Flags::OSXSAVE, has_xsave);
        // SAFETY: the bits allow the instructions this file uses; nothing else changes.
        unsafe { Cr4::update(|cr4| *cr4 |= bits) };
        let xcr0 = has_xsave.then(|| u64::from(leaf(0xd, 0).eax) & COMPONENTS);
        let system = match system_msrs {
            SystemMsrs::Context => SYSTEM,
            SystemMsrs::ControlBlock => 0,
        };
        let tsc_aux = match tsc_aux {
            super::TscAux::Guest => TSC_AUX,
            super::TscAux::Absent => 0,
        };
        let keys = if own_msrs::has_pkrs() { PKRS } else { 0 };
        Self {
            xcr0,
            msrs: system | tsc_aux | keys,
        }
    }

    /// The MSRs to switch, with their places.
    fn msrs(self) -> impl Iterator<Item = (usize, MsrIndex)> {
        let all = MSRS.into_iter().enumerate();
        all.filter(move |(place, _)| self.msrs & (1 << place) != 0)
    }
}

/// One vCPU's copy.
pub struct Context {
    switch: Switch,
    area: OwnedFrame,
    xcr0: u64,
    msrs: [u64; MSRS.len()],
    debug: [u64; 5],
}

impl Context {
    /// A copy as at power-on; `None` without a frame for it.
    pub fn new(switch: Switch) -> Option<Self> {
        let area = OwnedFrame::zeroed()?;
        let mut context = Self {
            switch,
            area,
            xcr0: 1,
            msrs: [0; MSRS.len()],
            debug: [0; 5],
        };
        context.reset(&GuestState::at_reset());
        Some(context)
    }

    /// The state at RESET, but for what `state` says: FCW 37Fh as FNINIT leaves it, MXCSR 1F80h
    /// `[SDM 3A, "Processor State After Reset", ed. 085]`.
    pub fn reset(&mut self, state: &GuestState) {
        self.xcr0 = self.permitted_xcr0(state.xcr0).unwrap_or(1);
        self.msrs = harmless_msrs(state.system_msrs);
        let bytes = self.area.bytes();
        bytes.fill(0);
        bytes[0..2].copy_from_slice(&0x37f_u16.to_le_bytes());
        bytes[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
        // XSTATE_BV: x87 and SSE come from the area, the rest from their initial values.
        bytes[512..520].copy_from_slice(&3_u64.to_le_bytes());
        self.debug = [0, 0, 0, 0, 0xffff_0ff0];
    }

    /// Puts the copy on the CPU.
    pub fn load(&mut self) {
        cpu::features::lend_vectors(|| self.load_extended());
        self.write_xcr0_if_any(self.xcr0);
        for (place, index) in self.switch.msrs() {
            // SAFETY: the guest's own values, which WRMSR in the guest accepted, or those of
            // `harmless_msrs`.
            unsafe { cpu::msr::write(index, self.msrs[place]) };
        }
        write_debug(&self.debug);
    }

    /// Takes the CPU's state into the copy.
    pub fn unload(&mut self) {
        self.xcr0 = self.xcr0(self.xcr0);
        cpu::features::lend_vectors(|| self.save_extended());
        for (place, index) in self.switch.msrs() {
            self.msrs[place] = cpu::msr::read(index);
        }
        self.debug = read_debug();
    }

    /// Gives the extended state of a vCPU that is not on the CPU, with its XCR0, or 0.
    pub fn save(&mut self, into: &mut ExtendedState) -> u64 {
        into.0.copy_from_slice(self.area.bytes());
        self.switch.xcr0.map_or(0, |_| self.xcr0)
    }

    /// Takes an extended state that its VMM has made, if the CPU loads it without a fault;
    /// whether it does. The vCPU has been on the CPU, which has left its MXCSR_MASK here, and is not
    /// any more.
    pub fn restore(&mut self, from: &ExtendedState) -> bool {
        let mut own = ExtendedState::default();
        self.save(&mut own);
        let is_loadable = from.is_loadable(self.switch.xcr0, own.mxcsr_mask());
        if is_loadable {
            self.area.bytes().copy_from_slice(&from.0);
        }
        is_loadable
    }

    /// The set, if this CPU's XSETBV takes it
    /// `[SDM 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features", ed. 085]`.
    fn permitted_xcr0(&self, value: u64) -> Option<u64> {
        const X87: u64 = 1;
        const SSE: u64 = 1 << 1;
        const AVX: u64 = 1 << 2;
        const AVX512: u64 = 7 << 5;
        let all = self.switch.xcr0?;
        let avx = value & AVX == 0 || value & SSE != 0;
        let avx512 = value & AVX512 == 0 || value & (AVX512 | AVX) == AVX512 | AVX;
        (value & !all == 0 && value & X87 != 0 && avx && avx512).then_some(value)
    }

    fn write_xcr0_if_any(&self, value: u64) {
        if self.switch.xcr0.is_some() {
            write_xcr0(value);
        }
    }

    /// The XCR0 of the guest that is on the CPU; `none` where there is no such register.
    pub fn xcr0(&self, none: u64) -> u64 {
        if self.switch.xcr0.is_some() {
            read_xcr0()
        } else {
            none
        }
    }

    /// Makes the guest's XCR0 the CPU's, after an XSETBV was granted. What the CPU would not
    /// take changes nothing.
    pub fn set_xcr0(&self, value: u64) {
        if let Some(value) = self.permitted_xcr0(value) {
            write_xcr0(value);
        }
    }

    /// Makes the guest's CR2 the CPU's: after the VMM has changed it, or the VMM's own page
    /// fault has.
    pub fn set_cr2(&self, value: u64) {
        write_cr2(value);
    }

    fn load_extended(&mut self) {
        let area = self.area.bytes().as_ptr();
        match self.switch.xcr0 {
            Some(all) => {
                write_xcr0(all);
                // SAFETY: the area is a page, larger than `COMPONENTS` need, and holds what
                // XSAVE wrote or the reset image; XCR0 covers all of it.
                unsafe {
                    asm!("xrstor64 [{}]", in(reg) area, in("eax") all as u32,
                        in("edx") (all >> 32) as u32, options(nostack, readonly));
                }
            }
            // SAFETY: as above, in the 512-byte legacy format.
            None => unsafe { asm!("fxrstor64 [{}]", in(reg) area, options(nostack, readonly)) },
        }
    }

    fn save_extended(&mut self) {
        let area = self.area.bytes().as_mut_ptr();
        match self.switch.xcr0 {
            Some(all) => {
                write_xcr0(all);
                // SAFETY: the area is a page of this context's own, larger than
                // `COMPONENTS` need.
                unsafe {
                    asm!("xsave64 [{}]", in(reg) area, in("eax") all as u32,
                        in("edx") (all >> 32) as u32, options(nostack));
                }
            }
            // SAFETY: as above, in the 512-byte legacy format.
            None => unsafe { asm!("fxsave64 [{}]", in(reg) area, options(nostack)) },
        }
    }
}

/// Values that WRMSR takes: canonical addresses, 32-bit masks. PKRS starts as 0.
fn harmless_msrs(values: [u64; 6]) -> [u64; MSRS.len()] {
    let canonical = |address: u64| ((address << 16).cast_signed() >> 16).cast_unsigned();
    let [star, long, compatible, mask, gs, aux] = values;
    let low = |value: u64| value & u64::from(u32::MAX);
    [
        star,
        canonical(long),
        canonical(compatible),
        low(mask),
        canonical(gs),
        low(aux),
        0,
    ]
}

fn read_xcr0() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: CR4.OSXSAVE is on; reading XCR0 has no effect.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack));
    }
    u64::from(high) << 32 | u64::from(low)
}

fn write_xcr0(value: u64) {
    // SAFETY: CR4.OSXSAVE is on and `value` is a set `Switch` or the VMM found permitted;
    // the hypervisor itself uses none of the state it names.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nomem, nostack));
    }
}

fn write_cr2(value: u64) {
    // SAFETY: CR2 is read after a page fault only, which sets it.
    unsafe { asm!("mov cr2, {}", in(reg) value, options(nomem, nostack)) };
}

fn read_debug() -> [u64; 5] {
    let (a, b, c, d, status): (u64, u64, u64, u64, u64);
    // SAFETY: reading debug registers has no effect; DR7 is 400h in the host, so none traps.
    unsafe {
        asm!("mov {}, dr0", "mov {}, dr1", "mov {}, dr2", "mov {}, dr3", "mov {}, dr6",
            out(reg) a, out(reg) b, out(reg) c, out(reg) d, out(reg) status,
            options(nomem, nostack));
    }
    [a, b, c, d, status]
}

fn write_debug(values: &[u64; 5]) {
    let [a, b, c, d, status] = *values;
    // SAFETY: DR7 is 400h in the host, so no breakpoint is active whatever the addresses.
    unsafe {
        asm!("mov dr0, {}", "mov dr1, {}", "mov dr2, {}", "mov dr3, {}", "mov dr6, {}",
            in(reg) a, in(reg) b, in(reg) c, in(reg) d, in(reg) status,
            options(nomem, nostack));
    }
}

/// Adds to DR6 what a debug exception that exited would have set there.
pub fn record_debug_exception(bits: u64) {
    let mut values = read_debug();
    values[4] |= bits;
    write_debug(&values);
}
