//! The MSR and I/O permission maps: which MSRs and ports a guest reaches without an exit.
//!
//! Every port exits. So does the time-stamp counter as an MSR, which not every CPU offsets
//! as RDTSC. The MSRs of `virt::own_msrs` are the guest's own, as on VT-x: VMLOAD and
//! VMSAVE move most of them, the VMCB holds the PAT, `virt::context` swaps TSC_AUX.
//! `[APM 2, "MSR Intercepts", rev. 3.42]`

use crate::mem::OwnedRun;
use crate::virt::own_msrs::{self, TscAux};

/// Two bits an MSR: the lower one stops reads, the upper one writes.
const READ_AND_WRITE: u8 = 0b11;
const HIGH_RANGE_BYTES: usize = 0x800;

/// The I/O permission map, all ones: 64 Ki ports and three bits for those past the end.
pub fn io_map() -> Option<OwnedRun> {
    OwnedRun::ones(3)
}

/// The MSR permission map; `tsc_aux` says whether RDTSCP exists in guests.
pub fn msr_map(tsc_aux: TscAux) -> Option<OwnedRun> {
    let mut map = OwnedRun::ones(2)?;
    let bytes = map.bytes();
    own_msrs::indices(tsc_aux).for_each(|index| pass(bytes, index));
    Some(map)
}

fn pass(map: &mut [u8], index: u32) {
    let range = if index >= 0xc000_0000 {
        HIGH_RANGE_BYTES
    } else {
        0
    };
    let bit = (index & 0x1fff) as usize * 2;
    if let Some(byte) = map.get_mut(range + bit / 8) {
        *byte &= !(READ_AND_WRITE << (bit % 8));
    }
}
