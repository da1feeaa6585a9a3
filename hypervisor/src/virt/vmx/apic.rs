//! APIC virtualization: a vCPU's APIC page looked after by the CPU.
//!
//! Owns the VMCS fields about it. Where the CPU can do all of it (reads, task priority, end of
//! interrupt, self-IPI, delivery), the VMM may switch it on by the state page, for the page at
//! `fee00000` or for the MSRs; what the page means is the VMM's affair. The guest's interrupt
//! window comes first: while one is asked for, the CPU delivers nothing from the page
//! `[SDM 3C, "APIC Virtualization and Virtual Interrupts", ed. 085]`.

use super::insn::vmwrite;
use super::setup::Vmx;
use skerry_manual::vmx::{PrimaryControls, SecondaryControls, field};
use skerry_words::{ApicMode, GuestState, Hpa};

/// What the CPU must be able to do, all together.
pub const SECONDARY: SecondaryControls = SecondaryControls::VIRTUALIZE_APIC_ACCESSES
    .union(SecondaryControls::VIRTUALIZE_X2APIC_MODE)
    .union(SecondaryControls::APIC_REGISTER_VIRTUALIZATION)
    .union(SecondaryControls::VIRTUAL_INTERRUPT_DELIVERY);
/// See [`SECONDARY`].
pub const PRIMARY: PrimaryControls = PrimaryControls::USE_TPR_SHADOW;
/// What exits instead, without it.
const CR8: PrimaryControls =
    PrimaryControls::CR8_LOAD_EXITING.union(PrimaryControls::CR8_STORE_EXITING);

/// One vCPU's assistance.
#[derive(Clone, Copy, Debug)]
pub struct Apic {
    /// The controls without it.
    secondary: u32,
    /// The MSR bitmaps without and with the MSRs from 800h on.
    bitmaps: [Hpa; 2],
}

/// Where the APIC page and the APIC-access page are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pages {
    /// The vCPU's own.
    pub registers: Hpa,
    /// The one that the guest has at `fee00000`; `None` if it has none.
    pub access: Option<Hpa>,
}

impl Apic {
    /// Tells the current VMCS where the pages are. `None` if this CPU cannot do all of it, or
    /// the guest has no page to access.
    ///
    /// # Safety
    /// The VMCS is the vCPU's with these pages, which live as long.
    pub unsafe fn new(vmx: &Vmx, pages: Pages) -> Option<Self> {
        let access = pages.access.filter(|_| vmx.virtualizes_apic())?;
        let values = [
            (field::VIRTUAL_APIC_ADDRESS, pages.registers.0),
            (field::APIC_ACCESS_ADDRESS, access.0),
            (field::TPR_THRESHOLD, 0),
            (field::GUEST_INTERRUPT_STATUS, 0),
        ];
        for (field, value) in values {
            // SAFETY: the caller's promise; no control uses these fields yet.
            unsafe { vmwrite(field, value) };
        }
        Some(Self {
            secondary: vmx.controls.secondary(),
            bitmaps: vmx.msr_bitmaps(),
        })
    }

    /// Switches to the page's mode, with its vectors whose end exits. Gives the primary controls
    /// that go with it, out of `primary`, without writing them.
    ///
    /// # Safety
    /// The current VMCS is this vCPU's.
    pub unsafe fn set_mode(&self, state: &GuestState, primary: PrimaryControls) -> PrimaryControls {
        let secondary = SecondaryControls::from_bits_retain(self.secondary);
        let on = SecondaryControls::APIC_REGISTER_VIRTUALIZATION
            | SecondaryControls::VIRTUAL_INTERRUPT_DELIVERY;
        let (secondary, bitmap, primary) = match state.apic_mode {
            ApicMode::XAPIC => (
                secondary | on | SecondaryControls::VIRTUALIZE_APIC_ACCESSES,
                self.bitmaps[0],
                (primary - CR8) | PRIMARY,
            ),
            ApicMode::X2APIC => (
                secondary | on | SecondaryControls::VIRTUALIZE_X2APIC_MODE,
                self.bitmaps[1],
                (primary - CR8) | PRIMARY,
            ),
            _ => (secondary, self.bitmaps[0], (primary - PRIMARY) | CR8),
        };
        let [first, second, third, fourth] = state.eoi_exits;
        let values = [
            (field::SECONDARY_CONTROLS, u64::from(secondary.bits())),
            (field::MSR_BITMAPS, bitmap.0),
            (field::EOI_EXITS_0, first),
            (field::EOI_EXITS_1, second),
            (field::EOI_EXITS_2, third),
            (field::EOI_EXITS_3, fourth),
        ];
        for (field, value) in values {
            // SAFETY: the capability MSRs allow these controls, and the bitmaps live as long as
            // the backend.
            unsafe { vmwrite(field, value) };
        }
        primary
    }

    /// Writes which vectors are requested and in service.
    ///
    /// # Safety
    /// The current VMCS is this vCPU's.
    #[inline(always)]
    pub unsafe fn set_status(state: &GuestState) {
        // SAFETY: any vectors are the guest's affair.
        unsafe {
            vmwrite(
                field::GUEST_INTERRUPT_STATUS,
                u64::from(state.interrupt_status & 0xffff),
            )
        };
    }
}
