//! Port and memory accesses to the VM's devices.
//!
//! The bus as the instruction emulator sees it, and the answers that use it. What a
//! device wants from outside (a console byte, a reset, an end) is collected here.

use crate::Vmm;
use crate::cpu::Cpu;
use crate::fault::inject;
use alloc::vec::Vec;
use core::ops::DerefMut;
use skerry_devices::lapic::Action;
use skerry_devices::{Effect, Platform};
use skerry_emulate::{EmulateError, Emulator, Measured, MmioTarget, PortTarget};
use skerry_verdict::{Fault, GuestMemory, Registers, Resume, StopReason};
use skerry_words::{
    Access, ApicPage, CrAccess, CrOperation, Direction, Gpa, Gpr, GuestState, MemoryAccess, Port,
    PortAccess, Tsc, VmExit, Width,
};

/// Iterations of one string instruction before the guest's timers get a look: it restarts
/// where it stopped.
const STRING_BUDGET: u32 = 256;

/// The devices of one VM at one moment.
pub(crate) struct Bus<'a, P> {
    pub(crate) platform: &'a mut Platform,
    pub(crate) console: &'a mut Vec<u8>,
    pub(crate) now: Tsc,
    pub(crate) end: Option<Resume>,
    /// Whose local APIC is on the bus, for accesses to memory.
    pub(crate) cpu: Option<&'a mut Cpu<P>>,
    /// What that local APIC wants done.
    pub(crate) action: Option<Action>,
}

impl<'a, P: DerefMut<Target = ApicPage>> Bus<'a, P> {
    /// The bus of a VM at `now`.
    #[inline]
    pub(crate) fn new(platform: &'a mut Platform, console: &'a mut Vec<u8>, now: Tsc) -> Self {
        Self {
            platform,
            console,
            now,
            end: None,
            cpu: None,
            action: None,
        }
    }

    #[inline]
    fn take(&mut self, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::Console(byte) => self.console.push(byte),
            Effect::Reset => self.end = Some(Resume::Reset),
            Effect::PowerOff => self.end = Some(Resume::Stop(StopReason::Shutdown(0))),
            Effect::DebugExit(value) => {
                self.end = Some(Resume::Stop(StopReason::DebugExit(value)));
            }
        }
    }

    /// Answers IN and OUT.
    #[inline(always)]
    pub(crate) fn port(&mut self, access: PortAccess, state: &mut GuestState) {
        let accumulator = state.get(Gpr::Rax);
        match access.direction {
            Direction::In => {
                let value = PortTarget::read(self, access.port, access.width);
                state.set(
                    Gpr::Rax,
                    merged(accumulator, u64::from(value), access.width),
                );
            }
            Direction::Out => {
                let value = (accumulator & access.width.mask()) as u32;
                PortTarget::write(self, access.port, access.width, value);
            }
        }
        state.advance();
    }

    /// Answers INS and OUTS, after a look at what the CPU has not told of them.
    #[cold]
    fn string(
        &mut self,
        access: PortAccess,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
    ) -> Result<(), Fault> {
        let mut told = access;
        if access
            .string
            .is_some_and(|string| string.address_bytes == 0)
        {
            let looked_at = skerry_emulate::measure(&VmExit::Port(access), state, memory)?;
            let Some(Measured {
                exit: VmExit::Port(whole),
                bytes,
            }) = looked_at
            else {
                return Ok(());
            };
            told = whole;
            state.instruction_bytes = bytes;
        }
        skerry_emulate::string_io(state, memory, told, self, STRING_BUDGET).map(|_| ())
    }

    /// Answers an access to guest-physical space that is no memory.
    pub(crate) fn memory(
        &mut self,
        emulator: &mut Emulator,
        access: MemoryAccess,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
    ) -> Result<(), EmulateError> {
        if access.during_walk {
            // A paging structure of all ones has reserved bits set.
            const PRESENT_AND_RESERVED: u32 = 0b1001;
            if let Some(gva) = access.gva {
                return Err(EmulateError::Fault(Fault::Page(
                    gva.0,
                    PRESENT_AND_RESERVED,
                )));
            }
            // The CPU does not tell for which address: the emulator's own walk meets it.
        } else if access.access == Access::Execute {
            // The bus floats: FFh FFh is no instruction.
            return Err(EmulateError::Fault(Fault::UndefinedInstruction));
        } else if state.inject.is_some() {
            // No instruction did it, but the delivery of an event: its table or stack is not
            // in memory, and a gate of all ones is none.
            return Err(EmulateError::Fault(Fault::GeneralProtection(0)));
        }
        emulator.mmio(state, memory, access, self)
    }
}

