//! The ACPI tables a guest finds: where they are, and their bytes.
//!
//! Owns only the shape yet: an RSDP without tables behind it. Called by `plan` for every kind
//! of image but a ROM, which brings its own.

use alloc::{vec, vec::Vec};

use skerry_words::Gpa;

/// The tables, to be put into reserved memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AcpiTables {
    /// Where the RSDP is; a piece starts there.
    pub(crate) rsdp: Gpa,
    /// What goes where, from 0xe0000 to 0xfffff.
    pub(crate) pieces: Vec<(Gpa, Vec<u8>)>,
}

/// The tables of a VM with so many vCPUs.
pub(crate) fn tables(_vcpus: u32) -> AcpiTables {
    let rsdp = Gpa(0xe_0000);
    let mut bytes = b"RSD PTR ".to_vec();
    bytes.resize(36, 0);
    AcpiTables {
        rsdp,
        pieces: vec![(rsdp, bytes)],
    }
}
