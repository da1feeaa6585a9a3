//! The decoder against iced-x86: the same instructions, the same lengths and operands,
//! and nothing accepted that iced refuses.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod iced;

use iced::{NO_SOURCE, address_width, expected};
use iced_x86::{Code, DecoderOptions};
use proptest::prelude::*;
use skerry_emulate::Bytes;
use skerry_emulate::decoder::{
    Base, DecodeError, Instruction, Operation, Repeat, Source, StackOperation, decode,
};
use skerry_words::{Segment, Width};

const MODES: [Width; 3] = [Width::Word, Width::Dword, Width::Qword];

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
                    let step = if number == 0 { 5 } else { 37 };
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
    #![proptest_config(ProptestConfig::with_cases(2_000))]

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
