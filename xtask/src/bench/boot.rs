//! `cargo xtask bench boot`: what a Linux needs to its userspace, bare and on Skerry.
//!
//! Owns both runs and what is counted: the engine's ticks from the first instruction of the
//! kernel's image, decompression included, until its userspace has switched off. Kernel,
//! command line, initial RAM disk and memory are the same (`qemu/boot.toml`). Called by
//! `bench`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use skerry_manifest::VmManifest;

use super::{Format, Silent};
use crate::bundle::Packed;
use crate::engine::{self, Engine, On};
use crate::failure::Failure;
use crate::guests::Guests;
use crate::image::{self, LinuxImage};
use crate::machine::{self, Machine, MachineArgs};
use crate::packages::Need;
use crate::paths::{self, After};
use crate::recipe::{Filling, Recipe};
use crate::session::{Boot, Ending};
use crate::summary::grouped;
use crate::transcript::{Keep, Transcript};
use crate::{manifest, say, table};

/// Skerry's bar: ticks as a guest over ticks bare.
const BAR: f64 = 1.25;
/// How long either run may take.
const LIMIT: Duration = Duration::from_secs(400);
/// What the userspace says first.
const MARK: &str = "userspace of ";
/// Where the boot loader puts the kernel, and jumps to
/// [Linux, "The Linux/x86 Boot Protocol", `pref_address` and `code32_start`, 6.1].
const KERNEL_ENTRY: u64 = 0x100_0000;

/// `bench boot`'s options.
#[derive(Debug, clap::Args)]
pub struct BootArgs {
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    machine: MachineArgs,
}

/// The result.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct Figures {
    engine: String,
    bare_ticks: u64,
    skerry_ticks: u64,
    ratio: f64,
    bar: f64,
    /// Of Skerry's: inside the guest, in the hypervisor for it, and with nothing to do.
    guest_tsc: u64,
    host_tsc: u64,
    idle_tsc: u64,
    exits: u64,
    /// Before Skerry's: from the hypervisor's own entry to the guest's first instruction.
    first_guest_tsc: u64,
}

/// Runs the command.
///
/// # Errors
/// A run failed, or the ratio is over the bar.
pub(super) fn run(args: &BootArgs) -> Result<()> {
    let engine_args = with_debugger(&args.machine)?;
    let source = manifest::read(&paths::recipes().join("boot.toml"))?;
    let vm = source
        .manifest
        .vms
        .first()
        .context("qemu/boot.toml has no VM")?;
    let engine = machine::choose(&engine_args, engine_args.wishes(), &source)?;
    let machine = Machine::set_up(engine, &engine_args)?;
    let guests = Guests {
        built: &machine.built,
        install: engine_args.install(),
    };
    let bare_ticks = bare(&engine_args, vm, &guests)?;
    let on_skerry = on_skerry(&machine, &machine.pack(&source)?)?;
    let figures = Figures::of(machine.engine.name(), bare_ticks, &on_skerry)?;
    figures.print(args.format)?;
    figures.check()
}

/// Only Bochs tells when the boot loader hands over.
fn with_debugger(args: &MachineArgs) -> Result<MachineArgs> {
    if args.on.iter().any(|on| *on != On::Bochs) {
        let why = "--on: `bench boot` counts from the boot loader's last instruction, which \
                   only bochs can tell; leave --on out";
        return Err(Failure::Input(why.into()).into());
    }
    Ok(MachineArgs {
        on: vec![On::Bochs],
        ..args.clone()
    })
}

