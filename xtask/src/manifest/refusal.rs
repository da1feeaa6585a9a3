//! Refusals, each with the place of its key.
//!
//! Owns how a place is written: `file:line:column: vm "alpha": key `memory``, or the flag.
//! All of a manifest's refusals are shown at once.

use std::collections::BTreeMap;
use std::fmt::Display;

use anyhow::Result;

use crate::failure::Failure;

/// What was refused so far, a line each.
#[derive(Debug, Default)]
pub(super) struct Refusals(Vec<String>);

impl Refusals {
    pub(super) fn add(&mut self, place: impl Display, text: impl Display) {
        self.0.push(format!("{place}: {text}"));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_result(self) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        Err(Failure::Input(self.0.join("\n")).into())
    }
}

/// Where the keys of one VM were written.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// The VM as a whole, for keys that were left out.
    vm: String,
    keys: BTreeMap<String, String>,
}

impl Places {
    pub(super) fn new(vm: String, keys: BTreeMap<String, String>) -> Self {
        Self { vm, keys }
    }

    pub(super) fn of_flags() -> Self {
        let flags = [
            ("kernel", "--kernel"),
            ("initrd", "--initrd"),
            ("cmdline", "--append"),
            ("memory", "--memory"),
        ];
        let keys = flags.map(|(key, flag)| (key.to_string(), flag.to_string()));
        Self::new("--kernel".to_string(), keys.into())
    }

    /// The places of a VM that nobody wrote down.
    pub(super) fn of_vm(name: &str) -> Self {
        Self::new(format!("vm \"{name}\""), BTreeMap::new())
    }

    /// The place of a key.
    pub(super) fn of(&self, key: &str) -> &str {
        self.keys.get(key).unwrap_or(&self.vm)
    }
}
