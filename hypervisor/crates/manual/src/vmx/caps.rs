//! What this CPU's VT-x can do: the capability MSRs 480h to 493h as plain words
//! `[SDM 3D, "VMX Capability Reporting Facility", ed. 085]`.
//!
//! Owns reading them in the order they announce each other, the adjustment of a control
//! word to what is allowed, and the name of what is missing. Does not own RDMSR (a closure
//! of the caller's) nor the choice of features (ring 0's `virt::vmx::setup`).

use bitflags::Flags;
use skerry_words::MsrIndex;

use super::controls::{
    Controls, EntryControls, ExitControls, PinControls, PrimaryControls, SecondaryControls,
};
use crate::msr;

/// A feature Skerry needs and this CPU has not: never guessed at, always named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Missing {
    /// The word it belongs to, in the manual's words.
    pub of: &'static str,
    /// The first missing bit by its name in this crate.
    pub feature: &'static str,
}

impl core::fmt::Display for Missing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "this CPU lacks {} of the {}", self.feature, self.of)
    }
}

/// The name of the first of `bits` that has one.
fn name_of<F: Flags>(bits: F) -> &'static str {
    bits.iter_names()
        .next()
        .map_or("a reserved bit", |(name, _)| name)
}

/// Which settings of a control word a capability MSR allows: bits 31:0 must be 1, bits
/// 63:32 may be 1 `[SDM 3D, "VM-Execution Controls", ed. 085]`.
///
/// # Errors
/// [`Missing`] with the first required bit that may not be 1.
pub fn adjust<C: Controls>(allowed: u64, required: C, optional: C) -> Result<C, Missing> {
    let (must, may) = (allowed as u32, (allowed >> 32) as u32);
    let refused = required.bits() & !may;
    if refused != 0 {
        return Err(Missing {
            of: C::NAME,
            feature: name_of(C::from_bits_retain(refused)),
        });
    }
    Ok(C::from_bits_retain(
        must | required.bits() | (optional.bits() & may),
    ))
}

/// The fixed bits of CR0 or CR4 in VMX operation
/// `[SDM 3D, "VMX-Fixed Bits in CR0" and "VMX-Fixed Bits in CR4", ed. 085]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FixedBits {
    /// Bits that must be 1.
    pub must: u64,
    /// Bits that may be 1.
    pub may: u64,
}

impl FixedBits {
    /// `value` with the fixed bits as they must be.
    #[must_use]
    pub const fn adjust(self, value: u64) -> u64 {
        (value | self.must) & self.may
    }
}

bitflags::bitflags! {
    /// IA32_VMX_EPT_VPID_CAP `[SDM 3D, "VPID and EPT Capabilities", ed. 085]`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    #[repr(transparent)]
    pub struct EptVpid: u64 {
        /// Page walks of 4 levels.
        const WALK_4 = 1 << 6;
        /// Page walks of 5 levels.
        const WALK_5 = 1 << 7;
        /// Uncacheable EPT paging structures.
        const UNCACHEABLE = 1 << 8;
        /// Write-back EPT paging structures.
        const WRITE_BACK = 1 << 14;
        /// 2 MiB pages.
        const PAGES_2M = 1 << 16;
        /// 1 GiB pages.
        const PAGES_1G = 1 << 17;
        /// INVEPT.
        const INVEPT = 1 << 20;
        /// Accessed and dirty flags.
        const ACCESSED_DIRTY = 1 << 21;
        /// Supervisor shadow-stack control.
        const SHADOW_STACK = 1 << 23;
        /// INVEPT of one EPT pointer.
        const INVEPT_SINGLE = 1 << 25;
        /// INVVPID.
        const INVVPID = 1 << 32;
        /// INVVPID of one VPID.
        const INVVPID_SINGLE = 1 << 41;
        /// Every other bit is kept as it is.
        const _ = !0;
    }
}