/// The ticks of the boot without Skerry.
fn bare(args: &MachineArgs, vm: &VmManifest, guests: &Guests) -> Result<u64> {
    let step = say::Step::begin("booting Linux without Skerry");
    let bare = Bare {
        engine: engine::choose(&args.on, args.wishes())?,
        image: LinuxImage {
            kernel: guests.bytes(&vm.kernel)?,
            initrd: guests.bytes(vm.initrd.as_deref().unwrap_or_default())?,
            cmdline: vm.cmdline.clone(),
        },
    };
    let folder = paths::run_folder(if args.keep {
        After::Keep
    } else {
        After::Remove
    })?;
    let base_bytes = bare.recipe().memory_mib(0, 0)? << 20;
    let nothing = Packed {
        bytes: Vec::new(),
        guest_bytes: vm.memory_bytes.saturating_sub(base_bytes),
    };
    let boot = Boot {
        engine: &bare,
        hypervisor: Path::new(""),
        packed: &nothing,
        folder: folder.path(),
        limit: Some(LIMIT),
    };
    let mut silent = Silent(Transcript::new(Keep::All));
    let ending = boot.run(None, &mut silent)?;
    let ticks = bare_ticks(&ending, &silent.0, folder.path())?;
    step.done(&format!("{} ticks", grouped(ticks)));
    Ok(ticks)
}

fn bare_ticks(ending: &Ending, run: &Transcript, folder: &Path) -> Result<u64> {
    let was_up = run.lines().any(|line| line.contains(MARK));
    if *ending != Ending::Closed || !was_up {
        let why = format!("Linux without Skerry did not come up ({ending:?})");
        return Err(Failure::Run(format!("{why}\n{}", run.tail(15))).into());
    }
    let read = |file| fs::read(folder.join(file)).with_context(|| format!("read {file}"));
    let (output, log) = (read("engine.out")?, read("bochs.log")?);
    let entry = entry_tick(&String::from_utf8_lossy(&output))
        .with_context(|| format!("the boot loader jumped elsewhere than {KERNEL_ENTRY:#x}"))?;
    let end = last_tick(&String::from_utf8_lossy(&log)).context("bochs.log has no tick")?;
    end.checked_sub(entry)
        .context("the run ended before it began")
}

