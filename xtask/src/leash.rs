//! Engines on a leash: they never outlive us.
//!
//! Owns an engine's process. It gets a process group of its own, so that Ctrl-C reaches
//! only us and we end all of it; and the kernel kills it if we are killed ourselves
//! (`PR_SET_PDEATHSIG`). The latter can only be set from inside, so the engine is started
//! through `xtask leash`, which sets it and becomes the engine. Called by `session`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, getpid, getppid, kill_process_group};

/// Ourselves, even if the file was replaced by a newer build meanwhile.
const OURSELVES: &str = "/proc/self/exe";

/// A running engine; dropping it kills its whole process group.
#[derive(Debug)]
pub struct Leashed {
    child: Child,
    group: Option<Pid>,
}

/// What `xtask leash` gets on its command line.
#[derive(Debug, clap::Args)]
pub struct LeashArgs {
    /// The process to die with
    parent: i32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    words: Vec<OsString>,
}

impl Leashed {
    /// Starts `command` with nothing on its standard input.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &Command, stdout: Stdio, stderr: Stdio) -> Result<Self> {
        let mut leash = Command::new(OURSELVES);
        leash
            .arg("leash")
            .arg(getpid().as_raw_nonzero().to_string())
            .arg("--");
        leash.arg(command.get_program()).args(command.get_args());
        leash.current_dir(
            command
                .get_current_dir()
                .unwrap_or_else(|| crate::paths::root()),
        );
        leash
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr);
        let child = leash
            .spawn()
            .with_context(|| format!("start {}", command.get_program().to_string_lossy()))?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok(Self { child, group })
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("ask for the engine's status")
    }

    /// Its process number.
    #[cfg(test)]
    fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Leashed {
    fn drop(&mut self) {
        // Until it is waited for, the number is its own and no other process's.
        if let (Ok(None), Some(group)) = (self.child.try_wait(), self.group) {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// The inside of `xtask leash`: returns only if the program cannot be run.
///
/// # Errors
/// The parent is gone already, or the program cannot be started.
pub fn become_leashed(args: &LeashArgs) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the line above.
    let parent = getppid().map(|parent| parent.as_raw_nonzero().get());
    anyhow::ensure!(
        parent == Some(args.parent),
        "process {} is gone",
        args.parent
    );
    let (program, arguments) = args.words.split_first().context("nothing to run")?;
    Err(Command::new(program).args(arguments).exec())
        .with_context(|| format!("start {}", program.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn dropping_ends_a_process_that_would_run_on() {
        // In a test `/proc/self/exe` is the test program, so the leash itself is not used.
        let child = Command::new("sleep")
            .arg("1000")
            .process_group(0)
            .spawn()
            .unwrap();
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let leashed = Leashed { child, group };
        let process = PathBuf::from(format!("/proc/{}", leashed.id()));
        assert!(process.exists());
        drop(leashed);
        assert!(!process.exists());
    }
}
