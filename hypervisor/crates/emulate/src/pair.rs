//! CMPXCHG8B and CMPXCHG16B.
//!
//! Owns the comparison of two registers with two words of memory, and the alignment that the
//! longer form asks for `[SDM 2A, "CMPXCHG8B/CMPXCHG16B—Compare and Exchange Bytes", ed. 085]`.

use crate::MmioTarget;
use crate::alu::ZERO;
use crate::instruction::Instruction;
use crate::mmio::{Machine, Outcome};
use crate::place::Place;
use crate::register::{self, Register};
use skerry_verdict::{Fault, GuestMemory};
use skerry_words::{Access, Gpr, Width};

/// A lower and an upper half.
type Pair = [u64; 2];

impl<M: GuestMemory, T: MmioTarget> Machine<'_, M, T> {
    /// As with CMPXCHG the destination is written in any case.
    pub(crate) fn compare_exchange_pair(
        &mut self,
        instruction: &Instruction,
    ) -> Result<Outcome, Fault> {
        let half = instruction.width;
        let places = self.pair_places(instruction)?;
        if !places.iter().any(|place| place.touches(self.device_page)) {
            return Ok(Outcome::Again);
        }
        let found = self.read_pair(places, half);
        let [low, high] = [Gpr::Rax, Gpr::Rdx].map(|gpr| register::get(self.state, gpr, half));
        let flags = self.state.rflags;
        if found == [low, high] {
            let new = [Gpr::Rbx, Gpr::Rcx].map(|gpr| register::get(self.state, gpr, half));
            self.write_pair(places, half, new);
            self.set_flags(flags | ZERO);
        } else {
            self.write_pair(places, half, found);
            for (gpr, value) in [Gpr::Rax, Gpr::Rdx].into_iter().zip(found) {
                Register::new(gpr as u8).write(self.state, half, value);
            }
            self.set_flags(flags & !ZERO);
        }
        Ok(Outcome::Finished)
    }

    /// Where the halves are. Eight bytes are one access, whose first place is for all of it.
    fn pair_places(&mut self, instruction: &Instruction) -> Result<[Place; 2], Fault> {
        let next_rip = self.next_rip(instruction);
        let segment = instruction.memory.segment;
        let at = |shift| instruction.memory.offset(self.state, next_rip, shift);
        let (first, second) = (at(0), at(instruction.width.bytes()));
        if instruction.width == Width::Dword {
            let place = self.place(segment, first, Width::Qword, Access::Write)?;
            return Ok([place; 2]);
        }
        let gva = crate::segment::linear(self.state, segment, first, 16, Access::Write)?;
        if gva.0 & 0xf != 0 {
            return Err(Fault::GeneralProtection(0));
        }
        // Aligned, so both are in one page.
        Ok([
            self.place(segment, first, Width::Qword, Access::Write)?,
            self.place(segment, second, Width::Qword, Access::Write)?,
        ])
    }

    fn read_pair(&mut self, [first, second]: [Place; 2], half: Width) -> Pair {
        let low = self.read(first, Width::Qword);
        match half {
            Width::Byte | Width::Word | Width::Dword => [low & 0xffff_ffff, low >> 32],
            Width::Qword => [low, self.read(second, Width::Qword)],
        }
    }

    fn write_pair(&mut self, [first, second]: [Place; 2], half: Width, [low, high]: Pair) {
        match half {
            Width::Byte | Width::Word | Width::Dword => {
                self.write(first, Width::Qword, (high << 32) | low);
            }
            Width::Qword => {
                self.write(first, Width::Qword, low);
                self.write(second, Width::Qword, high);
            }
        }
    }
}
