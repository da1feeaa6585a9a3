//! `cargo xtask`: Skerry's host side, from set-up to figures.
//!
//! Owns the command line. Every subcommand is a module of its own; what they share is
//! below them. Run `cargo xtask help` for all of it.
#![forbid(unsafe_code)]

mod bare;
mod bench;
mod bundle;
mod check;
mod command;
mod component;
mod conform;
mod count;
mod doctor;
mod engine;
mod failure;
mod gdb;
mod guests;
mod image;
mod leash;
mod lines;
mod machine;
mod manifest;
mod packages;
mod paths;
mod produce;
mod recipe;
mod record;
mod run;
mod say;
mod scenario;
mod screen;
mod session;
mod signals;
mod summary;
mod table;
mod terminal;
mod test;
mod toolchain;
mod transcript;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use failure::Failure;

/// Builds Skerry, runs guests on it, tests it and measures it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = failure::STATUSES)]
struct Cli {
    /// Print no progress, only results and errors
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Boot Skerry on an engine and run guests side by side
    #[command(after_help = RUN_HELP)]
    Run(run::RunArgs),
    /// Set up, then run the host's tests and every scenario on every engine that can run here
    Test(test::TestArgs),
    /// Measure on a real engine
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Run test kernels that others wrote as guests, and report on each
    #[command(after_help = conform::HELP)]
    Conform(conform::ConformArgs),
    /// Judge everything that needs no guest: format, lints, docs, licences, house rules
    Check(check::Options),
    /// Write a bootable ISO, and the ELF file and bundle in it, into a folder
    Image(produce::ImageArgs),
    /// Build the hypervisor, its components and the guest stubs for bare metal
    Build(produce::BuildArgs),
    /// Count the lines of code in ring 0 and in each component
    Lines,
    /// Show which tools and engines are here, and what is missing
    Doctor(doctor::DoctorArgs),
    #[command(hide = true)]
    Record(record::RecordArgs),
    #[command(hide = true)]
    Leash(leash::LeashArgs),
}

const RUN_HELP: &str = "\
Examples:
  cargo xtask run                           two Debian Linux and a stub
  cargo xtask run my.toml --console alpha   your VMs, the keyboard at alpha
  cargo xtask run --kernel vmlinuz --initrd initrd.img --append 'console=ttyS0 quiet'
  cargo xtask run --kernel debian:cloud --initrd busybox:interactive --console guest

In a manifest, and for --kernel and --initrd, a file is a path (from the manifest's
folder) or one of debian:cloud, debian:seabios, busybox:demo, busybox:interactive, stub:NAME.

Exit status: 0 every VM ended with status 0; 1 a VM, the hypervisor or the engine failed;
2 refused input; 3 a tool is missing; 124 the time limit passed; 130 Ctrl-C.";

fn main() -> ExitCode {
    restore_terminal_on_panic();
    let cli = Cli::parse();
    if cli.quiet {
        say::be_quiet();
    }
    match signals::install().and_then(|()| dispatch(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            failure::exit_code(&error)
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Bench(bench) => bench::run(&bench),
        Command::Conform(args) => conform::run(&args),
        Command::Check(options) => checks(&options),
        Command::Image(args) => produce::image(&args),
        Command::Build(args) => produce::build(&args),
        Command::Lines => count::run(),
        Command::Doctor(args) => doctor::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Leash(args) => leash::become_leashed(&args),
    }
}

fn checks(options: &check::Options) -> Result<()> {
    if check::run(paths::root(), options)? {
        return Ok(());
    }
    Err(Failure::Run("some checks failed".into()).into())
}

fn restore_terminal_on_panic() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        terminal::restore();
        default(panic);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_kernel_and_a_manifest_exclude_each_other() {
        assert!(Cli::try_parse_from(["x", "run", "a.toml", "--kernel", "k"]).is_err());
        assert!(Cli::try_parse_from(["x", "run", "--initrd", "i"]).is_err());
        assert!(Cli::try_parse_from(["x", "run", "--kernel", "k", "--memory", "64M"]).is_ok());
    }
}
