//! The odd ports of a PC's chipset, each a register or two.
//!
//! Owns the PCI configuration address (CF8h; no device answers behind it), the two reset
//! ports (92h, CF9h), the POST code and its scratch neighbours (80h to 8Fh), and the index
//! of a VGA that is not there. Does not own what a reset leads to.

/// What a write to a reset port did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum ResetLine {
    Idle,
    Pulled,
}

impl From<bool> for ResetLine {
    fn from(pulled: bool) -> Self {
        if pulled { Self::Pulled } else { Self::Idle }
    }
}

/// Port 92h: bit 0 resets when it rises, bit 1 is the A20 gate, always open
/// `[Intel 82371AB (PIIX4), "Port 92", order 290562-001]`.
const FAST_RESET: u8 = 1 << 0;
const A20: u8 = 1 << 1;

/// Port CF9h: bit 2 resets when it rises; bits 1 and 3 choose how, which makes no difference
/// here `[Intel 82371AB (PIIX4), "Reset Control Register", order 290562-001]`.
const RESET_CPU: u8 = 1 << 2;
const RESET_KIND: u8 = 0x0a;

/// Bits of CF8h that exist: enable, bus, device, function, register
/// `[PCI Local Bus 2.2, "Configuration Mechanism #1"]`.
const CONFIG_ADDRESS: u32 = 0x80ff_fffc;

/// The registers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chipset {
    pci_address: u32,
    port92: u8,
    port_cf9: u8,
    post: [u8; 16],
    vga_index: u8,
}

impl Chipset {
    /// CF8h as a double word.
    pub(crate) fn pci_address(&self) -> u32 {
        self.pci_address
    }

    /// Sets CF8h as a double word.
    pub(crate) fn set_pci_address(&mut self, value: u32) {
        self.pci_address = value & CONFIG_ADDRESS;
    }

    /// Port 92h.
    pub(crate) fn read92(&self) -> u8 {
        self.port92 | A20
    }

    /// Port 92h.
    pub(crate) fn write92(&mut self, value: u8) -> ResetLine {
        let rises = value & !self.port92 & FAST_RESET != 0;
        self.port92 = value & FAST_RESET;
        ResetLine::from(rises)
    }

    /// Port CF9h; the reset bit is over before it could be read.
    pub(crate) fn read_cf9(&self) -> u8 {
        self.port_cf9
    }

    /// Port CF9h.
    pub(crate) fn write_cf9(&mut self, value: u8) -> ResetLine {
        self.port_cf9 = value & RESET_KIND;
        ResetLine::from(value & RESET_CPU != 0)
    }

    /// A scratch port of 80h to 8Fh, by the low four bits.
    #[inline]
    pub(crate) fn post(&self, port: u16) -> u8 {
        self.post
            .get(usize::from(port & 0xf))
            .copied()
            .unwrap_or(0xff)
    }

    /// Stores into a scratch port.
    #[inline]
    pub(crate) fn set_post(&mut self, port: u16, value: u8) {
        if let Some(byte) = self.post.get_mut(usize::from(port & 0xf)) {
            *byte = value;
        }
    }

    /// The VGA's index port, 3D4h.
    pub(crate) fn vga_index(&self) -> u8 {
        self.vga_index
    }

    /// Sets the VGA's index.
    pub(crate) fn set_vga_index(&mut self, value: u8) {
        self.vga_index = value;
    }
}
