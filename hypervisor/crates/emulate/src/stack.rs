//! PUSH, POP, CALL and JMP with a memory operand that is no memory, and what works on a stack
//! that is none.
//!
//! Owns the stack pointer's width and the checks of a near branch
//! `[SDM 2A, "CALL—Call Procedure", "ENTER", "LEAVE"; 2B, "POP", "PUSH", "RET"; ed. 085]`. Far
//! branches are not emulated, nor are frames that nest.

use crate::MmioTarget;
use crate::address::Base;
use crate::instruction::{Instruction, Source, StackOperation};
use crate::mmio::{Machine, Outcome};
use crate::place::Place;
use crate::{mode, register};
use skerry_verdict::{Fault, GuestMemory};
use skerry_words::{Access, AccessRights, Gpr, GuestState, Segment, Width};

impl<M: GuestMemory, T: MmioTarget> Machine<'_, M, T> {
    pub(crate) fn stack(
        &mut self,
        instruction: &Instruction,
        operation: StackOperation,
    ) -> Result<Outcome, Fault> {
        match operation {
            StackOperation::Push => self.push(instruction),
            StackOperation::Pop => self.pop(instruction),
            StackOperation::Call => self.call(instruction),
            StackOperation::Jump => self.jump(instruction),
            StackOperation::PushSource => self.push_source(instruction),
            StackOperation::PopRegister => self.pop_register(instruction),
            StackOperation::CallRelative => self.call_relative(instruction),
            StackOperation::Return => self.return_near(instruction),
            StackOperation::Enter => self.enter(instruction),
            StackOperation::Leave => self.leave(instruction),
        }
    }

    fn push_source(&mut self, instruction: &Instruction) -> Result<Outcome, Fault> {
        let (to, pointer) = self.below_stack(instruction.width)?;
        if !to.touches(self.device_page) {
            return Ok(Outcome::Again);
        }
        let value = self.source(instruction);
        self.write(to, instruction.width, value);
        self.set_stack_pointer(pointer);
        Ok(Outcome::Finished)
    }

    fn pop_register(&mut self, instruction: &Instruction) -> Result<Outcome, Fault> {
        let width = instruction.width;
        let pointer = self.stack_pointer();
        let from = self.place(Segment::Ss, pointer, width, Access::Read)?;
        if !from.touches(self.device_page) {
            return Ok(Outcome::Again);
        }
        let value = self.read(from, width);
        self.set_stack_pointer(pointer.wrapping_add(width.bytes()));
        // After the increment: POP RSP is what was popped.
        if let Source::Register(register) = instruction.source {
            register.write(self.state, width, value);
        }
        Ok(Outcome::Finished)
    }

    fn call_relative(&mut self, instruction: &Instruction) -> Result<Outcome, Fault> {
        let width = instruction.width;
        let return_address = self.next_rip(instruction);
        let displacement = self.source(instruction);
        let destination = return_address.wrapping_add(displacement) & width.mask();
        let (to, pointer) = self.below_stack(width)?;
        if !to.touches(self.device_page) {
            return Ok(Outcome::Again);
        }
        check_branch(self.state, destination)?;
        self.write(to, width, return_address);
        self.set_stack_pointer(pointer);
        self.state.rip = destination;
        Ok(Outcome::Branched)
    }

    fn return_near(&mut self, instruction: &Instruction) -> Result<Outcome, Fault> {
        let width = instruction.width;
        let pointer = self.stack_pointer();
        let from = self.place(Segment::Ss, pointer, width, Access::Read)?;
        if !from.touches(self.device_page) {
            return Ok(Outcome::Again);
        }
        let destination = self.read(from, width);
        check_branch(self.state, destination)?;
        let Source::Immediate(released) = instruction.source else {
            return Ok(Outcome::Again);
        };
        let pointer = pointer.wrapping_add(width.bytes()).wrapping_add(released);
        self.set_stack_pointer(pointer);
        self.state.rip = destination;
        Ok(Outcome::Branched)
    }

    /// The stack must be writable where its new top is, too.
    fn enter(&mut self, instruction: &Instruction) -> Result<Outcome, Fault> {
        let width = instruction.width;
        let (to, frame) = self.below_stack(width)?;
        let Source::Immediate(reserved) = instruction.source else {
            return Ok(Outcome::Again);
        };
        let stack = stack_width(self.state);
        let pointer = frame.wrapping_sub(reserved) & stack.mask();
        self.place(Segment::Ss, pointer, width, Access::Write)?;
        if !to.touches(self.device_page) {
            return Ok(Outcome::Again);
        }
        let old = register::get(self.state, Gpr::Rbp, width);
        self.write(to, width, old);
        register::set(self.state, Gpr::Rbp, width, frame);
        self.set_stack_pointer(pointer);
        Ok(Outcome::Finished)
    }

    fn leave(&mut self, instruction: &Instruction) -> Result<Outcome, Fault> {
        let width = instruction.width;
        let frame = register::get(self.state, Gpr::Rbp, stack_width(self.state));
        let from = self.place(Segment::Ss, frame, width, Access::Read)?;
        if !from.touches(self.device_page) {
            return Ok(Outcome::Again);
        }
        let value = self.read(from, width);
        self.set_stack_pointer(frame.wrapping_add(width.bytes()));
        register::set(self.state, Gpr::Rbp, width, value);
        Ok(Outcome::Finished)
    }

    fn stack_pointer(&self) -> u64 {
        register::get(self.state, Gpr::Rsp, stack_width(self.state))
    }

    fn push(&mut self, instruction: &Instruction) -> Result<Outcome, Fault> {
        let from = self.operand(instruction, Access::Read, 0)?;
        let (to, pointer) = self.below_stack(instruction.width)?;
        if !from.touches(self.device_page) && !to.touches(self.device_page) {
            return Ok(Outcome::Again);
        }
        let value = self.read(from, instruction.width);
        self.write(to, instruction.width, value);
        self.set_stack_pointer(pointer);
        Ok(Outcome::Finished)
    }

    fn pop(&mut self, instruction: &Instruction) -> Result<Outcome, Fault> {
        let width = instruction.width;
        let pointer = self.stack_pointer();
        let from = self.place(Segment::Ss, pointer, width, Access::Read)?;
        // An operand addressed by RSP is computed after the increment.
        let by_stack_pointer = instruction.memory.base == Base::Register(Gpr::Rsp as u8);
        let shift = if by_stack_pointer { width.bytes() } else { 0 };
        let to = self.operand(instruction, Access::Write, shift)?;
        if !from.touches(self.device_page) && !to.touches(self.device_page) {
            return Ok(Outcome::Again);
        }
        let value = self.read(from, width);
        self.write(to, width, value);
        self.set_stack_pointer(pointer.wrapping_add(width.bytes()));
        Ok(Outcome::Finished)
    }

    fn call(&mut self, instruction: &Instruction) -> Result<Outcome, Fault> {
        let width = instruction.width;
        let from = self.operand(instruction, Access::Read, 0)?;
        let (to, pointer) = self.below_stack(width)?;
        if !from.touches(self.device_page) {
            return Ok(Outcome::Again);
        }
        let destination = self.read(from, width);
        check_branch(self.state, destination)?;
        let return_address = self.next_rip(instruction);
        self.write(to, width, return_address);
        self.set_stack_pointer(pointer);
        self.state.rip = destination;
        Ok(Outcome::Branched)
    }

    fn jump(&mut self, instruction: &Instruction) -> Result<Outcome, Fault> {
        let from = self.operand(instruction, Access::Read, 0)?;
        if !from.touches(self.device_page) {
            return Ok(Outcome::Again);
        }
        let destination = self.read(from, instruction.width);
        check_branch(self.state, destination)?;
        self.state.rip = destination;
        Ok(Outcome::Branched)
    }

    /// The place one value below the top of the stack, and the stack pointer there.
    fn below_stack(&mut self, width: Width) -> Result<(Place, u64), Fault> {
        let stack = stack_width(self.state);
        let pointer = register::get(self.state, Gpr::Rsp, stack).wrapping_sub(width.bytes());
        let pointer = pointer & stack.mask();
        let place = self.place(Segment::Ss, pointer, width, Access::Write)?;
        Ok((place, pointer))
    }

    fn set_stack_pointer(&mut self, pointer: u64) {
        let stack = stack_width(self.state);
        register::set(self.state, Gpr::Rsp, stack, pointer);
    }
}

/// The width of the stack pointer: SS.B, or 64 bits in 64-bit code.
fn stack_width(state: &GuestState) -> Width {
    if mode::is_64_bit(state) {
        Width::Qword
    } else if state
        .segment(Segment::Ss)
        .rights
        .contains(AccessRights::DEFAULT_32)
    {
        Width::Dword
    } else {
        Width::Word
    }
}

fn check_branch(state: &GuestState, destination: u64) -> Result<(), Fault> {
    let valid = if mode::is_64_bit(state) {
        mode::is_canonical(state, destination)
    } else {
        destination <= u64::from(state.segment(Segment::Cs).limit)
    };
    if valid {
        Ok(())
    } else {
        Err(Fault::GeneralProtection(0))
    }
}
