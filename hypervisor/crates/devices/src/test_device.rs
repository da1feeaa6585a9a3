//! Scratch registers and scratch memory for test kernels.
//!
//! Owns what ports E0h to E3h, which are E8h to EBh too, and the 64 KiB at FF000000h hold, bytes
//! that any access of any width finds as it left them. Does not own the lines that ports 2000h to 2017h move, nor
//! port E4h, which takes anything (test kernels elsewhere have a page unmapped by it): they
//! are wires of `bus.rs`. The layout is that of QEMU's device for the same kernels
//! `[QEMU 7.2, hw/misc/pc-testdev.c]`. Only in VMs that ask for it.

use alloc::boxed::Box;
use alloc::vec;
use core::ops::Range;

use skerry_words::{Gpa, Width};

/// Where the memory is.
const MEMORY_AT: Gpa = Gpa(0xff00_0000);
const MEMORY_BYTES: usize = 64 << 10;

/// The device.
#[derive(Clone, Debug)]
pub(crate) struct TestDevice {
    scratch: [u8; 4],
    memory: Box<[u8]>,
}

impl TestDevice {
    /// All zeros.
    pub(crate) fn new() -> Self {
        Self {
            scratch: [0; 4],
            memory: vec![0; MEMORY_BYTES].into_boxed_slice(),
        }
    }

    /// A scratch port, by the low two bits.
    pub(crate) fn scratch(&self, port: u16) -> u8 {
        self.scratch
            .get(usize::from(port & 3))
            .copied()
            .unwrap_or(0xff)
    }

    /// Stores into a scratch port.
    pub(crate) fn set_scratch(&mut self, port: u16, value: u8) {
        if let Some(byte) = self.scratch.get_mut(usize::from(port & 3)) {
            *byte = value;
        }
    }

    /// Memory, if the whole access lies inside it.
    pub(crate) fn load(&self, at: Gpa, width: Width) -> Option<u64> {
        let bytes = self.memory.get(Self::range(at, width)?)?;
        let value = bytes.iter().rev();
        Some(value.fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// Stores into memory, if the whole access lies inside it.
    pub(crate) fn store(&mut self, at: Gpa, width: Width, value: u64) -> Option<()> {
        let bytes = self.memory.get_mut(Self::range(at, width)?)?;
        bytes
            .iter_mut()
            .zip(value.to_le_bytes())
            .for_each(|(byte, value)| *byte = value);
        Some(())
    }

    fn range(at: Gpa, width: Width) -> Option<Range<usize>> {
        let start = usize::try_from(at.0.checked_sub(MEMORY_AT.0)?).ok()?;
        let end = start.checked_add(width.bytes() as usize)?;
        Some(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_what_any_width_stores() {
        let mut device = TestDevice::new();
        let at = |offset: u64| Gpa(0xff00_0000 | offset);
        device.store(at(3), Width::Qword, 0x1122_3344_5566_7788);
        device.store(at(4), Width::Byte, 0xfaa);
        assert_eq!(
            device.load(at(0), Width::Qword),
            Some(0x4455_66aa_8800_0000)
        );
        assert_eq!(device.load(at(3), Width::Word), Some(0xaa88));
        assert_eq!(device.load(at(8), Width::Dword), Some(0x0011_2233));
    }

    #[test]
    fn memory_ends_after_64_kib() {
        let mut device = TestDevice::new();
        let at = Gpa(0xff00_fffc);
        assert_eq!(device.store(at, Width::Dword, 7), Some(()));
        assert_eq!(device.load(at, Width::Dword), Some(7));
        assert_eq!(device.load(at, Width::Qword), None);
        assert_eq!(device.store(Gpa(at.0 | 1), Width::Dword, 0), None);
        assert_eq!(device.load(Gpa(0xfeff_ffff), Width::Byte), None);
        assert_eq!(device.load(Gpa(u64::MAX), Width::Byte), None);
    }
}
