//! Guests that nobody here wrote: Debian's cloud kernel, busybox and SeaBIOS.
//!
//! Owns the symbolic names that manifests may use instead of files: `debian:cloud`,
//! `debian:seabios`, `busybox:demo`, `busybox:interactive`, `linux:stopwatch`, and `stub:NAME`. The last two are
//! of this repository; the others are unpacked into the cache folder, and nothing is installed
//! on the host for them. Called by `bundle`.

mod debian;
mod initramfs;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::bare::Built;
use crate::failure::Failure;
use crate::packages::Install;
use crate::say;

pub use debian::{BUSYBOX, FIRMWARE, KERNEL};

/// Where symbolic names find their files.
#[derive(Clone, Debug)]
pub struct Guests<'a> {
    /// The stubs.
    pub built: &'a Built,
    /// What may be installed to get the rest.
    pub install: Install,
}

/// The names with one meaning, for messages.
const NAMES: &str = "debian:cloud, debian:seabios, busybox:demo, busybox:interactive, linux:stopwatch, \
     stub:NAME";

/// Whether a kernel or initrd of a manifest is a symbolic name rather than a path.
pub fn is_symbolic(name: &str) -> bool {
    matches!(
        name.split_once(':'),
        Some(("debian" | "busybox" | "linux" | "stub", _))
    )
}

impl Guests<'_> {
    /// The bytes a symbolic name stands for.
    ///
    /// # Errors
    /// An unknown name, or a guest that cannot be fetched.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        match name.split_once(':') {
            Some(("stub", stub)) => read(&self.built.stub(stub)?),
            Some(("debian", "cloud")) => read(&KERNEL.ensure(self.install)?.file),
            Some(("debian", "seabios")) => read(&FIRMWARE.ensure(self.install)?.file),
            Some(("busybox", "demo")) => self.initramfs(initramfs::DEMO_INIT),
            Some(("busybox", "interactive")) => self.initramfs(initramfs::INTERACTIVE_INIT),
            Some(("linux", "stopwatch")) => initramfs::only(&read(&self.built.stopwatch())?),
            _ => Err(
                Failure::Input(format!("no guest is called \"{name}\"; there are: {NAMES}")).into(),
            ),
        }
    }

    fn initramfs(&self, init: &str) -> Result<Vec<u8>> {
        let busybox = BUSYBOX.ensure(self.install)?;
        initramfs::build(&read(&busybox.file)?, init)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// Fetches what the demo needs, saying so; later runs find it in the cache.
///
/// # Errors
/// As [`Guests::bytes`].
pub fn fetch_all(install: Install) -> Result<()> {
    for guest in [&KERNEL, &BUSYBOX] {
        let found = guest.ensure(install)?;
        say::note(&format!(
            "guest {}: {}",
            found.package,
            found.file.display()
        ));
    }
    Ok(())
}
