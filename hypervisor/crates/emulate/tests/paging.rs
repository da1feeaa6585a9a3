//! The guest page walk against a naive model, over random tables in every mode of paging.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{Ram, long_mode, protected_mode};
use proptest::prelude::*;
use skerry_emulate::translate;
use skerry_verdict::Fault;
use skerry_words::{Access, Gpa, GuestState, Gva, StateGroups};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Mode {
    Bits32,
    Pae,
    FourLevel,
    FiveLevel,
}

/// Per level: lowest address bit, index bits, bytes of an entry, whether it may map pages.
type Level = (u32, u32, u64, bool);

fn levels(mode: Mode, pse: bool) -> Vec<Level> {
    match mode {
        Mode::Bits32 => vec![(22, 10, 4, pse), (12, 10, 4, true)],
        Mode::Pae => vec![(30, 2, 8, false), (21, 9, 8, true), (12, 9, 8, true)],
        Mode::FourLevel => four_levels(),
        Mode::FiveLevel => [vec![(48, 9, 8, false)], four_levels()].concat(),
    }
}

fn four_levels() -> Vec<Level> {
    vec![
        (39, 9, 8, false),
        (30, 9, 8, true),
        (21, 9, 8, true),
        (12, 9, 8, true),
    ]
}

#[derive(Clone, Debug)]
struct Case {
    mode: Mode,
    gva: u64,
    access: Access,
    user: bool,
    wp: bool,
    nxe: bool,
    smep: bool,
    smap: bool,
    ac: bool,
    pse: bool,
    /// Flag bits of each level's entry.
    flags: Vec<u64>,
}

impl Case {
    fn state(&self) -> GuestState {
        let mut state = match self.mode {
            Mode::Bits32 | Mode::Pae => protected_mode(),
            Mode::FourLevel | Mode::FiveLevel => long_mode(),
        };
        let bit = |on: bool, bit: u32| u64::from(on) << bit;
        state.cr0 = 0x8000_0011 | bit(self.wp, 16);
        state.cr3 = TABLES;
        state.cr4 = bit(self.mode != Mode::Bits32, 5)
            | bit(self.mode == Mode::FiveLevel, 12)
            | bit(self.smep, 20)
            | bit(self.smap, 21)
            | bit(self.pse, 4);
        state.efer = (state.efer & !0x800) | bit(self.nxe, 11);
        state.rflags = 2 | bit(self.ac, 18);
        state.cpl = if self.user { 3 } else { 0 };
        state.valid.remove(StateGroups::PDPTES);
        state
    }

    /// One table per level, each a page, with just the entry that `gva` selects; where an
    /// entry maps a page, its address is that of the page.
    fn ram(&self) -> Ram {
        let mut ram = Ram::new();
        for (number, (shift, bits, bytes, _)) in levels(self.mode, self.pse).iter().enumerate() {
            let at = self.entry_at(number, *shift, *bits, *bytes);
            let entry = self.entry(number, *shift).to_le_bytes();
            ram.put(at, &entry[..*bytes as usize]);
        }
        ram
    }

    fn entry_at(&self, number: usize, shift: u32, bits: u32, bytes: u64) -> u64 {
        let index = (self.gva >> shift) & ((1 << bits) - 1);
        TABLES + number as u64 * 0x1000 + index * bytes
    }

    fn entry(&self, number: usize, shift: u32) -> u64 {
        let flags = self.flags[number];
        let small = flags & !0xffff_ffff_f000;
        let next_table = TABLES + (number as u64 + 1) * 0x1000;
        let may_map = levels(self.mode, self.pse)[number].3;
        match self.mode {
            Mode::Pae if number == 0 => next_table | (flags & 1),
            _ if shift == 12 => PAGE | small,
            // Aligned, so that no reserved bit is set by chance.
            _ if may_map && flags & 0x80 != 0 => (PAGE << 12) & !((1 << shift) - 1) | flags,
            _ => next_table | small,
        }
    }

