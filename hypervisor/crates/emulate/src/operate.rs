//! Instructions with one memory operand: moves, arithmetic, bits, exchanges.
//!
//! Owns what each does once its operand's place is known; from here on nothing can fail.

use crate::MmioTarget;
use crate::alu::{self, Alu, BitScan, BitTest, Unary};
use crate::condition::Condition;
use crate::instruction::{Count, Extension, Instruction, Operation, Source};
use crate::mmio::Machine;
use crate::multiply;
use crate::place::Place;
use crate::register::Register;
use crate::shift::{DoubleShift, Shift};
use skerry_verdict::GuestMemory;
use skerry_words::{Gpr, Width};

impl<M: GuestMemory, T: MmioTarget> Machine<'_, M, T> {
    #[inline]
    pub(crate) fn operate(&mut self, instruction: &Instruction, place: Place) {
        let width = instruction.width;
        match instruction.operation {
            Operation::Load => {
                let value = self.read(place, width);
                self.set_register(instruction.source, width, value);
            }
            Operation::Store => {
                let value = self.source(instruction);
                self.write(place, width, value);
            }
            Operation::LoadExtended(extension, to) => {
                let value = extended(self.read(place, width), width, extension);
                self.set_register(instruction.source, to, value);
            }
            Operation::Alu(alu) => self.arithmetic(alu, instruction, place),
            Operation::AluToRegister(alu) => self.arithmetic_to_register(alu, instruction, place),
            Operation::Test => self.test(instruction, place),
            Operation::Unary(unary) => self.unary(unary, instruction, place),
            Operation::BitTest(test) => self.bit_test(test, instruction, place),
            Operation::Exchange => self.exchange(instruction, place),
            Operation::ExchangeAdd => self.exchange_add(instruction, place),
            Operation::CompareExchange => self.compare_exchange(instruction, place),
            Operation::StoreSelector(segment) => {
                let selector = self.state.segment(segment).selector;
                self.write(place, width, u64::from(selector));
            }
            Operation::StoreSwapped => {
                let value = swapped(self.source(instruction), width);
                self.write(place, width, value);
            }
            Operation::LoadSwapped => {
                let value = swapped(self.read(place, width), width);
                self.set_register(instruction.source, width, value);
            }
            Operation::Set(condition) => {
                let holds = condition.holds(self.state.rflags);
                self.write(place, width, u64::from(holds));
            }
            Operation::MoveIf(condition) => self.move_if(condition, instruction, place),
            Operation::BitScan(scan) => self.bit_scan(scan, instruction, place),
            Operation::Multiply => {
                let factor = self.source(instruction);
                self.multiply(factor, instruction, place);
            }
            Operation::MultiplyConstant => {
                self.multiply(instruction.constant, instruction, place);
            }
            Operation::Shift(shift) => self.shift(shift, instruction, place),
            Operation::ShiftDouble(shift, count) => {
                self.shift_double(shift, count, instruction, place);
            }
            // Not here: they have other ways to memory, or may fail.
            Operation::String(_) | Operation::Stack(_) | Operation::CompareExchangePair => {}
            Operation::Accumulate(_) | Operation::StoreStatusWord | Operation::LoadStatusWord => {}
        }
    }

    fn test(&mut self, instruction: &Instruction, place: Place) {
        let width = instruction.width;
        let both = self.read(place, width) & self.source(instruction);
        let (_, flags) = alu::logical(both, width, self.state.rflags);
        self.set_flags(flags);
    }

    fn unary(&mut self, unary: Unary, instruction: &Instruction, place: Place) {
        let width = instruction.width;
        let value = self.read(place, width);
        let (result, flags) = unary.compute(value, width, self.state.rflags);
        self.write(place, width, result);
        self.set_flags(flags);
    }

    fn exchange(&mut self, instruction: &Instruction, place: Place) {
        let width = instruction.width;
        let value = self.read(place, width);
        let register = self.source(instruction);
        self.write(place, width, register);
        self.set_register(instruction.source, width, value);
    }

    fn arithmetic(&mut self, alu: Alu, instruction: &Instruction, place: Place) {
        let width = instruction.width;
        let value = self.read(place, width);
        let source = self.source(instruction);
        let (result, flags) = alu.compute(value, source, width, self.state.rflags);
        if alu != Alu::Compare {
            self.write(place, width, result);
        }
        self.set_flags(flags);
    }

    fn arithmetic_to_register(&mut self, alu: Alu, instruction: &Instruction, place: Place) {
        let width = instruction.width;
        let value = self.read(place, width);
        let register = self.source(instruction);
        let (result, flags) = alu.compute(register, value, width, self.state.rflags);
        if alu != Alu::Compare {
            self.set_register(instruction.source, width, result);
        }
        self.set_flags(flags);
    }

    fn bit_test(&mut self, test: BitTest, instruction: &Instruction, place: Place) {
        let width = instruction.width;
        let value = self.read(place, width);
        let offset = self.source(instruction);
        let (result, flags) = test.compute(value, offset, width, self.state.rflags);
        if test != BitTest::Test {
            self.write(place, width, result);
        }
        self.set_flags(flags);
    }

    /// The operand is read in any case; 32 bits clear the register's upper half in any case.
    fn move_if(&mut self, condition: Condition, instruction: &Instruction, place: Place) {
        let width = instruction.width;
        let value = self.read(place, width);
        let kept = self.source(instruction);
        let holds = condition.holds(self.state.rflags);
        self.set_register(instruction.source, width, if holds { value } else { kept });
    }

    fn bit_scan(&mut self, scan: BitScan, instruction: &Instruction, place: Place) {
        let width = instruction.width;
        let value = self.read(place, width);
        let (found, flags) = scan.compute(value, self.state.rflags);
        if let Some(number) = found {
            self.set_register(instruction.source, width, number);
        }
        self.set_flags(flags);
    }

    fn multiply(&mut self, factor: u64, instruction: &Instruction, place: Place) {
        let width = instruction.width;
        let value = self.read(place, width);
        let (product, upper) = multiply::signed_product(value, factor, width);
        self.set_register(instruction.source, width, product as u64);
        let flags = upper.flags(self.state.rflags);
        self.set_flags(flags);
    }

    fn shift(&mut self, shift: Shift, instruction: &Instruction, place: Place) {
        let width = instruction.width;
        let value = self.read(place, width);
        let count = self.source(instruction);
        let (result, flags) = shift.compute(value, count, width, self.state.rflags);
        self.write(place, width, result);
        self.set_flags(flags);
    }

    fn shift_double(
        &mut self,
        shift: DoubleShift,
        count: Count,
        instruction: &Instruction,
        place: Place,
    ) {
        let width = instruction.width;
        let value = self.read(place, width);
        let from = self.source(instruction);
        let count = match count {
            Count::Constant => instruction.constant,
            Count::Register => self.state.get(Gpr::Rcx),
        };
        let (result, flags) = shift.compute((value, from), count, width, self.state.rflags);
        self.write(place, width, result);
        self.set_flags(flags);
    }

    fn exchange_add(&mut self, instruction: &Instruction, place: Place) {
        let width = instruction.width;
        let value = self.read(place, width);
        let register = self.source(instruction);
        let (sum, flags) = alu::add(value, register, 0, width, self.state.rflags);
        self.write(place, width, sum);
        self.set_register(instruction.source, width, value);
        self.set_flags(flags);
    }

    /// The destination gets a write whether or not the comparison succeeds, as on the bus
    /// `[SDM 2A, "CMPXCHG—Compare and Exchange", ed. 085]`.
    fn compare_exchange(&mut self, instruction: &Instruction, place: Place) {
        let width = instruction.width;
        let value = self.read(place, width);
        let accumulator = Register::ACCUMULATOR.read(self.state, width);
        let flags = self.state.rflags;
        let (_, flags) = Alu::Compare.compute(accumulator, value, width, flags);
        if flags & alu::ZERO != 0 {
            let register = self.source(instruction);
            self.write(place, width, register);
        } else {
            self.write(place, width, value);
            Register::ACCUMULATOR.write(self.state, width, value);
        }
        self.set_flags(flags);
    }

    #[inline]
    pub(crate) fn source(&self, instruction: &Instruction) -> u64 {
        match instruction.source {
            Source::Register(register) => register.read(self.state, instruction.width),
            Source::Immediate(value) => value,
        }
    }

    #[inline]
    fn set_register(&mut self, source: Source, width: Width, value: u64) {
        if let Source::Register(register) = source {
            register.write(self.state, width, value);
        }
    }

    /// The bytes that a bit offset in a register moves the operand by; it is signed and
    /// may lead far away `[SDM 2A, "BT—Bit Test", ed. 085]`.
    #[inline]
    pub(crate) fn bit_string_shift(&self, instruction: &Instruction) -> u64 {
        match (instruction.operation, instruction.source) {
            (Operation::BitTest(_), Source::Register(register)) => {
                let width = instruction.width;
                let value = register.read(self.state, width);
                let offset = extended(value, width, Extension::Sign) as i64;
                (offset >> 3) as u64 & !width.bytes().wrapping_sub(1)
            }
            _ => 0,
        }
    }
}

#[inline]
fn extended(value: u64, width: Width, extension: Extension) -> u64 {
    match (extension, width) {
        (Extension::Zero, _) | (Extension::Sign, Width::Qword) => value,
        (Extension::Sign, Width::Byte) => i64::from(value as i8) as u64,
        (Extension::Sign, Width::Word) => i64::from(value as i16) as u64,
        (Extension::Sign, Width::Dword) => i64::from(value as i32) as u64,
    }
}

fn swapped(value: u64, width: Width) -> u64 {
    match width {
        Width::Byte => value,
        Width::Word => u64::from((value as u16).swap_bytes()),
        Width::Dword => u64::from((value as u32).swap_bytes()),
        Width::Qword => value.swap_bytes(),
    }
}
