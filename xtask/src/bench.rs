//! `cargo xtask bench`: figures from real engines.
//!
//! Owns the bench of exits: what one exit costs a guest, beside what it costs elsewhere on
//! the same engine (`qemu/peers.toml`). The measuring is the stub `exit-cost`'s. Called by
//! `main`.

mod bare_linux;
mod boot;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::engine::{self, Engine};
use crate::failure::Failure;
use crate::machine::{Machine, MachineArgs};
use crate::manifest::{self, Source};
use crate::recipe::{Repeat, Wishes};
use crate::session::Silent;
use crate::transcript::{Keep, Transcript};
use crate::{paths, say, table};

/// The VM that measures.
const VM: &str = "exit-cost";
/// What its lines with figures start with.
const MARK: &str = "exit-cost ";
/// What the names of rows end with that only `qemu/exits-software.toml` has.
const EXIT_SUFFIX: &str = "-exit";
/// How long it may take.
const LIMIT: Duration = Duration::from_secs(300);

/// `bench`'s subcommands.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// What each kind of exit costs: ticks between two RDTSC in the guest, median of 256
    Exits(ExitsArgs),
    /// What a Linux needs to its userspace, as a guest against bare
    Boot(boot::BootArgs),
}

/// `bench exits`' options.
#[derive(Debug, clap::Args)]
pub struct ExitsArgs {
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    machine: MachineArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: a list of rows
    Json,
    /// For spreadsheets
    Csv,
}

/// What others cost, and what Skerry may, on one engine.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Peers {
    source: String,
    row: Vec<Peer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    id: String,
    what: String,
    bar: Option<u64>,
    kvm: Option<u64>,
    xen: Option<u64>,
}

impl Peers {
    /// Whether local APICs are also to be measured without the CPU's help.
    fn has_exit_rows(&self) -> bool {
        self.row.iter().any(|row| row.id.ends_with(EXIT_SUFFIX))
    }
}

/// One row of the result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Row {
    engine: String,
    id: String,
    what: String,
    ticks: Option<u64>,
    bar: Option<u64>,
    kvm: Option<u64>,
    xen: Option<u64>,
}

/// Runs the command.
///
/// # Errors
/// The run failed, or a figure is over its bar.
pub fn run(command: &BenchCommand) -> Result<()> {
    match command {
        BenchCommand::Exits(args) => exits(args),
        BenchCommand::Boot(args) => boot::run(args),
    }
}

fn exits(args: &ExitsArgs) -> Result<()> {
    let mut peers = peers()?;
    let read = |name: &str| manifest::read(&paths::recipes().join(name));
    let (source, by_exits) = (read("exits.toml")?, read("exits-software.toml")?);
    let mut all = Vec::new();
    for engine in engines(&args.machine)? {
        let peers = peers.remove(engine.name()).unwrap_or_default();
        let machine = Machine::set_up(engine, &args.machine)?;
        let mut runs = vec![measure(&machine, &source)?];
        if peers.has_exit_rows() {
            runs.push(measure(&machine, &by_exits)?);
        }
        let rows = rows(machine.engine.name(), &runs, &peers);
        if args.format == Format::Table {
            println!("{}{}\n", rows_table(&rows), peers.source);
        }
        all.extend(rows);
    }
    match args.format {
        Format::Table => {}
        Format::Json => println!("{}", serde_json::to_string_pretty(&all)?),
        Format::Csv => print!("{}", csv(&all)?),
    }
    check(&all)
}

/// The peers' figures, by engine.
fn peers() -> Result<BTreeMap<String, Peers>> {
    let text = fs::read_to_string(paths::recipes().join("peers.toml"))?;
    toml::from_str(&text).context("qemu/peers.toml")
}

/// Those of `--on`, or all that can run here: as instructions, wherever it can be.
fn engines(args: &MachineArgs) -> Result<Vec<Box<dyn Engine>>> {
    let wishes = Wishes {
        repeat: Repeat::WherePossible,
        ..args.wishes()
    };
    engine::choose_all(&args.on, wishes)
}

/// What came out.
fn measure(machine: &Machine, source: &Source) -> Result<Transcript> {
    let packed = machine.pack(source)?;
    let step = say::Step::begin(format!("measuring on {}", machine.engine.name()));
    let mut silent = Silent(Transcript::new(Keep::All));
    let ended = machine.boot(&packed, Some(LIMIT), None, &mut silent)?;
    let Silent(run) = silent;
    ended.check(&run)?;
    step.done("");
    Ok(run)
}

