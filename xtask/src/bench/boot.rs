//! `cargo xtask bench boot`: what a Linux needs to its userspace, bare and on Skerry.
//!
//! Owns what is counted and the table: ticks of the time-stamp counter from the first
//! instruction of the kernel's image, decompression included, to the first of its
//! userspace, which reads the counter itself (`guest-stubs/src/linux/stopwatch.rs`).
//! Kernel, command line, initial RAM disk and memory are the same (`qemu/boot.toml`). The
//! run without Skerry is `bare_linux`'s. Called by `bench`.

use anyhow::{Context, Result};
use serde::Serialize;

use super::{Format, Silent, bare_linux};
use crate::bare::{self, Built};
use crate::engine::{self, Engine};
use crate::failure::Failure;
use crate::guests::Guests;
use crate::machine::{Machine, MachineArgs};
use crate::manifest::{self, Source};
use crate::paths;
use crate::summary::grouped;
use crate::transcript::{Keep, Transcript};
use crate::{say, table};

/// Skerry's bar: ticks as a guest over ticks bare.
const BAR: f64 = 1.25;
/// How long either run may take.
pub(super) const LIMIT: std::time::Duration = std::time::Duration::from_secs(400);
/// What the userspace says before the tick it began at.
const MARK: &str = "userspace at tsc ";

/// `bench boot`'s options.
#[derive(Debug, clap::Args)]
pub struct BootArgs {
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    machine: MachineArgs,
}

/// The result on one engine.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct Figures {
    engine: String,
    bare_ticks: u64,
    skerry_ticks: u64,
    ratio: f64,
    bar: f64,
    /// Of Skerry's whole run, switching off included: inside the guest, in the hypervisor
    /// for it, and with nothing to do.
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
/// A run failed, or a ratio is over the bar.
pub(super) fn run(args: &BootArgs) -> Result<()> {
    let source = manifest::read(&paths::recipes().join("boot.toml"))?;
    source.check()?;
    let engines = super::engines(&args.machine)?;
    for engine in &engines {
        engine::ensure_tools(engine.as_ref(), args.machine.install())?;
    }
    let built = bare::build(args.machine.install())?;
    let figures = engines
        .into_iter()
        .map(|engine| measure(engine, &built, &source, &args.machine));
    let figures = figures.collect::<Result<Vec<Figures>>>()?;
    print(&figures, args.format)?;
    check(&figures)
}

/// Both runs on one engine.
fn measure(
    engine: Box<dyn Engine>,
    built: &Built,
    source: &Source,
    args: &MachineArgs,
) -> Result<Figures> {
    let vms = &source.manifest.vms;
    let vm = vms.first().context("qemu/boot.toml has no VM")?;
    let machine = Machine::with(engine, built, args);
    let name = machine.engine.name();
    let guests = Guests {
        built,
        install: args.install(),
    };
    let step = say::Step::begin(format!("booting Linux on {name} without Skerry"));
    let bare_ticks = bare_linux::ticks(name, vm, &guests, args.after())?;
    step.done(&format!("{} ticks", grouped(bare_ticks)));
    let step = say::Step::begin(format!("booting Linux on {name} on Skerry"));
    let figures = Figures::of(name, bare_ticks, &vm.name, &on_skerry(&machine, source)?)?;
    step.done(&format!("{} ticks", grouped(figures.skerry_ticks)));
    Ok(figures)
}

/// What Skerry and its guest said.
fn on_skerry(machine: &Machine, source: &Source) -> Result<Transcript> {
    let packed = machine.pack(source)?;
    let mut silent = Silent(Transcript::new(Keep::All));
    let ended = machine.boot(&packed, Some(LIMIT), None, &mut silent)?;
    let Silent(run) = silent;
    ended.check(&run)?;
    Ok(run)
}

/// What the userspace read of its time-stamp counter.
pub(super) fn userspace_tsc<'a>(mut lines: impl Iterator<Item = &'a str>) -> Option<u64> {
    let tsc = lines.find_map(|line| line.strip_prefix(MARK))?;
    tsc.trim().parse().ok()
}

