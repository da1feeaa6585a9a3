//! The ACPI tables every guest finds, as firmware would have left them.
//!
//! Owns what they say and where they are: RSDP, RSDT, XSDT, FACS, FADT, DSDT, HPET and MADT, one
//! after the other from E0000h on, where old and new systems look for them. The numbers are
//! those of the devices in `skerry-devices`, which has them by their own names. Full ACPI, not
//! hardware-reduced; no fixed buttons, no general-purpose events, no sleep state but S5.
//!
//! Does not own the encodings of tables and AML: the crate `acpi_tables` has most of them.
//! After `[ACPI 6.5]`; section titles below are its. Called by the loaders.

#[cfg(test)]
mod tests;

use acpi_tables::aml::{Device, EISAName, IO, Interrupt, Name, Package, ResourceTemplate, Scope};
use acpi_tables::facs::FACS;
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{EnabledStatus, IoApic, ProcessorLocalApic};
use acpi_tables::sdt::Sdt;
use acpi_tables::{Aml, Checksum};
use alloc::vec;
use alloc::vec::Vec;

use skerry_words::Gpa;

/// Where the tables are. FACS wants to be aligned to 64 bytes, the RSDP to 16.
mod at {
    use skerry_words::Gpa;

    pub(super) const RSDP: Gpa = Gpa(0xe_0000);
    pub(super) const RSDT: Gpa = Gpa(0xe_0040);
    pub(super) const XSDT: Gpa = Gpa(0xe_0080);
    pub(super) const FACS: Gpa = Gpa(0xe_00c0);
    pub(super) const FADT: Gpa = Gpa(0xe_0100);
    pub(super) const DSDT: Gpa = Gpa(0xe_0240);
    pub(super) const HPET: Gpa = Gpa(0xe_0400);
    /// The last one, as it grows with the vCPUs.
    pub(super) const MADT: Gpa = Gpa(0xe_0440);
}

const OEM: [u8; 6] = *b"SKERRY";
const OEM_TABLE: [u8; 8] = *b"SKERRYVM";
const OEM_REVISION: u32 = 1;
/// Length of the header all tables but RSDP and FACS have.
const HEADER_BYTES: u32 = 36;

/// The most vCPUs an 8-bit APIC ID can tell apart: 255 means all of them.
const MOST_VCPUS: u32 = 255;
const LOCAL_APIC: u32 = 0xfee0_0000;
const IO_APIC: u32 = 0xfec0_0000;
const HPET: u64 = 0xfed0_0000;
/// The ID in the I/O APIC's register after reset.
const IO_APIC_ID: u8 = 0;

/// The line of ACPI's own interrupt.
const SCI: u8 = 9;
/// The sleep type that powers the machine off.
const SOFT_OFF: u8 = 5;

/// The tables and where they go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AcpiTables {
    /// Where the first one is, for boot protocols that tell it.
    pub(crate) rsdp: Gpa,
    /// Every table with its place; all below 1 MiB, none over another.
    pub(crate) pieces: Vec<(Gpa, Vec<u8>)>,
}

/// The tables of a VM with so many vCPUs, whose APIC IDs count from 0; past 255 none is
/// told of.
pub(crate) fn tables(vcpus: u32) -> AcpiTables {
    let pieces = vec![
        (at::RSDP, rsdp()),
        (at::RSDT, rsdt()),
        (at::XSDT, xsdt()),
        (at::FACS, facs()),
        (at::FADT, fadt()),
        (at::DSDT, dsdt()),
        (at::HPET, hpet()),
        (at::MADT, madt(vcpus)),
    ];
    AcpiTables {
        rsdp: at::RSDP,
        pieces,
    }
}

/// An address of `at`, as the older fields want it.
const fn address32(at: Gpa) -> u32 {
    at.0 as u32
}

