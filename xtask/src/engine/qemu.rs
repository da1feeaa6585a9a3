//! QEMU with nested KVM: VT-x in hardware, where the host lends it.
//!
//! `/dev/kvm` alone does not say that a guest gets VT-x: the CPU must have it, and the
//! host's KVM must pass it on. AMD's SVM is not asked for until there is a backend for it.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::Engine;
use crate::packages::Need;
use crate::recipe::{Filling, Recipe};

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
        let nested = fs::read_to_string("/sys/module/kvm_intel/parameters/nested").ok();
        obstacles(device.err().as_ref(), &cpu, nested.as_deref())
    }

    fn command(&self, filling: &Filling) -> Result<Command> {
        self.recipe.command(filling)
    }

    fn log_lines(&self, _folder: &Path) -> Vec<String> {
        Vec::new()
    }
}

/// What is missing, each with its remedy where there is one.
fn obstacles(device: Option<&std::io::Error>, cpu: &str, nested: Option<&str>) -> Vec<String> {
    let mut missing = Vec::new();
    if let Some(error) = device {
        missing.push(format!(
            "/dev/kvm cannot be opened for reading and writing ({error}); \
             load kvm, or join the group `kvm`"
        ));
    }
    let flags = cpu.lines().find(|line| line.starts_with("flags"));
    let has = |flag| flags.is_some_and(|line| line.split_whitespace().any(|word| word == flag));
    match (has("vmx"), has("svm")) {
        (true, _) => {}
        (false, true) => missing.push("the CPU has svm, and Skerry has a backend for vmx".into()),
        (false, false) => missing.push(
            "the CPU flag vmx is missing; switch VT-x on in the firmware, or in the \
             hypervisor this machine runs under"
                .into(),
        ),
    }
    match nested.map(str::trim) {
        Some("Y" | "1") => {}
        Some(value) => missing.push(format!(
            "kvm_intel's parameter `nested` is {value}; `modprobe -r kvm_intel && modprobe \
             kvm_intel nested=1`"
        )),
        None => missing.push("kvm_intel, whose parameter `nested` must be Y, is not loaded".into()),
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    const VMX: &str = "processor\t: 0\nflags\t\t: fpu vme vmx ept\n";

    #[test]
    fn a_host_that_lends_vtx_has_no_obstacle() {
        assert_eq!(obstacles(None, VMX, Some("Y\n")), [""; 0]);
        assert_eq!(obstacles(None, VMX, Some("1\n")), [""; 0]);
    }

    #[test]
    fn each_thing_that_is_missing_is_named() {
        let denied = Error::from(ErrorKind::PermissionDenied);
        let all = obstacles(Some(&denied), "flags\t\t: fpu vmx-like\n", Some("N\n"));
        assert_eq!(all.len(), 3, "{all:?}");
        for (text, part) in all.iter().zip(["/dev/kvm", "flag vmx", "`nested` is N"]) {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn an_openable_device_on_a_cpu_without_vmx_is_not_enough() {
        let missing = obstacles(None, "flags\t\t: fpu\n", None);
        assert_eq!(missing.len(), 2, "{missing:?}");
    }

    #[test]
    fn svm_is_told_from_nothing() {
        let missing = obstacles(None, "flags\t\t: svm\n", Some("Y"));
        assert!(missing[0].contains("svm"), "{missing:?}");
    }
}