impl<P: DerefMut<Target = ApicPage>> Vmm<P> {
    /// INS and OUTS, whose memory may be a device's too.
    #[inline(never)]
    pub(crate) fn answer_string(
        &mut self,
        access: PortAccess,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
        now: Tsc,
    ) -> Resume {
        let mut bus = Bus::new(&mut self.platform, &mut self.console, now);
        bus.cpu = Some(self.cpus.current_mut());
        let answer = bus.string(access, state, memory);
        let (end, action) = (bus.end, bus.action);
        self.after_bus(action, now);
        match answer {
            Ok(()) => end.unwrap_or(Resume::Enter),
            Err(fault) => inject(fault, state),
        }
    }

    /// An access to memory that is no RAM.
    #[inline(never)]
    pub(crate) fn answer_memory(
        &mut self,
        access: MemoryAccess,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
        now: Tsc,
    ) -> Resume {
        let mut bus = Bus::new(&mut self.platform, &mut self.console, now);
        bus.cpu = Some(self.cpus.current_mut());
        let answer = bus.memory(&mut self.emulator, access, state, memory);
        let (end, action) = (bus.end, bus.action);
        self.after_bus(action, now);
        match answer {
            Ok(()) => end.unwrap_or(Resume::Enter),
            Err(error) => self.emulation_failed(error, state, memory),
        }
    }

    #[inline(always)]
    fn after_bus(&mut self, action: Option<Action>, now: Tsc) {
        self.after_platform();
        if let Some(action) = action {
            self.act(action, now);
        }
    }

    #[cold]
    fn emulation_failed(
        &mut self,
        error: EmulateError,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
    ) -> Resume {
        match error {
            EmulateError::Fault(fault) => inject(fault, state),
            EmulateError::StatusWord(word) => {
                let access = CrAccess {
                    register: 0,
                    operation: CrOperation::Lmsw(word),
                };
                let answer = self.answer_control(access, state, memory);
                self.instruction_answered(answer, state)
            }
            EmulateError::Unknown { .. } => Resume::Stop(StopReason::Emulation(state.rip)),
        }
    }
}

/// The accumulator after IN: 32-bit results clear the upper half, shorter ones keep it.
fn merged(accumulator: u64, value: u64, width: Width) -> u64 {
    match width {
        Width::Byte | Width::Word => (accumulator & !width.mask()) | (value & width.mask()),
        Width::Dword | Width::Qword => value & width.mask(),
    }
}

impl<P: DerefMut<Target = ApicPage>> PortTarget for Bus<'_, P> {
    #[inline]
    fn read(&mut self, port: Port, width: Width) -> u32 {
        self.platform.port_read(port, width, self.now)
    }

    #[inline]
    fn write(&mut self, port: Port, width: Width, value: u32) {
        let effect = self.platform.port_write(port, width, value, self.now);
        self.take(effect);
    }
}

impl<P: DerefMut<Target = ApicPage>> MmioTarget for Bus<'_, P> {
    fn read(&mut self, at: Gpa, width: Width) -> u64 {
        if let Some(cpu) = &mut self.cpu
            && let Some(offset) = cpu.apic_offset(at)
        {
            return cpu.apic_read(offset, width, self.now);
        }
        self.platform.memory_read(at, width, self.now)
    }

    fn write(&mut self, at: Gpa, width: Width, value: u64) {
        if let Some(cpu) = &mut self.cpu
            && let Some(offset) = cpu.apic_offset(at)
        {
            self.action = Some(cpu.apic_write(offset, width, value, self.now));
            return;
        }
        let effect = self.platform.memory_write(at, width, value, self.now);
        self.take(effect);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_reads_keep_the_rest_of_the_accumulator_and_dword_reads_clear_it() {
        let rax = 0x1122_3344_5566_7788;
        assert_eq!(merged(rax, 0xffab, Width::Byte), 0x1122_3344_5566_77ab);
        assert_eq!(merged(rax, 0xabcd, Width::Word), 0x1122_3344_5566_abcd);
        assert_eq!(merged(rax, 0x89ab_cdef, Width::Dword), 0x89ab_cdef);
    }
}
