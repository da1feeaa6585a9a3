//! The CPUID leaves a guest sees.
//!
//! Built once per VM from the physical CPU's leaves: a feature is shown only where it
//! works in a guest, so every mask below is a promise. An exit is a table look-up.
//! Bits are those of `[SDM 2A, "CPUID—CPU Identification", ed. 085]` and
//! `[APM 3, "Obtaining Processor Information Via the CPUID Instruction", rev. 3.36]`.

use alloc::vec::Vec;
use skerry_verdict::Registers;
use skerry_words::{Gpr, GuestState};

use crate::xstate;

mod leaves;
mod view;

use leaves::{LEAF_D1_EAX, basic_leaf, extended_leaf, hypervisor_leaves, private_cache};
pub use view::View;

/// EAX, EBX, ECX, EDX of one leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuidRegisters {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

/// First leaf of the hypervisor range.
pub const HYPERVISOR_BASE: u32 = 0x4000_0000;
/// The last leaf of that range: the clock's rate.
const TIMING_LEAF: usize = 0x10;
const EXTENDED_BASE: u32 = 0x8000_0000;
const HIGHEST_BASIC: u32 = 0x16;
const HIGHEST_EXTENDED: u32 = 8;
const XSTATE_LEAF: u32 = 0xd;
const TOPOLOGY_LEAF: u32 = 0xb;
const AMD_TOPOLOGY_LEAF: u32 = 0x8000_001e;

/// What the virtualization hardware lets a guest execute, beyond what CPUID tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GuestAbilities {
    /// RDTSCP and RDPID work in a guest.
    pub rdtscp: bool,
    /// INVPCID works in a guest.
    pub invpcid: bool,
}

/// The leaves of one VM.
#[derive(Clone, Debug)]
pub struct CpuidTable {
    basic: Vec<CpuidRegisters>,
    extended: Vec<CpuidRegisters>,
    hypervisor: [CpuidRegisters; TIMING_LEAF + 1],
    cache: Vec<CpuidRegisters>,
    xstate: xstate::Layout,
    xstate_features: u32,
    is_intel: bool,
    vcpus: u32,
    id_bits: u32,
}

impl CpuidTable {
    /// Builds the table from the physical CPU's `leaf(leaf, subleaf)` and the frequency of
    /// the time-stamp counter in Hz.
    pub fn new(
        leaf: &mut impl FnMut(u32, u32) -> CpuidRegisters,
        abilities: GuestAbilities,
        tsc_hz: u64,
        vcpus: u32,
    ) -> Self {
        let highest = leaf(0, 0).eax.min(HIGHEST_BASIC);
        let xstate = xstate::Layout::new(leaf);
        let mut basic: Vec<_> = (0..=highest)
            .map(|number| basic_leaf(number, leaf(number, 0), abilities, xstate, (tsc_hz, vcpus)))
            .collect();
        if let Some(first) = basic.first_mut() {
            first.eax = highest;
        }
        let top = leaf(EXTENDED_BASE, 0).eax & 0xffff;
        let extended = (0..=top.min(HIGHEST_EXTENDED))
            .map(|number| {
                let host = leaf(EXTENDED_BASE | number, 0);
                extended_leaf(number, host, abilities, vcpus)
            })
            .collect();
        let cache = (0..4)
            .map(|subleaf| private_cache(leaf(4, subleaf)))
            .collect();
        let features = leaf(XSTATE_LEAF, 1).eax & LEAF_D1_EAX;
        let is_intel = leaf(0, 0).ecx == u32::from_le_bytes(*b"ntel");
        let hypervisor = hypervisor_leaves(tsc_hz);
        Self {
            basic,
            extended,
            hypervisor,
            cache,
            xstate,
            xstate_features: features,
            is_intel,
            vcpus,
            id_bits: vcpus.max(1).next_power_of_two().trailing_zeros(),
        }
    }

    /// The bits a guest may set in XCR0.
    #[must_use]
    pub fn permitted_xcr0(&self) -> u64 {
        self.xstate.permitted()
    }

