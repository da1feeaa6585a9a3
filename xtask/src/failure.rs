//! What an error means for the exit status.
//!
//! Owns the statuses a script can trust. Every module returns `anyhow::Error`; one that
//! knows better than "it failed" puts a [`Failure`] into the chain. Read by `main`.

use std::process::ExitCode;

/// An error with a meaning for the caller of `xtask`.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A VM, an engine, a build or a test failed.
    #[error("{0}")]
    Run(String),
    /// What the user gave cannot be run: file, key, value, way out.
    #[error("{0}")]
    Input(String),
    /// A tool is missing, or this machine cannot do what was asked.
    #[error("{0}")]
    Missing(String),
    /// The time limit passed.
    #[error("{0}")]
    TimeLimit(String),
    /// The user, or whoever started us, asked to stop, by this signal.
    #[error("stopped by signal {0}")]
    Interrupted(i32),
}

/// The statuses, for `--help`.
pub const STATUSES: &str = "\
Exit status:
  0    everything ended well (every VM with status 0, every test passed)
  1    a VM, the hypervisor, an engine, a build or a test failed
  2    refused input: a file, key or value, or the command line itself
  3    a tool is missing, or this machine cannot do what was asked
  124  the time limit passed
  130  stopped by Ctrl-C (128 + the signal's number for others)";

impl Failure {
    fn status(&self) -> u8 {
        match self {
            Self::Run(_) => 1,
            Self::Input(_) => 2,
            Self::Missing(_) => 3,
            Self::TimeLimit(_) => 124,
            Self::Interrupted(signal) => 128_u8.saturating_add(u8::try_from(*signal).unwrap_or(0)),
        }
    }
}

/// The exit status that `error` stands for; 1 where no [`Failure`] says otherwise.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    let known = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>());
    ExitCode::from(known.map_or(1, Failure::status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    fn code(failure: Failure) -> ExitCode {
        let error = Err::<(), _>(failure)
            .context("outer")
            .context("outermost")
            .unwrap_err();
        exit_code(&error)
    }

    #[test]
    fn the_status_is_found_below_any_context() {
        assert_eq!(code(Failure::Input("k".into())), ExitCode::from(2));
        assert_eq!(code(Failure::TimeLimit("t".into())), ExitCode::from(124));
        assert_eq!(code(Failure::Interrupted(2)), ExitCode::from(130));
    }

    #[test]
    fn an_error_nobody_classified_is_a_failed_run() {
        assert_eq!(exit_code(&anyhow::anyhow!("odd")), ExitCode::from(1));
    }
}
