//! Machine recipes: how an engine is started, as data in `qemu/*.toml`.
//!
//! Owns their schema and the filling in of placeholders. What an engine needs to be there
//! is its file's in `engine`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;
use skerry_manifest::PortWrite;

use crate::engine::native::NativeRecipe;
use crate::failure::Failure;
use crate::paths;

/// One machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What it gives, for people.
    pub title: String,
    /// The program.
    program: String,
    /// Its arguments, with placeholders.
    arguments: Vec<String>,
    /// The writes that switch the machine off.
    pub power_off: Vec<PortWrite>,
    /// Whether its CPU does wrong when it looks after guests' local APICs.
    #[serde(default)]
    pub apic_fails: bool,
    /// Whether two runs of one image are the same to the instruction.
    #[serde(default)]
    pub repeats: bool,
    /// Arguments with which two runs of one image are the same; empty if there are none.
    #[serde(default)]
    repeat_arguments: Vec<String>,
    /// Arguments with which it waits for gdb; empty if it has no stub.
    #[serde(default)]
    gdb_arguments: Vec<String>,
    /// Memory for firmware, boot loader and hypervisor, beside guests and bundle.
    base_memory_mib: u64,
    /// The most memory this machine can have.
    max_memory_mib: u64,
    /// Files to write into the run's folder first, with placeholders.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Parts of the engine's own log that explain a failure.
    #[serde(default)]
    pub log_marks: Vec<String>,
    /// How much longer than on hardware an image may take here.
    #[serde(default = "one")]
    pub patience: u64,
    /// How an image runs straight on it, without Skerry.
    pub native: Option<NativeRecipe>,
}

fn one() -> u64 {
    1
}

/// Whether a run must be the same every time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Repeat {
    /// The quickest way of the engine.
    #[default]
    AsItComes,
    /// If the engine can do so at all.
    WherePossible,
    /// An engine that cannot is not taken.
    Required,
}

/// What a run wishes of its engine beyond the recipe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wishes {
    /// Whether it must be the same every time.
    pub repeat: Repeat,
    /// The TCP port on 127.0.0.1 to wait for gdb at.
    pub gdb_port: Option<u16>,
}

/// What a recipe is filled in with.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    /// The run's folder.
    pub folder: &'a Path,
    /// The hypervisor's ELF file.
    pub hypervisor: &'a Path,
    /// The bundle.
    pub bundle: &'a Path,
    /// The TCP port on 127.0.0.1 that COM1 connects to.
    pub serial_port: u16,
    /// The machine's memory.
    pub memory_mib: u64,
}

impl Recipe {
    /// Reads `qemu/NAME.toml`.
    ///
    /// # Errors
    /// It cannot be read, or is no recipe.
    pub fn read(name: &str) -> Result<Self> {
        let path = paths::recipes().join(format!("{name}.toml"));
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        toml::from_str(&text)
            .map_err(|error| Failure::Input(format!("{}: {error}", path.display())).into())
    }

    /// Adds what `wishes` asks for.
    ///
    /// # Errors
    /// What this engine cannot do, for people.
    pub fn grant(&mut self, wishes: Wishes) -> Result<(), String> {
        if let Some(port) = wishes.gdb_port {
            if !self.takes_gdb() {
                return Err("it has no stub for gdb".into());
            }
            let port = port.to_string();
            let filled = self
                .gdb_arguments
                .iter()
                .map(|word| word.replace("{gdb_port}", &port));
            self.arguments.extend(filled);
        }
        match wishes.repeat {
            Repeat::Required if !self.repeats && self.repeat_arguments.is_empty() => {
                Err("it cannot repeat a run exactly".into())
            }
            Repeat::AsItComes => Ok(()),
            Repeat::Required | Repeat::WherePossible => {
                self.repeats |= !self.repeat_arguments.is_empty();
                self.arguments.append(&mut self.repeat_arguments);
                Ok(())
            }
        }
    }

    /// The program that is the engine.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Whether it has a stub for gdb.
    pub fn takes_gdb(&self) -> bool {
        !self.gdb_arguments.is_empty()
    }

    /// The most memory that all guests together can have, with an empty bundle.
    pub fn guest_memory_bytes(&self) -> u64 {
        self.max_memory_mib.saturating_sub(self.base_memory_mib) << 20
    }

