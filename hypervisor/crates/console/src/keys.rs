//! The escape key: which bytes of the keyboard are ours and which are the guest's.
//!
//! Owns the grammar `Ctrl-A` + one key, as QEMU's and screen's users know it. Does not own
//! which VM is attached: [`crate::Mux`] tells, and the caller carries out what comes back.

/// What one byte from the keyboard means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Key {
    /// A byte for the attached VM.
    Input {
        /// Index of the VM.
        vm: usize,
        /// The byte.
        byte: u8,
    },
    /// Attach the keyboard to this VM: call [`crate::Mux::attach`].
    Attach(usize),
    /// List the VMs.
    List,
    /// End the run.
    Quit,
    /// Show the keys.
    Help,
    /// Nothing to do: the first half of an escape, an unknown key, or nobody is attached.
    Nothing,
}

/// The escape key, Ctrl-A.
pub(crate) const ESCAPE: u8 = 0x01;

/// What the key after the escape asks for, before it meets the list of VMs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Next,
    Previous,
    Pick(usize),
    List,
    Quit,
    Help,
    Literal,
    Unknown,
}

impl Command {
    /// The command of the key after the escape. Digits count from 1; 0 is the tenth.
    pub(crate) fn of(byte: u8) -> Self {
        match byte {
            b'n' => Self::Next,
            b'p' => Self::Previous,
            b'0' => Self::Pick(9),
            b'1'..=b'9' => Self::Pick(usize::from(byte.wrapping_sub(b'1'))),
            b'l' => Self::List,
            b'x' => Self::Quit,
            b'h' | b'?' => Self::Help,
            ESCAPE => Self::Literal,
            _ => Self::Unknown,
        }
    }
}
