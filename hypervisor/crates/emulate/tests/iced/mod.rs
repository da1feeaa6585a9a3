//! What iced-x86 says of an instruction, in the decoder's words.
#![allow(dead_code)] // each test uses a part

use iced_x86::{ConditionCode, Mnemonic, OpKind, Register as R};
use skerry_emulate::decoder::{
    Accumulation, Alu, Base, BitScan, BitTest, Condition, Count, DoubleShift, Extension,
    Instruction, MemoryOperand, Operation, Register, Repeat, Shift, Source, StackOperation,
    StringOperation, Unary,
};
use skerry_words::{Segment, Width};

fn width(bytes: usize) -> Width {
    match bytes {
        1 => Width::Byte,
        2 => Width::Word,
        4 => Width::Dword,
        8 => Width::Qword,
        other => panic!("no width of {other} bytes"),
    }
}

fn segment(register: R) -> Segment {
    match register {
        R::ES => Segment::Es,
        R::CS => Segment::Cs,
        R::SS => Segment::Ss,
        R::DS => Segment::Ds,
        R::FS => Segment::Fs,
        R::GS => Segment::Gs,
        other => panic!("{other:?} is no segment"),
    }
}

fn register(register: R) -> Register {
    match register {
        R::AH | R::CH | R::DH | R::BH => Register {
            number: (register as u32 - R::AH as u32) as u8,
            shift: 8,
        },
        _ => Register::new(register.full_register().number() as u8),
    }
}

/// What iced says, in our words; `None` for instructions we do not mean to know.
pub(crate) fn expected(from: &iced_x86::Instruction) -> Option<Instruction> {
    let operation = operation(from)?;
    let memory = match operation {
        Operation::String(_) => implied_operand(segment(from.memory_segment()), 6),
        Operation::Stack(operation) if !has_memory(operation) => implied_operand(Segment::Ss, 4),
        _ => memory_operand(from)?,
    };
    let width = match operation {
        Operation::Stack(operation) if !has_memory(operation) => stack_width(from),
        Operation::CompareExchangePair => width(from.memory_size().size() / 2),
        _ => width(from.memory_size().size()),
    };
    Some(Instruction {
        length: from.len() as u8,
        operation,
        width,
        source: source(from, operation),
        constant: constant(from, operation),
        memory,
        repeat: repeat(from),
    })
}

fn has_memory(operation: StackOperation) -> bool {
    use StackOperation::{Call, Jump, Pop, Push};
    matches!(operation, Push | Pop | Call | Jump)
}

/// The operand size of a stack instruction, which iced has in the name of its form.
fn stack_width(from: &iced_x86::Instruction) -> Width {
    let name = format!("{:?}", from.code());
    let form = name.split_once('_').map_or(name.as_str(), |(form, _)| form);
    match from.mnemonic() {
        // They move the stack pointer by more than that.
        Mnemonic::Ret | Mnemonic::Enter | Mnemonic::Leave => match form.as_bytes().last() {
            Some(b'w') => Width::Word,
            Some(b'd') => Width::Dword,
            _ => Width::Qword,
        },
        _ => width(from.stack_pointer_increment().unsigned_abs() as usize),
    }
}

