//! Bootable images: the ISO that GRUB starts Skerry from.
//!
//! Owns the ISO's layout and GRUB's configuration. The bundle's content is `bundle`'s.
//! Called by the Bochs engine, and by `xtask image` for real machines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// Which firmware the ISO starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Firmware {
    /// BIOS only: the quickest to make, enough for Bochs.
    Bios,
    /// Every one that GRUB is installed for: BIOS, and UEFI with `grub-efi-amd64-bin`.
    All,
}

/// What GRUB does: no menu, no waiting, multiboot2 with the bundle as its one module.
const GRUB_CFG: &str = "\
set timeout=0
set default=0
menuentry skerry {
    multiboot2 /boot/skerry
    module2 /boot/bundle bundle
}
";

/// GRUB's modules that the configuration needs; fewer make a smaller core to load.
const MODULES: &str = "multiboot2 normal iso9660 biosdisk";

/// Where Debian has GRUB's BIOS modules.
const GRUB_BIOS: &str = "/usr/lib/grub/i386-pc";

/// Makes `folder/skerry.iso` from the hypervisor's ELF file and a bundle.
///
/// # Errors
/// The folder cannot be written, or `grub-mkrescue` fails.
pub fn write_iso(
    folder: &Path,
    hypervisor: &Path,
    bundle: &Path,
    firmware: Firmware,
) -> Result<PathBuf> {
    let tree = folder.join("iso");
    let boot = tree.join("boot");
    fs::create_dir_all(boot.join("grub")).with_context(|| format!("create {}", boot.display()))?;
    fs::write(boot.join("grub/grub.cfg"), GRUB_CFG).context("write grub.cfg")?;
    place(hypervisor, &boot.join("skerry"))?;
    place(bundle, &boot.join("bundle"))?;
    let iso = folder.join("skerry.iso");
    command::output(&mut grub_mkrescue(&tree, &iso, firmware))?;
    fs::remove_dir_all(&tree).with_context(|| format!("remove {}", tree.display()))?;
    Ok(iso)
}

/// A hard link where that is possible, else a copy.
fn place(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).map(drop))
        .with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

fn grub_mkrescue(tree: &Path, iso: &Path, firmware: Firmware) -> Command {
    let mut command = Command::new("grub-mkrescue");
    command.args(["--locales=", "--fonts=", "--themes="]);
    if firmware == Firmware::Bios {
        command.args(["-d", GRUB_BIOS, "--install-modules", MODULES]);
    }
    command.arg("-o").arg(iso).arg(tree);
    command
}
