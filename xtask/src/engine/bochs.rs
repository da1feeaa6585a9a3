//! Bochs: VT-x and EPT in software.
//!
//! One tick is one instruction, and a run repeats to the instruction. It boots the ISO
//! that real machines boot.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::Engine;
use crate::image::{self, Firmware};
use crate::packages::Need;
use crate::recipe::{Filling, Recipe};

/// How many lines of its log are shown.
const LOG_LINES: usize = 12;

#[derive(Debug)]
pub(super) struct Bochs {
    recipe: Recipe,
}

impl Bochs {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            recipe: Recipe::read("bochs")?,
        })
    }
}

impl Engine for Bochs {
    fn name(&self) -> &'static str {
        "bochs"
    }

    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn recipe_mut(&mut self) -> &mut Recipe {
        &mut self.recipe
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Bochs, Need::Iso]
    }

    fn command(&self, filling: &Filling) -> Result<Command> {
        image::write_iso(
            filling.folder,
            filling.hypervisor,
            filling.bundle,
            Firmware::Bios,
        )?;
        self.recipe.command(filling)
    }

    fn log_lines(&self, folder: &Path) -> Vec<String> {
        let log = fs::read(folder.join("bochs.log")).unwrap_or_default();
        telling_lines(&String::from_utf8_lossy(&log), &self.recipe.log_marks)
    }
}

/// The last lines with one of the marks in them.
fn telling_lines(log: &str, marks: &[String]) -> Vec<String> {
    let telling = |line: &&str| marks.iter().any(|mark| line.contains(mark.as_str()));
    let lines: Vec<String> = log.lines().filter(telling).map(String::from).collect();
    let start = lines.len().saturating_sub(LOG_LINES);
    lines[start..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failed_check_of_a_vm_entry_is_found_in_the_log() {
        let log = "00000000000i[      ] BXSHARE not set\n\
                   00079796160e[CPU0  ] VMFAIL: VMCS host state invalid CR0 0x00000000\n\
                   00079796161i[SER   ] com1: FIFO enabled\n\
                   00079796162p[CPU0  ] >>PANIC<< prefetch: running in bogus memory\n";
        let found = telling_lines(log, &Bochs::new().unwrap().recipe.log_marks);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("VMCS host state invalid CR0"));
    }
}
