//! MOVS, STOS, LODS, CMPS and SCAS with an operand that is no memory.
//!
//! Owns repetition: each element is complete before the next begins, so that a fault or
//! an end of the budget leaves registers that say exactly what remains
//! `[SDM 2B, "REP/REPE/REPZ/REPNE/REPNZ—Repeat String Operation Prefix", ed. 085]`.

use crate::MmioTarget;
use crate::alu::{self, Alu};
use crate::instruction::{Instruction, Repeat, StringOperation};
use crate::iteration::Iteration;
use crate::mmio::{Machine, Outcome};
use crate::place::Place;
use crate::register::{self, Register};
use skerry_verdict::{Fault, GuestMemory, Registers};
use skerry_words::{Access, Gpr, Segment, Width};

/// Elements done in one go: a bound on the time between two looks at the guest's timers.
const BUDGET: u32 = 256;

impl<M: GuestMemory, T: MmioTarget> Machine<'_, M, T> {
    pub(crate) fn string(
        &mut self,
        instruction: &Instruction,
        operation: StringOperation,
    ) -> Result<Outcome, Fault> {
        let iteration = Iteration {
            address: instruction.memory.width,
            bytes: instruction.width.bytes(),
            counted: instruction.repeat != Repeat::No,
        };
        if iteration.is_finished(self.state) {
            return Ok(Outcome::Finished);
        }
        for _ in 0..BUDGET {
            if !self.element(instruction, operation, iteration)? {
                return Ok(Outcome::Again);
            }
            if !iteration.count(self.state) || self.condition_ends(instruction.repeat, operation) {
                return Ok(Outcome::Finished);
            }
            if self.state.is_stepping() {
                self.state.trap_step();
                return Ok(Outcome::Again);
            }
        }
        Ok(Outcome::Again)
    }

    /// Does one element; `false`, and nothing done, where none of it is on the device: the
    /// guest does that itself.
    fn element(
        &mut self,
        instruction: &Instruction,
        operation: StringOperation,
        iteration: Iteration,
    ) -> Result<bool, Fault> {
        let width = instruction.width;
        let segment = instruction.memory.segment;
        match operation {
            StringOperation::Move => {
                let from = self.at(Gpr::Rsi, segment, iteration, width, Access::Read)?;
                let to = self.at(Gpr::Rdi, Segment::Es, iteration, width, Access::Write)?;
                if !self.on_device(from) && !self.on_device(to) {
                    return Ok(false);
                }
                let value = self.read(from, width);
                self.write(to, width, value);
                iteration.step(self.state, Gpr::Rsi);
                iteration.step(self.state, Gpr::Rdi);
            }
            StringOperation::Compare => {
                let left = self.at(Gpr::Rsi, segment, iteration, width, Access::Read)?;
                let right = self.at(Gpr::Rdi, Segment::Es, iteration, width, Access::Read)?;
                if !self.on_device(left) && !self.on_device(right) {
                    return Ok(false);
                }
                let (left, right) = (self.read(left, width), self.read(right, width));
                self.compare(left, right, width);
                iteration.step(self.state, Gpr::Rsi);
                iteration.step(self.state, Gpr::Rdi);
            }
            StringOperation::Store | StringOperation::Load | StringOperation::Scan => {
                return self.element_with_accumulator(instruction, operation, iteration);
            }
        }
        Ok(true)
    }

    fn element_with_accumulator(
        &mut self,
        instruction: &Instruction,
        operation: StringOperation,
        iteration: Iteration,
    ) -> Result<bool, Fault> {
        let width = instruction.width;
        let (pointer, segment, access) = match operation {
            StringOperation::Load => (Gpr::Rsi, instruction.memory.segment, Access::Read),
            StringOperation::Store => (Gpr::Rdi, Segment::Es, Access::Write),
            StringOperation::Scan | StringOperation::Move | StringOperation::Compare => {
                (Gpr::Rdi, Segment::Es, Access::Read)
            }
        };
        let place = self.at(pointer, segment, iteration, width, access)?;
        if !self.on_device(place) {
            return Ok(false);
        }
        let accumulator = Register::ACCUMULATOR.read(self.state, width);
        if access == Access::Write {
            self.write(place, width, accumulator);
        } else {
            let value = self.read(place, width);
            if operation == StringOperation::Load {
                Register::ACCUMULATOR.write(self.state, width, value);
            } else {
                self.compare(accumulator, value, width);
            }
        }
        iteration.step(self.state, pointer);
        Ok(true)
    }

    fn at(
        &mut self,
        pointer: Gpr,
        segment: Segment,
        iteration: Iteration,
        width: Width,
        access: Access,
    ) -> Result<Place, Fault> {
        let offset = register::get(self.state, pointer, iteration.address);
        self.place(segment, offset, width, access)
    }

    fn on_device(&self, place: Place) -> bool {
        place.touches(self.device_page)
    }

    fn compare(&mut self, left: u64, right: u64, width: Width) {
        let (_, flags) = Alu::Compare.compute(left, right, width, self.state.rflags);
        self.set_flags(flags);
    }

    /// Whether REPE or REPNE ends here, by the flags of the element just compared.
    fn condition_ends(&self, repeat: Repeat, operation: StringOperation) -> bool {
        let compares = match operation {
            StringOperation::Compare | StringOperation::Scan => true,
            StringOperation::Move | StringOperation::Store | StringOperation::Load => false,
        };
        let equal = self.state.rflags & alu::ZERO != 0;
        compares
            && match repeat {
                Repeat::No => false,
                Repeat::WhileEqual => !equal,
                Repeat::WhileNotEqual => equal,
            }
    }
}
