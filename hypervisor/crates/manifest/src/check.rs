//! Which values a manifest may hold.
//!
//! Owns the rules, each with the key it judges, so that the TOML reader can point at the
//! line and the hypervisor can refuse a bundle that somebody else wrote. Does not look at
//! images: `skerry-load` does.

use alloc::{collections::BTreeSet, string::String};
use core::{fmt, ops::RangeInclusive};

use skerry_abi::layout::MOST_VMS;
use skerry_pages::{CMDLINE_BYTES, MOST_MODULES};

use crate::{Manifest, VmManifest};

/// How long a VM's name may be, in bytes.
pub const NAME_CHARS: RangeInclusive<usize> = 1..=15;
/// How much memory a VM may have, in bytes: 1 MiB to 512 GiB.
pub const MEMORY_BYTES: RangeInclusive<u64> = (1 << 20)..=(1 << 39);
/// What a VM's memory must be a multiple of.
pub const MEMORY_STEP_BYTES: u64 = 4096;
/// The weights a VM may have.
pub const WEIGHT: RangeInclusive<u32> = 1..=1000;
/// How many vCPUs a VM may have.
pub const VCPUS: RangeInclusive<u32> = 1..=16;
/// The components that can be a VM's VMM.
pub const MONITORS: [&str; 2] = [VmManifest::DEFAULT_MONITOR, "saboteur"];
/// The first second that a clock with four-digit years cannot show: 10000-01-01.
pub const CLOCK_END_UNIX_SECONDS: u64 = 253_402_300_800;

/// What is wrong with one VM's values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VmError {
    /// The name is empty, too long or has other characters.
    Name(String),
    /// The memory is outside [`MEMORY_BYTES`].
    MemoryRange(u64),
    /// The memory is no multiple of [`MEMORY_STEP_BYTES`].
    MemoryStep(u64),
    /// The weight is outside [`WEIGHT`].
    Weight(u32),
    /// The clock would start after the year 9999.
    Rtc(u64),
    /// The command line has so many bytes, more than [`CMDLINE_BYTES`].
    Cmdline(usize),
    /// The command line and the modules' have so many bytes together, more than
    /// [`CMDLINE_BYTES`].
    ModuleCmdlines(usize),
    /// There are so many modules, more than [`MOST_MODULES`].
    Modules(usize),
    /// The number of vCPUs is outside [`VCPUS`].
    Vcpus(u32),
    /// None of [`MONITORS`] has this name.
    Monitor(String),
}

impl VmError {
    /// The manifest's key whose value is wrong.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Name(_) => "name",
            Self::MemoryRange(_) | Self::MemoryStep(_) => "memory",
            Self::Weight(_) => "weight",
            Self::Rtc(_) => "rtc",
            Self::Cmdline(_) => "cmdline",
            Self::ModuleCmdlines(_) | Self::Modules(_) => "modules",
            Self::Vcpus(_) => "vcpus",
            Self::Monitor(_) => "monitor",
        }
    }
}

impl fmt::Display for VmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "\"{name}\" is no name for a VM; use 1 to 15 of the characters a-z, 0-9 and -"
            ),
            Self::MemoryRange(bytes) => write!(
                f,
                "{bytes} bytes of memory is outside 1 MiB to 512 GiB; give a size like \"256M\""
            ),
            Self::MemoryStep(bytes) => write!(
                f,
                "{bytes} bytes of memory is no multiple of {MEMORY_STEP_BYTES}; \
                 round it, or give a size like \"256M\""
            ),
            Self::Weight(weight) => write!(
                f,
                "a weight of {weight} is outside 1 to 1000; leave it out for 100"
            ),
            Self::Rtc(seconds) => write!(
                f,
                "{seconds} seconds after 1970 is past the year 9999; give an earlier date"
            ),
            Self::Cmdline(bytes) => write!(
                f,
                "a command line of {bytes} bytes is longer than {CMDLINE_BYTES}; shorten it"
            ),
            Self::ModuleCmdlines(bytes) => write!(
                f,
                "the command lines of the kernel and its modules have {bytes} bytes together, \
                 more than {CMDLINE_BYTES}; shorten them"
            ),
            Self::Modules(count) => write!(
                f,
                "{count} modules; a VM has at most {MOST_MODULES}, put them in one archive"
            ),
            Self::Vcpus(count) => write!(f, "{count} vCPUs is outside 1 to 16; leave it out for 1"),
            Self::Monitor(name) => write!(
                f,
                "no component \"{name}\" can be a VMM; there are: {}",
                MONITORS.join(", ")
            ),
        }
    }
}

