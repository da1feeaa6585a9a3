//! The MSR and I/O bitmaps: which MSRs and ports a guest reaches without an exit.
//!
//! Every port exits. There are two MSR bitmaps: with the second, the CPU answers most of the x2APIC's
//! MSRs from the APIC page. The MSRs of `virt::own_msrs` are the guest's own: the VMCS holds some, ring 0
//! swaps the others when another VM runs (`virt::context`), so no value crosses.
//! `[SDM 3C, "MSR-Bitmap Address", ed. 085]`

use crate::mem::OwnedFrame;
use crate::virt::own_msrs::{self, TscAux};
use skerry_words::MsrIndex;

/// Who answers the MSRs of the x2APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApicMsrs {
    /// The VMM: they exit.
    Exit,
    /// The CPU, as far as it can.
    Virtual,
}

/// Of the x2APIC's MSRs, those whose read gives what stands in the page: id, version, priorities,
/// destinations, spurious vector, vectors in service and requested, errors, the local vector
/// table, the timer's settings. Not the interrupt command, of 64 bits, nor the current count
/// `[SDM 3A, "x2APIC Register Address Space", ed. 085]`.
const APIC_READS: [core::ops::RangeInclusive<u32>; 8] = [
    0x802..=0x803,
    0x808..=0x808,
    0x80a..=0x80a,
    0x80d..=0x80d,
    0x80f..=0x828,
    0x832..=0x837,
    0x838..=0x838,
    0x83e..=0x83e,
];
/// Those the CPU writes itself: task priority, end of interrupt, self-IPI.
const APIC_WRITES: [u32; 3] = [0x808, 0x80b, 0x83f];

/// Read by the CPU with the guest's TSC offset; writes exit.
const READ_ONLY: [u32; 1] = [0x10];

const READ_HALF_BYTES: usize = 0;
const WRITE_HALF_BYTES: usize = 0x800;
const HIGH_RANGE_BYTES: usize = 0x400;

/// A frame with the MSR bitmaps; `tsc_aux` says whether RDTSCP exists in guests.
pub fn msr_bitmaps(tsc_aux: TscAux, apic: ApicMsrs) -> Option<OwnedFrame> {
    let mut frame = OwnedFrame::ones()?;
    let bytes = frame.bytes();
    for index in READ_ONLY {
        pass(bytes, READ_HALF_BYTES, MsrIndex(index));
    }
    for index in own_msrs::indices(tsc_aux) {
        pass(bytes, READ_HALF_BYTES, MsrIndex(index));
        pass(bytes, WRITE_HALF_BYTES, MsrIndex(index));
    }
    if apic == ApicMsrs::Virtual {
        for index in APIC_READS.into_iter().flatten() {
            pass(bytes, READ_HALF_BYTES, MsrIndex(index));
        }
        for index in APIC_WRITES {
            pass(bytes, WRITE_HALF_BYTES, MsrIndex(index));
        }
    }
    Some(frame)
}

fn pass(bitmaps: &mut [u8; 4096], half: usize, index: MsrIndex) {
    let range = if index.0 >= 0xc000_0000 {
        HIGH_RANGE_BYTES
    } else {
        0
    };
    let bit = (index.0 & 0x1fff) as usize;
    if let Some(byte) = bitmaps.get_mut(half + range + bit / 8) {
        *byte &= !(1 << (bit % 8));
    }
}
