//! A Linux on the bare machine: the other half of `cargo xtask bench boot`.
//!
//! Owns how an engine boots one in Skerry's place, and how it tells when the kernel's first
//! instruction ran: QEMU takes a kernel and answers gdb, Bochs takes an ISO and has a
//! debugger of its own. Called by `boot`.

use std::fs;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};
use skerry_manifest::VmManifest;

use super::boot::{LIMIT, userspace_tsc};
use crate::bundle::Packed;
use crate::engine::{self, Engine};
use crate::failure::Failure;
use crate::gdb;
use crate::guests::Guests;
use crate::image::{self, LinuxImage};
use crate::packages::Need;
use crate::paths::{self, After};
use crate::recipe::{Filling, Recipe, Repeat, Wishes};
use crate::session::{Boot, Ending, Silent};
use crate::transcript::{Keep, Transcript};

/// Where the kernel's first instruction is, and how to learn when it ran
/// [Linux, "The Linux/x86 Boot Protocol", 6.1].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Clock {
    /// QEMU loads where the header's `code32_start` says, and has a stub for gdb at this port.
    Gdb(u16),
    /// GRUB loads where `pref_address` says, and Bochs' debugger prints the tick.
    Debugger,
}

/// `code32_start`
const QEMU_ENTRY: u64 = 0x10_0000;
/// `pref_address`
const GRUB_ENTRY: u64 = 0x100_0000;

/// The ticks from the kernel's first instruction to its userspace's, on the engine of this
/// name without Skerry.
///
/// # Errors
/// The engine cannot be started or asked, or Linux did not come up.
pub(super) fn ticks(name: &str, vm: &VmManifest, guests: &Guests, after: After) -> Result<u64> {
    let linux = BareLinux::new(name, vm, guests)?;
    let folder = paths::run_folder(after)?;
    let base_bytes = linux.recipe().memory_mib(0, 0)? << 20;
    let nothing = Packed {
        bytes: Vec::new(),
        guest_bytes: vm.memory_bytes.saturating_sub(base_bytes),
    };
    let boot = Boot {
        engine: &linux,
        hypervisor: Path::new(""),
        packed: &nothing,
        folder: folder.path(),
        limit: Some(LIMIT),
    };
    let mut silent = Silent(Transcript::new(Keep::All));
    let (ending, entry) = linux.run(&boot, &mut silent)?;
    let Silent(run) = silent;
    let userspace = up(&ending, &run)?;
    let ticks = userspace.checked_sub(entry?);
    ticks.context("userspace ran before the kernel")
}

/// When userspace began, if it did.
fn up(ending: &Ending, run: &Transcript) -> Result<u64> {
    match (ending, userspace_tsc(run.lines())) {
        (Ending::Closed, Some(tsc)) => Ok(tsc),
        _ => {
            let why = format!("Linux without Skerry did not come up ({ending:?})");
            Err(Failure::Run(format!("{why}\n{}", run.tail(15))).into())
        }
    }
}

/// The engine, with Linux in Skerry's place.
struct BareLinux {
    engine: Box<dyn Engine>,
    image: LinuxImage,
    clock: Clock,
}

impl BareLinux {
    fn new(name: &str, vm: &VmManifest, guests: &Guests) -> Result<Self> {
        let image = LinuxImage {
            kernel: guests.bytes(&vm.kernel)?,
            initrd: guests.bytes(vm.initrd.as_deref().unwrap_or_default())?,
            cmdline: vm.cmdline.clone(),
        };
        let mut engines = engine::all()?.into_iter();
        let named = engines.find(|engine| engine.name() == name);
        let mut engine = named.with_context(|| format!("no engine is called {name}"))?;
        let clock = Clock::of(engine.recipe())?;
        let granted = engine.recipe_mut().grant(clock.wishes());
        granted.map_err(|why| Failure::Missing(format!("{name}: {why}")))?;
        Ok(Self {
            engine,
            image,
            clock,
        })
    }

    /// How it ended, and when the kernel's first instruction ran.
    fn run(&self, boot: &Boot, silent: &mut Silent) -> Result<(Ending, Result<u64>)> {
        match self.clock {
            Clock::Gdb(port) => thread::scope(|scope| {
                let asking = scope.spawn(move || gdb::tsc_at(port, QEMU_ENTRY));
                let ending = boot.run(None, silent)?;
                let entry = asking.join();
                Ok((ending, entry.unwrap_or_else(|panic| resume_unwind(panic))))
            }),
            Clock::Debugger => {
                let ending = boot.run(None, silent)?;
                Ok((ending, printed_entry(boot.folder)))
            }
        }
    }

    /// Bochs gets an ISO, and stops at the kernel to say when that is.
    fn on_iso(&self, filling: &Filling) -> Result<Command> {
        image::write_linux_iso(filling.folder, &self.image)?;
        let command = self.recipe().command(filling)?;
        let debugger = format!("lb {GRUB_ENTRY:#x}\nc\nd 1\nc\n");
        fs::write(filling.folder.join("commands"), debugger).context("write commands")?;
        Ok(command)
    }

