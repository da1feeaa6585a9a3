//! Whose translations the TLB holds under which tag.
//!
//! Owns one ASID for each vCPU number while there are enough, and the memory of who used
//! an ASID last, so that vCPUs that must share one never see each other's translations.

use core::sync::atomic::{AtomicU32, Ordering};

/// ASIDs used at most; a CPU with more keeps the rest idle.
const MOST: u32 = 64;

/// The number of the last user of each ASID, plus 1.
static USERS: [AtomicU32; MOST as usize] = [const { AtomicU32::new(0) }; MOST as usize];

/// One vCPU's ASID.
#[derive(Clone, Copy, Debug)]
pub struct Asid {
    slot: u32,
    user: u32,
}

impl Asid {
    /// The one for vCPU `index` on a CPU with `count` ASIDs, at least 2. ASID 0 is the
    /// host's.
    pub fn of(index: u16, count: u32) -> Self {
        let guests = (count - 1).clamp(1, MOST);
        Self {
            slot: u32::from(index) % guests,
            user: u32::from(index) + 1,
        }
    }

    /// The value for the VMCB.
    pub fn tag(self) -> u32 {
        self.slot + 1
    }

    /// Takes the ASID; whether another vCPU, or none, had it before.
    pub fn was_anothers(self) -> bool {
        USERS[self.slot as usize].swap(self.user, Ordering::Relaxed) != self.user
    }
}
