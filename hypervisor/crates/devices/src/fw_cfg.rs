//! QEMU's firmware configuration device: a few numbers a test kernel asks for.
//!
//! Owns ports 510h (selector, a 16-bit write) and 511h (data, byte by byte), by
//! `[QEMU 7.2, docs/specs/fw_cfg.rst]`. There are the keys of the signature, the interface's
//! revision (no DMA), RAM size, CPU counts and an empty file directory. What is beyond an
//! item's end, and all of an item that does not exist, reads as zeros. Nothing is writable.

/// Items by number `["Selector (Control) Register"]`, `[QEMU 7.2,
/// include/standard-headers/linux/qemu_fw_cfg.h]`. The directory of files, 19h, is a count of
/// 0 and so needs no word here.
mod key {
    pub(super) const SIGNATURE: u16 = 0x00;
    pub(super) const REVISION: u16 = 0x01;
    pub(super) const RAM_BYTES: u16 = 0x03;
    pub(super) const CPUS: u16 = 0x05;
    pub(super) const MOST_CPUS: u16 = 0x0f;
    /// Asks for the item to be written; it is read all the same.
    pub(super) const WRITE: u16 = 0x4000;
}

/// Only the traditional interface of two ports.
const REVISION: u64 = 1;

/// The device.
#[derive(Clone, Debug)]
pub(crate) struct FwCfg {
    memory_bytes: u64,
    vcpus: u16,
    /// What is left of the selected item, its next byte the lowest.
    rest: u64,
}

impl FwCfg {
    /// A device that tells these numbers, its signature selected.
    pub(crate) fn new(memory_bytes: u64, vcpus: u32) -> Self {
        let mut fw_cfg = Self {
            memory_bytes,
            vcpus: u16::try_from(vcpus).unwrap_or(u16::MAX),
            rest: 0,
        };
        fw_cfg.select(key::SIGNATURE);
        fw_cfg
    }

    /// Selects an item; the next read gives its first byte.
    pub(crate) fn select(&mut self, key: u16) {
        self.rest = match key & !key::WRITE {
            key::SIGNATURE => u64::from(u32::from_le_bytes(*b"QEMU")),
            key::REVISION => REVISION,
            key::RAM_BYTES => self.memory_bytes,
            key::CPUS | key::MOST_CPUS => u64::from(self.vcpus),
            _ => 0,
        };
    }

    /// The next byte of the selected item.
    pub(crate) fn read(&mut self) -> u8 {
        let byte = self.rest as u8;
        self.rest >>= 8;
        byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item<const N: usize>(key: u16) -> [u8; N] {
        let mut fw_cfg = FwCfg::new(0x1_2345_6000, 3);
        fw_cfg.select(key);
        core::array::from_fn(|_| fw_cfg.read())
    }

    #[test]
    fn a_probe_finds_the_signature_and_an_interface_without_dma() {
        assert_eq!(&item(0x00), b"QEMU\0\0");
        assert_eq!(&item(0x01), &[1, 0, 0, 0]);
    }

    #[test]
    fn numbers_are_little_endian_and_end_in_zeros() {
        assert_eq!(u64::from_le_bytes(item(0x03)), 0x1_2345_6000);
        assert_eq!(item(0x05), [3, 0, 0]);
        assert_eq!(item(0x0f), [3, 0, 0]);
    }

    #[test]
    fn what_is_not_told_reads_as_zeros() {
        for key in [0x11, 0x19, 0x8000, 0xffff] {
            assert_eq!(item(key), [0; 8]);
        }
    }

    #[test]
    fn selecting_starts_from_the_first_byte() {
        let mut fw_cfg = FwCfg::new(0, u32::MAX);
        assert_eq!([fw_cfg.read(), fw_cfg.read()], *b"QE");
        fw_cfg.select(0x4000);
        assert_eq!(fw_cfg.read(), b'Q');
        fw_cfg.select(5);
        assert_eq!(
            [fw_cfg.read(), fw_cfg.read(), fw_cfg.read()],
            [0xff, 0xff, 0]
        );
    }
}
