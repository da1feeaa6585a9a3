//! What a PC's firmware leaves behind for a kernel that a boot loader started.
//!
//! Owns the real-mode interrupt table at 0 and three handlers that do nothing but end the
//! interrupt, for kernels that go back to real mode: a multiboot loader stands for a machine with
//! a BIOS. There are no BIOS services behind it. That the interrupt controllers are programmed to
//! match is the VMM's part ([`crate::Firmware`])
//! `[IBM PC AT Technical Reference, "Interrupt Vectors"]`.

use alloc::vec::Vec;
use skerry_words::Gpa;

use crate::Part;
use crate::plan::Builder;

/// The interrupt table.
const TABLE: Gpa = Gpa(0);
/// The handlers, in what guests are told is reserved.
const HANDLERS: Gpa = Gpa(0xf_e000);
/// The segment whose offset 0 is at F0000h.
const SEGMENT: u16 = 0xf000;
const FIRST_OFFSET: u16 = 0xe000;

/// IRET, for software and for exceptions.
const NOTHING: &[u8] = &[0xcf];
/// PUSH AX; MOV AL, 20h; OUT 20h, AL; POP AX; IRET.
const END_AT_MASTER: &[u8] = &[0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf];
/// The same with OUT A0h, AL before.
const END_AT_BOTH: &[u8] = &[0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf];

/// Where the offset of each handler is, one behind the other.
const END_AT_MASTER_OFFSET: u16 = FIRST_OFFSET + 1;
const END_AT_BOTH_OFFSET: u16 = END_AT_MASTER_OFFSET + 7;

/// Places table and handlers where the image does not lie itself.
pub(crate) fn place(builder: &mut Builder<'_>) {
    let handlers = [NOTHING, END_AT_MASTER, END_AT_BOTH].concat();
    let table: Vec<u8> = (0..=u8::MAX)
        .flat_map(|vector| [offset_of(vector), SEGMENT])
        .flat_map(u16::to_le_bytes)
        .collect();
    // An image that is there has its own opinion of real mode, or none.
    let _ = builder.place(Part::BootData, HANDLERS, handlers, 0);
    let _ = builder.place(Part::BootData, TABLE, table, 0);
}

const fn offset_of(vector: u8) -> u16 {
    match vector {
        0x08..=0x0f => END_AT_MASTER_OFFSET,
        0x70..=0x77 => END_AT_BOTH_OFFSET,
        _ => FIRST_OFFSET,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector_leads_to_a_handler_that_ends_its_interrupt() {
        let mut builder = Builder::new(1 << 20, 0);
        place(&mut builder);
        let plan = builder.finish(crate::entry::protected_mode(0));
        let byte = |at: u64| {
            let mut pieces = plan.pieces.iter();
            pieces.find_map(|piece| {
                let offset = at.checked_sub(piece.at.0)?;
                piece.bytes.get(offset as usize).copied()
            })
        };
        let word = |at| u16::from_le_bytes([byte(at).unwrap(), byte(at + 1).unwrap()]);
        for vector in 0..256_u64 {
            let at = u64::from(word(vector * 4 + 2)) * 16 + u64::from(word(vector * 4));
            let code: Vec<u8> = (at..).map_while(byte).take_while(|b| *b != 0xcf).collect();
            let ends = [(0xa0, 0x70..=0x77), (0x20, 0x08..=0x0f)];
            for (port, vectors) in ends {
                let ended = code.windows(2).any(|pair| pair == [0xe6, port]);
                let wanted =
                    vectors.contains(&vector) || port == 0x20 && (0x70..=0x77).contains(&vector);
                assert_eq!(ended, wanted, "vector {vector:#x}, port {port:#x}");
            }
        }
    }

    #[test]
    fn an_image_at_0_keeps_its_place() {
        let mut builder = Builder::new(1 << 20, 0);
        builder
            .place(Part::Kernel, Gpa(0), [7; 16].as_slice(), 16)
            .unwrap();
        place(&mut builder);
        let plan = builder.finish(crate::entry::protected_mode(0));
        assert!(
            plan.pieces
                .iter()
                .filter(|piece| piece.at == Gpa(0))
                .count()
                == 1
        );
    }
}
