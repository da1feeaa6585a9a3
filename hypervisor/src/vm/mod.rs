//! One VM: its memory, its vCPU, its monitor, from the manifest to its report.
//!
//! Owns a VM's life: build, run for a while, reset, end. Does not own who runs when
//! (`run.rs`) or what an exit means (`skerry_vmm`). `turn.rs` is the walk of an exit.

mod meter;
mod ram;
mod turn;

use crate::cpu;
use crate::virt::{Backend, Permitted, Vcpu};
use alloc::collections::VecDeque;
use alloc::string::String;
use core::fmt;
use meter::Meter;
use ram::Ram;
use skerry_devices::PlatformConfig;
use skerry_load::{LoadError, LoadPlan, Request};
use skerry_manifest::report::VmReport;
use skerry_manifest::{Bundle, OnExit, VmManifest};
use skerry_vmm::{CpuidRegisters, CpuidTable, Vmm, VmmConfig, permitted_cr0};
use skerry_words::{Gpa, StopReason, Tsc};

pub use turn::Turn;

/// Where the optional memory-mapped UART is.
const MMIO_UART: Gpa = Gpa(0xfe03_0000);
/// Typed bytes kept for a guest that does not read its UART.
const TYPED_MAX_BYTES: usize = 4096;

/// Why a VM could not be built.
#[derive(Debug)]
pub enum BuildError {
    /// The bundle has no file of this name.
    NoFile(String),
    /// The image cannot be started.
    Load(LoadError),
    /// The host has too little memory left.
    OutOfMemory,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile(name) => write!(f, "the bundle has no file \"{name}\""),
            Self::Load(error) => write!(f, "{error}"),
            Self::OutOfMemory => write!(f, "too little host memory for its tables and image"),
        }
    }
}

/// One VM.
pub struct Vm {
    manifest: VmManifest,
    image: &'static [u8],
    initrd: Option<&'static [u8]>,
    vmm: Vmm,
    vcpu: Vcpu,
    ram: Ram,
    meter: Meter,
    typed: VecDeque<u8>,
    asleep: bool,
    woken: bool,
    restarts: u32,
    ended: Option<StopReason>,
    held: Option<Memory>,
}