/// Where the debugger stopped: `Next at t=123`.
fn entry_tick(output: &str) -> Option<u64> {
    let (_, after) = output.rsplit_once("Breakpoint 1")?;
    let (_, tick) = after.split_once("Next at t=")?;
    tick.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// The tick of the log's last line that starts with one: `00000000123i[...`.
fn last_tick(log: &str) -> Option<u64> {
    let tick = |line: &str| line.get(..11)?.parse().ok();
    log.lines().rev().find_map(tick)
}

/// What Skerry reported of its run.
fn on_skerry(machine: &Machine, packed: &Packed) -> Result<Transcript> {
    let step = say::Step::begin("booting Linux on Skerry");
    let mut silent = Silent(Transcript::new(Keep::All));
    let ended = machine.boot(packed, Some(LIMIT), None, &mut silent)?;
    let Silent(run) = silent;
    ended.check(&run)?;
    step.done("");
    Ok(run)
}

/// The engine, with Linux in Skerry's place.
struct Bare {
    engine: Box<dyn Engine>,
    image: LinuxImage,
}

impl Engine for Bare {
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

    fn obstacles(&self) -> Vec<String> {
        self.engine.obstacles()
    }

    fn command(&self, filling: &Filling) -> Result<Command> {
        image::write_linux_iso(filling.folder, &self.image)?;
        let command = self.recipe().command(filling)?;
        // Stop at the kernel's first instruction, say when that is, and go on.
        let debugger = format!("lb {KERNEL_ENTRY:#x}\nc\nd 1\nc\n");
        fs::write(filling.folder.join("commands"), debugger).context("write commands")?;
        Ok(command)
    }

    fn log_lines(&self, folder: &Path) -> Vec<String> {
        self.engine.log_lines(folder)
    }
}

impl Figures {
    fn of(engine: &str, bare_ticks: u64, run: &Transcript) -> Result<Self> {
        let was_up = run.lines().any(|line| line.contains(MARK));
        let (Some(vm), Some(host), true) = (run.vms.first(), &run.host, was_up) else {
            let why = "Linux on Skerry did not come up";
            return Err(Failure::Run(format!("{why}\n{}", run.tail(15))).into());
        };
        let skerry_ticks = host.total_tsc.saturating_sub(host.first_guest_tsc);
        Ok(Self {
            engine: engine.into(),
            bare_ticks,
            skerry_ticks,
            ratio: skerry_ticks as f64 / bare_ticks.max(1) as f64,
            bar: BAR,
            guest_tsc: vm.guest_tsc,
            host_tsc: vm.host_tsc,
            idle_tsc: host.idle_tsc,
            exits: vm.exits.values().sum(),
            first_guest_tsc: host.first_guest_tsc,
        })
    }

    fn print(&self, format: Format) -> Result<()> {
        match format {
            Format::Table => print!("{}", self.text()),
            Format::Json => println!("{}", serde_json::to_string_pretty(self)?),
            Format::Csv => print!("{}", super::csv(std::slice::from_ref(self))?),
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut table = table::with_header(&["Debian cloud kernel, 128 MiB", "ticks"], &["ticks"]);
        for (what, ticks) in [
            ("bare: kernel's entry to userspace's end", self.bare_ticks),
            ("on Skerry: the same", self.skerry_ticks),
            ("  in the guest", self.guest_tsc),
            ("  in the hypervisor for it", self.host_tsc),
            ("  nothing to do", self.idle_tsc),
            ("exits", self.exits),
            (
                "before it: Skerry's entry to the guest's",
                self.first_guest_tsc,
            ),
        ] {
            table.add_row([what.to_string(), grouped(ticks)]);
        }
        format!(
            "{}ratio {:.3}, bar {BAR}; on {}, where a tick is an instruction or a tick of waiting\n",
            table::text(&table),
            self.ratio,
            self.engine
        )
    }

    fn check(&self) -> Result<()> {
        if self.ratio <= BAR {
            return Ok(());
        }
        Err(Failure::Run(format!(
            "over the bar: {:.3} is more than {BAR}",
            self.ratio
        ))
        .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_manifest::report::{HostReport, VmReport};

    #[test]
    fn the_kernels_entry_is_where_the_debugger_stopped_last() {
        let output = "Next at t=0\n(0) [0xfff0] f000:fff0\n(0) Breakpoint 1, 0x1000000 in ?? ()\n\
                      Next at t=178223907\n(0) [0x1000000] 0010:01000000\n";
        assert_eq!(entry_tick(output), Some(178_223_907));
        assert_eq!(entry_tick("Next at t=0\n"), None);
    }

    #[test]
    fn the_end_is_the_last_tick_in_the_log() {
        let log = "00000000000i[      ] start\n01234567890p[UNMAP ] >>PANIC<< Shutdown port\n\
                   ========================\nEvent type: PANIC\n";
        assert_eq!(last_tick(log), Some(1_234_567_890));
    }

    fn figures(total_tsc: u64) -> Result<Figures> {
        let mut run = Transcript::new(Keep::All);
        run.push(b"[alpha] userspace of alpha is up\n", |_| {});
        run.vms.push(VmReport::default());
        run.host = Some(HostReport {
            first_guest_tsc: 100,
            total_tsc,
            ..HostReport::default()
        });
        Figures::of("bochs", 1000, &run)
    }

    #[test]
    fn skerrys_own_start_does_not_count_and_the_bar_is_inclusive() {
        let at_the_bar = figures(1350).unwrap();
        assert_eq!(at_the_bar.skerry_ticks, 1250);
        assert!(at_the_bar.check().is_ok() && at_the_bar.text().contains("ratio 1.250"));
        assert!(figures(1360).unwrap().check().is_err());
    }

    #[test]
    fn a_linux_that_did_not_come_up_has_no_figures() {
        assert!(Figures::of("bochs", 1000, &Transcript::new(Keep::All)).is_err());
    }
}
