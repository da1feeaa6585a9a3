//! Why a CPU refuses a VMCB: the manual's list `[APM 2, "Canonicalization and Consistency
//! Checks", rev. 3.42]`.
//!
//! Owns the checks by name. Ring 0 makes them where a VMM has changed what they look at, since a
//! CPU that is lax about one may not come back from it, and prints what fails.

use super::field::{self, VmcbRead};

const EFER_LME: u64 = 1 << 8;
const EFER_SVME: u64 = 1 << 12;
const CR0_PE: u64 = 1 << 0;
const CR0_NW: u64 = 1 << 29;
const CR0_CD: u64 = 1 << 30;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const ATTRIBUTE_LONG: u64 = 1 << 9;
const ATTRIBUTE_DEFAULT: u64 = 1 << 10;
/// The bits of EFER that have a meaning: SCE, LME, LMA, NXE, SVME, LMSLE, FFXSR, TCE, MCOMMIT,
/// INTWB, UAIE, AIBRSE.
const EFER_DEFINED: u64 = 0x0036_fd01;
/// The bits of CR4 that have a meaning: up to CET, and PKS, which only the SDM has.
const CR4_DEFINED: u64 = 0x01f7_1fff;
const HIGH: u64 = 0xffff_ffff_0000_0000;

/// What the checks look at.
struct Values {
    cr0: u64,
    cr3: u64,
    cr4: u64,
    efer: u64,
    code: u64,
    debug: u64,
    asid: u64,
    vmrun: u64,
    maps: u64,
    event: u64,
    physical: u64,
}

impl Values {
    fn new(vmcb: &impl VmcbRead, physical_bits: u32) -> Self {
        let read = |field| vmcb.read(field);
        Self {
            cr0: read(field::CR0),
            cr3: read(field::CR3),
            cr4: read(field::CR4),
            efer: read(field::EFER),
            code: read(field::segment(skerry_words::Segment::Cs).attributes),
            debug: read(field::DR6) | read(field::DR7),
            asid: read(field::GUEST_ASID),
            vmrun: read(field::INTERCEPT_4) & 1,
            maps: read(field::IOPM_BASE) | read(field::MSRPM_BASE),
            event: read(field::EVENT_INJECTION),
            physical: u64::MAX.checked_shl(physical_bits).unwrap_or(0),
        }
    }

    fn long_mode_on(&self) -> bool {
        self.efer & EFER_LME != 0 && self.cr0 & CR0_PG != 0
    }
}

type Check = (&'static str, fn(&Values) -> bool);

/// Each check, and whether it fails.
const CHECKS: [Check; 14] = [
    ("EFER.SVME is 0", |v| v.efer & EFER_SVME == 0),
    ("EFER has reserved bits", |v| v.efer & !EFER_DEFINED != 0),
    ("CR4 has reserved bits", |v| v.cr4 & !CR4_DEFINED != 0),
    ("CR0.CD is 0 and CR0.NW is 1", |v| {
        v.cr0 & (CR0_CD | CR0_NW) == CR0_NW
    }),
    ("CR0 bits 63:32 are not 0", |v| v.cr0 & HIGH != 0),
    ("CR3 has bits past the physical address", |v| {
        v.long_mode_on() && v.cr3 & v.physical != 0
    }),
    ("DR6 or DR7 bits 63:32 are not 0", |v| v.debug & HIGH != 0),
    ("EFER.LME and CR0.PG without CR4.PAE", |v| {
        v.long_mode_on() && v.cr4 & CR4_PAE == 0
    }),
    ("EFER.LME and CR0.PG without CR0.PE", |v| {
        v.long_mode_on() && v.cr0 & CR0_PE == 0
    }),
    ("CS has both L and D in long mode", |v| {
        let both = ATTRIBUTE_LONG | ATTRIBUTE_DEFAULT;
        v.long_mode_on() && v.code & both == both
    }),
    ("VMRUN is not intercepted", |v| v.vmrun == 0),
    ("a permission map is past the physical address", |v| {
        v.maps & v.physical != 0
    }),
    ("the ASID is 0", |v| v.asid == 0),
    ("the event to inject has a reserved type or vector", |v| {
        let kind = (v.event >> 8) & 7;
        let vector = v.event & 0xff;
        let exception = kind == 3 && (vector == 2 || vector > 31);
        v.event & (1 << 31) != 0 && (exception || matches!(kind, 1 | 5..))
    }),
];

/// The checks `vmcb` fails, by name.
pub fn failed(vmcb: &impl VmcbRead, physical_bits: u32) -> impl Iterator<Item = &'static str> {
    let values = Values::new(vmcb, physical_bits);
    CHECKS
        .iter()
        .filter(move |(_, fails)| fails(&values))
        .map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    struct Changed(field::Field, u64);

    /// A long-mode guest the CPU accepts, but for one field.
    impl VmcbRead for Changed {
        fn read(&self, field: field::Field) -> u64 {
            let fine = [
                (field::CR0, CR0_PG | CR0_PE),
                (field::CR4, CR4_PAE),
                (field::EFER, EFER_LME | EFER_SVME),
                (field::segment(skerry_words::Segment::Cs).attributes, 0xa9b),
                (field::GUEST_ASID, 1),
                (field::INTERCEPT_4, 1),
            ];
            if field == self.0 {
                return self.1;
            }
            fine.iter()
                .find(|(known, _)| *known == field)
                .map_or(0, |(_, value)| *value)
        }
    }

    fn names(field: field::Field, value: u64) -> Vec<&'static str> {
        failed(&Changed(field, value), 40).collect()
    }

    #[test]
    fn each_fault_is_found_and_nothing_else() {
        assert_eq!(names(field::RIP, 0), [""; 0]);
        let table = [
            (
                field::EFER,
                EFER_LME | EFER_SVME | 1 << 9,
                "EFER has reserved bits",
            ),
            (field::CR4, CR4_PAE | 1 << 30, "CR4 has reserved bits"),
            (field::GUEST_ASID, 0, "the ASID is 0"),
            (field::INTERCEPT_4, 2, "VMRUN is not intercepted"),
            (field::EFER, EFER_LME, "EFER.SVME is 0"),
            (
                field::CR3,
                1 << 40,
                "CR3 has bits past the physical address",
            ),
            (field::CR4, 0, "EFER.LME and CR0.PG without CR4.PAE"),
            (field::DR7, 1 << 32, "DR6 or DR7 bits 63:32 are not 0"),
        ];
        for (field, value, name) in table {
            assert_eq!(names(field, value), [name]);
        }
        let reserved = "the event to inject has a reserved type or vector";
        assert_eq!(names(field::EVENT_INJECTION, 0x8000_0100), [reserved]);
        assert_eq!(names(field::EVENT_INJECTION, 0x8000_0302), [reserved]);
        assert_eq!(names(field::EVENT_INJECTION, 0x0000_0100), [""; 0]);
    }
}
