//! The platform of one VM: all its devices, their wiring, and what the CPU sees of them.
//!
//! Owns the devices, the lines between them and the interrupt controllers, and the cached
//! next deadline. Which port is whose stands in `bus.rs`. Does not own guest memory or the
//! CPU: the VMM asks whether an interrupt is pending and injects what it acknowledges.

use skerry_words::{Gpa, Tsc, Vector};

use crate::chipset::Chipset;
use crate::keyboard::Keyboard;
use crate::line::IrqLine;
use crate::pic::Pic;
use crate::pit::{Edge, Pit};
use crate::rtc::Rtc;
use crate::uart::Uart;

/// What a VM's platform is built from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlatformConfig {
    /// Ticks of the host's time-stamp counter per second, from 2 MHz to 100 GHz; a value
    /// outside counts as the nearer end.
    pub tsc_hz: u64,
    /// What the real-time clock shows at the start, in seconds since 1970-01-01 UTC; the
    /// year 9999 at most.
    pub rtc_unix_seconds: u64,
    /// The guest's RAM in bytes, for the memory-size registers of the CMOS.
    pub memory_bytes: u64,
    /// Where a second UART's eight registers are mapped, or `None` for no such device. It
    /// sends to the same console and interrupts on IRQ3; input goes to COM1 only.
    pub mmio_uart: Option<Gpa>,
}

/// What a write asks of the world outside the platform.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Effect {
    /// Nothing.
    None,
    /// This byte goes to the VM's console.
    Console(u8),
    /// The guest pulled its CPU's reset line.
    Reset,
    /// The guest wrote this value to the debug-exit port.
    DebugExit(u32),
}

/// The UART in memory.
#[derive(Clone, Debug)]
pub(crate) struct MappedUart {
    pub(crate) at: Gpa,
    pub(crate) uart: Uart,
}

/// The bus and devices of one VM.
#[derive(Clone, Debug)]
pub struct Platform {
    pub(crate) com1: Uart,
    pub(crate) pic: Pic,
    pub(crate) pit: Pit,
    pub(crate) deadline: Tsc,
    pub(crate) absent: u64,
    pub(crate) chipset: Chipset,
    pub(crate) keyboard: Keyboard,
    pub(crate) rtc: Rtc,
    pub(crate) mapped_uart: Option<MappedUart>,
}

impl Platform {
    /// A platform as firmware would hand it over, at time `now`.
    #[must_use]
    pub fn new(config: &PlatformConfig, now: Tsc) -> Self {
        let mapped_uart = config.mmio_uart.map(|at| MappedUart {
            at,
            uart: Uart::new(),
        });
        Self {
            com1: Uart::new(),
            pic: Pic::new(),
            pit: Pit::new(config.tsc_hz, now),
            deadline: Tsc::NEVER,
            absent: 0,
            chipset: Chipset::default(),
            keyboard: Keyboard::new(),
            rtc: Rtc::new(
                config.tsc_hz,
                config.rtc_unix_seconds,
                config.memory_bytes,
                now,
            ),
            mapped_uart,
        }
    }

    /// Lets timers run up to `now`. Cheap when nothing is due.
    #[inline]
    pub fn expire(&mut self, now: Tsc) {
        if self.is_due(now) {
            self.expire_due(now);
        }
    }

    /// Whether a timer has something to do.
    #[inline]
    pub(crate) fn is_due(&self, now: Tsc) -> bool {
        now >= self.deadline
    }

    fn expire_due(&mut self, now: Tsc) {
        self.rtc.advance(now);
        self.wire_rtc();
        self.run_timer(now);
        self.refresh_deadline();
    }

    /// When [`Platform::expire`] next has something to do that the guest could notice
    /// without an access of its own: [`Tsc::NEVER`] if no timer can interrupt it.
    #[inline]
    #[must_use]
    pub fn next_deadline(&self) -> Tsc {
        self.deadline
    }

    /// Whether the CPU's interrupt line is up.
    #[inline]
    #[must_use]
    pub fn interrupt_pending(&self) -> bool {
        self.pic.pending()
    }

    /// The CPU takes an interrupt: its vector, or `None` if the interrupt line is down.
    pub fn acknowledge(&mut self, now: Tsc) -> Option<Vector> {
        if !self.pic.pending() {
            return None;
        }
        // Edges up to now collapse into the one that is taken.
        self.run_timer(now);
        let vector = self.pic.acknowledge();
        self.refresh_deadline();
        Some(vector)
    }

    /// Hands console input to the guest's COM1; how many of the bytes it had room for. The
    /// rest may be offered again after the guest's next access to a port.
    pub fn input(&mut self, bytes: &[u8]) -> usize {
        let taken = self.com1.receive(bytes);
        self.wire_com1();
        taken
    }

    /// How many accesses to ports and memory met no device.
    #[must_use]
    pub fn absent_accesses(&self) -> u64 {
        self.absent
    }

    /// The last value written to port 80h.
    #[must_use]
    pub fn post_code(&self) -> u8 {
        self.chipset.post(0x80)
    }

    /// Carries the timer's edges to IRQ0.
    pub(crate) fn run_timer(&mut self, now: Tsc) {
        let edge = self.pit.advance(now);
        self.wire_timer(edge);
    }

    pub(crate) fn wire_timer(&mut self, edge: Edge) {
        match edge {
            Edge::None => {}
            Edge::Rise => self.pic.pulse(IrqLine::TIMER),
        }
    }

    #[inline]
    pub(crate) fn wire_com1(&mut self) {
        self.pic.set_line(IrqLine::COM1, self.com1.interrupt());
    }

    pub(crate) fn wire_rtc(&mut self) {
        self.pic.set_line(IrqLine::RTC, self.rtc.interrupt());
    }

    pub(crate) fn wire_keyboard(&mut self) {
        self.pic
            .set_line(IrqLine::KEYBOARD, self.keyboard.keyboard_interrupt());
        self.pic
            .set_line(IrqLine::MOUSE, self.keyboard.mouse_interrupt());
    }

    /// Caches the next deadline. A timer edge that would find IRQ0 masked or waiting changes
    /// nothing the guest could notice, so it wakes nobody: accesses to the interrupt
    /// controllers catch up with it.
    pub(crate) fn refresh_deadline(&mut self) {
        let rtc = self.rtc.deadline();
        self.deadline = if self.pic.listens(IrqLine::TIMER) {
            rtc.min(self.pit.deadline())
        } else {
            rtc
        };
    }
}
