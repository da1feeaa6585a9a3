//! Images straight on an engine, with no Skerry below them.
//!
//! Owns how such a machine is started, as the section `[native]` of its recipe says, and how
//! it tells the image's end: by its own status, or in its log. Which of the ways an image can
//! be started is the caller's to know. Called by `conform`.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};
use regex::Regex;
use serde::Deserialize;

use super::Engine;
use crate::conform::End;
use crate::failure::Failure;
use crate::image::{self, KernelImage};
use crate::packages::Need;
use crate::recipe::{Filling, Recipe};
use crate::session::Ending;

/// The section `[native]` of a recipe.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NativeRecipe {
    /// The arguments, whatever is started.
    arguments: Vec<String>,
    /// More of them for a kernel that the engine itself loads; none: it loads none.
    kernel: Option<Vec<String>>,
    /// More of them for an ISO.
    iso: Vec<String>,
    /// More of them for firmware of one's own.
    #[serde(default)]
    firmware: Vec<String>,
    /// More of them for images that want test devices.
    #[serde(default)]
    test_devices: Vec<String>,
    /// The firmware where an image is none.
    #[serde(default)]
    usual_firmware: String,
    /// Files to write into the run's folder first.
    #[serde(default)]
    files: std::collections::BTreeMap<String, String>,
    /// Whether the engine's status is `2v + 1` for an image's exit value v.
    #[serde(default)]
    status_has_value: bool,
    /// The engine's log, where the marks below stand.
    log: String,
    /// Finds an image's exit value, in hexadecimal.
    value: Option<String>,
    /// Tells of a deliberate power-off.
    power_off: String,
    /// Tells that the CPU shut down.
    triple_fault: String,
    /// Tells of a reset, where that does not end the engine; the first is the power-on's.
    reset: Option<String>,
}

/// How an image is started.
#[derive(Clone, Debug)]
pub enum Start {
    /// The engine loads it.
    Kernel {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Its command line; a multiboot image finds the file's name before it.
        cmdline: String,
    },
    /// A boot loader does, from an ISO.
    Iso(KernelImage),
    /// It is the firmware.
    Firmware(Vec<u8>),
}

/// What an image is given.
#[derive(Clone, Debug)]
pub struct NativeImage {
    /// How it is started.
    pub start: Start,
    /// The name of its file.
    pub name: String,
    /// Its CPUs.
    pub vcpus: u32,
    /// Its memory.
    pub memory_mib: u64,
    /// Whether it wants the devices that test kernels want.
    pub test_devices: bool,
}

/// An engine with an image in Skerry's place.
pub struct Native {
    name: &'static str,
    needs: &'static [Need],
    whole: Recipe,
    recipe: NativeRecipe,
    image: NativeImage,
}

impl Native {
    /// The engine with this image in Skerry's place.
    ///
    /// # Errors
    /// Its recipe says nothing about that.
    pub fn new(engine: &dyn Engine, image: NativeImage) -> Result<Self> {
        let whole = engine.recipe().clone();
        let recipe = whole.native.clone().ok_or_else(|| {
            let why = format!("{}: its recipe has no section [native]", engine.name());
            Failure::Missing(why)
        })?;
        Ok(Self {
            name: engine.name(),
            needs: engine.needs(),
            whole,
            recipe,
            image,
        })
    }

    /// Follows the log of a run in `folder` for the image's exit value: some images go on
    /// after it, where no device ends the machine.
    pub fn follow(&self, folder: &Path) -> Follow {
        let value = self.recipe.value.as_deref();
        Follow {
            log: folder.join(&self.recipe.log),
            value: value.and_then(|pattern| Regex::new(pattern).ok()),
            read_bytes: 0,
        }
    }

    /// How the image ended; `heard` is how many bytes came from it.
    pub fn end(
        &self,
        ending: &Ending,
        status: Option<ExitStatus>,
        folder: &Path,
        heard: usize,
    ) -> End {
        let read = |name: &str| {
            let bytes = fs::read(folder.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let told = Told {
            status: status.and_then(|status| status.code()),
            log: read(&self.recipe.log),
            output: read("engine.out"),
            heard,
        };
        self.recipe.end(ending, &told)
    }

    /// How an image ended that ran out of time: some only start over and over.
    pub fn end_at_limit(&self, folder: &Path) -> End {
        self.end(&Ending::TimeLimit, None, folder, 0)
    }

    fn arguments(&self) -> Vec<String> {
        let more = match self.image.start {
            Start::Kernel { .. } => self.recipe.kernel.clone().unwrap_or_default(),
            Start::Iso(_) => self.recipe.iso.clone(),
            Start::Firmware(_) => self.recipe.firmware.clone(),
        };
        let wanted = self.image.test_devices.then_some(&self.recipe.test_devices);
        let parts = [&self.recipe.arguments, &more];
        let parts = parts.into_iter().chain(wanted);
        parts.flatten().cloned().collect()
    }

    /// Writes the image to where the recipe's arguments say it is.
    fn place(&self, folder: &Path) -> Result<()> {
        let file = folder.join(&self.image.name);
        match &self.image.start {
            Start::Kernel { bytes, .. } | Start::Firmware(bytes) => {
                fs::write(&file, bytes).with_context(|| format!("write {}", file.display()))
            }
            Start::Iso(kernel) => image::write_kernel_iso(folder, kernel).map(drop),
        }
    }

    fn fill(&self, template: &str, filling: &Filling) -> String {
        let firmware = match self.image.start {
            Start::Firmware(_) => &self.image.name,
            Start::Kernel { .. } | Start::Iso(_) => &self.recipe.usual_firmware,
        };
        let cmdline = match &self.image.start {
            Start::Kernel { cmdline, .. } => cmdline.as_str(),
            Start::Iso(_) | Start::Firmware(_) => "",
        };
        template
            .replace("{firmware}", firmware)
            .replace("{vcpus}", &self.image.vcpus.to_string())
            .replace("{memory_mib}", &self.image.memory_mib.to_string())
            .replace("{serial_port}", &filling.serial_port.to_string())
            .replace("{image}", &self.image.name)
            .replace("{cmdline}", cmdline)
    }
}

impl Engine for Native {
    fn name(&self) -> &'static str {
        self.name
    }

    fn recipe(&self) -> &Recipe {
        &self.whole
    }

    fn recipe_mut(&mut self) -> &mut Recipe {
        &mut self.whole
    }

    fn needs(&self) -> &'static [Need] {
        self.needs
    }