/// Whether this CPU lets us execute VMXON: IA32_FEATURE_CONTROL
/// `[SDM 3C, "Enabling and Entering VMX Operation", ed. 085]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmxLock {
    /// Locked with VMX on: go ahead.
    On,
    /// Not locked: write this value to the MSR first.
    Open(u64),
    /// Locked with VMX off: the firmware's setup must allow it.
    Off,
}

/// Reads an IA32_FEATURE_CONTROL value: bit 0 locks, bit 2 allows VMX outside SMX.
#[must_use]
pub const fn vmx_lock(feature_control: u64) -> VmxLock {
    const LOCKED: u64 = 1 << 0;
    const VMX_OUTSIDE_SMX: u64 = 1 << 2;
    match (
        feature_control & LOCKED != 0,
        feature_control & VMX_OUTSIDE_SMX != 0,
    ) {
        (true, true) => VmxLock::On,
        (true, false) => VmxLock::Off,
        (false, _) => VmxLock::Open(feature_control | LOCKED | VMX_OUTSIDE_SMX),
    }
}

/// The capability MSRs. A word whose MSR this CPU does not have is 0: nothing allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    /// IA32_VMX_BASIC.
    pub basic: u64,
    /// Pin-based controls (the TRUE word where there is one; the next three alike).
    pub pin: u64,
    /// Primary processor-based controls.
    pub primary: u64,
    /// VM-exit controls.
    pub exit: u64,
    /// VM-entry controls.
    pub entry: u64,
    /// IA32_VMX_MISC.
    pub misc: u64,
    /// CR0 bits that must be 1.
    pub cr0_fixed0: u64,
    /// CR0 bits that may be 1.
    pub cr0_fixed1: u64,
    /// CR4 bits that must be 1.
    pub cr4_fixed0: u64,
    /// CR4 bits that may be 1.
    pub cr4_fixed1: u64,
    /// Secondary processor-based controls.
    pub secondary: u64,
    /// Tertiary processor-based controls that may be 1.
    pub tertiary: u64,
    /// EPT and VPID.
    pub ept_vpid: u64,
    /// VM functions that may be 1.
    pub vm_functions: u64,
}

impl Capabilities {
    /// Reads the words with `rdmsr`, and only those this CPU says it has.
    pub fn read(mut rdmsr: impl FnMut(MsrIndex) -> u64) -> Self {
        let basic = rdmsr(msr::VMX_BASIC);
        let [pin, primary, exit, entry] = control_msrs(basic).map(&mut rdmsr);
        let mut words = Self {
            basic,
            pin,
            primary,
            exit,
            entry,
            misc: rdmsr(msr::VMX_MISC),
            cr0_fixed0: rdmsr(msr::VMX_CR0_FIXED0),
            cr0_fixed1: rdmsr(msr::VMX_CR0_FIXED1),
            cr4_fixed0: rdmsr(msr::VMX_CR4_FIXED0),
            cr4_fixed1: rdmsr(msr::VMX_CR4_FIXED1),
            ..Self::default()
        };
        words.read_announced(rdmsr);
        words
    }

    /// Reads the words that exist only where a control says so.
    fn read_announced(&mut self, mut rdmsr: impl FnMut(MsrIndex) -> u64) {
        let primary = PrimaryControls::from_bits_retain((self.primary >> 32) as u32);
        if primary.contains(PrimaryControls::ACTIVATE_SECONDARY_CONTROLS) {
            self.secondary = rdmsr(msr::VMX_PROCBASED_CTLS2);
        }
        if primary.contains(PrimaryControls::ACTIVATE_TERTIARY_CONTROLS) {
            self.tertiary = rdmsr(msr::VMX_PROCBASED_CTLS3);
        }
        let secondary = SecondaryControls::from_bits_retain((self.secondary >> 32) as u32);
        let tagged = SecondaryControls::ENABLE_EPT | SecondaryControls::ENABLE_VPID;
        if secondary.intersects(tagged) {
            self.ept_vpid = rdmsr(msr::VMX_EPT_VPID_CAP);
        }
        if secondary.contains(SecondaryControls::ENABLE_VM_FUNCTIONS) {
            self.vm_functions = rdmsr(msr::VMX_VMFUNC);
        }
    }

