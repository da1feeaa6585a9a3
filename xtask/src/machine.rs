//! Set-up to boot: the hypervisor built, an engine ready, runs to be made on it.
//!
//! Owns the order of the set-up, and what an ending means. Called by `run`, `test` and
//! `bench`, which differ in what they boot and how they listen.

use std::time::Duration;

use anyhow::Result;

use crate::bare::{self, Built};
use crate::bundle::{self, Packed};
use crate::engine::{self, Engine, On};
use crate::failure::Failure;
use crate::guests::Guests;
use crate::manifest::Source;
use crate::packages::Install;
use crate::paths::{self, After};
use crate::recipe::{Repeat, Wishes};
use crate::say;
use crate::session::{Boot, Ending, Listener};
use crate::terminal::Keyboard;
use crate::transcript::Transcript;

/// How many of a failed run's last lines are shown.
const TAIL_LINES: usize = 15;

/// What every command that boots something may be told.
#[derive(Clone, Debug, clap::Args)]
pub struct MachineArgs {
    /// The engine to run on [default: the fastest that can run here]; `test` and `bench` take
    /// several, with commas [default: all that can]
    #[arg(long, value_enum, value_name = "ENGINE", value_delimiter = ',')]
    pub on: Vec<On>,
    /// Make every run of one image the same to the instruction, where that is a choice;
    /// qemu-tcg is slower then
    #[arg(long)]
    pub deterministic: bool,
    /// Install nothing; if something is missing, say what to type and end with status 3
    #[arg(long)]
    pub no_install: bool,
    /// Keep the run's folder (image, engine's log) and say where it is
    #[arg(long)]
    pub keep: bool,
}

impl MachineArgs {
    /// What may be done about missing tools.
    pub fn install(&self) -> Install {
        if self.no_install {
            Install::Refused
        } else {
            Install::Allowed
        }
    }

    /// What was asked of the engine.
    pub fn wishes(&self) -> Wishes {
        Wishes {
            repeat: if self.deterministic {
                Repeat::Required
            } else {
                Repeat::AsItComes
            },
            gdb_port: None,
        }
    }

    /// What becomes of a run's folder.
    pub fn after(&self) -> After {
        if self.keep {
            After::Keep
        } else {
            After::Remove
        }
    }
}

/// An engine and a build, ready to boot.
pub struct Machine {
    /// The engine.
    pub engine: Box<dyn Engine>,
    /// The build.
    pub built: Built,
    install: Install,
    after: After,
}

/// How a boot went.
#[derive(Debug)]
pub struct Ended {
    /// How it came to its end.
    pub ending: Ending,
    /// What the engine itself said, if that may explain a failure.
    engine_lines: String,
    limit: Option<Duration>,
}

/// Chooses an engine, and checks what can be judged of `source` before anything is
/// installed, built or fetched.
///
/// # Errors
/// [`Failure::Input`] if the manifest is refused; no engine can run.
pub fn choose(args: &MachineArgs, wishes: Wishes, source: &Source) -> Result<Box<dyn Engine>> {
    source.check()?;
    let engine = engine::choose(&args.on, wishes)?;
    source.check_memory(engine.recipe().guest_memory_bytes())?;
    Ok(engine)
}

impl Machine {
    /// Sees to it that the engine's tools are here, and builds.
    ///
    /// # Errors
    /// A tool is missing, the build fails.
    pub fn set_up(engine: Box<dyn Engine>, args: &MachineArgs) -> Result<Self> {
        engine::ensure_tools(engine.as_ref(), args.install())?;
        let built = bare::build(args.install())?;
        Ok(Self::with(engine, &built, args))
    }

    /// A machine on this engine, with a build and tools that are here already.
    pub fn with(engine: Box<dyn Engine>, built: &Built, args: &MachineArgs) -> Self {
        Self {
            engine,
            built: built.clone(),
            install: args.install(),
            after: args.after(),
        }
    }

    /// Packs `source` for this machine.
    ///
    /// # Errors
    /// [`Failure::Input`] if it is refused; a guest that cannot be fetched.
    pub fn pack(&self, source: &Source) -> Result<Packed> {
        let guests = Guests {
            built: &self.built,
            install: self.install,
        };
        bundle::pack(source, &guests, self.engine.recipe())
    }

