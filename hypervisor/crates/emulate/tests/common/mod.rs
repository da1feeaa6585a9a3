//! A guest for tests: RAM in a vector, a device that is bytes too, page tables by hand.
#![allow(dead_code)] // each test uses a part

use skerry_emulate::{EmulateError, MmioTarget, PortTarget, mmio};
use skerry_verdict::{GuestMemory, Registers, Unbacked};
use skerry_words::{
    AccessRights, Gpa, Gpr, GuestState, Gva, Port, Segment, SegmentRegister, StateGroups, Width,
};

pub(crate) const RAM_BYTES: usize = 1 << 17;
const FIRST_TABLE: u64 = 0x1000;

/// RAM from guest-physical 0 on.
pub(crate) struct Ram {
    pub(crate) bytes: Vec<u8>,
    next_table: u64,
}

impl Ram {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; RAM_BYTES],
            next_table: FIRST_TABLE + 0x1000,
        }
    }

    pub(crate) fn put(&mut self, at: u64, from: &[u8]) {
        self.bytes[at as usize..][..from.len()].copy_from_slice(from);
    }

    pub(crate) fn get_u64(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.bytes[at as usize..][..8].try_into().unwrap())
    }

    /// Maps one 4-KiB page in the 4-level tables at [`FIRST_TABLE`]; `flags` go into the
    /// leaf.
    pub(crate) fn map(&mut self, gva: u64, gpa: u64, flags: u64) {
        let mut table = FIRST_TABLE;
        for shift in [39, 30, 21] {
            let slot = table + ((gva >> shift) & 0x1ff) * 8;
            if self.get_u64(slot) == 0 {
                let fresh = self.next_table | 7;
                self.next_table += 0x1000;
                self.put(slot, &fresh.to_le_bytes());
            }
            table = self.get_u64(slot) & 0xf_ffff_ffff_f000;
        }
        self.put(
            table + ((gva >> 12) & 0x1ff) * 8,
            &(gpa | flags).to_le_bytes(),
        );
    }
}

impl GuestMemory for Ram {
    fn read(&mut self, at: Gpa, into: &mut [u8]) -> Result<(), Unbacked> {
        let start = usize::try_from(at.0).map_err(|_| Unbacked(at))?;
        let end = start.checked_add(into.len()).ok_or(Unbacked(at))?;
        into.copy_from_slice(self.bytes.get(start..end).ok_or(Unbacked(at))?);
        Ok(())
    }

    fn write(&mut self, at: Gpa, from: &[u8]) -> Result<(), Unbacked> {
        let start = usize::try_from(at.0).map_err(|_| Unbacked(at))?;
        let end = start.checked_add(from.len()).ok_or(Unbacked(at))?;
        self.bytes
            .get_mut(start..end)
            .ok_or(Unbacked(at))?
            .copy_from_slice(from);
        Ok(())
    }
}

/// One access a device saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    Read(u64, u64),
    Write(u64, u64, u64),
}

/// A device (or port) that answers with a fixed value and notes what it sees: addresses
/// and widths in bytes.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) answer: u64,
    pub(crate) seen: Vec<Seen>,
}

impl MmioTarget for Recorder {
    fn read(&mut self, at: Gpa, width: Width) -> u64 {
        self.seen.push(Seen::Read(at.0, width.bytes()));
        self.answer
    }

    fn write(&mut self, at: Gpa, width: Width, value: u64) {
        self.seen.push(Seen::Write(at.0, width.bytes(), value));
    }
}

impl PortTarget for Recorder {
    fn read(&mut self, port: Port, width: Width) -> u32 {
        self.seen.push(Seen::Read(port.0.into(), width.bytes()));
        self.answer as u32
    }

    fn write(&mut self, port: Port, width: Width, value: u32) {
        self.seen
            .push(Seen::Write(port.0.into(), width.bytes(), value.into()));
    }
}

/// Ring 0 in 64-bit mode, on the tables of [`Ram::map`].
pub(crate) fn long_mode() -> GuestState {
    let mut state = protected_mode();
    state.cr0 |= 1 << 31 | 1 << 16;
    state.cr3 = FIRST_TABLE;
    state.cr4 = 1 << 5;
    state.efer = 0xd00;
    state.segments[Segment::Cs as usize] =
        SegmentRegister::new(8, 0, 0xffff_ffff, AccessRights::CODE64);
    state
}

/// Ring 0 in flat 32-bit protected mode without paging.
pub(crate) fn protected_mode() -> GuestState {
    let mut state = GuestState::at_reset();
    state.cr0 = 0x11;
    state.rip = 0;
    state.instruction_bytes = 0;
    let data = SegmentRegister::new(16, 0, 0xffff_ffff, AccessRights::DATA32);
    state.segments[..6].fill(data);
    state.segments[Segment::Cs as usize] =
        SegmentRegister::new(8, 0, 0xffff_ffff, AccessRights::CODE32);
    state
}

/// Sets several registers.
pub(crate) fn with<const N: usize>(mut state: GuestState, values: [(Gpr, u64); N]) -> GuestState {
    for (register, value) in values {
        state.set(register, value);
    }
    state
}

/// A memory exit at this address.
pub(crate) fn exit(gpa: u64, gva: Option<u64>) -> skerry_words::MemoryAccess {
    skerry_words::MemoryAccess {
        gpa: Gpa(gpa),
        access: skerry_words::Access::Read,
        gva: gva.map(Gva),
        during_walk: false,
    }
}

pub(crate) const CODE: u64 = 0x1_0000;
pub(crate) const DEVICE: u64 = 0xfee0_0000;

/// Ring 0, 64-bit; code at linear and physical [`CODE`], RAM mapped one to one below it,
/// and a device page at linear 0x20_0000 with RAM behind it at 0x20_1000.
pub(crate) fn guest(code: &[u8]) -> (GuestState, Ram) {
    let mut ram = Ram::new();
    ram.map(CODE, CODE, 0x23);
    ram.map(0x1_1000, 0x1_1000, 0x23);
    ram.map(0x20_0000, DEVICE, 0x63);
    ram.map(0x20_1000, 0x1_3000, 0x63);
    ram.map(0x20_2000, 0x1_4000, 0x21);
    ram.put(CODE, code);
    let mut state = long_mode();
    (state.rip, state.dirty) = (CODE, StateGroups::empty());
    (state, ram)
}

pub(crate) fn run(
    state: &mut GuestState,
    ram: &mut Ram,
    gpa: u64,
    answer: u64,
) -> (Result<(), EmulateError>, Vec<Seen>) {
    let mut device = Recorder {
        answer,
        ..Recorder::default()
    };
    let result = mmio(state, ram, exit(gpa, None), &mut device);
    (result, device.seen)
}
