//! What a VMM is told at its start.

use skerry_abi::{MachineRecord, VERSION};
use skerry_manifest::VmManifest;
use skerry_pages::{CMDLINE_BYTES, StartPage};

/// Where the guest's files lie in a VMM, behind `layout::FILES`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Files {
    /// The kernel's bytes; it starts at 0.
    pub kernel_bytes: u64,
    /// Where the initial RAM disk starts: behind the kernel's last page.
    pub initrd_at: u64,
    /// Its bytes; 0: there is none.
    pub initrd_bytes: u64,
}

/// The start page of VM `index`. The manifest's check has seen to it that the command line
/// fits.
pub fn page(vm: &VmManifest, index: u32, machine: &MachineRecord, files: Files) -> StartPage {
    let mut cmdline = [0; CMDLINE_BYTES];
    for (to, from) in cmdline.iter_mut().zip(vm.cmdline.bytes()) {
        *to = from;
    }
    StartPage {
        version: VERSION,
        tsc_hz: machine.tsc_hz,
        abilities: u64::from(machine.abilities),
        vm_index: u64::from(index),
        kernel_at: 0,
        kernel_bytes: files.kernel_bytes,
        initrd_at: files.initrd_at,
        initrd_bytes: files.initrd_bytes,
        memory_bytes: vm.memory_bytes,
        kind: vm.kind as u64,
        rtc_unix_seconds: vm.rtc_unix_seconds,
        mmio_uart: u64::from(vm.mmio_uart),
        cmdline_bytes: vm.cmdline.len().min(CMDLINE_BYTES) as u64,
        cmdline,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_manifest::ImageKind;

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
        let files = Files {
            kernel_bytes: 100,
            ..Files::default()
        };
        let page = page(&vm, 7, &machine, files);
        assert_eq!((page.vm_index, page.tsc_hz, page.abilities), (7, 5, 3));
        assert_eq!(
            (page.kind, page.mmio_uart, page.memory_bytes),
            (2, 1, 3 << 20)
        );
        assert_eq!((page.kernel_bytes, page.initrd_bytes), (100, 0));
        assert_eq!(&page.cmdline[..page.cmdline_bytes as usize], b"one two");
    }
}
