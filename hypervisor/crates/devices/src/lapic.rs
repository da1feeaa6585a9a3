//! The local APIC of one vCPU: which interrupt the CPU takes next, and its timer.
//!
//! Owns the registers, in a page laid out as the CPU itself lays them out, in xAPIC and in
//! x2APIC mode; the priorities; the local vector table; the timer; and what a command sends
//! to whom. `[SDM 3A, "Advanced Programmable Interrupt Controller (APIC)", ed. 085; APM 2,
//! "Advanced Programmable Interrupt Controller (APIC)", rev. 3.42]`
//!
//! Does not own the other vCPUs: a command comes back as an [`Action`], and [`route`] says
//! for whom it is. Nor the I/O APIC, the pair of 8259As, or a clock: the time is an argument,
//! in ticks of the host, and one tick of the timer undivided is one tick of the host.
//!
//! The VMM calls it: [`LocalApic::read`] and [`LocalApic::write`] for accesses to the page at
//! its base, [`LocalApic::msr_read`] and [`LocalApic::msr_write`] for MSRs 800h to 8FFh, then
//! [`LocalApic::acknowledge`] when the CPU can take an interrupt. Where VT-x delivers virtual
//! interrupts ([`Delivery::Hardware`]) the CPU itself does most of that in the same page.

mod access;
mod base;
mod command;
mod destination;
mod error;
mod lvt;
mod msr;
mod priority;
mod register;
mod timer;
mod vectors;

#[cfg(test)]
mod tests;

use core::ops::{Deref, DerefMut};

use skerry_words::{ApicPage, Tsc, Vector};

pub use base::{Mode, Refused};
pub use command::{Ipi, IpiMode, Recipients};
pub use destination::{Destination, DestinationMode, Targets, route};
pub use lvt::{Lint, LocalEvent, PinLevel};
pub use msr::reads_from_page;
pub use priority::{Acceptance, Trigger};

use base::BOOT_PROCESSOR;
use lvt::{MASKED, Pins};
use priority::Standing;
use timer::Timer;

/// Version 14h, six entries in the local vector table, no suppression of EOI broadcasts:
/// that wants an I/O APIC with an EOI register `[SDM 3A, "Local APIC Version Register",
/// ed. 085]`.
const VERSION: u32 = 0x0005_0014;

/// Who delivers interrupts that are in the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// The VMM: it asks [`LocalApic::pending`] and injects what [`LocalApic::acknowledge`]
    /// gives. Nobody else writes to the page.
    Software,
    /// The CPU, by VT-x virtual-interrupt delivery: it changes the page while the guest runs,
    /// so nothing that follows from the page is remembered
    /// `[SDM 3C, "Virtual-Interrupt Delivery", ed. 085]`.
    Hardware,
}

/// Whether this vCPU boots the VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The bootstrap processor: IA32_APIC_BASE says so.
    Boot,
    /// Any other, which waits for INIT and SIPI.
    Application,
}

/// Whether the guest may switch to x2APIC mode; CPUID must say the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum X2apic {
    /// It may.
    Offered,
    /// Bit 10 of IA32_APIC_BASE is reserved.
    Absent,
}

/// What never changes in a vCPU's APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The x2APIC ID as CPUID leaf 0Bh has it; its low byte is the xAPIC ID after reset.
    pub id: u32,
    /// Whether this vCPU boots the VM.
    pub role: Role,
    /// Who delivers interrupts.
    pub delivery: Delivery,
    /// Whether there is an x2APIC mode.
    pub x2apic: X2apic,
    /// The guest's physical-address width in bits, as CPUID has it; 52 at most.
    pub physical_address_bits: u8,
}

/// What a write asks of the world outside this APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Action {
    /// Nothing: at most a request of its own has come or gone.
    None,
    /// To look again at all that depends on its settings: the timer, its pins, whether it is on.
    Setting,
    /// To send this; [`route`] says to whom.
    Ipi(Ipi),
    /// To tell every I/O APIC that this vector, level-triggered, is served.
    EndOfInterrupt(Vector),
}

/// A vCPU's local APIC over the page `P` gives.
#[derive(Clone, Debug)]
pub struct LocalApic<P> {
    page: P,
    config: Config,
    /// IA32_APIC_BASE.
    base: u64,
    /// What follows from the page; not to be read with [`Delivery::Hardware`].
    standing: Standing,
    /// Errors since the last write to the error status register.
    errors: u32,
    timer: Timer,
    pins: Pins,
    /// The model changed IRR or ISR since [`LocalApic::take_interrupt_status`].
    status_changed: bool,
    /// TMR changed since [`LocalApic::take_end_of_interrupt_exits`].
    exits_changed: bool,
}

