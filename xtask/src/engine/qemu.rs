//! QEMU with nested KVM: VT-x or AMD-V in hardware, where the host lends it.
//!
//! `/dev/kvm` alone does not say that a guest gets either: the CPU must have it, and the
//! host's KVM must pass it on.

use std::fs::{self, File};

use anyhow::Result;

use super::Engine;
use crate::packages::Need;
use crate::recipe::Recipe;

#[derive(Debug)]
pub(super) struct NestedKvm {
    recipe: Recipe,
}

impl NestedKvm {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            recipe: Recipe::read("qemu-kvm")?,
        })
    }
}

impl Engine for NestedKvm {
    fn name(&self) -> &'static str {
        "qemu-kvm"
    }

    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn recipe_mut(&mut self) -> &mut Recipe {
        &mut self.recipe
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Qemu]
    }

    fn obstacles(&self) -> Vec<String> {
        let device = File::options().read(true).write(true).open("/dev/kvm");
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let nested = |module: &str| {
            fs::read_to_string(format!("/sys/module/{module}/parameters/nested")).ok()
        };
        obstacles(device.err().as_ref(), &cpu, nested)
    }
}

/// What is missing, each with its remedy where there is one. `nested` has that parameter of
/// a kernel module, if it is loaded.
fn obstacles(
    device: Option<&std::io::Error>,
    cpu: &str,
    nested: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut missing = Vec::new();
    if let Some(error) = device {
        missing.push(format!(
            "/dev/kvm cannot be opened for reading and writing ({error}); \
             load kvm, or join the group `kvm`"
        ));
    }
    match module(cpu) {
        Some(module) => missing.extend(not_nested(module, nested(module))),
        None => missing.push(
            "the CPU flags vmx and svm are missing; switch VT-x or AMD-V on in the firmware, \
             or in the hypervisor this machine runs under"
                .into(),
        ),
    }
    missing
}

/// KVM's module for this CPU, if it has either extension.
fn module(cpu: &str) -> Option<&'static str> {
    let flags = cpu.lines().find(|line| line.starts_with("flags"))?;
    let has = |flag| flags.split_whitespace().any(|word| word == flag);
    match (has("vmx"), has("svm")) {
        (true, _) => Some("kvm_intel"),
        (false, true) => Some("kvm_amd"),
        (false, false) => None,
    }
}

fn not_nested(module: &str, nested: Option<String>) -> Option<String> {
    match nested.as_deref().map(str::trim) {
        Some("Y" | "1") => None,
        Some(value) => Some(format!(
            "{module}'s parameter `nested` is {value}; `modprobe -r {module} && modprobe \
             {module} nested=1`"
        )),
        None => Some(format!(
            "{module}, whose parameter `nested` must be Y, is not loaded; `modprobe {module} \
             nested=1`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    const VMX: &str = "processor\t: 0\nflags\t\t: fpu vme vmx ept\n";
    const SVM: &str = "processor\t: 0\nflags\t\t: fpu svm npt\n";

    /// Only `loaded` is there, with this value.
    fn loaded(loaded: &'static str, value: &'static str) -> impl Fn(&str) -> Option<String> {
        move |module| (module == loaded).then(|| value.to_string())
    }

    #[test]
    fn a_host_that_lends_either_extension_has_no_obstacle() {
        assert_eq!(obstacles(None, VMX, loaded("kvm_intel", "Y\n")), [""; 0]);
        assert_eq!(obstacles(None, SVM, loaded("kvm_amd", "1\n")), [""; 0]);
    }

    #[test]
    fn the_other_makers_module_does_not_help() {
        let missing = obstacles(None, SVM, loaded("kvm_intel", "Y"));
        assert_eq!(missing.len(), 1);
        assert!(missing[0].contains("kvm_amd") && missing[0].contains("not loaded"));
    }

    #[test]
    fn each_thing_that_is_missing_is_named() {
        let denied = Error::from(ErrorKind::PermissionDenied);
        let all = obstacles(Some(&denied), VMX, loaded("kvm_intel", "N\n"));
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all[0].contains("/dev/kvm"), "{all:?}");
        assert!(
            all[1].contains("kvm_intel's parameter `nested` is N"),
            "{all:?}"
        );
    }

    #[test]
    fn an_openable_device_on_a_cpu_with_neither_is_not_enough() {
        let missing = obstacles(None, "flags\t\t: fpu vmx-like\n", |_| None);
        assert_eq!(missing.len(), 1, "{missing:?}");
        assert!(missing[0].contains("flags vmx and svm"), "{missing:?}");
    }
}