/// The rows of the peers' table in its order, then what else was measured.
fn rows(engine: &str, runs: &[Transcript], peers: &Peers) -> Vec<Row> {
    let lines = runs.iter().flat_map(|run| run.of_vm(VM));
    let mut measured: BTreeMap<&str, Option<u64>> = lines.filter_map(figure).collect();
    let mut rows: Vec<Row> = Vec::new();
    for peer in &peers.row {
        let ticks = measured.remove(peer.id.as_str()).flatten();
        rows.push(Row::new(engine, peer.clone(), ticks));
    }
    rows.extend(measured.into_iter().map(|(id, ticks)| {
        let peer = Peer {
            id: id.into(),
            ..Peer::default()
        };
        Row::new(engine, peer, ticks)
    }));
    rows
}

/// `exit-cost ROW TICKS`, or `n/a` where the machine has no such thing.
fn figure(line: &str) -> Option<(&str, Option<u64>)> {
    let (id, ticks) = line.strip_prefix(MARK)?.split_once(' ')?;
    match ticks.trim() {
        "n/a" => Some((id, None)),
        number => Some((id, Some(number.parse().ok()?))),
    }
}

fn rows_table(rows: &[Row]) -> String {
    let header = ["row", "the guest does", "ticks", "bar", "", "KVM", "Xen"];
    let mut table = table::with_header(&header, &["ticks", "bar", "KVM", "Xen"]);
    let number = |value: Option<u64>| value.map_or("-".into(), crate::summary::grouped);
    for row in rows {
        let over = if row.is_over() { "OVER" } else { "" };
        table.add_row([
            row.id.clone(),
            row.what.clone(),
            number(row.ticks),
            number(row.bar),
            over.into(),
            number(row.kvm),
            number(row.xen),
        ]);
    }
    table::text(&table)
}

fn csv(rows: &[impl Serialize]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

impl Row {
    fn new(engine: &str, peer: Peer, ticks: Option<u64>) -> Self {
        let Peer {
            id,
            what,
            bar,
            kvm,
            xen,
        } = peer;
        Self {
            engine: engine.into(),
            id,
            what,
            ticks,
            bar,
            kvm,
            xen,
        }
    }

    fn is_over(&self) -> bool {
        matches!((self.ticks, self.bar), (Some(ticks), Some(bar)) if ticks > bar)
    }
}

fn check(rows: &[Row]) -> Result<()> {
    if rows.iter().all(|row| row.ticks.is_none()) {
        return Err(Failure::Run(format!("the stub {VM} printed no figure")).into());
    }
    let over: Vec<String> = rows
        .iter()
        .filter(|row| row.is_over())
        .map(|row| format!("{} on {}", row.id, row.engine))
        .collect();
    if over.is_empty() {
        return Ok(());
    }
    Err(Failure::Run(format!("over the bar: {}", over.join(", "))).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(text: &str) -> Vec<Row> {
        let peers = r#"
            source = "s"
            row = [
                { id = "cpuid", what = "CPUID, leaf 0", bar = 300, kvm = 1063 },
                { id = "hypercall", what = "hypercall", bar = 300 },
            ]"#;
        let mut run = Transcript::new(Keep::All);
        run.push(text.as_bytes(), |_| {});
        rows("bochs", &[run], &toml::from_str(peers).unwrap())
    }

    #[test]
    fn only_the_measuring_vms_lines_count_and_new_rows_come_last() {
        let rows = measured(
            "[exit-cost] exit-cost new 7\n[exit-cost] exit-cost cpuid 250\n[b] exit-cost cpuid 1\n",
        );
        let ticks: Vec<(&str, Option<u64>)> = rows
            .iter()
            .map(|row| (row.id.as_str(), row.ticks))
            .collect();
        assert_eq!(
            ticks,
            [("cpuid", Some(250)), ("hypercall", None), ("new", Some(7))]
        );
        assert!(check(&rows).is_ok());
    }

    #[test]
    fn a_figure_over_its_bar_fails_by_name() {
        let rows =
            measured("[exit-cost] exit-cost cpuid 301\n[exit-cost] exit-cost hypercall n/a\n");
        let error = check(&rows).unwrap_err().to_string();
        assert_eq!(error, "over the bar: cpuid on bochs");
        assert!(rows_table(&rows).contains("OVER"));
    }

    #[test]
    fn no_figure_at_all_is_a_failure() {
        assert!(check(&measured("")).is_err());
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let text = csv(&measured("[exit-cost] exit-cost cpuid 9\n")).unwrap();
        assert!(
            text.starts_with(
                "engine,id,what,ticks,bar,kvm,xen\nbochs,cpuid,\"CPUID, leaf 0\",9,300,1063,\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn the_repositorys_peers_can_be_read_and_belong_to_engines() {
        let engines = engine::all().unwrap();
        for (name, peers) in peers().unwrap() {
            assert!(engines.iter().any(|engine| engine.name() == name), "{name}");
            let of = |id: &str| peers.row.iter().find(|row| row.id == id);
            assert!(of("cpuid").is_some_and(|row| row.bar < row.kvm), "{name}");
        }
    }
}
