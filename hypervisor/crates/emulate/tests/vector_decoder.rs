//! The decoder of vector moves against iced-x86: all of those that are meant to be known, with
//! the same operands and lengths, and nothing else.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod iced;

use iced::{address_width, memory_operand};
use iced_x86::{Code, DecoderOptions, EncodingKind, Mnemonic as M, OpKind, Register as R};
use proptest::prelude::*;
use skerry_emulate::Bytes;
use skerry_emulate::decoder::{
    Alignment, Base, DecodeError, Part, RegisterFile, VectorInstruction, VectorMove, decode,
    decode_vector,
};
use skerry_words::{Access, Segment, Width};

const MODES: [Width; 3] = [Width::Word, Width::Dword, Width::Qword];

/// Part and alignment of the moves that are meant to be known.
fn meant(mnemonic: M) -> Option<(Part, Alignment)> {
    use Alignment::{Natural, None as Any};
    Some(match mnemonic {
        M::Movd | M::Movq | M::Vmovd | M::Vmovq | M::Movss | M::Vmovss => (Part::Whole, Any),
        M::Movsd | M::Vmovsd | M::Lddqu | M::Vlddqu | M::Movntq => (Part::Whole, Any),
        M::Movdqu | M::Vmovdqu | M::Movups | M::Vmovups => (Part::Whole, Any),
        M::Movupd | M::Vmovupd => (Part::Whole, Any),
        M::Movdqa | M::Vmovdqa | M::Movaps | M::Vmovaps => (Part::Whole, Natural),
        M::Movapd | M::Vmovapd | M::Movntdq | M::Vmovntdq => (Part::Whole, Natural),
        M::Movntps | M::Vmovntps | M::Movntpd | M::Vmovntpd => (Part::Whole, Natural),
        M::Movntdqa | M::Vmovntdqa => (Part::Whole, Natural),
        M::Movlps | M::Vmovlps | M::Movlpd | M::Vmovlpd => (Part::Low, Any),
        M::Movhps | M::Vmovhps | M::Movhpd | M::Vmovhpd => (Part::High, Any),
        _ => return None,
    })
}

/// What iced says, in our words; `None` for instructions we do not mean to know.
fn expected(from: &iced_x86::Instruction) -> Option<VectorMove> {
    let known = matches!(from.encoding(), EncodingKind::Legacy | EncodingKind::VEX);
    if from.code() == Code::INVALID || !known || from.is_string_instruction() {
        return None;
    }
    let (part, alignment) = meant(from.mnemonic())?;
    let memory = memory_operand(from)?;
    let stores = from.op0_kind() == OpKind::Memory;
    let moved = from.op_register(if stores { 1 } else { 0 });
    let file = match from.encoding() {
        _ if moved.is_mm() => RegisterFile::Mmx,
        EncodingKind::VEX => RegisterFile::Vex,
        _ => RegisterFile::Sse,
    };
    let register = moved.number() as u8;
    let merges = from.op_count() == 3;
    Some(VectorMove {
        length: from.len() as u8,
        access: if stores { Access::Write } else { Access::Read },
        file,
        register,
        part,
        merged: if merges {
            from.op1_register().number() as u8
        } else {
            register
        },
        bytes: from.memory_size().size() as u64,
        alignment,
        memory,
    })
}

/// As the other decoder's test: what iced does not tell is blanked.
fn comparable(mut ours: VectorMove, mode: Width, from: &iced_x86::Instruction) -> VectorMove {
    let memory = &mut ours.memory;
    if mode == Width::Qword && !matches!(memory.segment, Segment::Fs | Segment::Gs) {
        memory.segment = Segment::Ds;
    }
    memory.width = address_width(from).unwrap_or(memory.width);
    if memory.base != Base::NextInstruction {
        memory.displacement &= memory.width.mask();
    }
    if memory.index.is_none() {
        memory.scale = 0;
    }
    ours
}

fn agree(code: &[u8], mode: Width) -> Result<bool, String> {
    let bits = mode.bytes() as u32 * 8;
    let bytes = Bytes::new(code);
    let mut decoder = iced_x86::Decoder::with_ip(bits, bytes.as_slice(), 0, DecoderOptions::NONE);
    let theirs = decoder.decode();
    let ours = decode_vector(&bytes, mode);
    let agreed = match (ours, expected(&theirs)) {
        (Ok(VectorInstruction::Move(ours)), Some(mut wanted)) => {
            let address = address_width(&theirs);
            wanted.memory.width = address.unwrap_or(ours.memory.width);
            comparable(ours, mode, &theirs) == comparable(wanted, mode, &theirs)
                && decode(&bytes, mode) == Err(DecodeError::Unknown)
        }
        (Ok(VectorInstruction::Undefined), None) => theirs.code() == Code::INVALID,
        (Err(_), None) => true,
        (Ok(_), _) | (Err(_), Some(_)) => false,
    };
    if agreed {
        Ok(matches!(ours, Ok(VectorInstruction::Move(_))))
    } else {
        let theirs = (theirs.code(), theirs);
        Err(format!("{mode:?} {bytes}: {theirs:?} ours {ours:x?}"))
    }
}