    /// The pin-based controls to use. See [`adjust`] for this and the next four.
    ///
    /// # Errors
    /// [`Missing`] with the first required bit this CPU lacks.
    pub fn pin(
        &self,
        required: PinControls,
        optional: PinControls,
    ) -> Result<PinControls, Missing> {
        adjust(self.pin, required, optional)
    }

    /// The primary processor-based controls to use.
    ///
    /// # Errors
    /// [`Missing`] with the first required bit this CPU lacks.
    pub fn primary(
        &self,
        required: PrimaryControls,
        optional: PrimaryControls,
    ) -> Result<PrimaryControls, Missing> {
        adjust(self.primary, required, optional)
    }

    /// The secondary processor-based controls to use.
    ///
    /// # Errors
    /// [`Missing`] with the first required bit this CPU lacks.
    pub fn secondary(
        &self,
        required: SecondaryControls,
        optional: SecondaryControls,
    ) -> Result<SecondaryControls, Missing> {
        adjust(self.secondary, required, optional)
    }

    /// The VM-exit controls to use.
    ///
    /// # Errors
    /// [`Missing`] with the first required bit this CPU lacks.
    pub fn exit(
        &self,
        required: ExitControls,
        optional: ExitControls,
    ) -> Result<ExitControls, Missing> {
        adjust(self.exit, required, optional)
    }

    /// The VM-entry controls to use.
    ///
    /// # Errors
    /// [`Missing`] with the first required bit this CPU lacks.
    pub fn entry(
        &self,
        required: EntryControls,
        optional: EntryControls,
    ) -> Result<EntryControls, Missing> {
        adjust(self.entry, required, optional)
    }

    /// The EPT and VPID capabilities, if all `required` are there.
    ///
    /// # Errors
    /// [`Missing`] with the first required capability this CPU lacks.
    pub fn ept_vpid(&self, required: EptVpid) -> Result<EptVpid, Missing> {
        let offered = EptVpid::from_bits_retain(self.ept_vpid);
        let refused = required.difference(offered);
        if refused.is_empty() {
            Ok(offered)
        } else {
            Err(Missing {
                of: "EPT and VPID capabilities",
                feature: name_of(refused),
            })
        }
    }

    /// The fixed bits of CR0. An unrestricted guest's PE and PG are free of them.
    #[must_use]
    pub const fn cr0(&self) -> FixedBits {
        FixedBits {
            must: self.cr0_fixed0,
            may: self.cr0_fixed1,
        }
    }

    /// The fixed bits of CR4.
    #[must_use]
    pub const fn cr4(&self) -> FixedBits {
        FixedBits {
            must: self.cr4_fixed0,
            may: self.cr4_fixed1,
        }
    }

    /// The revision identifier that starts the VMXON region and every VMCS.
    #[must_use]
    pub const fn revision(&self) -> u32 {
        (self.basic & 0x7fff_ffff) as u32
    }

    /// The preemption timer counts down when this bit of the TSC changes, 0 to 31.
    #[must_use]
    pub const fn timer_shift(&self) -> u32 {
        (self.misc & 0x1f) as u32
    }
}

/// The MSRs of the pin, primary, exit and entry controls: the TRUE ones if bit 55 of
/// IA32_VMX_BASIC announces them `[SDM 3D, "Basic VMX Information", ed. 085]`.
const fn control_msrs(basic: u64) -> [MsrIndex; 4] {
    if basic & (1 << 55) != 0 {
        [
            msr::VMX_TRUE_PINBASED_CTLS,
            msr::VMX_TRUE_PROCBASED_CTLS,
            msr::VMX_TRUE_EXIT_CTLS,
            msr::VMX_TRUE_ENTRY_CTLS,
        ]
    } else {
        [
            msr::VMX_PINBASED_CTLS,
            msr::VMX_PROCBASED_CTLS,
            msr::VMX_EXIT_CTLS,
            msr::VMX_ENTRY_CTLS,
        ]
    }
}

#[cfg(test)]
mod tests;
