//! One image to run: what it is, and what it is given.
//!
//! Owns the defaults of what an image is given, and its VM's manifest. Which images there are
//! is `gather`'s.

use std::sync::Arc;

use skerry_load::{ImageKind, LoadError, Request};
use skerry_manifest::VmManifest;

/// The memory of an image that asks for none, as QEMU gives it.
pub(super) const MEMORY_BYTES: u64 = 128 << 20;
/// What the hypervisor needs of a machine's memory for a VM, beside the VM's own.
pub(super) const BESIDE_BYTES: u64 = 4 << 20;
/// What a machine's memory has to hold beside all VMs: components, images and a loader's copies.
pub(super) const BUNDLE_BYTES: u64 = 64 << 20;
/// The time limit of an image that names none, as kvm-unit-tests has it.
pub(super) const LIMIT_S: u64 = 90;

/// An image with its arguments.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// What the report calls it.
    pub(super) name: String,
    /// What a manifest calls it: its path, or a symbolic name.
    pub(super) file: String,
    /// Its bytes.
    pub(super) image: Arc<[u8]>,
    /// What it is.
    pub(super) kind: ImageKind,
    /// Its arguments.
    pub(super) arguments: String,
    /// How many CPUs it gets.
    pub(super) vcpus: u32,
    /// How much memory it gets.
    pub(super) memory_bytes: u64,
    /// Whether its VM has the devices that test kernels want, where others have none.
    pub(super) test_devices: bool,
    /// Its time limit, on an engine as fast as hardware.
    pub(super) limit_s: u64,
    /// What it asks for and does not get.
    pub(super) wants: Vec<String>,
}

impl Case {
    /// Its command line. A multiboot loader puts the file's name first, as the images expect
    /// that read their arguments without a boot loader's help.
    pub(super) fn cmdline(&self) -> String {
        if self.kind != ImageKind::Multiboot {
            return self.arguments.clone();
        }
        let name = self.file.rsplit('/').next().unwrap_or(&self.file);
        format!("{name} {}", self.arguments).trim_end().to_string()
    }

    /// The same, with no more memory than there is; what lacks is told if it fails.
    pub(super) fn within(&self, most_bytes: u64) -> Self {
        let mut case = self.clone();
        let most_bytes = most_bytes.saturating_sub(BESIDE_BYTES + BUNDLE_BYTES);
        if case.memory_bytes > most_bytes {
            let asked = case.memory_bytes >> 20;
            case.wants.push(format!("{asked} MiB of memory"));
            case.memory_bytes = most_bytes;
        }
        case
    }

    /// Its VM, by this name.
    pub(super) fn vm(&self, name: String) -> VmManifest {
        VmManifest {
            kind: self.kind,
            cmdline: self.cmdline(),
            vcpus: self.vcpus,
            test_devices: self.test_devices,
            ..VmManifest::new(name, self.memory_bytes, self.file.clone())
        }
    }

    /// Whether it can be started as a `kind`.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check_as(&self, kind: ImageKind) -> Result<(), LoadError> {
        let request = Request {
            image: &self.image,
            kind,
            initrd: None,
            cmdline: &self.cmdline(),
            modules: &[],
            vcpus: self.vcpus,
            memory_bytes: self.memory_bytes,
        };
        skerry_load::plan(&request).map(drop)
    }

    /// Whether it can be started as a `kind`.
    pub(super) fn is_a(&self, kind: ImageKind) -> bool {
        self.check_as(kind).is_ok()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A case that is never started.
    pub(crate) fn case(name: &str) -> Case {
        Case {
            name: name.into(),
            file: format!("/folder/{name}.flat"),
            image: Arc::new([]),
            kind: ImageKind::Multiboot,
            arguments: String::new(),
            vcpus: 1,
            memory_bytes: MEMORY_BYTES,
            test_devices: true,
            limit_s: LIMIT_S,
            wants: Vec::new(),
        }
    }

    #[test]
    fn a_multiboot_image_finds_its_own_name_before_its_arguments() {
        let mut case = case("vmexit");
        assert_eq!(case.cmdline(), "vmexit.flat");
        case.arguments = "cpuid".into();
        assert_eq!(case.cmdline(), "vmexit.flat cpuid");
        case.kind = ImageKind::Pvh;
        assert_eq!(case.vm("v1".into()).cmdline, "cpuid");
    }

    #[test]
    fn an_image_gets_no_more_memory_than_there_is_and_misses_it() {
        let whole = case("a").within(1 << 30);
        assert_eq!((whole.memory_bytes, whole.wants.len()), (MEMORY_BYTES, 0));
        let less = case("a").within(100 << 20);
        assert_eq!(less.memory_bytes, 32 << 20);
        assert_eq!(less.wants, ["128 MiB of memory"]);
    }

    #[test]
    fn the_vm_has_what_the_case_says_and_the_test_devices() {
        let vm = Case {
            vcpus: 3,
            ..case("a")
        }
        .vm("v7".into());
        assert!(vm.test_devices && vm.check().is_ok());
        assert_eq!((vm.vcpus, vm.memory_bytes), (3, 128 << 20));
        assert_eq!(
            (vm.name.as_str(), vm.kernel.as_str()),
            ("v7", "/folder/a.flat")
        );
    }
}
