//! The manifest: which VMs a boot runs, and how the machine is left.
//!
//! Owns the types, with the defaults of every key. What values are allowed is in `check`;
//! how they travel is in `bundle`. The TOML reader in `xtask` fills them, the hypervisor
//! builds VMs from them.

use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

/// The component that ring 0 starts, and which starts the others.
pub const ROOT: &str = "root";
/// The component that has the serial line.
pub const CONSOLE: &str = "console";

/// What one boot of the hypervisor runs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// The writes that switch this machine off, in order. Empty: the CPU is halted.
    pub power_off: Vec<PortWrite>,
    /// Whether this machine's CPU does wrong when it looks after local APICs, so that VMs that do
    /// not insist do without.
    pub apic_fails: bool,
    /// The VM whose console has the keyboard at first; `None`: the first VM.
    pub attach: Option<String>,
    /// The component that runs in the place of `root`, for a test of ring 0; `None`: none does.
    pub root: Option<String>,
    /// The VMs, in the order they are created and reported.
    pub vms: Vec<VmManifest>,
}

/// One write to a port of the real machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PortWrite {
    /// The port.
    pub port: u16,
    /// 1, 2 or 4.
    pub width_bytes: u8,
    /// The value, in the low `width_bytes`.
    pub value: u32,
}

/// One VM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VmManifest {
    /// Its name: marks its console lines and its report. 1 to 15 of `[a-z0-9-]`.
    pub name: String,
    /// Where its guest-physical memory ends, in bytes, without the hole for devices.
    pub memory_bytes: u64,
    /// What `kernel` is.
    pub kind: ImageKind,
    /// The bundle's file with the image to start.
    pub kernel: String,
    /// The bundle's file with the initial RAM disk, if any.
    pub initrd: Option<String>,
    /// The command line handed to the image.
    pub cmdline: String,
    /// Further files for the image, behind the initial RAM disk if it has both.
    pub modules: Vec<ModuleManifest>,
    /// How many vCPUs it has, 1 to 16.
    pub vcpus: u32,
    /// Its share of the CPU against the other VMs' weights, 1 to 1000.
    pub weight: u32,
    /// What happens when it ends.
    pub on_exit: OnExit,
    /// How often `OnExit::Restart` and resets start it again before it is stopped.
    pub max_restarts: u32,
    /// The largest page the second stage may map its memory with.
    pub page_size: PageSize,
    /// Who looks after its local APICs.
    pub apic: ApicBy,
    /// Whether it also has a UART in memory, for guests without port I/O.
    pub mmio_uart: bool,
    /// Whether it also has the devices that test kernels want.
    pub test_devices: bool,
    /// The time its clock shows at start, in seconds since 1970-01-01 UTC.
    pub rtc_unix_seconds: u64,
    /// Whether the machine may end while this VM still runs.
    pub background: bool,
    /// The component that is its VMM; `None`: [`VmManifest::DEFAULT_MONITOR`].
    pub monitor: Option<String>,
}

/// A file that an image is handed in memory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ModuleManifest {
    /// The bundle's file.
    pub file: String,
    /// The command line that goes with it.
    pub cmdline: String,
}

impl VmManifest {
    /// The vCPUs of a VM whose manifest names none.
    pub const DEFAULT_VCPUS: u32 = 1;
    /// The weight of a VM whose manifest names none.
    pub const DEFAULT_WEIGHT: u32 = 100;
    /// The restarts of a VM whose manifest names none.
    pub const DEFAULT_MAX_RESTARTS: u32 = 3;
    /// The clock of a VM whose manifest names none: 2000-01-01 00:00:00 UTC. Fixed, so
    /// that a run repeats.
    pub const DEFAULT_RTC_UNIX_SECONDS: u64 = 946_684_800;
    /// The VMM of a VM whose manifest names none.
    pub const DEFAULT_MONITOR: &'static str = "vmm";

    /// A VM with the default of every key that has one.
    #[must_use]
    pub fn new(name: String, memory_bytes: u64, kernel: String) -> Self {
        Self {
            name,
            memory_bytes,
            kind: ImageKind::default(),
            kernel,
            initrd: None,
            cmdline: String::new(),
            modules: Vec::new(),
            vcpus: Self::DEFAULT_VCPUS,
            weight: Self::DEFAULT_WEIGHT,
            on_exit: OnExit::default(),
            max_restarts: Self::DEFAULT_MAX_RESTARTS,
            page_size: PageSize::default(),
            apic: ApicBy::default(),
            mmio_uart: false,
            test_devices: false,
            rtc_unix_seconds: Self::DEFAULT_RTC_UNIX_SECONDS,
            background: false,
            monitor: None,
        }
    }

    /// The names of its files, each of which the bundle must have: the kernel, the initial
    /// RAM disk, the modules.
    pub fn files(&self) -> impl Iterator<Item = &String> {
        let modules = self.modules.iter().map(|module| &module.file);
        core::iter::once(&self.kernel)
            .chain(&self.initrd)
            .chain(modules)
    }

    /// The component that is its VMM.
    #[must_use]
    pub fn monitor(&self) -> &str {
        self.monitor.as_deref().unwrap_or(Self::DEFAULT_MONITOR)
    }
}

impl Manifest {
    /// The components that the manifest needs, each once: the one that ring 0 starts first,
    /// and those that this one starts.
    #[must_use]
    pub fn components(&self) -> Vec<&str> {
        let services = match &self.root {
            Some(_) => &[ROOT][..],
            None => &[ROOT, CONSOLE],
        };
        let mut names = services.to_vec();
        for vm in &self.vms {
            if !names.contains(&vm.monitor()) {
                names.push(vm.monitor());
            }
        }
        names
    }
}

/// What an image is, and so how it is loaded and entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// Found out from its first bytes.
    #[default]
    Auto,
    /// A Linux bzImage, entered by the 64-bit boot protocol.
    #[serde(rename = "linux")]
    LinuxBzImage,
    /// An ELF file with a PVH entry note.
    Pvh,
    /// An ELF file entered at its own entry point.
    Elf,
    /// Bytes put at 0x7c00 and entered in real mode, as a boot sector.
    Flat,
    /// An image with a header of the Multiboot Specification, version 1.
    Multiboot,
    /// An image with a header of the Multiboot2 Specification.
    Multiboot2,
    /// Firmware: bytes that end at 4 GiB, entered in real mode at their reset vector.
    Rom,
}

/// Who looks after a VM's local APICs while its vCPUs run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApicBy {
    /// The CPU, where it can and is not known to fail.
    #[default]
    Auto,
    /// The VMM: each access exits.
    Software,
    /// The CPU, wherever it can.
    Hardware,
}

/// What happens when a VM ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExit {
    /// It stays ended.
    #[default]
    Stop,
    /// It starts again, `max_restarts` times.
    Restart,
}

/// The size of a second-stage page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub enum PageSize {
    /// 4 KiB.
    #[serde(rename = "4K")]
    Size4K,
    /// 2 MiB.
    #[default]
    #[serde(rename = "2M")]
    Size2M,
    /// 1 GiB.
    #[serde(rename = "1G")]
    Size1G,
}

impl PageSize {
    /// Its bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Size4K => 1 << 12,
            Self::Size2M => 1 << 21,
            Self::Size1G => 1 << 30,
        }
    }
}