/// What is wrong with a manifest as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CheckError {
    /// It has no VM.
    NoVm,
    /// It has so many VMs, more than [`MOST_VMS`].
    TooManyVms(usize),
    /// Two VMs have this name.
    TwoOfOneName(String),
    /// `attach` names no VM.
    Attach(String),
    /// A power-off write is no 1, 2 or 4 bytes wide.
    PowerOffWidth(u8),
    /// The VM of this name has a value that is not allowed.
    Vm(String, VmError),
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVm => write!(f, "no VM; add a [[vm]] table"),
            Self::TooManyVms(count) => {
                write!(f, "{count} VMs; a machine has at most {MOST_VMS}")
            }
            Self::TwoOfOneName(name) => write!(f, "two VMs are named \"{name}\"; rename one"),
            Self::Attach(name) => write!(f, "no VM is named \"{name}\" to attach to"),
            Self::PowerOffWidth(bytes) => {
                write!(
                    f,
                    "a power-off write of {bytes} bytes; it must be 1, 2 or 4"
                )
            }
            Self::Vm(name, error) => write!(f, "vm \"{name}\": key `{}`: {error}", error.key()),
        }
    }
}

impl VmManifest {
    /// Checks every value that can be judged without the files.
    ///
    /// # Errors
    /// The first key whose value is not allowed.
    pub fn check(&self) -> Result<(), VmError> {
        if !is_name(&self.name) {
            return Err(VmError::Name(self.name.clone()));
        }
        if !MEMORY_BYTES.contains(&self.memory_bytes) {
            return Err(VmError::MemoryRange(self.memory_bytes));
        }
        if !self.memory_bytes.is_multiple_of(MEMORY_STEP_BYTES) {
            return Err(VmError::MemoryStep(self.memory_bytes));
        }
        if !WEIGHT.contains(&self.weight) {
            return Err(VmError::Weight(self.weight));
        }
        if self.rtc_unix_seconds >= CLOCK_END_UNIX_SECONDS {
            return Err(VmError::Rtc(self.rtc_unix_seconds));
        }
        if !VCPUS.contains(&self.vcpus) {
            return Err(VmError::Vcpus(self.vcpus));
        }
        self.check_texts()?;
        if !MONITORS.contains(&self.monitor()) {
            return Err(VmError::Monitor(self.monitor().into()));
        }
        Ok(())
    }

    /// A VMM finds all command lines, and the table of the modules, on one page.
    fn check_texts(&self) -> Result<(), VmError> {
        if self.cmdline.len() > CMDLINE_BYTES {
            return Err(VmError::Cmdline(self.cmdline.len()));
        }
        if self.modules.len() > MOST_MODULES {
            return Err(VmError::Modules(self.modules.len()));
        }
        let modules = self.modules.iter().map(|module| module.cmdline.len());
        let together = modules.fold(self.cmdline.len(), usize::saturating_add);
        if together > CMDLINE_BYTES {
            return Err(VmError::ModuleCmdlines(together));
        }
        Ok(())
    }
}

impl Manifest {
    /// Checks every VM, and that they fit together.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), CheckError> {
        self.check_count()?;
        let mut names = BTreeSet::new();
        for vm in &self.vms {
            vm.check()
                .map_err(|error| CheckError::Vm(vm.name.clone(), error))?;
            if !names.insert(vm.name.as_str()) {
                return Err(CheckError::TwoOfOneName(vm.name.clone()));
            }
        }
        match &self.attach {
            Some(name) if !names.contains(name.as_str()) => {
                return Err(CheckError::Attach(name.clone()));
            }
            Some(_) | None => {}
        }
        match self
            .power_off
            .iter()
            .find(|w| !matches!(w.width_bytes, 1 | 2 | 4))
        {
            Some(write) => Err(CheckError::PowerOffWidth(write.width_bytes)),
            None => Ok(()),
        }
    }
}

impl Manifest {
    /// Who runs in the place of `root` may do without VMs.
    fn check_count(&self) -> Result<(), CheckError> {
        match self.vms.len() {
            0 if self.root.is_none() => Err(CheckError::NoVm),
            count if count > MOST_VMS => Err(CheckError::TooManyVms(count)),
            _ => Ok(()),
        }
    }
}

