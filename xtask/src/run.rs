//! `cargo xtask run`: everything from nothing to guests living side by side.
//!
//! Owns the command's options, and what is shown. Called by `main`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use skerry_manifest::VmManifest;

use crate::failure::Failure;
use crate::machine::{self, Machine, MachineArgs};
use crate::manifest::{self, Source};
use crate::recipe::Wishes;
use crate::screen::{RawScreen, Screen};
use crate::session::{Listener, Next};
use crate::terminal::{Attached, Keyboard};
use crate::transcript::{Keep, Transcript};
use crate::{paths, say, summary};

/// How long a run may take that nobody sits before.
const DEFAULT_LIMIT_S: u64 = 600;
/// The lines kept for a failure's message.
const KEPT_LINES: usize = 100;

/// `run`'s options.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The VMs to run; without it qemu/demo.toml: two Debian Linux and a stub
    #[arg(value_name = "MANIFEST.toml", conflicts_with = "kernel")]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    single: SingleArgs,
    /// Give the keyboard to this VM (Ctrl-A h shows the keys, Ctrl-A x quits)
    #[arg(long, value_name = "VM")]
    console: Option<String>,
    /// The time limit; 0 is none [default: 600, with --console or --gdb none]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Wait for gdb on this TCP port before the first instruction (not on bochs)
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "1234",
          require_equals = true)]
    gdb: Option<u16>,
    #[command(flatten)]
    machine: MachineArgs,
}

/// One VM without a manifest.
#[derive(Debug, clap::Args)]
struct SingleArgs {
    /// Run this one kernel: a Linux bzImage, an ELF file, a boot sector, or a name like
    /// debian:cloud or stub:hello-port
    #[arg(long, value_name = "FILE")]
    kernel: Option<String>,
    /// Its initial RAM disk, or a name like busybox:demo
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<String>,
    /// Its command line
    #[arg(
        long,
        value_name = "TEXT",
        requires = "kernel",
        default_value = "console=ttyS0"
    )]
    append: String,
    /// Its memory
    #[arg(long, value_name = "SIZE", requires = "kernel", default_value = "256M")]
    memory: String,
}

/// Runs the command.
///
/// # Errors
/// Whatever keeps every VM from ending well.
pub fn run(args: &RunArgs) -> Result<()> {
    let source = args.source()?;
    let wishes = Wishes {
        gdb_port: args.gdb,
        ..args.machine.wishes()
    };
    let engine = machine::choose(&args.machine, wishes, &source)?;
    let machine = Machine::set_up(engine, &args.machine)?;
    let packed = machine.pack(&source)?;
    let names = source
        .manifest
        .vms
        .iter()
        .map(|vm| vm.name.clone())
        .collect::<Vec<_>>();
    say::note(&format!(
        "booting {} on {}",
        names.join(", "),
        machine.engine.name()
    ));
    if let Some(port) = args.gdb {
        say::note(&how_to_attach(&machine.built.hypervisor(), port));
    }
    let attached = if args.console.is_some() {
        Attached::Yes
    } else {
        Attached::Not
    };
    let keyboard = Keyboard::take(attached)?;
    if keyboard.is_some() {
        say::note("Ctrl-A h shows the console's keys, Ctrl-A x quits");
    }
    let mut live = Live {
        transcript: Transcript::new(Keep::Last(KEPT_LINES)),
        screen: Screen::new(names),
        raw: (keyboard.is_some() && args.console.is_some()).then(RawScreen::default),
    };
    let ended = machine.boot(&packed, args.limit(), keyboard, &mut live)?;
    let transcript = live.finish();
    if !transcript.vms.is_empty() {
        print!("\n{}", summary::of(&transcript));
    }
    ended.check(&transcript)?;
    check_statuses(&transcript)
}