    /// Boots `packed`, and waits for the end.
    ///
    /// # Errors
    /// The engine cannot be started, a signal stopped us.
    pub fn boot(
        &self,
        packed: &Packed,
        limit: Option<Duration>,
        keyboard: Option<Keyboard>,
        listener: &mut dyn Listener,
    ) -> Result<Ended> {
        let folder = paths::run_folder(self.after)?;
        if self.after == After::Keep {
            say::note(&format!("keeping {}", folder.path().display()));
        }
        let hypervisor = self.built.hypervisor();
        let engine = self.engine.as_ref();
        let boot = Boot {
            engine,
            hypervisor: &hypervisor,
            packed,
            folder: folder.path(),
            limit,
        };
        let ending = boot.run(keyboard, listener)?;
        let engine_lines = boot.engine_lines(&ending);
        Ok(Ended {
            ending,
            engine_lines,
            limit,
        })
    }
}

impl Ended {
    /// Fails unless the hypervisor said its last line and nothing broke.
    ///
    /// # Errors
    /// [`Failure::Run`] or [`Failure::TimeLimit`], with what helps to find out why.
    pub fn check(&self, run: &Transcript) -> Result<(), Failure> {
        if let Some(panic) = &run.panic {
            let why = format!(
                "the hypervisor panicked at {}: {}",
                panic.location, panic.message
            );
            return Err(Failure::Run(self.explained(&why, run)));
        }
        match &self.ending {
            Ending::Stopped(why) => return Err(Failure::Run(self.explained(why, run))),
            Ending::TimeLimit => {
                let seconds = self.limit.unwrap_or_default().as_secs();
                let why = format!(
                    "the time limit of {seconds} s passed; `--timeout SECONDS` sets another"
                );
                return Err(Failure::TimeLimit(self.explained(&why, run)));
            }
            Ending::Closed | Ending::SwitchedOff => {}
        }
        if run.end.is_none() {
            let why = "the engine ended before the hypervisor's last line (`@skerry end`)";
            return Err(Failure::Run(self.explained(why, run)));
        }
        match run.damaged.first() {
            Some(damaged) => Err(Failure::Run(format!(
                "a report line was damaged: {damaged}"
            ))),
            None => Ok(()),
        }
    }

    fn explained(&self, why: &str, run: &Transcript) -> String {
        let mut text = format!("{why}\n");
        let tail = run.tail(TAIL_LINES);
        if !tail.is_empty() {
            text += &format!("  last lines of the console:\n{tail}");
        }
        if !self.engine_lines.is_empty() {
            text += &format!("  from the engine's own log:\n{}", self.engine_lines);
        }
        text.trim_end().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Keep;

    fn ended(ending: Ending) -> Ended {
        let limit = Some(Duration::from_secs(60));
        Ended {
            ending,
            engine_lines: "    VMCS host state invalid CR0\n".into(),
            limit,
        }
    }

    fn transcript(text: &str) -> Transcript {
        let mut run = Transcript::new(Keep::All);
        run.push(text.as_bytes(), |_| {});
        run
    }

    #[test]
    fn an_engine_that_ends_in_silence_has_failed_and_its_log_is_shown() {
        let run = transcript("skerry: entering\n");
        let error = ended(Ending::Closed).check(&run).unwrap_err().to_string();
        for part in [
            "@skerry end",
            "skerry: entering",
            "VMCS host state invalid CR0",
        ] {
            assert!(error.contains(part), "{part} is missing in {error}");
        }
    }

    #[test]
    fn a_run_with_its_last_line_is_well_even_if_the_engine_had_to_be_switched_off() {
        let run = transcript("@skerry end {\"status\":0}\n");
        assert!(ended(Ending::Closed).check(&run).is_ok());
        assert!(ended(Ending::SwitchedOff).check(&run).is_ok());
    }

    #[test]
    fn a_panic_is_named_with_its_place() {
        let run = transcript("@skerry panic {\"message\":\"boom\",\"location\":\"a.rs:1:2\"}\n");
        let error = ended(Ending::Closed).check(&run).unwrap_err().to_string();
        assert!(error.contains("a.rs:1:2: boom"), "{error}");
    }

    #[test]
    fn the_time_limit_is_its_own_status() {
        let error = ended(Ending::TimeLimit).check(&transcript("")).unwrap_err();
        assert!(matches!(error, Failure::TimeLimit(text) if text.contains("60 s")));
    }
}