impl Figures {
    /// A VM's counter starts at 0, with its first instruction.
    fn of(engine: &str, bare_ticks: u64, vm: &str, run: &Transcript) -> Result<Self> {
        let userspace = userspace_tsc(run.of_vm(vm));
        let (Some(skerry_ticks), Some(vm), Some(host)) = (userspace, run.report_on(vm), &run.host)
        else {
            let why = "Linux on Skerry did not come up";
            return Err(Failure::Run(format!("{why}\n{}", run.tail(15))).into());
        };
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
}

fn print(figures: &[Figures], format: Format) -> Result<()> {
    match format {
        Format::Table => print!("{}", text(figures)),
        Format::Json => println!("{}", serde_json::to_string_pretty(figures)?),
        Format::Csv => print!("{}", super::csv(figures)?),
    }
    Ok(())
}

/// What is shown of [`Figures`], and what it is.
type Row = (&'static str, fn(&Figures) -> String);

const ROWS: [Row; 9] = [
    ("bare: kernel's first instruction to userspace's", |of| {
        grouped(of.bare_ticks)
    }),
    ("on Skerry: the same", |of| grouped(of.skerry_ticks)),
    ("ratio", |of| format!("{:.3}", of.ratio)),
    ("bar", |of| format!("{:.3}", of.bar)),
    ("in the guest, its switching off included", |of| {
        grouped(of.guest_tsc)
    }),
    ("in the hypervisor for it", |of| grouped(of.host_tsc)),
    ("nothing to do", |of| grouped(of.idle_tsc)),
    ("exits", |of| grouped(of.exits)),
    (
        "before it: Skerry's first instruction to the guest's",
        |of| grouped(of.first_guest_tsc),
    ),
];

fn text(figures: &[Figures]) -> String {
    let engines: Vec<&str> = figures.iter().map(|of| of.engine.as_str()).collect();
    let header = [&["Debian cloud kernel, in ticks"], &engines[..]].concat();
    let mut table = table::with_header(&header, &engines);
    for (what, shown) in ROWS {
        let mut row = vec![what.to_string()];
        row.extend(figures.iter().map(shown));
        table.add_row(row);
    }
    table::text(&table)
}

fn check(figures: &[Figures]) -> Result<()> {
    let over = figures.iter().filter(|of| of.ratio > of.bar);
    let over: Vec<String> = over
        .map(|of| format!("{:.3} on {} is more than {}", of.ratio, of.engine, of.bar))
        .collect();
    if over.is_empty() {
        return Ok(());
    }
    Err(Failure::Run(format!("over the bar: {}", over.join(", "))).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_manifest::report::{HostReport, VmReport};

    fn transcript(text: &str) -> Transcript {
        let mut run = Transcript::new(Keep::All);
        run.push(text.as_bytes(), |_| {});
        run.vms.push(VmReport {
            name: "alpha".into(),
            ..VmReport::default()
        });
        run.host = Some(HostReport::default());
        run
    }

    fn figures(engine: &str, text: &str) -> Result<Figures> {
        Figures::of(engine, 1000, "alpha", &transcript(text))
    }

    #[test]
    fn the_bar_is_inclusive_and_holds_for_each_engine() {
        let at_the_bar = figures("bochs", "[alpha] userspace at tsc 1250\n").unwrap();
        let over = figures("qemu-tcg", "[alpha] userspace at tsc 1260\n").unwrap();
        assert_eq!(at_the_bar.skerry_ticks, 1250);
        assert!(check(std::slice::from_ref(&at_the_bar)).is_ok());
        let error = check(&[at_the_bar, over]).unwrap_err().to_string();
        assert_eq!(error, "over the bar: 1.260 on qemu-tcg is more than 1.25");
    }

    #[test]
    fn engines_stand_side_by_side() {
        let both = ["bochs", "qemu-tcg"]
            .map(|engine| figures(engine, "[alpha] userspace at tsc 1100\n").unwrap());
        let text = text(&both);
        let line = |start| text.lines().find(|line| line.starts_with(start)).unwrap();
        assert_eq!(line("ratio").matches("1.100").count(), 2, "{text}");
        assert!(text.lines().next().unwrap().ends_with("bochs  qemu-tcg"));
    }

    #[test]
    fn a_linux_that_did_not_come_up_has_no_figures() {
        assert!(figures("bochs", "[alpha] Kernel panic\n").is_err());
        assert!(figures("bochs", "userspace at tsc 1\n").is_err());
    }
}