impl RunArgs {
    fn source(&self) -> Result<Source> {
        let mut source = match (&self.single.kernel, &self.manifest) {
            (Some(kernel), _) => self.single.source(kernel)?,
            (None, Some(path)) => manifest::read(path)?,
            (None, None) => manifest::read(&demo())?,
        };
        if let Some(console) = &self.console {
            source.manifest.attach = Some(console.clone());
        }
        Ok(source)
    }

    fn limit(&self) -> Option<Duration> {
        let default = if self.console.is_some() || self.gdb.is_some() {
            0
        } else {
            DEFAULT_LIMIT_S
        };
        let seconds = self.timeout.unwrap_or(default);
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }
}

impl SingleArgs {
    fn source(&self, kernel: &str) -> Result<Source> {
        let memory_bytes = manifest::parse_size(&self.memory)
            .map_err(|error| Failure::Input(format!("--memory {}: {error}", self.memory)))?;
        let vm = VmManifest {
            initrd: self.initrd.clone(),
            cmdline: self.append.clone(),
            ..VmManifest::new("guest".into(), memory_bytes, kernel.into())
        };
        Ok(manifest::single(vm, Path::new(".")))
    }
}

/// The machine starts before paging: only there do software breakpoints at the hypervisor's
/// linked addresses have nowhere to go.
fn how_to_attach(hypervisor: &Path, port: u16) -> String {
    format!(
        "the machine waits for `gdb {} -ex 'target remote 127.0.0.1:{port}'`; set the first \
         breakpoint with `hbreak`, then `continue`",
        hypervisor.display()
    )
}

/// The manifest of a run that names none.
fn demo() -> PathBuf {
    paths::recipes().join("demo.toml")
}

/// A run shown as it comes.
struct Live {
    transcript: Transcript,
    screen: Screen,
    raw: Option<RawScreen>,
}

impl Live {
    /// Shows what came without a line end; the rest is read from the transcript.
    fn finish(mut self) -> Transcript {
        self.transcript.finish(|line| self.screen.line(line));
        self.transcript
    }
}

impl Listener for Live {
    fn hear(&mut self, bytes: &[u8]) -> Next {
        match &mut self.raw {
            Some(raw) => {
                raw.show(bytes);
                self.transcript.push(bytes, |_| {});
            }
            None => self.transcript.push(bytes, |line| self.screen.line(line)),
        }
        if self.transcript.is_over() {
            Next::Over
        } else {
            Next::GoOn
        }
    }
}

/// Fails if a VM or the whole did not end with status 0.
fn check_statuses(run: &Transcript) -> Result<()> {
    let failed: Vec<String> = run
        .vms
        .iter()
        .filter(|vm| vm.status != 0)
        .map(|vm| {
            format!(
                "vm \"{}\" ended with status {}: {}",
                vm.name, vm.status, vm.stop
            )
        })
        .collect();
    let status = run.end.map_or(0, |end| end.status);
    match (failed.as_slice(), status) {
        ([], 0) => Ok(()),
        ([], status) => {
            Err(Failure::Run(format!("the hypervisor ended with status {status}")).into())
        }
        (failed, _) => Err(Failure::Run(failed.join("\n")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(text: &str) -> Transcript {
        let mut run = Transcript::new(Keep::All);
        run.push(text.as_bytes(), |_| {});
        run
    }

    #[test]
    fn a_vm_that_failed_fails_the_run_by_name() {
        let mut run = transcript("@skerry end {\"status\":0}\n");
        run.vms.push(skerry_manifest::report::VmReport {
            name: "beta".into(),
            status: 3,
            stop: "debug exit".into(),
            ..Default::default()
        });
        let error = check_statuses(&run).unwrap_err().to_string();
        assert_eq!(error, "vm \"beta\" ended with status 3: debug exit");
    }

    #[test]
    fn the_hypervisors_own_status_counts_too() {
        assert!(check_statuses(&transcript("@skerry end {\"status\":0}\n")).is_ok());
        assert!(check_statuses(&transcript("@skerry end {\"status\":1}\n")).is_err());
    }
}
