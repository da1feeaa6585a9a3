//! One VM's monitor: what it has.
//!
//! Owns the parts and their power-on state, and what others may ask of a VM between exits. How an
//! exit is answered is `answer`, what waits for a vCPU `interrupts`, whose turn it is `smp`.

use alloc::vec::Vec;
use core::ops::DerefMut;
use skerry_devices::lapic::{Action, Config, Delivery, Role, X2apic};
use skerry_devices::{Effect, Platform, PlatformConfig};
use skerry_emulate::{Emulator, Glance};
use skerry_words::{ApicPage, Gpa, GuestState, Port, Tsc, Width};

use crate::control::permitted_cr4;
use crate::cpu::Cpu;
use crate::cpuid::CpuidTable;
use crate::smp::Cpus;
use crate::vector::VectorState;

/// What a VM's monitor is made from.
#[derive(Clone, Debug)]
pub struct VmmConfig {
    /// The CPUID leaves the guest sees.
    pub cpuid: CpuidTable,
    /// The devices on its bus.
    pub platform: PlatformConfig,
    /// Who delivers from the APIC pages: [`Delivery::Hardware`] if the CPU can look after them
    /// while the guest runs.
    pub delivery: Delivery,
}

/// What a VM was refused, by kind; the summary prints it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Refusals {
    /// Reads and writes of MSRs this virtual CPU does not have.
    pub msrs: u64,
    /// Instructions it does not have, control-register values it forbids, task switches.
    pub instructions: u64,
    /// Port and memory accesses that no device answered.
    pub absent: u64,
}

/// The monitor of one VM, whose vCPUs have their APIC pages by `P`.
pub struct Vmm<P> {
    pub(crate) config: VmmConfig,
    pub(crate) platform: Platform,
    pub(crate) cpus: Cpus<P>,
    /// Something waits that the frequent answers need not look for: an interrupt in a local APIC,
    /// a message of the I/O APIC, a sleep, a turn's end.
    pub(crate) attention: bool,
    /// The earliest of all timers and of the turn's end.
    pub(crate) deadline: Tsc,
    pub(crate) apic_deadline: Tsc,
    pub(crate) turn_ends: Tsc,
    /// Where the current vCPU's local APIC is, if it is in memory; else no page.
    pub(crate) apic_page: Gpa,
    /// What writes to it want, but the last, while they are gathered.
    pub(crate) apic_actions: Vec<Action>,
    pub(crate) turn_tsc: u64,
    pub(crate) interrupts: u64,
    pub(crate) permitted_cr4: u64,
    pub(crate) console: Vec<u8>,
    pub(crate) emulator: Emulator,
    pub(crate) glance: Glance,
    pub(crate) refusals: Refusals,
    pub(crate) answered: u64,
    pub(crate) vectors: Option<&'static dyn VectorState>,
}

impl<P: DerefMut<Target = ApicPage>> Vmm<P> {
    /// A monitor with its devices and vCPUs as at power-on, which is `now`: their counters start
    /// at 0. The first vCPU has the page `first`, the others have `others`.
    #[must_use]
    pub fn new(config: VmmConfig, first: P, others: impl Iterator<Item = P>, now: Tsc) -> Self {
        let cpu = |page, id| Cpu::new(page, apic_config(&config, id), now.0.wrapping_neg());
        let others = others.zip(1..).map(|(page, id)| cpu(page, id)).collect();
        Self {
            platform: Platform::new(&config.platform, now),
            cpus: Cpus::new(cpu(first, 0), others),
            attention: true,
            deadline: Tsc::NEVER,
            apic_deadline: Tsc::NEVER,
            turn_ends: Tsc::NEVER,
            apic_page: crate::apic::NOWHERE,
            apic_actions: Vec::new(),
            turn_tsc: Self::turn_tsc(config.platform.tsc_hz),
            permitted_cr4: permitted_cr4(&config.cpuid),
            config,
            console: Vec::new(),
            emulator: Emulator::default(),
            glance: Glance::default(),
            refusals: Refusals::default(),
            answered: 0,
            interrupts: 0,
            vectors: None,
        }
    }

    /// Says who has the vCPUs' vector registers. Without one an instruction that moves them to or
    /// from a device is not known.
    pub fn find_vectors_by(&mut self, vectors: &'static dyn VectorState) {
        self.vectors = Some(vectors);
    }

    /// Programs the platform as a BIOS does before it starts a boot loader: the 8259 pair at
    /// vectors 8h and 70h with only the timer and the cascade open, the timer at 18.2 Hz
    /// `[IBM PC AT Technical Reference, "BIOS Listing"]`.
    pub fn as_bios_leaves_it(&mut self, now: Tsc) {
        const WRITES: [(u16, u8); 13] = [
            (0x20, 0x11),
            (0x21, 0x08),
            (0x21, 0x04),
            (0x21, 0x01),
            (0xa0, 0x11),
            (0xa1, 0x70),
            (0xa1, 0x02),
            (0xa1, 0x01),
            (0x43, 0x36),
            (0x40, 0),
            (0x40, 0),
            (0x21, 0xfa),
            (0xa1, 0xff),
        ];
        for (port, value) in WRITES {
            let value = u32::from(value);
            let effect = self
                .platform
                .port_write(Port(port), Width::Byte, value, now);
            debug_assert_eq!(effect, Effect::None);
        }
        self.attention = true;
    }

    /// The CR4 bits the guest may change; ring 0 lets those through without an exit.
    #[must_use]
    pub fn permitted_cr4(&self) -> u64 {
        self.permitted_cr4
    }

    /// What the guest has written to its consoles since [`Vmm::clear_console`].
    #[inline]
    #[must_use]
    pub fn console(&self) -> &[u8] {
        &self.console
    }

    /// Forgets the console output that has been passed on.
    pub fn clear_console(&mut self) {
        self.console.clear();
    }

    /// Types `bytes` on the guest's console; how many its UART had room for.
    pub fn input(&mut self, bytes: &[u8]) -> usize {
        self.platform.input(bytes)
    }

    /// When a device next has something to do though the guest does nothing.
    #[must_use]
    pub fn next_deadline(&self) -> Tsc {
        self.deadline
    }

    /// Between exits, where the guest may have moved on from what `state` says of it: if something
    /// waits for it, it is delivered after the next exit, which shall come at once.
    pub fn await_exit(&mut self, state: &mut GuestState) {
        if self.platform.has_messages() || self.platform.interrupt_pending() {
            self.attention = true;
            state.deadline = Tsc(0);
        }
    }

    /// What the guest was refused so far.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        Refusals {
            absent: self.platform.absent_accesses(),
            ..self.refusals
        }
    }
}

/// What never changes in the local APIC of the vCPU with this number.
fn apic_config(config: &VmmConfig, id: u32) -> Config {
    Config {
        id,
        role: if id == 0 {
            Role::Boot
        } else {
            Role::Application
        },
        delivery: config.delivery,
        x2apic: X2apic::Offered,
        physical_address_bits: config.cpuid.physical_address_bits(),
    }
}
