//! The tables as a guest walks them, by the offsets of the specification; the DSDT against
//! what ACPICA's compiler makes of the same in ASL.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use super::*;
use crate::layout;
use skerry_words::PAGE_BYTES;

/// The tables in guest memory, with a reader's hand on it.
struct Memory(AcpiTables);

impl Memory {
    fn new(vcpus: u32) -> Self {
        Self(tables(vcpus))
    }

    /// `bytes` bytes at an address.
    fn at(&self, at: u64, bytes: usize) -> &[u8] {
        let holds = |start: u64, piece: &[u8]| {
            start <= at && at + bytes as u64 <= start + piece.len() as u64
        };
        let (start, piece) = self
            .0
            .pieces
            .iter()
            .find(|(start, piece)| holds(start.0, piece))
            .unwrap();
        let offset = (at - start.0) as usize;
        &piece[offset..offset + bytes]
    }

    fn u16(&self, at: u64) -> u16 {
        u16::from_le_bytes(self.at(at, 2).try_into().unwrap())
    }

    fn u32(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.at(at, 4).try_into().unwrap())
    }

    fn u64(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.at(at, 8).try_into().unwrap())
    }

    /// The whole table at an address, after a look at its signature and checksum.
    fn table(&self, at: u64, signature: &[u8; 4]) -> &[u8] {
        assert_eq!(self.at(at, 4), signature);
        let table = self.at(at, self.u32(at + 4) as usize);
        assert_eq!(sum(table), 0, "{signature:?}");
        table
    }

    fn rsdp(&self) -> u64 {
        let rsdp = self.0.rsdp.0;
        assert_eq!(self.at(rsdp, 8), b"RSD PTR ");
        rsdp
    }

    /// The address of a table, found by the XSDT.
    fn find(&self, signature: &[u8; 4]) -> u64 {
        let xsdt = self.u64(self.rsdp() + 24);
        let bytes = self.table(xsdt, b"XSDT").len() as u64;
        let mut entries = (xsdt + 36..xsdt + bytes).step_by(8).map(|at| self.u64(at));
        let table = entries
            .find(|table| self.at(*table, 4) == signature)
            .unwrap();
        self.table(table, signature);
        table
    }

    /// The MADT's structures.
    fn madt(&self) -> Vec<&[u8]> {
        let madt = self.find(b"APIC");
        let mut rest = &self.table(madt, b"APIC")[44..];
        let mut structures = Vec::new();
        while !rest.is_empty() {
            let (structure, next) = rest.split_at(rest[1].into());
            structures.push(structure);
            rest = next;
        }
        structures
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[test]
fn a_scan_of_the_bios_area_finds_the_tables() {
    let memory = Memory::new(2);
    let rsdp = memory.rsdp();
    assert_eq!(rsdp % 16, 0);
    assert!((0xe_0000..0x10_0000).contains(&rsdp));
    assert_eq!(memory.at(rsdp + 15, 1), [2]);
    assert_eq!(memory.u32(rsdp + 20), 36);
    assert_eq!(sum(memory.at(rsdp, 20)), 0);
    assert_eq!(sum(memory.at(rsdp, 36)), 0);
}

#[test]
fn old_and_new_systems_find_the_same_tables() {
    let memory = Memory::new(1);
    let rsdt = memory.u32(memory.rsdp() + 16).into();
    assert_eq!(memory.table(rsdt, b"RSDT").len(), 48);
    let old = [36, 40, 44].map(|entry| u64::from(memory.u32(rsdt + entry)));
    assert_eq!(
        old,
        [
            memory.find(b"FACP"),
            memory.find(b"APIC"),
            memory.find(b"HPET")
        ]
    );
}

#[test]
fn the_hpet_is_where_its_table_says() {
    let memory = Memory::new(1);
    let at = memory.find(b"HPET");
    assert_eq!(memory.table(at, b"HPET").len(), 56);
    assert_eq!(memory.at(at + 40, 1), [0], "in memory");
    assert_eq!(memory.u64(at + 44), 0xfed0_0000);
}

#[test]
fn no_table_lies_over_another_or_outside_memory_that_is_there() {
    for vcpus in [1, 16, u32::MAX] {
        let mut end = 0xe_0000;
        for (at, piece) in tables(vcpus).pieces {
            assert!(at.0 >= end, "{at}");
            end = at.0 + piece.len() as u64;
        }
        assert!(end <= 0xe_0000 + 2 * PAGE_BYTES);
        let ram = layout::ram(layout::LEAST_MEMORY_BYTES);
        assert!(ram.last().unwrap().end.0 >= end);
    }
}

#[test]
fn the_fadt_leads_to_the_dsdt_and_an_aligned_facs() {
    let memory = Memory::new(1);
    let fadt = memory.find(b"FACP");
    assert_eq!(memory.u32(fadt + 4), 276);
    let dsdt = memory.u64(fadt + 140);
    assert_eq!(u64::from(memory.u32(fadt + 40)), dsdt);
    memory.table(dsdt, b"DSDT");
    let facs = memory.u32(fadt + 36).into();
    assert_eq!(memory.u64(fadt + 132), 0, "one address of it is enough");
    assert_eq!(memory.at(facs, 4), b"FACS");
    assert_eq!((memory.u32(facs + 4), facs % 64), (64, 0));
}

#[test]
fn the_fadt_tells_of_the_registers_and_of_nothing_that_is_not_there() {
    let memory = Memory::new(1);
    let fadt = memory.find(b"FACP");
    assert_eq!(memory.u16(fadt + 46), 9, "SCI");
    assert_eq!(memory.u32(fadt + 48), 0, "no SMI port");
    let blocks = [56, 60, 64, 68, 72, 76, 80, 84].map(|at| memory.u32(fadt + at));
    assert_eq!(blocks, [0x600, 0, 0x604, 0, 0, 0x608, 0, 0]);
    assert_eq!(memory.at(fadt + 88, 6), [4, 2, 0, 4, 0, 0]);
    let flags = memory.u32(fadt + 112);
    assert_eq!(flags, 0b101_0111_0101);
    // Address space, width, offset, access size.
    for (at, words, port) in [
        (116, [1, 8, 0, 1], 0xcf9),
        (148, [1, 32, 0, 2], 0x600),
        (172, [1, 16, 0, 2], 0x604),
        (208, [1, 32, 0, 3], 0x608),
    ] {
        assert_eq!(memory.at(fadt + at, 4), words);
        assert_eq!(memory.u64(fadt + at + 4), port);
    }
    assert_eq!(memory.at(fadt + 128, 1), [6], "reset value");
    assert_eq!(memory.u16(fadt + 109), 0b1111, "boot architecture");
}

#[test]
fn the_madt_has_a_local_apic_for_each_vcpu() {
    for (vcpus, told) in [(1, 1), (4, 4), (16, 16), (1000, 255)] {
        let memory = Memory::new(vcpus);
        let structures = memory.madt();
        let apics: Vec<_> = structures.iter().filter(|part| part[0] == 0).collect();
        assert_eq!(apics.len(), told);
        for (id, apic) in (0..=254).zip(apics) {
            assert_eq!(apic, &[0, 8, id, id, 1, 0, 0, 0]);
        }
    }
}

#[test]
fn the_madt_tells_of_the_io_apic_and_its_two_odd_pins() {
    let memory = Memory::new(1);
    let madt = memory.find(b"APIC");
    assert_eq!(memory.u32(madt + 36), 0xfee0_0000);
    assert_eq!(memory.u32(madt + 40), 1);
    let expected: [&[u8]; 4] = [
        &[1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
        &[2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
        &[2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0],
        &[4, 6, 0xff, 0, 0, 1],
    ];
    assert_eq!(memory.madt()[1..], expected);
}

/// `dsdt.asl`, compiled by `iasl` 20200925, without the table's header.
const COMPILED: &[u8] = b"\
    \x08_S5_\x12\x08\x04\x0a\x05\x0a\x05\x00\x00\
    \x10M\x08_SB_\
    \x5b\x82\x2bCOM1\x08_HID\x0cA\xd0\x05\x01\
    \x08_CRS\x11\x16\x0a\x13G\x01\xf8\x03\xf8\x03\x01\x08\x89\x06\x00\x03\x01\x04\x00\x00\x00y\x00\
    \x5b\x82\x2bRTC_\x08_HID\x0cA\xd0\x0b\x00\
    \x08_CRS\x11\x16\x0a\x13G\x01p\x00p\x00\x01\x02\x89\x06\x00\x03\x01\x08\x00\x00\x00y\x00\
    \x5b\x82\x2bTIMR\x08_HID\x0cA\xd0\x01\x00\
    \x08_CRS\x11\x16\x0a\x13G\x01\x40\x00\x40\x00\x01\x04\x89\x06\x00\x03\x01\x00\x00\x00\x00y\x00";

#[test]
fn the_dsdt_is_what_a_compiler_makes_of_its_source() {
    let memory = Memory::new(1);
    let dsdt = memory.u64(memory.find(b"FACP") + 140);
    assert_eq!(&memory.table(dsdt, b"DSDT")[36..], COMPILED);
}
