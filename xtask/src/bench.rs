//! `cargo xtask bench`: figures from a real engine.
//!
//! Owns the bench of exits: what one exit costs a guest, beside what it costs elsewhere
//! (`qemu/peers.toml`). The measuring is the stub `exit-cost`'s. Called by `main`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::machine::{self, Machine, MachineArgs};
use crate::session::{Listener, Next};
use crate::transcript::{Keep, Transcript};
use crate::{manifest, paths, say, table};

/// The VM that measures.
const VM: &str = "exit-cost";
/// What its lines with figures start with.
const MARK: &str = "exit-cost ";
/// How long it may take.
const LIMIT: Duration = Duration::from_secs(300);

/// `bench`'s subcommands.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// What each kind of exit costs: ticks between two RDTSC in the guest, median of 256
    Exits(ExitsArgs),
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
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: a list of rows
    Json,
    /// For spreadsheets
    Csv,
}

/// What others cost, and what Skerry may.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Peers {
    source: String,
    row: Vec<Peer>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    id: String,
    what: String,
    bar: Option<u64>,
    kvm: Option<u64>,
    xen: Option<u64>,
}

/// One row of the result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Row {
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
    let BenchCommand::Exits(args) = command;
    let peers: Peers = toml::from_str(&fs::read_to_string(paths::recipes().join("peers.toml"))?)
        .context("qemu/peers.toml")?;
    let source = manifest::read(&paths::recipes().join("exits.toml"))?;
    let engine = machine::choose(&args.machine, &source)?;
    let machine = Machine::set_up(engine, &args.machine)?;
    let packed = machine.pack(&source)?;
    let step = say::Step::begin(format!("measuring on {}", machine.engine.name()));
    let mut silent = Silent(Transcript::new(Keep::All));
    let ended = machine.boot(&packed, Some(LIMIT), None, &mut silent)?;
    let Silent(run) = silent;
    ended.check(&run)?;
    step.done("");
    let rows = rows(&run, &peers);
    match args.format {
        Format::Table => print!("{}\n{}\n", rows_table(&rows), peers.source),
        Format::Json => println!("{}", serde_json::to_string_pretty(&rows)?),
        Format::Csv => print!("{}", csv(&rows)?),
    }
    check(&rows)
}

/// The rows of the peers' table in its order, then what else was measured.
fn rows(run: &Transcript, peers: &Peers) -> Vec<Row> {
    let mut measured: BTreeMap<&str, Option<u64>> = run.of_vm(VM).filter_map(figure).collect();
    let mut rows: Vec<Row> = peers
        .row
        .iter()
        .cloned()
        .map(
            |Peer {
                 id,
                 what,
                 bar,
                 kvm,
                 xen,
             }| {
                let ticks = measured.remove(id.as_str()).flatten();
                Row {
                    id,
                    what,
                    ticks,
                    bar,
                    kvm,
                    xen,
                }
            },
        )
        .collect();
    rows.extend(measured.into_iter().map(|(id, ticks)| {
        let (id, what) = (id.to_string(), String::new());
        Row {
            id,
            what,
            ticks,
            bar: None,
            kvm: None,
            xen: None,
        }
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

fn csv(rows: &[Row]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

impl Row {
    fn is_over(&self) -> bool {
        matches!((self.ticks, self.bar), (Some(ticks), Some(bar)) if ticks > bar)
    }
}

fn check(rows: &[Row]) -> Result<()> {
    if rows.iter().all(|row| row.ticks.is_none()) {
        return Err(Failure::Run(format!("the stub {VM} printed no figure")).into());
    }
    let over: Vec<&str> = rows
        .iter()
        .filter(|row| row.is_over())
        .map(|row| row.id.as_str())
        .collect();
    if over.is_empty() {
        return Ok(());
    }
    Err(Failure::Run(format!("over the bar: {}", over.join(", "))).into())
}

/// Only listens.
struct Silent(Transcript);

impl Listener for Silent {
    fn hear(&mut self, bytes: &[u8]) -> Next {
        self.0.push(bytes, |_| {});
        if self.0.is_over() {
            Next::Over
        } else {
            Next::GoOn
        }
    }
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
        rows(&run, &toml::from_str(peers).unwrap())
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
        assert_eq!(error, "over the bar: cpuid");
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
            text.starts_with("id,what,ticks,bar,kvm,xen\ncpuid,\"CPUID, leaf 0\",9,300,1063,\n"),
            "{text}"
        );
    }

    #[test]
    fn the_repositorys_peers_can_be_read() {
        let text = fs::read_to_string(paths::recipes().join("peers.toml")).unwrap();
        let peers: Peers = toml::from_str(&text).unwrap();
        assert!(
            peers
                .row
                .iter()
                .any(|row| row.id == "cpuid" && row.bar == Some(300))
        );
    }
}
