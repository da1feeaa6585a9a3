//! The user's terminal: keys taken one by one, and given back in every case.
//!
//! Owns the terminal's mode. Keys go to the hypervisor from the start when a VM is
//! attached, else from the first escape key on; until then Ctrl-C ends the run.
//! Called by `session`; the panic hook calls [`restore`].

use std::io::{self, IsTerminal};
use std::sync::Mutex;

use anyhow::{Context, Result};
use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};

/// Ctrl-A: the console's escape key. From then on keys belong to the hypervisor.
pub const ESCAPE: u8 = 0x01;

/// The mode to go back to.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Who gets Ctrl-C.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attached {
    /// We do: it ends the run.
    Not,
    /// The VM with the keyboard does.
    Yes,
}

/// The keyboard, taken from the shell until it is dropped.
#[derive(Debug)]
pub struct Keyboard {
    attached: Attached,
}

impl Keyboard {
    /// Takes the keyboard, if standard input is a terminal and we are in its foreground.
    ///
    /// # Errors
    /// The terminal refuses its mode.
    pub fn take(attached: Attached) -> Result<Option<Self>> {
        let stdin = io::stdin();
        let ours = tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp());
        if !stdin.is_terminal() || !ours {
            return Ok(None);
        }
        let before = tcgetattr(&stdin).context("read the terminal's mode")?;
        if let Ok(mut kept) = BEFORE.lock() {
            *kept = Some(before);
        }
        let mut keyboard = Self { attached };
        keyboard.set_mode(attached)?;
        Ok(Some(keyboard))
    }

    /// Reads what was typed; empty if it is not for the hypervisor, `None` if the terminal
    /// is gone.
    ///
    /// # Errors
    /// The terminal cannot be read.
    pub fn read(&mut self) -> Result<Option<Vec<u8>>> {
        let mut keys = [0; 256];
        let count = rustix::io::read(io::stdin(), &mut keys).context("read the keyboard")?;
        let typed = keys.get(..count).unwrap_or_default();
        if typed.is_empty() {
            return Ok(None);
        }
        if self.attached == Attached::Yes {
            return Ok(Some(typed.to_vec()));
        }
        let Some(first) = typed.iter().position(|key| *key == ESCAPE) else {
            return Ok(Some(Vec::new()));
        };
        self.set_mode(Attached::Yes)?;
        Ok(Some(typed[first..].to_vec()))
    }

    fn set_mode(&mut self, attached: Attached) -> Result<()> {
        let mut mode = tcgetattr(io::stdin()).context("read the terminal's mode")?;
        match attached {
            Attached::Not => mode.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO),
            Attached::Yes => {
                mode.make_raw();
                // Our own lines still end as on any terminal.
                mode.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
            }
        }
        tcsetattr(io::stdin(), OptionalActions::Now, &mode).context("set the terminal's mode")?;
        self.attached = attached;
        Ok(())
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, if it was taken.
pub fn restore() {
    let before = BEFORE.lock().ok().and_then(|mut kept| kept.take());
    if let Some(mode) = before {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &mode);
    }
}
