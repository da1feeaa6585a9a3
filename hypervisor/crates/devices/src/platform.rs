//! The platform of one VM: all its devices, their wiring, and what the CPU sees of them.
//!
//! Owns the devices, the lines between them and the interrupt controllers, and the cached
//! next deadline. Which port is whose stands in `bus.rs`. Does not own guest memory, the CPUs
//! or their local APICs: the VMM asks whether an interrupt is pending and injects what it
//! acknowledges, takes the I/O APIC's messages to the local APICs, and tells the ends of
//! interrupts that these broadcast.

use skerry_words::{Gpa, Tsc, Vector};

use crate::chipset::Chipset;
use crate::fw_cfg::FwCfg;
use crate::hpet::{Hpet, Moves};
use crate::ioapic::Ioapic;
use crate::keyboard::Keyboard;
use crate::line::{IrqLine, Level};
use crate::message::Message;
use crate::pic::Pic;
use crate::pit::{Edge, Pit};
use crate::pm::Pm;
use crate::rtc::Rtc;
use crate::test_device::TestDevice;
use crate::uart::Uart;

/// What a VM's platform is built from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlatformConfig {
    /// Ticks of the host's time-stamp counter per second, from 4 MHz to 100 GHz; a value
    /// outside counts as the nearer end.
    pub tsc_hz: u64,
    /// What the real-time clock shows at the start, in seconds since 1970-01-01 UTC; the
    /// year 9999 at most.
    pub rtc_unix_seconds: u64,
    /// The guest's RAM in bytes, for the memory-size registers of the CMOS and fw_cfg.
    pub memory_bytes: u64,
    /// How many vCPUs the VM has, for fw_cfg; 65,535 at most.
    pub vcpus: u32,
    /// Where a second UART's eight registers are mapped, or `None` for no such device. It
    /// sends to the same console and interrupts on IRQ3; input goes to COM1 only.
    pub mmio_uart: Option<Gpa>,
    /// Whether test kernels find the devices they know from other hypervisors.
    pub test_devices: TestDevices,
}

/// Whether a VM has the devices that only test kernels use: scratch ports E0h to E3h, port
/// E4h, lines to be moved by ports 2000h to 2017h, and 64 KiB of memory at FF000000h.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TestDevices {
    /// It has none of them.
    #[default]
    Absent,
    /// It has all of them.
    Present,
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
    /// The guest put its machine into ACPI's S5: soft off.
    PowerOff,
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
    pub(crate) ioapic: Ioapic,
    pub(crate) pit: Pit,
    pub(crate) deadline: Tsc,
    pub(crate) absent: u64,
    pub(crate) chipset: Chipset,
    pub(crate) keyboard: Keyboard,
    pub(crate) rtc: Rtc,
    pub(crate) mapped_uart: Option<MappedUart>,
    pub(crate) pm: Pm,
    pub(crate) hpet: Hpet,
    pub(crate) fw_cfg: FwCfg,
    pub(crate) test_device: Option<TestDevice>,
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
            ioapic: Ioapic::new(),
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
            pm: Pm::new(config.tsc_hz, now),
            hpet: Hpet::new(config.tsc_hz, now),
            fw_cfg: FwCfg::new(config.memory_bytes, config.vcpus),
            test_device: match config.test_devices {
                TestDevices::Absent => None,
                TestDevices::Present => Some(TestDevice::new()),
            },
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

    /// Whether the 8259 pair's interrupt line to the CPU is up.
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

    /// Whether the I/O APIC has a message for a local APIC. Ask after each access, each
    /// [`Platform::expire`], [`Platform::input`] and [`Platform::end_of_interrupt`].
    #[inline]
    #[must_use]
    pub fn has_messages(&self) -> bool {
        self.ioapic.has_messages()
    }

    /// Takes the next message of the I/O APIC, the one of the lowest pin; `None` if there is
    /// none. In a row there are no more than there are pins, 24.
    pub fn take_message(&mut self, now: Tsc) -> Option<Message> {
        if !self.ioapic.has_messages() {
            return None;
        }
        // Edges up to now collapse into the one that is taken.
        self.run_timer(now);
        let message = self.ioapic.take_message();
        self.refresh_deadline();
        message
    }

    /// A local APIC broadcasts the end of a level-triggered interrupt of this vector. Lines
    /// that are still active make new messages.
    pub fn end_of_interrupt(&mut self, vector: Vector, now: Tsc) {
        self.run_timer(now);
        self.ioapic.end_of_interrupt(vector);
        self.refresh_deadline();
    }

    /// The vectors whose end the I/O APIC wants to be told, as a set of 256 bits, vector 0
    /// being bit 0 of the first word: those of its level-triggered pins, masked or not.
    #[inline]
    #[must_use]
    pub fn level_vectors(&self) -> [u64; 4] {
        self.ioapic.level_vectors()
    }

    /// A number that is another one whenever [`Platform::level_vectors`] has changed; 0 as
    /// long as there are none. It wraps.
    #[inline]
    #[must_use]
    pub fn level_vectors_version(&self) -> u32 {
        self.ioapic.level_vectors_version()
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

    /// Carries the PIT's edges to IRQ0, and the HPET's to its pins.
    pub(crate) fn run_timer(&mut self, now: Tsc) {
        let edge = self.pit.advance(now);
        self.wire_timer(edge);
        if now >= self.hpet.deadline() {
            let moves = self.hpet.advance(now);
            self.wire_hpet(moves);
        }
    }

    pub(crate) fn wire_timer(&mut self, edge: Edge) {
        match edge {
            Edge::None => {}
            Edge::Rise => {
                self.pic.pulse(IrqLine::TIMER);
                self.ioapic.pulse(IrqLine::TIMER.pin());
            }
        }
    }

    /// The HPET's pins are the I/O APIC's alone.
    pub(crate) fn wire_hpet(&mut self, moves: Moves) {
        moves.pulses().for_each(|pin| self.ioapic.pulse(pin));
        for (pin, level) in moves.levels() {
            self.ioapic.set_line(pin, level);
        }
    }

    /// Moves a line: the 8259 pair and the I/O APIC have an end of each.
    #[inline]
    pub(crate) fn set_line(&mut self, line: IrqLine, level: Level) {
        if self.pic.set_line(line, level) {
            self.ioapic.set_line(line.pin(), level);
        }
    }

    #[inline]
    pub(crate) fn wire_com1(&mut self) {
        self.set_line(IrqLine::COM1, self.com1.interrupt());
    }

    pub(crate) fn wire_rtc(&mut self) {
        self.set_line(IrqLine::RTC, self.rtc.interrupt());
    }

    pub(crate) fn wire_keyboard(&mut self) {
        self.set_line(IrqLine::KEYBOARD, self.keyboard.keyboard_interrupt());
        self.set_line(IrqLine::MOUSE, self.keyboard.mouse_interrupt());
    }

    /// Caches the next deadline. A timer edge that would find IRQ0 masked or waiting at both
    /// interrupt controllers changes nothing the guest could notice, so it wakes nobody:
    /// accesses to the interrupt controllers catch up with it.
    pub(crate) fn refresh_deadline(&mut self) {
        let others = self.rtc.deadline().min(self.hpet.deadline());
        let timer = IrqLine::TIMER;
        self.deadline = if self.pic.listens(timer) || self.ioapic.listens(timer.pin()) {
            others.min(self.pit.deadline())
        } else {
            others
        };
    }
}
