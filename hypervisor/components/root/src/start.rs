//! What a VMM is told at its start.

use skerry_abi::{MachineRecord, VERSION};
use skerry_manifest::VmManifest;
use skerry_pages::{CMDLINE_BYTES, MOST_MODULES, ModulePlace, StartPage};
use skerry_words::PAGE_BYTES;

/// Where a file lies in a VMM, behind `layout::FILES`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Its first byte, at the start of a page.
    pub at: u64,
    /// Its bytes; 0: there is no such file.
    pub bytes: u64,
}

impl Place {
    /// The first page behind the file.
    pub fn end(self) -> u64 {
        let pages = self.bytes.div_ceil(PAGE_BYTES);
        self.at.saturating_add(pages.saturating_mul(PAGE_BYTES))
    }
}

/// No file.
const NOWHERE: Place = Place { at: 0, bytes: 0 };

/// Where the guest's files lie: in this order, each on pages of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files<'a> {
    /// The kernel.
    pub kernel: Place,
    /// The initial RAM disk.
    pub initrd: Place,
    /// The modules, in the manifest's order.
    pub modules: &'a [Place],
}

impl<'a> Files<'a> {
    /// The places of [`VmManifest::files`], each by what the file is.
    pub fn of(vm: &VmManifest, places: &'a [Place]) -> Self {
        let (kernel, others) = places.split_first().unwrap_or((&NOWHERE, &[]));
        let (initrd, modules) = match (&vm.initrd, others.split_first()) {
            (Some(_), Some((initrd, modules))) => (*initrd, modules),
            (Some(_) | None, _) => (NOWHERE, others),
        };
        Self {
            kernel: *kernel,
            initrd,
            modules,
        }
    }
}

/// The start page of VM `index`. The manifest's check has seen to it that the command lines
/// and the modules fit.
pub fn page(vm: &VmManifest, index: u32, machine: &MachineRecord, files: Files<'_>) -> StartPage {
    let mut texts = Texts::new();
    let cmdline_bytes = texts.push(&vm.cmdline).1;
    let mut modules = [ModulePlace::default(); MOST_MODULES];
    for ((slot, place), module) in modules.iter_mut().zip(files.modules).zip(&vm.modules) {
        let (cmdline_at, cmdline_bytes) = texts.push(&module.cmdline);
        *slot = ModulePlace {
            at: place.at,
            bytes: place.bytes,
            cmdline_at,
            cmdline_bytes,
        };
    }
    StartPage {
        version: VERSION,
        tsc_hz: machine.tsc_hz,
        abilities: u64::from(machine.abilities),
        vm_index: u64::from(index),
        kernel_at: files.kernel.at,
        kernel_bytes: files.kernel.bytes,
        initrd_at: files.initrd.at,
        initrd_bytes: files.initrd.bytes,
        memory_bytes: vm.memory_bytes,
        kind: vm.kind as u64,
        rtc_unix_seconds: vm.rtc_unix_seconds,
        mmio_uart: u64::from(vm.mmio_uart),
        vcpus: u64::from(vm.vcpus),
        test_devices: u64::from(vm.test_devices),
        module_count: vm.modules.len().min(MOST_MODULES) as u64,
        modules,
        cmdline_bytes,
        cmdlines: texts.bytes,
    }
}

/// Texts, one behind the other.
struct Texts {
    bytes: [u8; CMDLINE_BYTES],
    used: usize,
}

impl Texts {
    const fn new() -> Self {
        Self {
            bytes: [0; CMDLINE_BYTES],
            used: 0,
        }
    }

    /// Takes in as much of `text` as fits. Gives where that starts, and its bytes.
    fn push(&mut self, text: &str) -> (u64, u64) {
        let start = self.used;
        let room = self.bytes.iter_mut().skip(start);
        for (to, from) in room.zip(text.bytes()) {
            *to = from;
            self.used = self.used.saturating_add(1);
        }
        (start as u64, self.used.saturating_sub(start) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_manifest::{ImageKind, ModuleManifest};

    #[test]
    fn the_page_tells_what_the_manifest_and_the_machine_say() {
        let mut vm = VmManifest::new("a".into(), 3 << 20, "kernel".into());
        vm.cmdline = "one two".into();
        vm.kind = ImageKind::Pvh;
        vm.mmio_uart = true;
        let machine = MachineRecord {
            tsc_hz: 5,
            abilities: 3,
            ..MachineRecord::default()
        };
        let kernel = Place { at: 0, bytes: 100 };
        let files = Files {
            kernel,
            ..Files::default()
        };
        let page = page(&vm, 7, &machine, files);
        assert_eq!((page.vm_index, page.tsc_hz, page.abilities), (7, 5, 3));
        assert_eq!(
            (page.kind, page.mmio_uart, page.memory_bytes),
            (2, 1, 3 << 20)
        );
        assert_eq!((page.kernel_bytes, page.initrd_bytes), (100, 0));
        assert_eq!(&page.cmdlines[..page.cmdline_bytes as usize], b"one two");
        assert_eq!(
            (page.vcpus, page.test_devices, page.module_count),
            (1, 0, 0)
        );
    }

    #[test]
    fn modules_are_told_with_their_command_lines_behind_the_kernels() {
        let module = |cmdline: &str| ModuleManifest {
            file: "m".into(),
            cmdline: cmdline.into(),
        };
        let vm = VmManifest {
            cmdline: "kernel".into(),
            modules: [module("first"), module(""), module("last")].into(),
            vcpus: 4,
            test_devices: true,
            ..VmManifest::new("a".into(), 3 << 20, "kernel".into())
        };
        let places = [0x3000, 0x5000, 0x6000].map(|at| Place { at, bytes: 9 });
        let files = Files {
            modules: &places,
            ..Files::default()
        };
        let page = page(&vm, 0, &MachineRecord::default(), files);
        assert_eq!(
            (page.vcpus, page.test_devices, page.module_count),
            (4, 1, 3)
        );
        let told = page
            .modules
            .map(|m| (m.at, m.bytes, m.cmdline_at, m.cmdline_bytes));
        let expected = [(0x3000, 9, 6, 5), (0x5000, 9, 11, 0), (0x6000, 9, 11, 4)];
        assert_eq!(told[..3], expected);
        assert_eq!(&page.cmdlines[..15], b"kernelfirstlast");
    }

    #[test]
    fn files_are_told_apart_with_and_without_an_initial_ram_disk() {
        let places = [1, 2, 3].map(|bytes| Place { at: 0, bytes });
        let mut vm = VmManifest::new("a".into(), 3 << 20, "kernel".into());
        let told = |vm: &VmManifest| {
            let files = Files::of(vm, &places);
            (files.kernel.bytes, files.initrd.bytes, files.modules.len())
        };
        assert_eq!(told(&vm), (1, 0, 2));
        vm.initrd = Some("disk".into());
        assert_eq!(told(&vm), (1, 2, 1));
    }

    #[test]
    fn a_file_ends_with_its_last_page() {
        let ends = [0, 1, 4096, 4097].map(|bytes| Place { at: 0x7000, bytes }.end());
        assert_eq!(ends, [0x7000, 0x8000, 0x8000, 0x9000]);
    }
}
