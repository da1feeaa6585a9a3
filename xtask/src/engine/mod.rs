//! Engines: what Skerry runs on when there is no machine to spare.
//!
//! Owns the trait and the choice. One file per engine; what they are started with is data
//! (`recipe`). Called by `session` and `doctor`.

mod bochs;
pub mod native;
mod qemu;
mod tcg;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::failure::Failure;
use crate::packages::{self, Install, Need};
use crate::recipe::{Filling, Recipe, Wishes};
use crate::say;

/// A machine, real enough to boot Skerry.
pub trait Engine: Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// How it is started.
    fn recipe(&self) -> &Recipe;

    /// The same, to add what a run wishes.
    fn recipe_mut(&mut self) -> &mut Recipe;

    /// The jobs whose tools it needs.
    fn needs(&self) -> &'static [Need];

    /// What this machine lacks that no installation can give.
    fn obstacles(&self) -> Vec<String> {
        Vec::new()
    }

    /// Prepares the run's folder, and returns the command that starts the machine.
    ///
    /// # Errors
    /// A file cannot be written, a tool fails.
    fn command(&self, filling: &Filling) -> Result<Command> {
        self.recipe().command(filling)
    }

    /// The lines of its own log that explain a failure; empty if it keeps none.
    fn log_lines(&self, _folder: &Path) -> Vec<String> {
        Vec::new()
    }
}

/// A value of `--on`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum On {
    /// VT-x or AMD-V in hardware, through nested KVM
    QemuKvm,
    /// AMD-V in software
    QemuTcg,
    /// VT-x in software, the same on every machine and in every run
    Bochs,
}

/// The engines without `--on`, the fastest first.
const ORDER: [On; 3] = [On::QemuKvm, On::QemuTcg, On::Bochs];

impl On {
    fn engine(self) -> Result<Box<dyn Engine>> {
        Ok(match self {
            Self::QemuKvm => Box::new(qemu::NestedKvm::new()?),
            Self::QemuTcg => Box::new(tcg::Tcg::new()?),
            Self::Bochs => Box::new(bochs::Bochs::new()?),
        })
    }
}

/// Every engine, in the order of preference.
///
/// # Errors
/// A recipe cannot be read.
pub fn all() -> Result<Vec<Box<dyn Engine>>> {
    ORDER.into_iter().map(On::engine).collect()
}

/// The same engine once more, as it comes.
///
/// # Errors
/// A recipe cannot be read.
pub fn again(engine: &dyn Engine) -> Result<Box<dyn Engine>> {
    let named = all()?
        .into_iter()
        .find(|other| other.name() == engine.name());
    named.with_context(|| format!("no engine is called {}", engine.name()))
}

/// The one engine that `--on` asks for, or the first that can run here; its tools may still
/// have to be installed.
///
/// # Errors
/// [`Failure::Missing`]: this machine cannot run it, or it cannot do what is wished.
/// [`Failure::Input`]: `--on` names several.
pub fn choose(on: &[On], wishes: Wishes) -> Result<Box<dyn Engine>> {
    match on {
        [] => first(wishes),
        [one] => able(one.engine()?, wishes).map_err(|cannot| cannot.alone()),
        _ => Err(Failure::Input("--on: this command takes one engine at a time".into()).into()),
    }
}

/// The engines that `--on` asks for, or all that can run here.
///
/// # Errors
/// As [`choose`].
pub fn choose_all(on: &[On], wishes: Wishes) -> Result<Vec<Box<dyn Engine>>> {
    if !on.is_empty() {
        return on.iter().map(|one| choose(&[*one], wishes)).collect();
    }
    let sorted = sorted(wishes)?;
    let names: Vec<&str> = sorted.able.iter().map(|engine| engine.name()).collect();
    say::note(&format!("on {}", names.join(" and ")));
    sorted.say_against();
    Ok(sorted.able)
}

/// The first engine that can run here; says which, and what speaks against those before it.
fn first(wishes: Wishes) -> Result<Box<dyn Engine>> {
    let mut sorted = sorted(wishes)?;
    let engine = sorted.able.remove(0);
    say::note(&format!("on {}: {}", engine.name(), engine.recipe().title));
    sorted.say_against();
    Ok(engine)
}