impl Vm {
    /// Builds the VM the manifest describes, loaded and ready for its first entry.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(
        manifest: VmManifest,
        index: u16,
        bundle: &Bundle<'static>,
        backend: &Backend,
    ) -> Result<Self, BuildError> {
        let file = |name: &str| {
            bundle
                .file(name)
                .ok_or_else(|| BuildError::NoFile(String::from(name)))
        };
        let image = file(&manifest.kernel)?;
        let initrd = manifest.initrd.as_deref().map(file).transpose()?;
        let vmm = Vmm::new(vmm_config(&manifest, backend), cpu::tsc::now());
        let permitted = Permitted {
            cr0: permitted_cr0(),
            cr4: vmm.permitted_cr4(),
        };
        let ram = Ram::new(backend, manifest.memory_bytes, manifest.page_size)
            .ok_or(BuildError::OutOfMemory)?;
        let vcpu = backend
            .new_vcpu(index, ram.stage(), permitted)
            .ok_or(BuildError::OutOfMemory)?;
        let mut vm = Self {
            manifest,
            image,
            initrd,
            vmm,
            vcpu,
            ram,
            meter: Meter::new(),
            typed: VecDeque::new(),
            asleep: false,
            woken: false,
            restarts: 0,
            ended: None,
            held: None,
        };
        vm.load()?;
        Ok(vm)
    }

    /// Copies the image in and sets the vCPU to its entry.
    fn load(&mut self) -> Result<(), BuildError> {
        let request = Request {
            image: self.image,
            kind: self.manifest.kind,
            initrd: self.initrd,
            cmdline: &self.manifest.cmdline,
            memory_bytes: self.manifest.memory_bytes,
        };
        let plan: LoadPlan<'_> = skerry_load::plan(&request).map_err(BuildError::Load)?;
        self.ram.apply(&plan).map_err(|_| BuildError::OutOfMemory)?;
        self.vcpu.reset(&plan.entry, self.ram.stage());
        Ok(())
    }

    /// Power-cycles the VM: memory zeroed and loaded anew, devices as at power-on.
    ///
    /// # Errors
    /// [`BuildError::OutOfMemory`] if the host has not enough left.
    pub fn restart(&mut self, backend: &Backend) -> Result<(), BuildError> {
        self.restarts += 1;
        self.asleep = false;
        self.woken = false;
        self.typed.clear();
        self.vmm.reset(cpu::tsc::now());
        self.ram.clear(backend).ok_or(BuildError::OutOfMemory)?;
        self.load()
    }

    /// Whether the manifest wants it started again after it ended like this.
    pub fn wants_restart(&self, reason: StopReason) -> bool {
        self.manifest.on_exit == OnExit::Restart
            && reason.status() != 0
            && self.restarts < self.manifest.max_restarts
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// Its share of the CPU against the others'.
    pub fn weight(&self) -> u32 {
        self.manifest.weight
    }

    /// Whether the machine waits for its end.
    pub fn is_awaited(&self) -> bool {
        self.ended.is_none() && !self.manifest.background
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        self.ended.is_none()
    }

    /// Puts its vCPU on this CPU.
    pub fn load_vcpu(&mut self) {
        self.vcpu.load();
    }

    /// Takes its vCPU off this CPU.
    pub fn unload_vcpu(&mut self) {
        self.vcpu.unload();
    }

    /// When it wants to be woken; never, while it does not sleep.
    pub fn wakes_at(&mut self) -> Tsc {
        if self.asleep && self.is_alive() {
            self.vcpu.state().deadline
        } else {
            Tsc::NEVER
        }
    }

    /// It looks at its timers and its console at its next turn, asleep or not.
    pub fn wake(&mut self) {
        self.asleep = false;
        self.woken = true;
    }

    /// Types one byte on its console. What does not fit its UART waits; past a limit it is
    /// lost, as on a serial line.
    pub fn type_byte(&mut self, byte: u8) {
        if self.typed.len() < TYPED_MAX_BYTES {
            self.typed.push_back(byte);
        }
    }

    /// Ends it and gives its memory back.
    pub fn end(&mut self, reason: StopReason, backend: &Backend) {
        self.ended = Some(reason);
        self.held = Some(self.memory());
        // An ended VM keeps an empty root table; nothing can fail that matters now.
        let _ = self.ram.clear(backend);
    }

    /// What there is to tell of it now.
    pub fn report(&self) -> VmReport {
        let memory = self.held.unwrap_or_else(|| self.memory());
        let refusals = self.vmm.refusals();
        let refused = [
            ("msr", refusals.msrs),
            ("instruction", refusals.instructions),
            ("absent", refusals.absent),
        ];
        let named = |(name, count): (&str, u64)| (String::from(name), count);
        VmReport {
            name: self.manifest.name.clone(),
            stop: self
                .ended
                .map_or_else(String::new, |reason| alloc::format!("{reason}")),
            status: self.ended.map_or(0, StopReason::status),
            ended: self
                .ended
                .is_some_and(|reason| reason != StopReason::Dismissed),
            restarts: self.restarts,
            exits: self.meter.exits().map(named).collect(),
            guest_tsc: self.meter.guest_tsc(),
            host_tsc: self.meter.host_tsc(),
            memory_bytes: self.manifest.memory_bytes,
            resident_bytes: memory.resident_bytes,
            second_stage_bytes: memory.table_bytes,
            overhead_bytes: self.vcpu.bytes() + size_of::<Self>() as u64,
            refused: refused
                .into_iter()
                .filter(|(_, count)| *count != 0)
                .map(named)
                .collect(),
        }
    }

    /// The memory it holds now; told apart from the report, since an end gives it back.
    fn memory(&self) -> Memory {
        Memory {
            resident_bytes: self.ram.resident_bytes(),
            table_bytes: self.ram.table_bytes(),
        }
    }
}

/// The host memory behind one VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Memory {
    resident_bytes: u64,
    table_bytes: u64,
}

fn vmm_config(manifest: &VmManifest, backend: &Backend) -> VmmConfig {
    let tsc_hz = cpu::tsc::hz();
    let mut leaf = |leaf, subleaf| {
        let registers = core::arch::x86_64::__cpuid_count(leaf, subleaf);
        CpuidRegisters {
            eax: registers.eax,
            ebx: registers.ebx,
            ecx: registers.ecx,
            edx: registers.edx,
        }
    };
    VmmConfig {
        cpuid: CpuidTable::new(&mut leaf, backend.abilities(), tsc_hz),
        platform: PlatformConfig {
            tsc_hz,
            rtc_unix_seconds: manifest.rtc_unix_seconds,
            memory_bytes: manifest.memory_bytes,
            mmio_uart: manifest.mmio_uart.then_some(MMIO_UART),
        },
    }
}
