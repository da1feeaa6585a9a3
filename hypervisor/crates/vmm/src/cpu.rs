//! One virtual CPU, as far as the VMM has an opinion about it.
//!
//! Owns its local APIC, its time-stamp counter, whether it runs or sleeps, and what has been
//! sent to it and waits. Does not own its registers, which are in its state page, nor the
//! choice of which vCPU runs (`smp`).

use core::ops::DerefMut;
use skerry_devices::lapic::{Config, IpiMode, LocalApic, Mode, Role, Trigger};
use skerry_words::{ApicMode, ApicPage, Gpa, Vector};

/// Where a local APIC's registers are after reset, and where a CPU can look after them.
const APIC_BASE: Gpa = Gpa(0xfee0_0000);

/// What a vCPU does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Activity {
    /// It runs, or would if it were its turn.
    Running,
    /// It sleeps in HLT, with interrupts on.
    Halted,
    /// It sleeps in HLT with interrupts off: only NMI and INIT reach it.
    Dead,
    /// It waits for a start-up IPI.
    WaitsForStartUp,
}

/// A start that a vCPU is to make before it runs next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// As after an INIT, at the reset vector.
    AtReset,
    /// As after a start-up IPI with this vector: in real mode, at the start of that page.
    AtPage(Vector),
}

/// One vCPU.
pub(crate) struct Cpu<P> {
    pub(crate) apic: LocalApic<P>,
    pub(crate) activity: Activity,
    pub(crate) start: Option<Start>,
    pub(crate) nmi: Nmi,
    /// What is added to the host's counter, as its state page has it.
    pub(crate) tsc_offset: u64,
    /// IA32_TSC_ADJUST.
    pub(crate) tsc_adjust: u64,
}

/// Whether a non-maskable interrupt waits. A second one waits with it, as on real CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Nmi {
    None,
    Pending,
}

impl<P: DerefMut<Target = ApicPage>> Cpu<P> {
    /// A vCPU as at power-on: the first runs, the others wait.
    pub(crate) fn new(page: P, config: Config, tsc_offset: u64) -> Self {
        let mut apic = LocalApic::new(page, config);
        let is_first = config.id == 0;
        if is_first {
            apic.wire_like_firmware();
        }
        Self {
            apic,
            activity: if is_first {
                Activity::Running
            } else {
                Activity::WaitsForStartUp
            },
            start: None,
            nmi: Nmi::None,
            tsc_offset,
            tsc_adjust: 0,
        }
    }

    /// Something arrives from a local APIC or the I/O APIC.
    pub(crate) fn take(&mut self, mode: IpiMode, trigger: Trigger) {
        match mode {
            IpiMode::Fixed(vector) | IpiMode::LowestPriority(vector) => {
                self.apic.accept(vector, trigger);
            }
            IpiMode::Nmi => self.nmi = Nmi::Pending,
            IpiMode::Init => self.init(),
            IpiMode::StartUp(vector) if self.activity == Activity::WaitsForStartUp => {
                self.activity = Activity::Running;
                self.start = Some(Start::AtPage(vector));
            }
            // One that runs ignores it; there is no system-management mode.
            IpiMode::StartUp(_) | IpiMode::Smi => {}
        }
    }

    /// INIT: the first vCPU starts over, the others wait for a start-up IPI
    /// `[SDM 3A, "MP Initialization Protocol Algorithm for MP Systems", ed. 085]`.
    fn init(&mut self) {
        self.apic.reset_by_init();
        self.nmi = Nmi::None;
        match self.apic.role() {
            Role::Boot => {
                self.activity = Activity::Running;
                self.start = Some(Start::AtReset);
            }
            Role::Application => {
                self.activity = Activity::WaitsForStartUp;
                self.start = None;
            }
        }
    }

    /// Whether it has something to do, `external` being the 8259 pair's interrupt for it.
    pub(crate) fn is_runnable(&self, external: External) -> bool {
        match self.activity {
            Activity::Running => true,
            Activity::Halted => {
                self.nmi == Nmi::Pending || external == External::Pending || self.apic.pending()
            }
            Activity::Dead => self.nmi == Nmi::Pending,
            Activity::WaitsForStartUp => false,
        }
    }

    /// Whether nothing that other vCPUs and devices do can make it run again.
    pub(crate) fn sleeps_for_ever(&self) -> bool {
        match self.activity {
            Activity::Dead => self.nmi == Nmi::None,
            Activity::WaitsForStartUp => true,
            Activity::Running | Activity::Halted => false,
        }
    }

    /// How far the CPU may look after the APIC page, if it can at all.
    pub(crate) fn apic_mode(&self) -> ApicMode {
        match self.apic.mode() {
            Mode::Xapic { base: APIC_BASE } => ApicMode::XAPIC,
            Mode::X2apic => ApicMode::X2APIC,
            Mode::Xapic { .. } | Mode::Disabled => ApicMode::SOFTWARE,
        }
    }
}

/// Whether the 8259 pair interrupts a vCPU, whose local APIC lets that through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum External {
    None,
    Pending,
}
