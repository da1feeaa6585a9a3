//! Ctrl-C and its kin: noticed, never lost, never fatal before the clean-up.
//!
//! Owns the handlers for SIGINT, SIGTERM and SIGHUP. A signal ends the current wait with
//! [`Failure::Interrupted`], so that every guard on the way out kills its engine and
//! removes its files; a second one ends the process at once.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

use crate::failure::Failure;

struct Signals {
    arrived: Arc<AtomicUsize>,
    wake: UnixStream,
}

static SIGNALS: OnceLock<Signals> = OnceLock::new();

/// Installs the handlers; called once, by `main`.
///
/// # Errors
/// The system refuses a handler or a socket pair.
pub fn install() -> Result<()> {
    let (wake, write_end) = UnixStream::pair().context("socket pair for signals")?;
    let arrived = Arc::new(AtomicUsize::new(0));
    let again = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))?;
        flag::register(signal, Arc::clone(&again))?;
        flag::register_usize(signal, Arc::clone(&arrived), usize::try_from(signal)?)?;
        pipe::register(signal, write_end.try_clone()?)?;
    }
    let _ = SIGNALS.set(Signals { arrived, wake });
    Ok(())
}

/// Fails if a signal asked us to stop.
///
/// # Errors
/// [`Failure::Interrupted`] with the signal.
pub fn check() -> Result<(), Failure> {
    let arrived = SIGNALS
        .get()
        .map_or(0, |signals| signals.arrived.load(Ordering::Relaxed));
    match i32::try_from(arrived) {
        Ok(0) | Err(_) => Ok(()),
        Ok(signal) => Err(Failure::Interrupted(signal)),
    }
}

/// Readable once a signal arrived: for waiting on it along with other things.
pub fn wake() -> Option<impl AsFd> {
    SIGNALS.get().map(|signals| signals.wake.as_fd())
}