    pub(crate) fn xstate(&self) -> &xstate::Layout {
        &self.xstate
    }

    /// One leaf, as one vCPU sees it.
    #[must_use]
    pub fn look_up(&self, leaf: u32, subleaf: u32, view: View) -> CpuidRegisters {
        let Some(registers) = self.entry(leaf).copied() else {
            return self.out_of_range();
        };
        match leaf {
            1 => view.features(registers),
            TOPOLOGY_LEAF => self.topology(subleaf, view),
            AMD_TOPOLOGY_LEAF => view.amd_topology(),
            4 => self
                .cache
                .get(subleaf as usize)
                .copied()
                .unwrap_or_default(),
            7 if subleaf > 0 => CpuidRegisters::default(),
            7 => view.more_features(registers),
            XSTATE_LEAF => self.xstate_leaf(subleaf, view.xcr0),
            _ => registers,
        }
    }

    /// Intel answers a leaf past the end with the highest basic leaf, AMD with zeros
    /// `[SDM 2A, "CPUID—CPU Identification", ed. 085]`.
    fn out_of_range(&self) -> CpuidRegisters {
        match self.basic.last() {
            Some(last) if self.is_intel => *last,
            _ => CpuidRegisters::default(),
        }
    }

    fn xstate_leaf(&self, subleaf: u32, xcr0: u64) -> CpuidRegisters {
        match subleaf {
            0 => self.xstate.leaf(xcr0),
            1 => CpuidRegisters {
                eax: self.xstate_features,
                ..CpuidRegisters::default()
            },
            _ => self.xstate.component(subleaf),
        }
    }

    /// A basic leaf as it stands in the table.
    pub(crate) fn leaf(&self, number: u32) -> CpuidRegisters {
        self.basic.get(number as usize).copied().unwrap_or_default()
    }

    /// Answers a CPUID exit, if its leaf is the same for everybody.
    #[inline]
    pub fn answer_plain(&self, state: &mut GuestState) -> bool {
        let Some(registers) = self.plain(state.get(Gpr::Rax) as u32) else {
            return false;
        };
        put(state, registers);
        state.advance();
        true
    }

    /// Answers any CPUID exit.
    pub fn answer(&self, state: &mut GuestState, view: View) {
        let leaf = state.get(Gpr::Rax) as u32;
        let subleaf = state.get(Gpr::Rcx) as u32;
        let registers = self.look_up(leaf, subleaf, view);
        put(state, &registers);
        state.advance();
    }

    /// The guest's physical-address width in bits.
    #[must_use]
    pub fn physical_address_bits(&self) -> u8 {
        let widths = self.extended.get(8).copied().unwrap_or_default();
        match widths.eax as u8 {
            0 => 36,
            bits => bits.min(52),
        }
    }

    /// The table's entry for a leaf.
    #[inline(always)]
    fn entry(&self, leaf: u32) -> Option<&CpuidRegisters> {
        // The most frequent first.
        if let Some(registers) = self.basic.get(leaf as usize) {
            return Some(registers);
        }
        match leaf >> 28 {
            4 => self.hypervisor.get((leaf & 0x0fff_ffff) as usize),
            8 => self.extended.get((leaf & 0x0fff_ffff) as usize),
            _ => None,
        }
    }

    /// The entry of a leaf that is the same whatever the subleaf and the guest's state.
    #[inline(always)]
    fn plain(&self, leaf: u32) -> Option<&CpuidRegisters> {
        match leaf {
            1 | 4 | 7 | TOPOLOGY_LEAF | XSTATE_LEAF | AMD_TOPOLOGY_LEAF => None,
            _ => self.entry(leaf),
        }
    }
}

#[inline(always)]
fn put(state: &mut GuestState, registers: &CpuidRegisters) {
    state.set(Gpr::Rax, u64::from(registers.eax));
    state.set(Gpr::Rbx, u64::from(registers.ebx));
    state.set(Gpr::Rcx, u64::from(registers.ecx));
    state.set(Gpr::Rdx, u64::from(registers.edx));
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests;