    /// QEMU gets kernel and initial RAM disk where it would get hypervisor and bundle.
    fn in_hypervisors_place(&self, filling: &Filling) -> Result<Command> {
        let [kernel, initrd] = ["linux", "initrd"].map(|name| filling.folder.join(name));
        fs::write(&kernel, &self.image.kernel).context("write linux")?;
        fs::write(&initrd, &self.image.initrd).context("write initrd")?;
        let mut command = self.recipe().command(&Filling {
            hypervisor: &kernel,
            bundle: &initrd,
            ..*filling
        })?;
        command.args(["-append", &self.image.cmdline]);
        Ok(command)
    }
}

impl Clock {
    fn of(recipe: &Recipe) -> Result<Self> {
        Ok(if recipe.takes_gdb() {
            Self::Gdb(gdb::free_port()?)
        } else {
            Self::Debugger
        })
    }

    fn wishes(self) -> Wishes {
        Wishes {
            repeat: Repeat::WherePossible,
            gdb_port: match self {
                Self::Gdb(port) => Some(port),
                Self::Debugger => None,
            },
        }
    }
}

impl Engine for BareLinux {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn recipe(&self) -> &Recipe {
        self.engine.recipe()
    }

    fn recipe_mut(&mut self) -> &mut Recipe {
        self.engine.recipe_mut()
    }

    fn needs(&self) -> &'static [Need] {
        self.engine.needs()
    }

    fn command(&self, filling: &Filling) -> Result<Command> {
        match self.clock {
            Clock::Gdb(_) => self.in_hypervisors_place(filling),
            Clock::Debugger => self.on_iso(filling),
        }
    }

    fn log_lines(&self, folder: &Path) -> Vec<String> {
        self.engine.log_lines(folder)
    }
}

fn printed_entry(folder: &Path) -> Result<u64> {
    let output = fs::read(folder.join("engine.out")).context("read engine.out")?;
    entry_tick(&String::from_utf8_lossy(&output))
        .with_context(|| format!("the boot loader jumped elsewhere than {GRUB_ENTRY:#x}"))
}

/// Where the debugger stopped: `Next at t=123`. Bochs' time-stamp counter is its tick.
fn entry_tick(output: &str) -> Option<u64> {
    let (_, after) = output.rsplit_once("Breakpoint 1")?;
    let (_, tick) = after.split_once("Next at t=")?;
    tick.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_entry_is_where_the_debugger_stopped_last() {
        let output = "Next at t=0\n(0) [0xfff0] f000:fff0\n(0) Breakpoint 1, 0x1000000 in ?? ()\n\
                      Next at t=178223907\n(0) [0x1000000] 0010:01000000\n";
        assert_eq!(entry_tick(output), Some(178_223_907));
        assert_eq!(entry_tick("Next at t=0\n"), None);
    }

    #[test]
    fn bochs_has_its_own_debugger_and_qemu_takes_gdb() {
        let clock = |name| Clock::of(&Recipe::read(name).unwrap()).unwrap();
        assert_eq!(clock("bochs"), Clock::Debugger);
        for name in ["qemu-tcg", "qemu-kvm"] {
            assert!(matches!(clock(name), Clock::Gdb(_)), "{name}");
        }
    }

    #[test]
    fn qemu_boots_linux_with_its_command_line_in_skerrys_place() {
        let folder = tempfile::tempdir().unwrap();
        let image = LinuxImage {
            kernel: b"kernel".to_vec(),
            initrd: b"initrd".to_vec(),
            cmdline: "quiet reboot=t".into(),
        };
        let mut engines = engine::all().unwrap().into_iter();
        let linux = BareLinux {
            engine: engines.find(|engine| engine.name() == "qemu-tcg").unwrap(),
            image,
            clock: Clock::Gdb(1),
        };
        let filling = Filling {
            folder: folder.path(),
            hypervisor: Path::new(""),
            bundle: Path::new(""),
            serial_port: 1,
            memory_mib: 128,
        };
        let command = linux.command(&filling).unwrap();
        let arguments: Vec<_> = command.get_args().map(|word| word.to_os_string()).collect();
        let after = |option: &str| {
            let at = arguments.iter().position(|word| word == option).unwrap();
            arguments[at + 1].to_string_lossy().into_owned()
        };
        assert_eq!(after("-append"), "quiet reboot=t");
        assert_eq!(fs::read(after("-kernel")).unwrap(), b"kernel");
        assert_eq!(fs::read(after("-initrd")).unwrap(), b"initrd");
    }

    #[test]
    fn a_linux_that_does_not_come_up_or_does_not_end_has_no_ticks() {
        let run = |text: &str| {
            let mut run = Transcript::new(Keep::All);
            run.push(text.as_bytes(), |_| {});
            run
        };
        let well = run("userspace at tsc 12\n");
        assert_eq!(up(&Ending::Closed, &well).unwrap(), 12);
        assert!(up(&Ending::TimeLimit, &well).is_err());
        assert!(up(&Ending::Closed, &run("Kernel panic\n")).is_err());
    }
}