const PREFIXES: [&[u8]; 22] = [
    &[],
    &[0x66],
    &[0xf2],
    &[0xf3],
    &[0x67],
    &[0xf0],
    &[0xf0, 0x66],
    &[0x66, 0xf2],
    &[0xf3, 0x66],
    &[0xf2, 0xf3],
    &[0xf3, 0xf2],
    &[0x64],
    &[0x65, 0x66],
    &[0x44],
    &[0x48],
    &[0x66, 0x4f],
    &[0x66, 0x48],
    &[0x48, 0x66],
    &[0xf3, 0x48],
    &[0xf2, 0x41],
    &[0x36, 0x67, 0x42],
    &[0x2e, 0xf3],
];
const MODRM: [u8; 8] = [0x03, 0x44, 0xb8, 0x05, 0x3d, 0x1c, 0xc1, 0x86];

fn all_agree(codes: impl IntoIterator<Item = Vec<u8>>) -> u32 {
    let mut known = 0;
    for mut code in codes {
        code.extend([0x9c, 0x85, 0x77, 0xfe, 3, 0x84, 9, 9, 9]);
        for mode in MODES {
            match agree(&code, mode) {
                Ok(is_known) => known += u32::from(is_known),
                Err(difference) => panic!("{difference}"),
            }
        }
    }
    known
}

#[test]
fn every_opcode_is_decoded_as_iced_decodes_it() {
    let maps: [&[u8]; 3] = [&[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a]];
    let mut codes = Vec::new();
    for prefix in PREFIXES {
        for map in maps {
            for opcode in 0..=255u8 {
                codes.extend(MODRM.map(|modrm| [prefix, map, &[opcode, modrm]].concat()));
            }
        }
    }
    let known = all_agree(codes);
    assert!(known > 2_500, "only {known} were moves");
}

#[test]
fn every_vex_prefix_is_decoded_as_iced_decodes_it() {
    const OPCODES: [u8; 24] = [
        0x10, 0x11, 0x12, 0x13, 0x16, 0x17, 0x28, 0x29, 0x2a, 0x2b, 0x6e, 0x6f, 0x7e, 0x7f, 0xd6,
        0xe7, 0xf0, 0, 0x0f, 0x38, 0x77, 0x62, 0xae, 0xff,
    ];
    let mut codes = Vec::new();
    for (opcode, modrm) in OPCODES.into_iter().flat_map(|o| MODRM.map(|m| (o, m))) {
        for rest in 0..=255u8 {
            codes.push(vec![0xc5, rest, opcode, modrm]);
            // Map 4 is none; the others with all of R, X and B.
            for extensions in [0xe1, 0x61, 0xa1, 0xc1, 0x01, 0xe2, 0x82, 0xe3, 0xe4] {
                codes.push(vec![0xc4, extensions, rest, opcode, modrm]);
            }
        }
    }
    let known = all_agree(codes);
    assert!(known > 15_000, "only {known} were moves");
}

#[test]
fn prefixes_in_front_of_vex_are_what_they_are_to_iced() {
    let vex: [&[u8]; 4] = [
        &[0xc5, 0xf8, 0x10],
        &[0xc5, 0xfe, 0x7f],
        &[0xc4, 0xe1, 0xf9, 0x6e],
        &[0xc4, 0xe2, 0x7d, 0x2a],
    ];
    let codes = PREFIXES
        .iter()
        .flat_map(|prefix| vex.iter().map(move |vex| [*prefix, vex, &[0x43]].concat()));
    let known = all_agree(codes);
    assert!(known > 30, "only {known} were moves");
}

fn code() -> impl Strategy<Value = Vec<u8>> {
    let prefix = prop::sample::select(vec![
        0x66u8, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x41, 0x44, 0x48,
    ]);
    let prefixes = prop::collection::vec(prefix, 0..4);
    let opcode = prop::sample::select(vec![
        0x10u8, 0x11, 0x12, 0x13, 0x16, 0x17, 0x28, 0x29, 0x2b, 0x6e, 0x6f, 0x7e, 0x7f, 0xd6, 0xe7,
        0xf0, 0x2a, 0x38,
    ]);
    let start = prop_oneof![
        Just(vec![0x0f]),
        Just(vec![0x0f, 0x38]),
        any::<u8>().prop_map(|rest| vec![0xc5, rest]),
        any::<[u8; 2]>().prop_map(|[map, rest]| vec![0xc4, map & 0xe3, rest]),
    ];
    let rest = prop::collection::vec(any::<u8>(), 0..10);
    (prefixes, start, opcode, rest)
        .prop_map(|(prefixes, start, opcode, rest)| [prefixes, start, vec![opcode], rest].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn likely_bytes_are_decoded_as_iced_decodes_them(code in code(), mode in 0usize..3) {
        if let Err(difference) = agree(&code, MODES[mode]) {
            prop_assert!(false, "{}", difference);
        }
    }

    #[test]
    fn more_bytes_never_change_a_move_and_fewer_are_asked_for(
        code in code(), mode in 0usize..3,
    ) {
        let whole = decode_vector(&Bytes::new(&code), MODES[mode]);
        for length in 0..code.len().min(15) {
            match (decode_vector(&Bytes::new(&code[..length]), MODES[mode]), whole) {
                (Ok(part), whole) => prop_assert_eq!(Ok(part), whole),
                (Err(DecodeError::Unknown), whole) => prop_assert!(whole.is_err(), "at {}", length),
                (Err(DecodeError::Truncated), _) => {}
            }
        }
    }
}

#[test]
fn a_register_operand_is_no_move_of_memory() {
    let code = Bytes::new(&[0xf3, 0x0f, 0x6f, 0xc1]); // movdqu xmm0, xmm1
    assert_eq!(
        decode_vector(&code, Width::Qword),
        Err(DecodeError::Unknown)
    );
    assert_eq!(R::XMM1.number(), 1);
}
