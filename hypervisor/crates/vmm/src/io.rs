//! Port and memory accesses to the VM's devices.
//!
//! The bus as the instruction emulator sees it, and the two answers that use it. What a
//! device wants from outside (a console byte, a reset, an end) is collected here.

use alloc::vec::Vec;
use skerry_devices::{Effect, Platform};
use skerry_emulate::{EmulateError, Emulator, Measured, MmioTarget, PortTarget};
use skerry_verdict::{Fault, GuestMemory, Registers, Resume, StopReason};
use skerry_words::{
    Access, Direction, Gpa, Gpr, GuestState, MemoryAccess, Port, PortAccess, StringIo, Tsc, VmExit,
    Width,
};

/// Iterations of one string instruction before the guest's timers get a look: it restarts
/// where it stopped.
const STRING_BUDGET: u32 = 256;

/// The devices of one VM at one moment.
pub(crate) struct Bus<'a> {
    pub(crate) platform: &'a mut Platform,
    pub(crate) console: &'a mut Vec<u8>,
    pub(crate) now: Tsc,
    pub(crate) end: Option<Resume>,
}

impl<'a> Bus<'a> {
    /// The bus of a VM at `now`.
    #[inline]
    pub(crate) fn new(platform: &'a mut Platform, console: &'a mut Vec<u8>, now: Tsc) -> Self {
        Self {
            platform,
            console,
            now,
            end: None,
        }
    }

    #[inline]
    fn take(&mut self, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::Console(byte) => self.console.push(byte),
            Effect::Reset => self.end = Some(Resume::Reset),
            Effect::PowerOff => self.end = Some(Resume::Stop(StopReason::PoweredOff)),
            Effect::DebugExit(value) => {
                self.end = Some(Resume::Stop(StopReason::DebugExit(value)));
            }
        }
    }

    /// Answers IN, OUT, INS and OUTS.
    #[inline(always)]
    pub(crate) fn port(
        &mut self,
        access: PortAccess,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
    ) -> Result<(), Fault> {
        if let Some(string) = access.string {
            return self.string(access, string, state, memory);
        }
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
        Ok(())
    }

    /// Answers INS and OUTS, after a look at what the CPU has not told of them.
    #[cold]
    fn string(
        &mut self,
        access: PortAccess,
        string: StringIo,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
    ) -> Result<(), Fault> {
        let mut told = access;
        if string.address_bytes == 0 {
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
}

/// Answers an access to guest-physical space that is no memory, by what `target` has there.
#[inline(always)]
pub(crate) fn answer_memory(
    target: &mut impl MmioTarget,
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
    emulator.mmio(state, memory, access, target)
}

/// The accumulator after IN: 32-bit results clear the upper half, shorter ones keep it.
fn merged(accumulator: u64, value: u64, width: Width) -> u64 {
    match width {
        Width::Byte | Width::Word => (accumulator & !width.mask()) | (value & width.mask()),
        Width::Dword | Width::Qword => value & width.mask(),
    }
}

impl PortTarget for Bus<'_> {
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

impl MmioTarget for Bus<'_> {
    fn read(&mut self, at: Gpa, width: Width) -> u64 {
        self.platform.memory_read(at, width, self.now)
    }

    fn write(&mut self, at: Gpa, width: Width, value: u64) {
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
