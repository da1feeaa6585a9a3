//! ACPI's fixed power-management registers: soft off and the 3.58 MHz timer.
//!
//! Owns the block of ports 600h to 60Fh, as the loader's FADT and DSDT tell the guest of it:
//! PM1a status, enable and control, and the timer. ACPI mode is always on, so there is no SMI
//! command port. The one sleep state is S5. No fixed event exists (no buttons, no wake by the
//! clock, no interrupt of the timer): their status bits are 0 and their enable bits stay 0,
//! but for the global lock's, whose event would come from firmware. So the interrupt of all
//! this, IRQ9, never rises.
//!
//! After `[ACPI 6.5, "ACPI Register Model"]`. Does not own what power-off leads to.

#[cfg(test)]
mod tests;

use skerry_words::Tsc;

use crate::timebase::Timebase;

/// The timer's frequency `["Power Management Timer"]`.
const TIMER_HZ: u64 = 3_579_545;

/// Offsets of the registers' bytes in the block.
mod offset {
    pub(super) const STATUS: u16 = 0;
    pub(super) const STATUS_HIGH: u16 = 1;
    pub(super) const ENABLE: u16 = 2;
    pub(super) const ENABLE_HIGH: u16 = 3;
    pub(super) const CONTROL: u16 = 4;
    pub(super) const CONTROL_HIGH: u16 = 5;
    pub(super) const TIMER: u16 = 8;
    pub(super) const TIMER_LAST: u16 = 11;
}

/// The lower byte of PM1 enable `["PM1 Enable Registers"]`.
const GLOBAL_LOCK_ENABLE: u8 = 1 << 5;

/// The lower byte of PM1 control `["PM1 Control Registers"]`.
mod control {
    pub(super) const SCI_ENABLED: u8 = 1 << 0;
    pub(super) const BUS_MASTER_RELOAD: u8 = 1 << 1;
}

/// Its upper byte.
mod control_high {
    pub(super) const TYPE: u8 = 7 << TYPE_SHIFT;
    pub(super) const TYPE_SHIFT: u32 = 2;
    pub(super) const SLEEP: u8 = 1 << 5;
}

/// The sleep type of S5; the loader's DSDT says the same.
const SOFT_OFF: u8 = 5;

/// What a write did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Written {
    Quiet,
    /// The machine is off.
    SoftOff,
    /// No register is there, or a sleep state was asked for that does not exist.
    Nothing,
}

/// The block.
#[derive(Clone, Debug)]
pub(crate) struct Pm {
    clock: Timebase,
    enable: u8,
    control: u8,
    control_high: u8,
}

impl Pm {
    /// As firmware leaves it: ACPI mode, the timer at 0.
    pub(crate) fn new(tsc_hz: u64, now: Tsc) -> Self {
        Self {
            clock: Timebase::new(TIMER_HZ, tsc_hz, now),
            enable: 0,
            control: 0,
            control_high: 0,
        }
    }

    /// The timer, 32 bits of it.
    #[inline]
    pub(crate) fn timer(&self, now: Tsc) -> u32 {
        self.clock.ticks(now) as u32
    }

    /// A byte of the block; `None` where no register is.
    pub(crate) fn read(&self, offset: u16, now: Tsc) -> Option<u8> {
        match offset {
            offset::STATUS | offset::STATUS_HIGH | offset::ENABLE_HIGH => Some(0),
            offset::ENABLE => Some(self.enable),
            offset::CONTROL => Some(self.control | control::SCI_ENABLED),
            offset::CONTROL_HIGH => Some(self.control_high),
            offset::TIMER..=offset::TIMER_LAST => {
                let byte = usize::from(offset & 3);
                self.timer(now).to_le_bytes().get(byte).copied()
            }
            _ => None,
        }
    }

    /// Writes a byte of the block. Status bits are 0 and stay so; the timer is read-only.
    pub(crate) fn write(&mut self, offset: u16, value: u8) -> Written {
        match offset {
            offset::ENABLE => self.enable = value & GLOBAL_LOCK_ENABLE,
            offset::CONTROL => self.control = value & control::BUS_MASTER_RELOAD,
            offset::CONTROL_HIGH => return self.write_control_high(value),
            offset::STATUS | offset::STATUS_HIGH | offset::ENABLE_HIGH => {}
            offset::TIMER..=offset::TIMER_LAST => {}
            _ => return Written::Nothing,
        }
        Written::Quiet
    }

    fn write_control_high(&mut self, value: u8) -> Written {
        self.control_high = value & control_high::TYPE;
        let kind = self.control_high >> control_high::TYPE_SHIFT;
        match (value & control_high::SLEEP, kind) {
            (0, _) => Written::Quiet,
            (_, SOFT_OFF) => Written::SoftOff,
            _ => Written::Nothing,
        }
    }
}