fn operation(from: &iced_x86::Instruction) -> Option<Operation> {
    let to_memory = matches!(from.op0_kind(), OpKind::Memory);
    let alu = |alu| {
        Some(if to_memory {
            Operation::Alu(alu)
        } else {
            Operation::AluToRegister(alu)
        })
    };
    let string = |operation| {
        from.is_string_instruction()
            .then_some(Operation::String(operation))
    };
    let wide = || width(from.op0_register().size());
    match from.mnemonic() {
        Mnemonic::Mov if to_memory && from.op1_register().is_segment_register() => {
            Some(Operation::StoreSelector(segment(from.op1_register())))
        }
        Mnemonic::Mov if from.op0_register().is_segment_register() => None,
        Mnemonic::Mov | Mnemonic::Movnti if to_memory => Some(Operation::Store),
        Mnemonic::Mov => Some(Operation::Load),
        Mnemonic::Movzx => Some(Operation::LoadExtended(Extension::Zero, wide())),
        Mnemonic::Movsx | Mnemonic::Movsxd => {
            Some(Operation::LoadExtended(Extension::Sign, wide()))
        }
        Mnemonic::Movbe if to_memory => Some(Operation::StoreSwapped),
        Mnemonic::Movbe => Some(Operation::LoadSwapped),
        Mnemonic::Xchg => Some(Operation::Exchange),
        Mnemonic::Add => alu(Alu::Add),
        Mnemonic::Or => alu(Alu::Or),
        Mnemonic::Adc => alu(Alu::AddWithCarry),
        Mnemonic::Sbb => alu(Alu::SubtractWithBorrow),
        Mnemonic::And => alu(Alu::And),
        Mnemonic::Sub => alu(Alu::Subtract),
        Mnemonic::Xor => alu(Alu::Xor),
        Mnemonic::Cmp => alu(Alu::Compare),
        Mnemonic::Test => Some(Operation::Test),
        Mnemonic::Not => Some(Operation::Unary(Unary::Not)),
        Mnemonic::Neg => Some(Operation::Unary(Unary::Negate)),
        Mnemonic::Inc => Some(Operation::Unary(Unary::Increment)),
        Mnemonic::Dec => Some(Operation::Unary(Unary::Decrement)),
        Mnemonic::Bt => Some(Operation::BitTest(BitTest::Test)),
        Mnemonic::Bts => Some(Operation::BitTest(BitTest::Set)),
        Mnemonic::Btr => Some(Operation::BitTest(BitTest::Reset)),
        Mnemonic::Btc => Some(Operation::BitTest(BitTest::Complement)),
        Mnemonic::Xadd => Some(Operation::ExchangeAdd),
        Mnemonic::Cmpxchg => Some(Operation::CompareExchange),
        Mnemonic::Cmpxchg8b | Mnemonic::Cmpxchg16b => Some(Operation::CompareExchangePair),
        Mnemonic::Bsf => Some(Operation::BitScan(BitScan::Forward)),
        Mnemonic::Bsr => Some(Operation::BitScan(BitScan::Reverse)),
        Mnemonic::Imul => Some(match from.op_count() {
            1 => Operation::Accumulate(Accumulation::MultiplySigned),
            2 => Operation::Multiply,
            _ => Operation::MultiplyConstant,
        }),
        Mnemonic::Mul => Some(Operation::Accumulate(Accumulation::Multiply)),
        Mnemonic::Div => Some(Operation::Accumulate(Accumulation::Divide)),
        Mnemonic::Idiv => Some(Operation::Accumulate(Accumulation::DivideSigned)),
        Mnemonic::Rol => Some(Operation::Shift(Shift::RotateLeft)),
        Mnemonic::Ror => Some(Operation::Shift(Shift::RotateRight)),
        Mnemonic::Rcl => Some(Operation::Shift(Shift::RotateCarryLeft)),
        Mnemonic::Rcr => Some(Operation::Shift(Shift::RotateCarryRight)),
        Mnemonic::Shl | Mnemonic::Sal => Some(Operation::Shift(Shift::Left)),
        Mnemonic::Shr => Some(Operation::Shift(Shift::Right)),
        Mnemonic::Sar => Some(Operation::Shift(Shift::ArithmeticRight)),
        Mnemonic::Shld => Some(Operation::ShiftDouble(DoubleShift::Left, count(from))),
        Mnemonic::Shrd => Some(Operation::ShiftDouble(DoubleShift::Right, count(from))),
        Mnemonic::Smsw => Some(Operation::StoreStatusWord),
        Mnemonic::Lmsw => Some(Operation::LoadStatusWord),
        // The forms with ModRM, whose operand is a register.
        Mnemonic::Push | Mnemonic::Pop if !to_memory && is_long_form(from) => None,
        Mnemonic::Push if to_memory => Some(Operation::Stack(StackOperation::Push)),
        Mnemonic::Pop if to_memory => Some(Operation::Stack(StackOperation::Pop)),
        Mnemonic::Push | Mnemonic::Pop if from.op0_register().is_segment_register() => None,
        Mnemonic::Push => Some(Operation::Stack(StackOperation::PushSource)),
        Mnemonic::Pop => Some(Operation::Stack(StackOperation::PopRegister)),
        Mnemonic::Ret => Some(Operation::Stack(StackOperation::Return)),
        Mnemonic::Enter if from.immediate8_2nd() == 0 => {
            Some(Operation::Stack(StackOperation::Enter))
        }
        Mnemonic::Leave => Some(Operation::Stack(StackOperation::Leave)),
        Mnemonic::Call if from.is_call_near() => {
            Some(Operation::Stack(StackOperation::CallRelative))
        }
        Mnemonic::Call if from.is_call_far() => None,
        Mnemonic::Call if !is_far(from) => Some(Operation::Stack(StackOperation::Call)),
        Mnemonic::Jmp if !is_far(from) => Some(Operation::Stack(StackOperation::Jump)),
        Mnemonic::Movsb | Mnemonic::Movsw | Mnemonic::Movsd | Mnemonic::Movsq => {
            string(StringOperation::Move)
        }
        Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq => {
            string(StringOperation::Store)
        }
        Mnemonic::Lodsb | Mnemonic::Lodsw | Mnemonic::Lodsd | Mnemonic::Lodsq => {
            string(StringOperation::Load)
        }
        Mnemonic::Cmpsb | Mnemonic::Cmpsw | Mnemonic::Cmpsd | Mnemonic::Cmpsq => {
            string(StringOperation::Compare)
        }
        Mnemonic::Scasb | Mnemonic::Scasw | Mnemonic::Scasd | Mnemonic::Scasq => {
            string(StringOperation::Scan)
        }
        _ => conditional(from),
    }
}

