//! The MSR and I/O bitmaps: which MSRs and ports a guest reaches without an exit.
//!
//! Every port exits. The MSRs of `virt::own_msrs` are the guest's own: the VMCS holds some, ring 0
//! swaps the others when another VM runs (`virt::context`), so no value crosses.
//! `[SDM 3C, "MSR-Bitmap Address", ed. 085]`

use crate::mem::OwnedFrame;
use crate::virt::own_msrs::{self, TscAux};
use skerry_words::MsrIndex;

/// Read by the CPU with the guest's TSC offset; writes exit.
const READ_ONLY: [u32; 1] = [0x10];

const READ_HALF_BYTES: usize = 0;
const WRITE_HALF_BYTES: usize = 0x800;
const HIGH_RANGE_BYTES: usize = 0x400;

/// A frame with the MSR bitmaps; `tsc_aux` says whether RDTSCP exists in guests.
pub fn msr_bitmaps(tsc_aux: TscAux) -> Option<OwnedFrame> {
    let mut frame = OwnedFrame::ones()?;
    let bytes = frame.bytes();
    for index in READ_ONLY {
        pass(bytes, READ_HALF_BYTES, MsrIndex(index));
    }
    for index in own_msrs::indices(tsc_aux) {
        pass(bytes, READ_HALF_BYTES, MsrIndex(index));
        pass(bytes, WRITE_HALF_BYTES, MsrIndex(index));
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
