//! The clock chip's 128 bytes of memory.
//!
//! Owns the bytes and what firmware would have written into them: equipment, memory sizes
//! and checksum, at the places all PCs share `[IBM AT Technical Reference, "Real-Time
//! Clock/CMOS RAM", 1986; sizes above 16 MiB and 4 GiB as Bochs' and QEMU's BIOS read them]`.

const BYTES: usize = 128;

const EQUIPMENT: u8 = 0x14;
/// An FPU, no floppy drive, no display adapter that BIOS drives.
const EQUIPMENT_FPU: u8 = 0x02;

const BASE_KIB: u8 = 0x15;
const EXTENDED_KIB: u8 = 0x17;
const EXTENDED_KIB_TESTED: u8 = 0x30;
const ABOVE_16_MIB_IN_64_KIB: u8 = 0x34;
const ABOVE_4_GIB_IN_64_KIB: u8 = 0x5b;
const CENTURY: u8 = 0x32;

const CHECKSUM_RANGE: core::ops::Range<u8> = 0x10..0x2e;
const CHECKSUM: u8 = 0x2e;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Where RAM below 4 GiB ends; the rest of it continues at 4 GiB.
const LOW_RAM_END: u64 = 3 << 30;

/// The memory.
#[derive(Clone, Debug)]
pub(super) struct Cmos {
    bytes: [u8; BYTES],
}

impl Cmos {
    /// What firmware leaves in a machine with `memory_bytes` of RAM.
    pub(super) fn new(memory_bytes: u64) -> Self {
        let low = memory_bytes.min(LOW_RAM_END);
        let high = memory_bytes.saturating_sub(LOW_RAM_END);
        let extended_kib = saturate(low.saturating_sub(MIB) / KIB);
        let above_16_mib = saturate(low.saturating_sub(16 * MIB) / (64 * KIB));
        let mut cmos = Self { bytes: [0; BYTES] };
        cmos.set(EQUIPMENT, EQUIPMENT_FPU);
        cmos.set_word(BASE_KIB, saturate((low / KIB).min(640)));
        cmos.set_word(EXTENDED_KIB, extended_kib);
        cmos.set_word(EXTENDED_KIB_TESTED, extended_kib);
        cmos.set_word(ABOVE_16_MIB_IN_64_KIB, above_16_mib);
        let above_4_gib = (high / (64 * KIB)).min(0xff_ffff);
        cmos.set_word(ABOVE_4_GIB_IN_64_KIB, above_4_gib as u16);
        cmos.set(ABOVE_4_GIB_IN_64_KIB + 2, (above_4_gib >> 16) as u8);
        cmos.set(CENTURY, 0x20);
        cmos.sum();
        cmos
    }

    /// One byte; 0 past the end.
    pub(super) fn get(&self, index: u8) -> u8 {
        self.bytes.get(usize::from(index)).copied().unwrap_or(0)
    }

    /// Stores one byte; nothing past the end.
    pub(super) fn set(&mut self, index: u8, value: u8) {
        if let Some(byte) = self.bytes.get_mut(usize::from(index)) {
            *byte = value;
        }
    }

    fn set_word(&mut self, index: u8, value: u16) {
        let [low, high] = value.to_le_bytes();
        self.set(index, low);
        self.set(index.saturating_add(1), high);
    }

    /// Writes the checksum, whose high byte comes first.
    fn sum(&mut self) {
        let sum = CHECKSUM_RANGE.fold(0_u16, |sum, index| {
            sum.wrapping_add(u16::from(self.get(index)))
        });
        self.set_word(CHECKSUM, sum.swap_bytes());
    }
}

fn saturate(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}