    fn command(&self, filling: &Filling) -> Result<Command> {
        self.place(filling.folder)?;
        for (name, template) in &self.recipe.files {
            let path = filling.folder.join(name);
            fs::write(&path, self.fill(template, filling))
                .with_context(|| format!("write {}", path.display()))?;
        }
        let arguments = self.arguments();
        let filled = arguments.iter().map(|word| self.fill(word, filling));
        let mut command = Command::new(self.whole.program());
        command.current_dir(filling.folder).args(filled);
        Ok(command)
    }
}

/// An engine's log, looked at while it grows.
pub struct Follow {
    log: PathBuf,
    value: Option<Regex>,
    /// How much of it needs no second look.
    read_bytes: u64,
}

impl Follow {
    /// Whether the log, since the last look, tells of an exit value.
    pub fn tells_value(&mut self) -> bool {
        let Some(value) = &self.value else {
            return false;
        };
        let Ok(mut log) = File::open(&self.log) else {
            return false;
        };
        let mut new = Vec::new();
        let read = log
            .seek(SeekFrom::Start(self.read_bytes))
            .and_then(|_| log.read_to_end(&mut new));
        if read.is_err() {
            return false;
        }
        // The last line may be half written.
        let whole = new
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        self.read_bytes = self.read_bytes.saturating_add(whole as u64);
        let lines = new.get(..whole).unwrap_or_default();
        value.is_match(&String::from_utf8_lossy(lines))
    }
}

/// What an engine told of a run that is over.
#[derive(Clone, Debug, Default)]
struct Told {
    status: Option<i32>,
    log: String,
    output: String,
    heard: usize,
}

impl NativeRecipe {
    /// Whether the engine loads kernels itself.
    pub fn loads_kernels(&self) -> bool {
        self.kernel.is_some()
    }

    /// Whether firmware of one's own can be started.
    pub fn takes_firmware(&self) -> bool {
        !self.firmware.is_empty() || !self.usual_firmware.is_empty()
    }

    fn end(&self, ending: &Ending, told: &Told) -> End {
        match ending {
            Ending::Stopped(_) | Ending::SwitchedOff => self.value(told).unwrap_or(End::Dismissed),
            Ending::TimeLimit if self.resets(told) > 1 => End::Reset,
            Ending::TimeLimit => End::Limit,
            Ending::Closed => self.own_end(told),
        }
    }

    fn own_end(&self, told: &Told) -> End {
        if let Some(value) = self.value(told) {
            return value;
        }
        if told.log.contains(&self.triple_fault) {
            return End::TripleFault;
        }
        if told.log.contains(&self.power_off) {
            return End::PowerOff;
        }
        match told.status {
            // It was told to end at a reset.
            Some(0) if self.status_has_value => End::Reset,
            _ => End::Broke(told.complaint()),
        }
    }

    /// The image's exit value. An engine that did not even start has status 1 too.
    fn value(&self, told: &Told) -> Option<End> {
        let of_log = || {
            let pattern = Regex::new(self.value.as_deref()?).ok()?;
            let last = pattern.captures_iter(&told.log).last()?;
            u32::from_str_radix(last.get(1)?.as_str(), 16).ok()
        };
        let of_status = || {
            let status = u32::try_from(told.status?).ok()?;
            (self.status_has_value && status % 2 == 1).then_some(status / 2)
        };
        let value = of_log().or_else(of_status)?;
        let silent = told.heard == 0 && !told.output.trim().is_empty();
        Some(if silent && self.status_has_value {
            End::Broke(told.complaint())
        } else {
            End::Value(value)
        })
    }

    fn resets(&self, told: &Told) -> usize {
        let mark = self.reset.as_deref();
        mark.map_or(0, |mark| told.log.matches(mark).count())
    }
}

impl Told {
    /// The engine's last line.
    fn complaint(&self) -> String {
        let mut lines = self.output.lines().rev().map(str::trim);
        let last = lines.find(|line| !line.is_empty());
        format!(
            "the engine ended: {}",
            last.unwrap_or("it does not say why")
        )
    }
}

#[cfg(test)]
#[path = "native_tests.rs"]
mod tests;