fn is_name(name: &str) -> bool {
    NAME_CHARS.contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModuleManifest;
    use alloc::{string::ToString, vec};

    fn vm(name: &str) -> VmManifest {
        VmManifest::new(name.to_string(), 64 << 20, "k".to_string())
    }

    #[test]
    fn a_vm_with_defaults_is_allowed() {
        assert_eq!(vm("alpha-1").check(), Ok(()));
    }

    #[test]
    fn names_outside_the_alphabet_or_the_length_are_refused() {
        for name in ["", "Alpha", "a b", "a]", "sixteen-letters-", "é"] {
            assert_eq!(vm(name).check(), Err(VmError::Name(name.to_string())));
        }
        assert_eq!(vm("fifteen-letters").check(), Ok(()));
    }

    #[test]
    fn memory_of_zero_odd_or_astronomic_size_is_refused() {
        let with = |memory_bytes| {
            VmManifest {
                memory_bytes,
                ..vm("a")
            }
            .check()
        };
        assert_eq!(with(0), Err(VmError::MemoryRange(0)));
        assert_eq!(with(0xf_f000), Err(VmError::MemoryRange(0xf_f000)));
        assert_eq!(with(0x10_0001), Err(VmError::MemoryStep(0x10_0001)));
        assert_eq!(with(u64::MAX), Err(VmError::MemoryRange(u64::MAX)));
        assert_eq!(with(0x10_1000), Ok(()));
    }

    #[test]
    fn weights_of_0_and_1001_are_refused() {
        let with = |weight| VmManifest { weight, ..vm("a") }.check();
        assert_eq!(with(0), Err(VmError::Weight(0)));
        assert_eq!(with(1), Ok(()));
        assert_eq!(with(1000), Ok(()));
        assert_eq!(with(1001), Err(VmError::Weight(1001)));
    }

    #[test]
    fn a_vm_has_1_to_16_vcpus() {
        let with = |vcpus| VmManifest { vcpus, ..vm("a") }.check();
        assert_eq!(with(0), Err(VmError::Vcpus(0)));
        assert_eq!(with(16), Ok(()));
        assert_eq!(with(17), Err(VmError::Vcpus(17)));
    }

    #[test]
    fn a_vm_has_at_most_8_modules_whose_command_lines_fit_beside_the_kernels() {
        let with = |cmdline: usize, modules: &[usize]| {
            let module = |bytes: &usize| ModuleManifest {
                file: "m".into(),
                cmdline: "x".repeat(*bytes),
            };
            let vm = VmManifest {
                cmdline: "x".repeat(cmdline),
                modules: modules.iter().map(module).collect(),
                ..vm("a")
            };
            vm.check()
        };
        assert_eq!(with(0, &[0; 8]), Ok(()));
        assert_eq!(with(0, &[0; 9]), Err(VmError::Modules(9)));
        assert_eq!(with(3070, &[1, 1]), Ok(()));
        assert_eq!(with(3070, &[1, 2]), Err(VmError::ModuleCmdlines(3073)));
        assert_eq!(VmError::Modules(9).key(), "modules");
    }

    #[test]
    fn a_vmm_that_no_component_is_and_too_long_a_command_line_are_refused() {
        let monitor = |name: &str| VmManifest {
            monitor: Some(name.to_string()),
            ..vm("a")
        };
        assert_eq!(monitor("saboteur").check(), Ok(()));
        let error = monitor("root").check().unwrap_err();
        assert_eq!(
            (error.key(), &error),
            ("monitor", &VmError::Monitor("root".into()))
        );
        assert!(error.to_string().contains("vmm, saboteur"), "{error}");
        let cmdline = |bytes| VmManifest {
            cmdline: "x".repeat(bytes),
            ..vm("a")
        };
        assert_eq!(cmdline(CMDLINE_BYTES).check(), Ok(()));
        assert_eq!(cmdline(3073).check(), Err(VmError::Cmdline(3073)));
    }

    #[test]
    fn a_machine_has_at_most_128_vms() {
        let with = |count: usize| Manifest {
            vms: (0..count).map(|number| vm(&number.to_string())).collect(),
            ..Manifest::default()
        };
        assert_eq!(with(128).check(), Ok(()));
        assert_eq!(with(129).check(), Err(CheckError::TooManyVms(129)));
    }

    #[test]
    fn two_vms_of_one_name_and_attaching_to_nobody_are_refused() {
        let mut manifest = Manifest {
            vms: vec![vm("a"), vm("b"), vm("a")],
            ..Manifest::default()
        };
        assert_eq!(
            manifest.check(),
            Err(CheckError::TwoOfOneName("a".to_string()))
        );
        manifest.vms.pop();
        manifest.attach = Some("c".to_string());
        assert_eq!(manifest.check(), Err(CheckError::Attach("c".to_string())));
        manifest.attach = Some("b".to_string());
        assert_eq!(manifest.check(), Ok(()));
    }

    #[test]
    fn an_empty_manifest_is_refused() {
        assert_eq!(Manifest::default().check(), Err(CheckError::NoVm));
        let probed = Manifest {
            root: Some("prober".to_string()),
            ..Manifest::default()
        };
        assert_eq!(probed.check(), Ok(()));
    }
}