    /// The naive model: every entry on the way first, judged after that.
    fn expected(&self) -> Result<u64, u32> {
        let mut entries = Vec::new();
        let mut last = (0, 12);
        for (number, (shift, _, _, may_map)) in levels(self.mode, self.pse).into_iter().enumerate()
        {
            let entry = self.entry(number, shift);
            let is_register = self.mode == Mode::Pae && number == 0;
            if entry & 1 == 0 {
                return Err(self.code(0));
            }
            if self.has_reserved_bits(entry, shift, may_map) && !is_register {
                return Err(self.code(0b1001));
            }
            if !is_register {
                entries.push(entry);
            }
            last = (entry, shift);
            if shift == 12 || (may_map && entry & 0x80 != 0) {
                break;
            }
        }
        if !self.allowed(&entries) {
            return Err(self.code(1));
        }
        let offset = (1 << last.1) - 1;
        Ok(last.0 & self.address_bits() & !offset | self.gva & offset)
    }

    fn address_bits(&self) -> u64 {
        if self.mode == Mode::Bits32 {
            0xffff_f000
        } else {
            0xffff_ffff_f000
        }
    }

    fn has_reserved_bits(&self, entry: u64, shift: u32, may_map: bool) -> bool {
        let large = entry & 0x80 != 0;
        if self.mode == Mode::Bits32 {
            return shift == 22 && may_map && large && entry & 1 << 21 != 0;
        }
        let no_execute = !self.nxe && entry >> 63 != 0;
        let high = self.mode == Mode::Pae && entry & 0x7ff0_0000_0000_0000 != 0;
        let not_a_page = large && !may_map;
        let unaligned = large && may_map && shift > 12 && entry & ((1 << shift) - 1) & !0x1fff != 0;
        no_execute || high || not_a_page || unaligned
    }

    fn allowed(&self, entries: &[u64]) -> bool {
        let every = |bit: u32| entries.iter().all(|entry| entry >> bit & 1 == 1);
        let (user_page, writable) = (every(2), every(1));
        let executable = entries.iter().all(|entry| entry >> 63 == 0);
        match (self.user, self.access) {
            (true, _) if !user_page => false,
            (true, Access::Read) => true,
            (true, Access::Write) => writable,
            (true, Access::Execute) => executable,
            (false, Access::Execute) => executable && !(user_page && self.smep),
            (false, _) if user_page && self.smap && !self.ac => false,
            (false, Access::Read) => true,
            (false, Access::Write) => writable || !self.wp,
        }
    }

    fn code(&self, cause: u32) -> u32 {
        let fetch = self.smep || (self.nxe && self.mode != Mode::Bits32);
        cause
            | u32::from(self.access == Access::Write) << 1
            | u32::from(self.user) << 2
            | u32::from(self.access == Access::Execute && fetch) << 4
    }
}

const TABLES: u64 = 0x1_0000;
const PAGE: u64 = 0x6_5000;

/// Mostly permissive flags, so that walks get somewhere.
fn flags() -> impl Strategy<Value = u64> {
    let usual = prop::sample::select(vec![7u64, 7, 7, 0x27, 0x67, 5, 3, 1, 0x87, 0xe7]);
    let odd = prop::sample::select(vec![
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        6,
        1 << 63,
        1 << 52,
        1 << 21,
        1 << 13,
        0x18,
        0x100,
    ]);
    (usual, odd).prop_map(|(usual, odd): (u64, u64)| usual ^ odd)
}