impl<P: DerefMut<Target = ApicPage>> LocalApic<P> {
    /// The APIC as it is after power-up: in xAPIC mode at FEE00000h, disabled by software, all
    /// of the local vector table masked `[SDM 3A, "Local APIC State After Power-Up or Reset",
    /// ed. 085]`. A vCPU that starts without firmware of its own also wants
    /// [`LocalApic::wire_like_firmware`].
    pub fn new(page: P, config: Config) -> Self {
        let mut apic = Self {
            page,
            config,
            base: base::after_reset(config.role),
            standing: Standing::IDLE,
            errors: 0,
            timer: Timer::new(),
            pins: Pins::default(),
            status_changed: true,
            exits_changed: true,
        };
        for word in 0..1024_u16 {
            apic.page.set(word << 2, 0);
        }
        apic.reset_registers();
        apic
    }

    /// What firmware does on the bootstrap processor before it starts a kernel: enables the
    /// APIC, and wires the 8259A pair through LINT0 and NMI to LINT1, so that a kernel that
    /// knows of no APIC gets its interrupts `[Intel MultiProcessor
    /// Specification, "Virtual Wire Mode", version 1.4]`.
    pub fn wire_like_firmware(&mut self) {
        self.page.set(register::SPURIOUS, 0x1ff);
        self.page.set(register::LVT_LINT0, lvt::EXTERNAL);
        self.page.set(register::LVT_LINT1, lvt::NON_MASKABLE);
    }

    /// An INIT: as after power-up, but the mode, the base and the ID stay
    /// `[SDM 3A, "Local APIC State After an INIT Reset", ed. 085]`.
    pub fn reset_by_init(&mut self) {
        let id = self.page.get(register::ID);
        self.reset_registers();
        self.page.set(register::ID, id);
        if self.mode() == Mode::X2apic {
            let logical = self.x2apic_logical_id();
            self.page.set(register::LOGICAL_DESTINATION, logical);
        }
    }

    /// Brings every register to its value after reset, the xAPIC ID to the configured one.
    fn reset_registers(&mut self) {
        for word in 0..0x100_u16 {
            self.page.set(word << 2, 0);
        }
        self.page.set(register::ID, self.config.id << 24);
        self.page.set(register::VERSION, VERSION);
        self.page.set(register::DESTINATION_FORMAT, u32::MAX);
        self.page.set(register::SPURIOUS, 0xff);
        for lvt in register::LVT {
            self.page.set(lvt, MASKED);
        }
        self.standing = Standing::IDLE;
        self.errors = 0;
        self.timer = Timer::new();
        self.pins.forget_service();
        self.status_changed = true;
        self.exits_changed = true;
    }

    /// The page, for who maps it or shows it.
    pub fn page(&self) -> &ApicPage {
        &self.page
    }

    /// When [`LocalApic::expire`] next has something to do that the guest could notice
    /// without an access of its own; [`Tsc::NEVER`] if nothing is armed or it is masked.
    #[inline]
    #[must_use]
    pub fn deadline(&self) -> Tsc {
        self.timer.wake()
    }

    /// Lets the timer run up to `now`. Cheap when nothing is due.
    #[inline]
    pub fn expire(&mut self, now: Tsc) {
        if self.timer.is_due(now) {
            self.expire_due(now);
        }
    }

    #[inline(never)]
    fn expire_due(&mut self, now: Tsc) {
        if let Some(vector) = self.timer.elapse(now) {
            self.accept(vector, Trigger::Edge);
        }
    }

    /// IA32_TSC_DEADLINE as the guest reads it: 0 if not armed or in another timer mode
    /// `[SDM 3A, "TSC-Deadline Mode", ed. 085]`.
    pub fn tsc_deadline(&mut self, now: Tsc) -> u64 {
        self.expire(now);
        self.timer.target()
    }

    /// Writes IA32_TSC_DEADLINE: `guest_value`, which the guest's time-stamp counter reaches
    /// when the host's reads `due`. 0 disarms; in another timer mode nothing happens. When
    /// the guest's counter is moved, the armed value must be written again with its new `due`.
    #[inline]
    pub fn set_tsc_deadline(&mut self, guest_value: u64, due: Tsc, now: Tsc) {
        self.expire(now);
        self.timer.set_target(guest_value, due);
        self.expire(now);
    }
}

impl<P: Deref<Target = ApicPage>> LocalApic<P> {
    /// Whether the guest has enabled the APIC in the spurious-interrupt vector register, and
    /// globally: only then does it take fixed interrupts.
    #[inline]
    fn takes_fixed(&self) -> bool {
        self.is_enabled() && self.page.get(register::SPURIOUS) & register::SOFTWARE_ENABLE != 0
    }

    /// Whether IA32_APIC_BASE enables the APIC.
    #[inline]
    fn is_enabled(&self) -> bool {
        self.base & base::ENABLE != 0
    }

    /// Whether IA32_APIC_BASE flags the bootstrap processor.
    #[must_use]
    pub fn role(&self) -> Role {
        if self.base & BOOT_PROCESSOR == 0 {
            Role::Application
        } else {
            Role::Boot
        }
    }
}