/// A table with the usual header.
fn table(signature: [u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut table = Sdt::new(
        signature,
        HEADER_BYTES,
        revision,
        OEM,
        OEM_TABLE,
        OEM_REVISION,
    );
    table.append_slice(body);
    table.as_slice().to_vec()
}

/// `["Root System Description Pointer (RSDP) Structure"]`, written here as the crate's has no
/// room for the RSDT. The first checksum is of the 20 bytes that ACPI 1.0 knew.
fn rsdp() -> Vec<u8> {
    const SIGNATURE: &[u8] = b"RSD PTR ";
    const REVISION: u8 = 2;
    const BYTES: u32 = 36;
    let mut known = OEM.to_vec();
    known.push(REVISION);
    known.extend(address32(at::RSDT).to_le_bytes());

    let mut rsdp = SIGNATURE.to_vec();
    rsdp.push(checksum_of(&[SIGNATURE, &known].concat()));
    rsdp.extend(known);
    rsdp.extend(BYTES.to_le_bytes());
    rsdp.extend(at::XSDT.0.to_le_bytes());
    rsdp.push(checksum_of(&rsdp));
    rsdp.extend([0; 3]);
    rsdp
}

fn checksum_of(bytes: &[u8]) -> u8 {
    let mut sum = Checksum::default();
    sum.append(bytes);
    sum.value()
}

/// What the root tables lead to.
const TABLES: [Gpa; 3] = [at::FADT, at::MADT, at::HPET];

/// For systems that know ACPI 1.0 only.
fn rsdt() -> Vec<u8> {
    let entries = TABLES.map(|at| address32(at).to_le_bytes());
    table(*b"RSDT", 1, entries.as_flattened())
}

fn xsdt() -> Vec<u8> {
    let entries = TABLES.map(|at| at.0.to_le_bytes());
    table(*b"XSDT", 1, entries.as_flattened())
}

/// The structure that firmware and the guest share. It lies in memory that guests are told is
/// reserved, and can be written.
fn facs() -> Vec<u8> {
    let mut facs = FACS::new();
    facs.version = 2;
    bytes_of(&facs)
}

fn bytes_of(part: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    part.to_aml_bytes(&mut bytes);
    bytes
}

/// `["Fixed ACPI Description Table (FADT)"]`. ACPI mode is always on: there is no SMI port to
/// turn it on with. C2 and C3 are said to take too long to be of use, which means they are
/// not there.
fn fadt() -> Vec<u8> {
    const C2_MICROSECONDS_NONE: u16 = 101;
    const C3_MICROSECONDS_NONE: u16 = 1001;
    const CENTURY_IN_CMOS: u8 = 0x32;
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION);
    for flag in [
        Flags::Wbinvd,
        Flags::ProcC1,
        Flags::PwrButton,
        Flags::SlpButton,
        Flags::FixRtc,
        Flags::TmrValExt,
        Flags::ResetRegSup,
    ] {
        fadt = fadt.flag(flag);
    }
    fadt.firmware_ctrl = address32(at::FACS).into();
    fadt.dsdt = address32(at::DSDT).into();
    fadt.x_dsdt = at::DSDT.0.into();
    fadt.sci_int = u16::from(SCI).into();
    fadt.p_lvl2_lat = C2_MICROSECONDS_NONE.into();
    fadt.p_lvl3_lat = C3_MICROSECONDS_NONE.into();
    fadt.century = CENTURY_IN_CMOS;
    fadt.iapc_boot_arch = boot_architecture::ALL.into();
    bytes_of(&with_registers(fadt).finalize())
}

/// `[IA-PC HPET Specification, "The ACPI 2.0 HPET Description Table (HPET)", rev. 1.0a]`.
fn hpet() -> Vec<u8> {
    /// The lower half of its capabilities.
    const BLOCK_ID: u32 = 0x8086_2201;
    const NUMBER: u8 = 0;
    /// The comparators' shortest useful period, in ticks: 10 us.
    const LEAST_TICKS: u16 = 100;
    const PAGE_IS_ITS_OWN: u8 = 1;
    let at = GAS::new(
        AddressSpace::SystemMemory,
        64,
        0,
        AccessSize::Undefined,
        HPET,
    );
    let mut body = BLOCK_ID.to_le_bytes().to_vec();
    body.extend(bytes_of(&at));
    body.push(NUMBER);
    body.extend(LEAST_TICKS.to_le_bytes());
    body.push(PAGE_IS_ITS_OWN);
    table(*b"HPET", 1, &body)
}

/// `["IA-PC Boot Architecture Flags"]`.
mod boot_architecture {
    const LEGACY_DEVICES: u16 = 1 << 0;
    const KEYBOARD_CONTROLLER: u16 = 1 << 1;
    const NO_VGA: u16 = 1 << 2;
    const NO_MSI: u16 = 1 << 3;
    pub(super) const ALL: u16 = LEGACY_DEVICES | KEYBOARD_CONTROLLER | NO_VGA | NO_MSI;
}

