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

/// The same for a Linux in Skerry's place.
const LINUX_MODULES: &str = "linux normal iso9660 biosdisk";

/// The same for a kernel in Skerry's place that is started by version 1.
const MULTIBOOT_MODULES: &str = "multiboot normal iso9660 biosdisk";

/// A Linux to boot without Skerry.
#[derive(Debug)]
pub struct LinuxImage {
    /// The bzImage.
    pub kernel: Vec<u8>,
    /// Its initial RAM disk.
    pub initrd: Vec<u8>,
    /// Its command line.
    pub cmdline: String,
}

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
    let tree = Tree::begin(folder, GRUB_CFG)?;
    place(hypervisor, &tree.boot.join("skerry"))?;
    place(bundle, &tree.boot.join("bundle"))?;
    tree.finish(firmware, MODULES)
}

/// Makes `folder/skerry.iso` that starts a Linux by BIOS instead.
///
/// # Errors
/// As [`write_iso`].
pub fn write_linux_iso(folder: &Path, image: &LinuxImage) -> Result<PathBuf> {
    let grub_cfg = format!(
        "set timeout=0\nset default=0\nmenuentry linux {{\n    linux /boot/linux {}\n    \
         initrd /boot/initrd\n}}\n",
        image.cmdline
    );
    let tree = Tree::begin(folder, &grub_cfg)?;
    for (name, bytes) in [("linux", &image.kernel), ("initrd", &image.initrd)] {
        fs::write(tree.boot.join(name), bytes).with_context(|| format!("write {name}"))?;
    }
    tree.finish(Firmware::Bios, LINUX_MODULES)
}

/// How a boot loader starts a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// By the Multiboot Specification, version 1.
    Multiboot,
    /// By the Multiboot2 Specification.
    Multiboot2,
}

/// A kernel to boot without Skerry.
#[derive(Clone, Debug)]
pub struct KernelImage {
    /// How it is started.
    pub protocol: Protocol,
    /// Its file.
    pub kernel: Vec<u8>,
    /// Its command line.
    pub cmdline: String,
    /// Its one module.
    pub module: String,
}

/// Makes `folder/skerry.iso` that starts a kernel with a module by BIOS instead.
///
/// # Errors
/// As [`write_iso`].
pub fn write_kernel_iso(folder: &Path, image: &KernelImage) -> Result<PathBuf> {
    let (kernel, module, modules) = match image.protocol {
        Protocol::Multiboot => ("multiboot", "module", MULTIBOOT_MODULES),
        Protocol::Multiboot2 => ("multiboot2", "module2", MODULES),
    };
    let grub_cfg = format!(
        "set timeout=0\nset default=0\nmenuentry kernel {{\n    \
         {kernel} /boot/kernel {}\n    {module} /boot/module module\n}}\n",
        quoted_words(&image.cmdline)
    );
    let tree = Tree::begin(folder, &grub_cfg)?;
    for (name, bytes) in [
        ("kernel", image.kernel.as_slice()),
        ("module", image.module.as_bytes()),
    ] {
        fs::write(tree.boot.join(name), bytes).with_context(|| format!("write {name}"))?;
    }
    tree.finish(Firmware::Bios, modules)
}

/// The words of a command line, each in quotes: GRUB's script has its own mind about `*`.
fn quoted_words(cmdline: &str) -> String {
    let words = cmdline.split_whitespace();
    let quoted: Vec<String> = words
        .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
        .collect();
    quoted.join(" ")
}

/// An ISO's content on its way.
struct Tree<'a> {
    folder: &'a Path,
    root: PathBuf,
    boot: PathBuf,
}

impl<'a> Tree<'a> {
    fn begin(folder: &'a Path, grub_cfg: &str) -> Result<Self> {
        let root = folder.join("iso");
        let boot = root.join("boot");
        fs::create_dir_all(boot.join("grub"))
            .with_context(|| format!("create {}", boot.display()))?;
        fs::write(boot.join("grub/grub.cfg"), grub_cfg).context("write grub.cfg")?;
        Ok(Self { folder, root, boot })
    }

    fn finish(self, firmware: Firmware, modules: &str) -> Result<PathBuf> {
        let iso = self.folder.join("skerry.iso");
        command::output(&mut grub_mkrescue(&self.root, &iso, firmware, modules))?;
        fs::remove_dir_all(&self.root)
            .with_context(|| format!("remove {}", self.root.display()))?;
        Ok(iso)
    }
}

/// A hard link where that is possible, else a copy.
fn place(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).map(drop))
        .with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

fn grub_mkrescue(tree: &Path, iso: &Path, firmware: Firmware, modules: &str) -> Command {
    let mut command = Command::new("grub-mkrescue");
    command.args(["--locales=", "--fonts=", "--themes="]);
    if firmware == Firmware::Bios {
        command.args(["-d", GRUB_BIOS, "--install-modules", modules]);
    }
    command.arg("-o").arg(iso).arg(tree);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_command_line_reaches_the_kernel_as_it_is() {
        assert_eq!(
            quoted_words("ept_access* it's  -x;y"),
            r"'ept_access*' 'it'\''s' '-x;y'"
        );
        assert_eq!(quoted_words(""), "");
    }
}
