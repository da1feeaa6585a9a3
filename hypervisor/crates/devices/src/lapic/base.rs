//! IA32_APIC_BASE: where the registers are, and in which mode.
//!
//! Owns MSR 1Bh: its reserved bits, the transitions between modes and what each does to the
//! registers `[SDM 3A, "Local APIC Status and Location" and "x2APIC State Transitions",
//! ed. 085]`. Does not own the accesses themselves.

use core::ops::{Deref, DerefMut};

use skerry_words::{ApicPage, Gpa};

use super::register::{ID, LOGICAL_DESTINATION};
use super::{LocalApic, Role, X2apic};

/// Where the registers are after reset.
const DEFAULT_BASE: u64 = 0xfee0_0000;
/// The vCPU is the bootstrap processor.
pub(super) const BOOT_PROCESSOR: u64 = 1 << 8;
/// x2APIC mode.
const EXTENDED: u64 = 1 << 10;
/// The APIC is enabled.
pub(super) const ENABLE: u64 = 1 << 11;
/// Both mode bits.
const MODE: u64 = ENABLE | EXTENDED;
/// The bits that are reserved at every width of addresses.
const RESERVED: u64 = 0x2ff;

/// How the guest reaches the registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Not at all: the CPU is one without an APIC, and CPUID must say so.
    Disabled,
    /// As memory: the 4 KiB at `base`.
    Xapic {
        /// The first byte, a multiple of 4096.
        base: Gpa,
    },
    /// As MSRs 800h to 8FFh.
    X2apic,
}

/// Why an MSR access is refused; always with #GP(0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// There is no such register in this mode, or it cannot be read, or not be written.
    Absent,
    /// The value has reserved bits.
    Reserved,
    /// The APIC does not go from its mode to that one.
    Transition,
}

/// IA32_APIC_BASE after reset.
pub(super) fn after_reset(role: Role) -> u64 {
    match role {
        Role::Boot => DEFAULT_BASE | ENABLE | BOOT_PROCESSOR,
        Role::Application => DEFAULT_BASE | ENABLE,
    }
}

impl<P: Deref<Target = ApicPage>> LocalApic<P> {
    /// IA32_APIC_BASE.
    #[inline]
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// How the guest reaches the registers.
    #[inline]
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self.base & MODE {
            0 => Mode::Disabled,
            ENABLE => Mode::Xapic {
                base: Gpa(self.base).page_start(),
            },
            _ => Mode::X2apic,
        }
    }

    /// Whether MSRs 800h to 8FFh are there.
    #[inline]
    pub(super) fn is_x2apic(&self) -> bool {
        self.base & MODE == MODE
    }

    /// The ID in the logical destination register of x2APIC mode: the cluster, and one bit
    /// of 16 in it `[SDM 3A, "Deriving Logical x2APIC ID from the Local x2APIC ID", ed. 085]`.
    pub(super) fn x2apic_logical_id(&self) -> u32 {
        let id = self.config.id;
        (id & 0xffff_fff0) << 12 | 1_u32.unbounded_shl(id & 0xf)
    }

    fn reserved_base_bits(&self) -> u64 {
        let extended = match self.config.x2apic {
            X2apic::Offered => 0,
            X2apic::Absent => EXTENDED,
        };
        let width = u32::from(self.config.physical_address_bits).min(52);
        RESERVED | extended | u64::MAX.unbounded_shl(width)
    }
}

impl<P: DerefMut<Target = ApicPage>> LocalApic<P> {
    /// Writes IA32_APIC_BASE. The bootstrap flag stays as it is.
    ///
    /// From the moment it is disabled the APIC is as after reset: real ones may lose their
    /// state then, and those that leave x2APIC mode do.
    ///
    /// # Errors
    ///
    /// [`Refused::Reserved`] for reserved bits, among them those past the width of physical
    /// addresses; [`Refused::Transition`] for x2APIC mode from disabled, xAPIC mode from
    /// x2APIC mode, and for EXTD without EN. Nothing has changed then.
    pub fn set_base(&mut self, value: u64) -> Result<(), Refused> {
        if value & self.reserved_base_bits() != 0 {
            return Err(Refused::Reserved);
        }
        match (self.base & MODE, value & MODE) {
            (_, EXTENDED) | (0, MODE) | (MODE, ENABLE) => return Err(Refused::Transition),
            (ENABLE, MODE) => self.enter_x2apic(),
            (ENABLE | MODE, 0) => self.reset_registers(),
            _ => {}
        }
        self.base = value & !BOOT_PROCESSOR | self.base & BOOT_PROCESSOR;
        Ok(())
    }

    /// From xAPIC mode on: an ID the guest wrote and the logical destination are lost, and the
    /// command's high half, which is at another place now; all else stays
    /// `[SDM 3A, "State Changes From xAPIC Mode to x2APIC Mode", ed. 085]`.
    fn enter_x2apic(&mut self) {
        let logical = self.x2apic_logical_id();
        self.page.set(ID, self.config.id);
        self.page.set(LOGICAL_DESTINATION, logical);
    }
}