fn case() -> impl Strategy<Value = Case> {
    let mode = prop::sample::select(vec![
        Mode::Bits32,
        Mode::Pae,
        Mode::FourLevel,
        Mode::FourLevel,
        Mode::FiveLevel,
    ]);
    let access = prop::sample::select(vec![Access::Read, Access::Write, Access::Execute]);
    let bits = prop::array::uniform7(any::<bool>());
    (
        mode,
        any::<u64>(),
        access,
        bits,
        prop::collection::vec(flags(), 5),
    )
        .prop_map(
            |(mode, gva, access, [user, wp, nxe, smep, smap, ac, pse], flags)| {
                let sign_extended = |unused: u32| ((gva << unused) as i64 >> unused) as u64;
                let gva = match mode {
                    Mode::Bits32 | Mode::Pae => gva & 0xffff_ffff,
                    Mode::FourLevel => sign_extended(16),
                    Mode::FiveLevel => sign_extended(7),
                };
                let known = if mode == Mode::Bits32 {
                    0x0020_0fff
                } else {
                    u64::MAX
                };
                let flags = flags.iter().map(|flags| flags & known).collect();
                Case {
                    mode,
                    gva,
                    access,
                    user,
                    wp,
                    nxe,
                    smep,
                    smap,
                    ac,
                    pse,
                    flags,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_walk_finds_what_the_model_finds_and_sets_flags_only_if_it_succeeds(case in case()) {
        let mut ram = case.ram();
        let before = ram.bytes.clone();
        let found = translate(&case.state(), &mut ram, Gva(case.gva), case.access);
        match case.expected() {
            Ok(gpa) => {
                prop_assert_eq!(found, Ok(Gpa(gpa)));
                for (new, old) in ram.bytes.chunks(256).zip(before.chunks(256)) {
                    let same = new == old || new.iter().zip(old).all(|(new, old)| (new ^ old) & !0x60 == 0);
                    prop_assert!(same);
                }
                prop_assert!(flags_are_set(&case, &ram));
            }
            Err(code) => {
                prop_assert_eq!(found, Err(Fault::Page(case.gva, code)));
                prop_assert!(ram.bytes == before);
            }
        }
    }
}

/// Whether every entry of the way is accessed, and the leaf dirty after a write.
fn flags_are_set(case: &Case, ram: &Ram) -> bool {
    let mut good = true;
    for (number, (shift, bits, bytes, may_map)) in
        levels(case.mode, case.pse).into_iter().enumerate()
    {
        let low = ram.bytes[case.entry_at(number, shift, bits, bytes) as usize];
        let is_leaf = shift == 12 || (may_map && low & 0x80 != 0);
        let is_register = case.mode == Mode::Pae && number == 0;
        good &= is_register || low & 0x20 != 0;
        if is_leaf {
            return good && (case.access != Access::Write || low & 0x40 != 0);
        }
    }
    good
}

#[test]
fn without_paging_a_linear_address_is_a_physical_one() {
    let state = protected_mode();
    let found = translate(&state, &mut Ram::new(), Gva(0xfee0_0000), Access::Write);
    assert_eq!(found, Ok(Gpa(0xfee0_0000)));
}

#[test]
fn the_pdptes_of_the_cpu_count_and_not_those_in_memory_if_they_are_known() {
    let mut state = protected_mode();
    state.cr0 |= 1 << 31;
    state.cr4 = 1 << 5;
    state.cr3 = 0x1000;
    state.valid = StateGroups::PDPTES;
    state.pdpte = [0, 0, 0, 0x2001];
    let mut ram = Ram::new();
    ram.put(0x2000, &0x0060_0087u64.to_le_bytes());
    let found = translate(&state, &mut ram, Gva(0xc000_1234), Access::Read);
    assert_eq!(found, Ok(Gpa(0x0060_1234)));
    state.valid = StateGroups::empty();
    let absent = translate(&state, &mut ram, Gva(0xc000_1234), Access::Read);
    assert_eq!(absent, Err(Fault::Page(0xc000_1234, 0)));
}

#[test]
fn tables_outside_of_ram_are_all_ones_and_end_in_a_reserved_bit() {
    let mut state = long_mode();
    state.cr3 = 0x7000_0000_0000;
    let found = translate(&state, &mut Ram::new(), Gva(0x1000), Access::Read);
    assert_eq!(found, Err(Fault::Page(0x1000, 0b1001)));
}

#[test]
fn a_four_mebibyte_page_reaches_beyond_4_gib() {
    let mut state = protected_mode();
    state.cr0 |= 1 << 31;
    state.cr4 = 1 << 4;
    state.cr3 = 0x1000;
    let mut ram = Ram::new();
    ram.put(0x1000 + 4, &(0x0080_0087u32 | 0x12 << 13).to_le_bytes());
    let found = translate(&state, &mut ram, Gva(0x0040_1234), Access::Read);
    assert_eq!(found, Ok(Gpa(0x12_0080_1234)));
}