/// The engines by whether they can run here.
struct Sorted {
    /// Those that can, at least one, the fastest first.
    able: Vec<Box<dyn Engine>>,
    /// Why the others cannot.
    against: Vec<String>,
}

impl Sorted {
    fn say_against(&self) {
        let against = self.against.iter();
        against.for_each(|why| say::note(&format!("not on {why}")));
    }
}

fn sorted(wishes: Wishes) -> Result<Sorted> {
    let mut sorted = Sorted {
        able: Vec::new(),
        against: Vec::new(),
    };
    for engine in all()? {
        match able(engine, wishes) {
            Ok(engine) => sorted.able.push(engine),
            Err(cannot) => sorted.against.push(cannot.to_string()),
        }
    }
    if !sorted.able.is_empty() {
        return Ok(sorted);
    }
    Err(Failure::Missing(format!(
        "no engine can run here:\n  {}\n\
         `cargo xtask doctor` shows all of them; `--on bochs` runs on any x86-64 machine",
        sorted.against.join("\n  ")
    ))
    .into())
}

/// The engine, told what is wished, if this machine can run it so.
fn able(mut engine: Box<dyn Engine>, wishes: Wishes) -> Result<Box<dyn Engine>, Cannot> {
    let mut obstacles = engine.obstacles();
    obstacles.extend(engine.recipe_mut().grant(wishes).err());
    if obstacles.is_empty() {
        return Ok(engine);
    }
    Err(Cannot {
        name: engine.name(),
        obstacles,
    })
}

/// Why an engine cannot run here.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {}", obstacles.join("; "))]
struct Cannot {
    name: &'static str,
    obstacles: Vec<String>,
}

impl Cannot {
    /// As the answer to an engine that was asked for by name.
    fn alone(&self) -> anyhow::Error {
        Failure::Missing(format!(
            "{self}\n`cargo xtask doctor` shows every engine; `--on bochs` runs on any x86-64 \
             machine"
        ))
        .into()
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Repeat;

    fn names(engines: Vec<Box<dyn Engine>>) -> Vec<&'static str> {
        engines.iter().map(|engine| engine.name()).collect()
    }

    #[test]
    fn every_engine_has_its_place_in_the_order() {
        let all = names(all().unwrap());
        for on in On::value_variants() {
            let name = on.to_possible_value().unwrap().get_name().to_string();
            assert_eq!(
                all.iter().filter(|found| **found == name).count(),
                1,
                "{name}"
            );
        }
    }

    #[test]
    fn an_engine_that_cannot_repeat_is_passed_over_where_that_is_wished() {
        let wishes = Wishes {
            repeat: Repeat::Required,
            gdb_port: None,
        };
        assert_eq!(
            names(choose_all(&[], wishes).unwrap()),
            ["qemu-tcg", "bochs"]
        );
        assert_eq!(choose(&[], wishes).unwrap().name(), "qemu-tcg");
        let both = [On::QemuTcg, On::Bochs];
        assert_eq!(
            names(choose_all(&both, wishes).unwrap()),
            ["qemu-tcg", "bochs"]
        );
        assert!(choose_all(&[On::QemuKvm], wishes).is_err());
    }

    #[test]
    fn an_engine_without_a_gdb_stub_says_so_when_asked_by_name() {
        let wishes = Wishes {
            repeat: Repeat::AsItComes,
            gdb_port: Some(1234),
        };
        let error = choose(&[On::Bochs], wishes).err().unwrap().to_string();
        assert!(
            error.contains("bochs: ") && error.contains("gdb"),
            "{error}"
        );
    }

    #[test]
    fn several_engines_are_for_commands_that_compare() {
        assert!(choose(&[On::Bochs, On::QemuTcg], Wishes::default()).is_err());
        let both = choose_all(&[On::Bochs, On::QemuTcg], Wishes::default()).unwrap();
        assert_eq!(names(both), ["bochs", "qemu-tcg"]);
    }
}
