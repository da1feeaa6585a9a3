//! Engines: what Skerry runs on when there is no machine to spare.
//!
//! Owns the trait and the choice. One file per engine; what they are started with is data
//! (`recipe`). Called by `session` and `doctor`.

mod bochs;
mod qemu;

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

use crate::failure::Failure;
use crate::packages::{self, Install, Need};
use crate::recipe::{Filling, Recipe};

/// A machine, real enough to boot Skerry.
pub trait Engine: Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// How it is started.
    fn recipe(&self) -> &Recipe;

    /// The jobs whose tools it needs.
    fn needs(&self) -> &'static [Need];

    /// What this machine lacks that no installation can give.
    fn obstacles(&self) -> Vec<String>;

    /// Prepares the run's folder, and returns the command that starts the machine.
    ///
    /// # Errors
    /// A file cannot be written, a tool fails.
    fn command(&self, filling: &Filling) -> Result<Command>;

    /// The lines of its own log that explain a failure; empty if it keeps none.
    fn log_lines(&self, folder: &Path) -> Vec<String>;
}

/// The value of `--on`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum On {
    /// The quickest that this machine can run
    #[default]
    Auto,
    /// VT-x in hardware, through nested KVM
    QemuKvm,
    /// VT-x in software, the same on every machine and in every run
    Bochs,
}

/// Every engine, the quickest first.
///
/// # Errors
/// A recipe cannot be read.
pub fn all() -> Result<Vec<Box<dyn Engine>>> {
    Ok(vec![
        Box::new(qemu::NestedKvm::new()?),
        Box::new(bochs::Bochs::new()?),
    ])
}

/// The engine that `--on` asks for; its tools may still have to be installed.
///
/// # Errors
/// [`Failure::Missing`]: this machine cannot run it.
pub fn choose(on: On) -> Result<Box<dyn Engine>> {
    let wanted = match on {
        On::Auto => None,
        On::QemuKvm => Some("qemu-kvm"),
        On::Bochs => Some("bochs"),
    };
    let mut reasons = String::new();
    for engine in all()? {
        if wanted.is_some_and(|wanted| wanted != engine.name()) {
            continue;
        }
        let obstacles = engine.obstacles();
        if obstacles.is_empty() {
            return Ok(engine);
        }
        reasons += &format!("\n  {}: {}", engine.name(), obstacles.join("; "));
    }
    Err(Failure::Missing(format!(
        "no engine can run here:{reasons}\n\
         `cargo xtask doctor` shows all of them; `--on bochs` runs on any x86-64 machine"
    ))
    .into())
}

/// Sees to it that an engine's tools are here.
///
/// # Errors
/// As [`packages::ensure`].
pub fn ensure_tools(engine: &dyn Engine, install: Install) -> Result<()> {
    engine
        .needs()
        .iter()
        .try_for_each(|need| packages::ensure(*need, install))
}
