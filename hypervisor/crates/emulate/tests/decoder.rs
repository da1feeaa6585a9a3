//! The decoder against iced-x86: the same instructions, the same lengths and operands,
//! and nothing accepted that iced refuses.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use iced_x86::{Code, ConditionCode, DecoderOptions, Mnemonic, OpKind, Register as R};
use proptest::prelude::*;
use skerry_emulate::Bytes;
use skerry_emulate::decoder::{
    Accumulation, Alu, Base, BitScan, BitTest, Condition, Count, DecodeError, DoubleShift,
    Extension, Instruction, MemoryOperand, Operation, Register, Repeat, Shift, Source,
    StackOperation, StringOperation, Unary, decode,
};
use skerry_words::{Segment, Width};

const MODES: [Width; 3] = [Width::Word, Width::Dword, Width::Qword];

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
fn expected(from: &iced_x86::Instruction) -> Option<Instruction> {
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

fn memory_operand(from: &iced_x86::Instruction) -> Option<MemoryOperand> {
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

const NO_SOURCE: Source = Source::Register(Register {
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

/// Blanks what iced does not tell, and cuts displacements to the address size.
fn comparable(mut instruction: Instruction, mode: Width, names_source: bool) -> Instruction {
    let segment = instruction.memory.segment;
    if mode == Width::Qword && !matches!(segment, Segment::Fs | Segment::Gs) {
        // All the same there, and overrides ignored; iced names them nevertheless.
        instruction.memory.segment = Segment::Ds;
    }
    if instruction.memory.base != Base::NextInstruction {
        instruction.memory.displacement &= instruction.memory.width.mask();
    }
    if instruction.memory.index.is_none() {
        instruction.memory.scale = 0;
    }
    if !names_source {
        instruction.source = NO_SOURCE;
    }
    if let (Operation::Stack(StackOperation::CallRelative), Source::Immediate(value)) =
        (instruction.operation, instruction.source)
    {
        instruction.source = Source::Immediate(value & instruction.width.mask());
    }
    if !matches!(instruction.operation, Operation::String(_)) {
        // Repeat prefixes of others mean nothing, or are a hint.
        instruction.repeat = Repeat::No;
    }
    instruction
}

fn same(
    mode: Width,
    ours: Instruction,
    mut wanted: Instruction,
    theirs: &iced_x86::Instruction,
) -> bool {
    let address = address_width(theirs).unwrap_or(ours.memory.width);
    wanted.memory.width = address;
    let names_source = wanted.source != NO_SOURCE;
    comparable(ours, mode, names_source) == comparable(wanted, mode, names_source)
}

/// The address size, where iced's registers tell it.
fn address_width(from: &iced_x86::Instruction) -> Option<Width> {
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

fn agree(code: &[u8], mode: Width) -> Result<(), String> {
    let bits = mode.bytes() as u32 * 8;
    let bytes = Bytes::new(code);
    let mut decoder = iced_x86::Decoder::with_ip(bits, bytes.as_slice(), 0, DecoderOptions::NONE);
    let theirs = decoder.decode();
    let ours = decode(&bytes, mode);
    let wanted = match theirs.code() {
        Code::INVALID => None,
        _ => expected(&theirs),
    };
    let agreed = match (ours, wanted) {
        (Ok(ours), Some(wanted)) => same(mode, ours, wanted, &theirs),
        (Err(_), None) => true,
        (Ok(_), None) | (Err(_), Some(_)) => false,
    };
    if agreed {
        Ok(())
    } else {
        Err(format!(
            "{mode:?} {bytes}: {theirs:?} ours {ours:x?} wanted {wanted:x?}"
        ))
    }
}

const PREFIXES: [&[u8]; 24] = [
    &[],
    &[0x66],
    &[0x67],
    &[0x66, 0x67],
    &[0xf2],
    &[0xf3],
    &[0xf0],
    &[0xf0, 0x66],
    &[0x2e],
    &[0x64],
    &[0x65, 0x3e],
    &[0x48],
    &[0x41],
    &[0x44],
    &[0x4f],
    &[0x66, 0x48],
    &[0x48, 0x66],
    &[0xf3, 0x48],
    &[0x40],
    &[0x67, 0x42],
    &[0xf2, 0xf3],
    &[0xf3, 0xf2],
    &[0x66, 0xf3],
    &[0x36, 0x26],
];

/// Every opcode of the three maps, with ModRM bytes of each kind, behind each prefix.
#[test]
fn every_opcode_is_decoded_as_iced_decodes_it() {
    let maps: [&[u8]; 3] = [&[], &[0x0f], &[0x0f, 0x38]];
    let mut accepted = 0u32;
    for mode in MODES {
        for (number, prefix) in PREFIXES.iter().enumerate() {
            for map in maps {
                for opcode in 0..=255u8 {
                    // More of the ModRM bytes without prefixes.
                    let step = if number == 0 { 3 } else { 37 };
                    for modrm in (0..=255u8).step_by(step) {
                        let mut code = prefix.to_vec();
                        code.extend_from_slice(map);
                        code.extend([opcode, modrm, 0x9c, 0x85, 0x77, 0xfe, 3, 0x84, 9, 9, 9]);
                        if let Err(difference) = agree(&code, mode) {
                            panic!("{difference}");
                        }
                        accepted += u32::from(decode(&Bytes::new(&code), mode).is_ok());
                    }
                }
            }
        }
    }
    assert!(accepted > 10_000, "only {accepted} were instructions");
}

fn opcode() -> impl Strategy<Value = Vec<u8>> {
    let one = prop_oneof![
        0u8..0x40,
        0x80u8..0x90,
        0xa0u8..0xb0,
        Just(0x63),
        0x50u8..0x60,
        prop::sample::select(vec![0x68u8, 0x69, 0x6a, 0x6b, 0xe8]),
        0xc0u8..0xca,
        0xd0u8..0xd4,
        Just(0xc6),
        Just(0xc7),
        Just(0xf6),
        Just(0xf7),
        Just(0xfe),
        Just(0xff),
        any::<u8>()
    ];
    let two = prop_oneof![
        0xa0u8..0xc4,
        0x40u8..0x50,
        0x90u8..0xa0,
        Just(0xc7),
        Just(1),
        any::<u8>()
    ];
    prop_oneof![
        3 => one.prop_map(|byte| vec![byte]),
        2 => two.prop_map(|byte| vec![0x0f, byte]),
        1 => (0xf0u8..0xf2).prop_map(|byte| vec![0x0f, 0x38, byte]),
    ]
}

fn code() -> impl Strategy<Value = Vec<u8>> {
    let prefix = prop::sample::select(vec![
        0x66u8, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x40, 0x41, 0x42, 0x44,
        0x48, 0x4c, 0x4f,
    ]);
    let prefixes = prop::collection::vec(prefix, 0..5);
    let rest = prop::collection::vec(any::<u8>(), 0..14);
    (prefixes, opcode(), rest).prop_map(|(prefixes, opcode, rest)| {
        prefixes.into_iter().chain(opcode).chain(rest).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn likely_bytes_are_decoded_as_iced_decodes_them(code in code(), mode in 0usize..3) {
        if let Err(difference) = agree(&code, MODES[mode]) {
            prop_assert!(false, "{}", difference);
        }
    }

    #[test]
    fn more_bytes_never_change_an_instruction_and_fewer_are_asked_for(
        code in code(), mode in 0usize..3,
    ) {
        let mode = MODES[mode];
        let whole = decode(&Bytes::new(&code), mode);
        for length in 0..code.len().min(15) {
            let part = decode(&Bytes::new(&code[..length]), mode);
            match (part, whole) {
                (Ok(part), Ok(whole)) => prop_assert_eq!(part, whole),
                (Ok(_), Err(_)) => prop_assert!(false, "an instruction was lost"),
                (Err(DecodeError::Unknown), Ok(_)) => prop_assert!(false, "given up at {}", length),
                (Err(_), Err(_)) | (Err(DecodeError::Truncated), Ok(_)) => {}
            }
        }
    }
}

#[test]
fn an_instruction_of_sixteen_bytes_does_not_exist() {
    let mut code = vec![0x66; 14];
    code.extend([0x89, 0x03]);
    let cut = Bytes::new(&code);
    assert_eq!(decode(&cut, Width::Dword), Err(DecodeError::Unknown));
}

#[test]
fn a_frame_that_nests_is_not_known() {
    let frame = |level| decode(&Bytes::new(&[0xc8, 0x34, 0x92, level]), Width::Qword);
    let known = frame(0).unwrap();
    assert_eq!(known.operation, Operation::Stack(StackOperation::Enter));
    assert_eq!((known.source, known.length), (Source::Immediate(0x9234), 4));
    assert_eq!(frame(1), Err(DecodeError::Unknown));
}