/// SETcc and CMOVcc.
fn conditional(from: &iced_x86::Instruction) -> Option<Operation> {
    let code = from.condition_code();
    if code == ConditionCode::None {
        return None;
    }
    // iced numbers them from 1 on, in the order of the opcodes.
    let condition = Condition::of(code as u8 - 1);
    let name = format!("{:?}", from.mnemonic());
    if name.starts_with("Set") {
        Some(Operation::Set(condition))
    } else {
        name.starts_with("Cmov")
            .then_some(Operation::MoveIf(condition))
    }
}

fn count(from: &iced_x86::Instruction) -> Count {
    if from.op2_kind() == OpKind::Register {
        Count::Register
    } else {
        Count::Constant
    }
}

fn is_long_form(from: &iced_x86::Instruction) -> bool {
    format!("{:?}", from.code()).contains("_rm")
}

fn is_far(from: &iced_x86::Instruction) -> bool {
    from.is_call_far_indirect() || from.is_jmp_far_indirect()
}

pub(crate) fn memory_operand(from: &iced_x86::Instruction) -> Option<MemoryOperand> {
    (0..from.op_count()).find(|operand| from.op_kind(*operand) == OpKind::Memory)?;
    let (base, displacement) = match from.memory_base() {
        R::None => (Base::None, from.memory_displacement64()),
        // iced adds the next instruction's address, which is the length here.
        R::RIP => {
            let raw = from.memory_displacement64().wrapping_sub(from.next_ip());
            (Base::NextInstruction, raw)
        }
        R::EIP => {
            let raw = from.memory_displacement32().wrapping_sub(from.next_ip32());
            (Base::NextInstruction, raw as i32 as u64)
        }
        base => (
            Base::Register(base.number() as u8),
            from.memory_displacement64(),
        ),
    };
    let index = match from.memory_index() {
        R::None => None,
        index => Some(index.number() as u8),
    };
    Some(MemoryOperand {
        segment: segment(from.memory_segment()),
        base,
        index,
        scale: from.memory_index_scale().trailing_zeros() as u8,
        displacement,
        width: Width::Byte, // compared apart: iced does not name it
    })
}

fn implied_operand(segment: Segment, register: u8) -> MemoryOperand {
    MemoryOperand {
        segment,
        base: Base::Register(register),
        index: None,
        scale: 0,
        displacement: 0,
        width: Width::Byte,
    }
}

/// The register of a string, stack or one-operand instruction says nothing: `None`'s.
fn source(from: &iced_x86::Instruction, operation: Operation) -> Source {
    match operation {
        Operation::Stack(StackOperation::CallRelative) => {
            return Source::Immediate(from.near_branch_target().wrapping_sub(from.len() as u64));
        }
        Operation::Stack(StackOperation::Enter | StackOperation::Return)
            if from.op_count() != 0 =>
        {
            return Source::Immediate(from.immediate16().into());
        }
        _ => {}
    }
    for operand in 0..from.op_count() {
        match from.op_kind(operand) {
            OpKind::Register if !from.op_register(operand).is_segment_register() => {
                return Source::Register(register(from.op_register(operand)));
            }
            _ => {}
        }
    }
    immediate(from).map_or(NO_SOURCE, Source::Immediate)
}

/// The constant besides the source.
fn constant(from: &iced_x86::Instruction, operation: Operation) -> u64 {
    match operation {
        Operation::MultiplyConstant | Operation::ShiftDouble(_, Count::Constant) => {
            immediate(from).unwrap()
        }
        _ => 0,
    }
}

fn immediate(from: &iced_x86::Instruction) -> Option<u64> {
    (0..from.op_count()).find_map(|operand| match from.op_kind(operand) {
        OpKind::Immediate8 => Some(from.immediate8() as i8 as u64),
        OpKind::Immediate16 => Some(from.immediate16() as i16 as u64),
        OpKind::Immediate32 => Some(from.immediate32() as i32 as u64),
        OpKind::Immediate8to16 | OpKind::Immediate8to32 | OpKind::Immediate8to64 => {
            Some(from.immediate(operand))
        }
        OpKind::Immediate32to64 => Some(from.immediate(operand)),
        _ => None,
    })
}

pub(crate) const NO_SOURCE: Source = Source::Register(Register {
    number: 0xff,
    shift: 0,
});

fn repeat(from: &iced_x86::Instruction) -> Repeat {
    if from.has_repne_prefix() {
        Repeat::WhileNotEqual
    } else if from.has_rep_prefix() {
        Repeat::WhileEqual
    } else {
        Repeat::No
    }
}

/// The address size, where iced's registers tell it.
pub(crate) fn address_width(from: &iced_x86::Instruction) -> Option<Width> {
    let string = (0..from.op_count()).find_map(|operand| match from.op_kind(operand) {
        OpKind::MemorySegSI | OpKind::MemoryESDI => Some(Width::Word),
        OpKind::MemorySegESI | OpKind::MemoryESEDI => Some(Width::Dword),
        OpKind::MemorySegRSI | OpKind::MemoryESRDI => Some(Width::Qword),
        _ => None,
    });
    let by_register = [from.memory_base(), from.memory_index()]
        .into_iter()
        .find(|register| *register != R::None)
        .map(|register| width(register.size()));
    string.or(by_register)
}