    /// The machine's memory for guests of `guest_bytes` and a bundle of `bundle_bytes`.
    ///
    /// # Errors
    /// [`Failure::Input`] if that is more than this machine can have.
    pub fn memory_mib(&self, guest_bytes: u64, bundle_bytes: u64) -> Result<u64> {
        // The bundle twice: the boot loader's copy, and its own working space for it.
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let needed = mib(guest_bytes)
            .saturating_add(mib(bundle_bytes).saturating_mul(2))
            .saturating_add(self.base_memory_mib)
            .next_multiple_of(32);
        if needed <= self.max_memory_mib {
            return Ok(needed);
        }
        Err(Failure::Input(format!(
            "the VMs' `memory` adds up to {} MiB, which needs a machine of {needed} MiB; \
             {} can have {} MiB: give the VMs less, or run fewer of them",
            mib(guest_bytes),
            self.program,
            self.max_memory_mib
        ))
        .into())
    }

    /// Writes the recipe's files, and returns the command that starts the machine.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn command(&self, filling: &Filling) -> Result<Command> {
        for (name, template) in &self.files {
            let path = filling.folder.join(name);
            fs::write(&path, filling.fill(template))
                .with_context(|| format!("write {}", path.display()))?;
        }
        let mut command = Command::new(&self.program);
        command.current_dir(filling.folder);
        command.args(self.arguments.iter().map(|argument| filling.fill(argument)));
        Ok(command)
    }
}

impl Filling<'_> {
    fn fill(&self, template: &str) -> String {
        let path = |path: &Path| path.display().to_string();
        template
            .replace("{hypervisor}", &path(self.hypervisor))
            .replace("{bundle}", &path(self.bundle))
            .replace("{serial_port}", &self.serial_port.to_string())
            .replace("{memory_mib}", &self.memory_mib.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_in_the_repository_can_be_read_and_leaves_no_placeholder() {
        for name in ["bochs", "qemu-kvm", "qemu-tcg"] {
            let folder = tempfile::tempdir().unwrap();
            let mut recipe = Recipe::read(name).unwrap();
            let wishes = Wishes {
                repeat: Repeat::WherePossible,
                gdb_port: (name != "bochs").then_some(1234),
            };
            recipe.grant(wishes).unwrap();
            let filling = Filling {
                folder: folder.path(),
                hypervisor: Path::new("/h"),
                bundle: Path::new("/b"),
                serial_port: 4711,
                memory_mib: 96,
            };
            let command = recipe.command(&filling).unwrap();
            let written = recipe
                .files
                .keys()
                .map(|file| fs::read_to_string(folder.path().join(file)));
            let all =
                written.map(Result::unwrap).collect::<String>() + &crate::command::shown(&command);
            assert!(!all.contains('{'), "{name}: {all}");
            assert_eq!(command.get_current_dir(), Some(folder.path()));
            assert!(all.contains("4711") && all.contains("96"), "{name}: {all}");
        }
    }

    #[test]
    fn a_wish_for_exact_repetition_is_granted_by_arguments_or_refused() {
        let wishes = Wishes {
            repeat: Repeat::Required,
            gdb_port: None,
        };
        let mut tcg = Recipe::read("qemu-tcg").unwrap();
        assert!(!tcg.repeats && !tcg.arguments.iter().any(|word| word == "-icount"));
        tcg.grant(wishes).unwrap();
        assert!(tcg.repeats && tcg.arguments.iter().any(|word| word == "-icount"));
        assert!(Recipe::read("bochs").unwrap().grant(wishes).is_ok());
        assert!(Recipe::read("qemu-kvm").unwrap().grant(wishes).is_err());
    }

    #[test]
    fn more_memory_than_the_machine_can_have_is_refused_with_both_numbers() {
        let recipe = Recipe::read("bochs").unwrap();
        let error = recipe.memory_mib(1 << 39, 0).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("524288 MiB") && text.contains("`memory`"),
            "{text}"
        );
        assert!(matches!(error.downcast_ref(), Some(Failure::Input(_))));
    }

    #[test]
    fn the_bundle_and_the_firmware_get_memory_too() {
        let recipe = Recipe::read("bochs").unwrap();
        let mib = recipe.memory_mib(256 << 20, 10 << 20).unwrap();
        assert!(mib >= 256 + 20 + recipe.base_memory_mib, "{mib}");
    }
}