/// The power-management registers at ports 600h to 60Bh, and the reset register.
fn with_registers(mut fadt: FADTBuilder) -> FADTBuilder {
    const EVENT: u16 = 0x600;
    const CONTROL: u16 = 0x604;
    const TIMER: u16 = 0x608;
    const RESET: u16 = 0xcf9;
    const RESET_VALUE: u8 = 6;
    let port = |port: u16, bits, access| {
        GAS::new(AddressSpace::SystemIo, bits, 0, access, u64::from(port))
    };
    fadt.pm1a_evt_blk = u32::from(EVENT).into();
    fadt.pm1_evt_len = 4;
    fadt.x_pm1a_evt_blk = port(EVENT, 32, AccessSize::WordAccess);
    fadt.pm1a_cnt_blk = u32::from(CONTROL).into();
    fadt.pm1_cnt_len = 2;
    fadt.x_pm1a_cnt_blk = port(CONTROL, 16, AccessSize::WordAccess);
    fadt.pm_tmr_blk = u32::from(TIMER).into();
    fadt.pm_tmr_len = 4;
    fadt.x_pm_tmr_blk = port(TIMER, 32, AccessSize::DwordAccess);
    fadt.reset_reg = port(RESET, 8, AccessSize::ByteAccess);
    fadt.reset_value = RESET_VALUE;
    fadt
}

/// `["Multiple APIC Description Table (MADT)"]`. The 8259 pair is there as well.
fn madt(vcpus: u32) -> Vec<u8> {
    const REVISION: u8 = 6;
    const HAS_8259_PAIR: u32 = 1;
    let mut body = LOCAL_APIC.to_le_bytes().to_vec();
    body.extend(HAS_8259_PAIR.to_le_bytes());
    for id in 0..vcpus.min(MOST_VCPUS) as u8 {
        ProcessorLocalApic::new(id, id, EnabledStatus::Enabled).to_aml_bytes(&mut body);
    }
    IoApic::new(IO_APIC_ID, IO_APIC, 0).to_aml_bytes(&mut body);
    body.extend(source_override(0, 2, AS_THE_BUS_HAS_IT));
    body.extend(source_override(SCI, SCI.into(), LEVEL_ACTIVE_HIGH));
    body.extend(local_nmi());
    table(*b"APIC", REVISION, &body)
}

/// Polarity and trigger mode `["MPS INTI Flags"]`: for ISA an edge, active high.
const AS_THE_BUS_HAS_IT: u16 = 0;
const LEVEL_ACTIVE_HIGH: u16 = 0b1101;

/// An ISA interrupt that is not on the pin of its number, or not an edge
/// `["Interrupt Source Override Structure"]`.
fn source_override(irq: u8, gsi: u32, flags: u16) -> [u8; 10] {
    let [g0, g1, g2, g3] = gsi.to_le_bytes();
    let [f0, f1] = flags.to_le_bytes();
    [2, 10, 0, irq, g0, g1, g2, g3, f0, f1]
}

/// NMI is on LINT1 of every local APIC `["Local APIC NMI Structure"]`.
fn local_nmi() -> [u8; 6] {
    const EVERY_PROCESSOR: u8 = 0xff;
    let [f0, f1] = AS_THE_BUS_HAS_IT.to_le_bytes();
    [4, 6, EVERY_PROCESSOR, f0, f1, 1]
}

/// The sleep type of S5, and the legacy devices that systems look up here.
fn dsdt() -> Vec<u8> {
    const REVISION: u8 = 2;
    let off = Package::new(vec![&SOFT_OFF, &SOFT_OFF, &0_u8, &0_u8]);
    let mut body = bytes_of(&Name::new("_S5_".into(), &off));
    let devices = [
        isa_device("COM1", "PNP0501", (0x3f8, 8), 4),
        isa_device("RTC_", "PNP0B00", (0x70, 2), 8),
        isa_device("TIMR", "PNP0100", (0x40, 4), 0),
    ];
    body.extend(Scope::raw("_SB_".into(), devices.concat()));
    table(*b"DSDT", REVISION, &body)
}

/// A device at a few ports, from the first on, with an edge-triggered interrupt.
fn isa_device(name: &str, id: &str, (first, ports): (u16, u8), irq: u32) -> Vec<u8> {
    let id = Name::new("_HID".into(), &EISAName::new(id));
    let ports = IO::new(first, first, 1, ports);
    let interrupt = Interrupt::new(true, true, false, false, irq);
    let resources = ResourceTemplate::new(vec![&ports, &interrupt]);
    let resources = Name::new("_CRS".into(), &resources);
    bytes_of(&Device::new(name.into(), vec![&id, &resources]))
}
