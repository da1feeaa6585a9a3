//! Do the ACPI tables lead to a way to switch the machine off, and does it?
//!
//! From the RSDP by the XSDT, or by the RSDT where that is all there is, to the FADT, its DSDT
//! and its control port, every checksum on the way summed up; then S5. Ends by that: no status
//! is written unless something failed.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::{Boot, Report, apic, cpu, memory, port, println, stub};

stub!("ACPI's tables are whole, and S5 is the end", run);

/// Where firmware leaves the RSDP `[ACPI 6.5, "Finding the RSDP on IA-PC Systems"]`.
const BIOS: core::ops::Range<u64> = 0xe_0000..0x10_0000;
/// The longest table that is believed.
const LONGEST_BYTES: u64 = 0x1_0000;

/// PM1 control `[ACPI 6.5, "PM1 Control Registers"]`.
const SCI_ENABLED: u16 = 1;
const SLEEP_TYPE_SHIFT: u32 = 10;
const SLEEP: u16 = 1 << 13;

fn run(report: &mut Report, _boot: &Boot) {
    let rsdp = BIOS.step_by(16).find(|at| spells(*at, b"RSD PTR "));
    report.check("there is an RSDP in the BIOS's area", rsdp.is_some());
    let Some(rsdp) = rsdp else { return };
    report.check_eq("its first part sums to 0", sum(rsdp, 20), 0);
    let root = Root::of(report, rsdp);
    if !check_table(report, root.signature, root.at) {
        return;
    }
    check_entries(report, &root);
    check_processors(report, &root);
    let Some(fadt) = root.find(b"FACP") else {
        return report.check("there is a FADT", false);
    };
    let dsdt = memory::read32(fadt + 40).into();
    if check_table(report, "DSDT", dsdt) {
        check_control(report, fadt, dsdt);
    }
}

fn spells(at: u64, letters: &[u8]) -> bool {
    (at..)
        .zip(letters)
        .all(|(at, letter)| memory::read8(at) == *letter)
}

fn sum(at: u64, bytes: u64) -> u8 {
    (at..at + bytes).fold(0, |sum, at| sum.wrapping_add(memory::read8(at)))
}

fn bytes_of(table: u64) -> u64 {
    u64::from(memory::read32(table + 4)).min(LONGEST_BYTES)
}

/// Whether the table at an address is there and whole.
fn check_table(report: &mut Report, signature: &str, table: u64) -> bool {
    let there = table != 0 && spells(table, signature.as_bytes()) && bytes_of(table) >= 36;
    let whole = there && sum(table, bytes_of(table)) == 0;
    report.check_of(signature, "it is there and sums to 0", whole);
    whole
}

/// The table of tables.
struct Root {
    signature: &'static str,
    at: u64,
    entry_bytes: usize,
}

impl Root {
    /// The XSDT from revision 2 of the RSDP on, else the RSDT.
    fn of(report: &mut Report, rsdp: u64) -> Self {
        if memory::read8(rsdp + 15) < 2 {
            return Self {
                signature: "RSDT",
                at: memory::read32(rsdp + 16).into(),
                entry_bytes: 4,
            };
        }
        report.check_eq("all of it sums to 0", sum(rsdp, 36), 0);
        Self {
            signature: "XSDT",
            at: memory::read64(rsdp + 24),
            entry_bytes: 8,
        }
    }

    fn entries(&self) -> impl Iterator<Item = u64> {
        (self.at + 36..self.at + bytes_of(self.at))
            .step_by(self.entry_bytes)
            .map(|at| match self.entry_bytes {
                4 => memory::read32(at).into(),
                _ => memory::read64(at),
            })
    }

    fn find(&self, signature: &[u8]) -> Option<u64> {
        self.entries().find(|table| spells(*table, signature))
    }
}

/// Tables may lie anywhere, but the stub's map ends at 4 GiB.
fn check_entries(report: &mut Report, root: &Root) {
    for table in root.entries() {
        let signature = memory::read32(table).to_le_bytes();
        let signature = core::str::from_utf8(&signature).unwrap_or("no text");
        check_table(report, signature, table);
    }
}

/// The MADT's first local APIC is the one this runs on.
fn check_processors(report: &mut Report, root: &Root) {
    let Some(madt) = root.find(b"APIC") else {
        return report.skip("there is no MADT");
    };
    let page = u64::from(memory::read32(madt + 36));
    report.check_eq("the MADT knows where local APICs are", page, apic::PAGE);
    let (mut at, end) = (madt + 44, madt + bytes_of(madt));
    let mut own = false;
    while at + 8 <= end {
        let usable = memory::read32(at + 4) & 1 == 1;
        own |= memory::read8(at) == 0
            && u32::from(memory::read8(at + 3)) == cpu::cpuid(1, 0).ebx >> 24
            && usable;
        at += u64::from(memory::read8(at + 1)).max(2);
    }
    report.check("and names this CPU's", own);
}

fn check_control(report: &mut Report, fadt: u64, dsdt: u64) {
    let port = u16::try_from(memory::read32(fadt + 64)).unwrap_or(0);
    println!("PM1a control is port {port:#x}");
    if memory::read32(fadt + 48) == 0 {
        let enabled = port::read16(port) & SCI_ENABLED;
        report.check_eq("ACPI mode is on, for nothing switches it on", enabled, 1);
    }
    let Some(kind) = sleep_type(dsdt) else {
        return report.check("the DSDT knows S5", false);
    };
    report.check("the DSDT knows S5", true);
    report.sum();
    if report.status() == 0 {
        port::write16(port, u16::from(kind) << SLEEP_TYPE_SHIFT | SLEEP);
        println!("FAIL: the machine is still on");
    }
}

/// `Name (_S5, Package (..) { kind, .. })` as AML: the name, PackageOp, PkgLength, the number
/// of elements, and the first of them as a byte or as ZeroOp or OneOp
/// `[ACPI 6.5, "ACPI Machine Language (AML) Specification"]`.
fn sleep_type(dsdt: u64) -> Option<u8> {
    let name = (dsdt + 36..dsdt + bytes_of(dsdt) - 8).find(|at| spells(*at, b"_S5_\x12"))?;
    let length_bytes = 1 + u64::from(memory::read8(name + 5) >> 6);
    let first = name + 5 + length_bytes + 1;
    match memory::read8(first) {
        0x0a => Some(memory::read8(first + 1)),
        small @ (0 | 1) => Some(small),
        _ => None,
    }
}
