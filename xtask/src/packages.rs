//! The tools Skerry's host side needs, where Debian has them, and how they get here.
//!
//! Owns the table of tools and the one way to install them. Which tools a job needs is
//! said by the job, as [`Need`]s. Called by `toolchain`, `engine`, `guests` and `doctor`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::failure::Failure;
use crate::{command, say};

/// A job that needs tools.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Compiling for bare metal without rustup's target.
    BareMetal,
    /// Clippy for the toolchain of [`Need::BareMetal`].
    BareMetalLints,
    /// Making a bootable ISO.
    Iso,
    /// Running Bochs.
    Bochs,
    /// Running QEMU.
    Qemu,
    /// Unpacking guests that Debian built.
    Guests,
}

/// How a tool is recognised.
#[derive(Clone, Copy, Debug)]
enum Mark {
    /// A program on `PATH`.
    Program(&'static str),
    /// A file at a fixed place.
    File(&'static str),
}

/// One tool.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// The job it is for.
    pub need: Need,
    /// Debian's package with it.
    pub package: &'static str,
    mark: Mark,
}

const fn tool(need: Need, package: &'static str, mark: Mark) -> Tool {
    Tool {
        need,
        package,
        mark,
    }
}

const BOCHS_TERM: &str = "/usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_term_gui.so";

/// Every tool. Those of [`Need::BareMetal`] are the compiler that Debian builds Firefox
/// with: it comes with the source of its own library.
const TOOLS: [Tool; 17] = [
    tool(Need::BareMetal, "rustc-web", Mark::File("/usr/bin/rustc")),
    tool(Need::BareMetal, "cargo-web", Mark::File("/usr/bin/cargo")),
    tool(
        Need::BareMetal,
        "rust-web-src",
        Mark::File("/usr/lib/rustlib/src/rust/library/core/src/lib.rs"),
    ),
    tool(
        Need::BareMetal,
        "rust-web-llvm",
        Mark::File("/usr/bin/rust-lld"),
    ),
    tool(Need::BareMetal, "lld-22", Mark::Program("ld.lld-22")),
    tool(
        Need::BareMetalLints,
        "rust-web-clippy",
        Mark::File("/usr/bin/cargo-clippy"),
    ),
    tool(Need::Iso, "grub-common", Mark::Program("grub-mkrescue")),
    tool(
        Need::Iso,
        "grub-pc-bin",
        Mark::File("/usr/lib/grub/i386-pc/multiboot2.mod"),
    ),
    tool(Need::Iso, "xorriso", Mark::Program("xorriso")),
    tool(Need::Iso, "mtools", Mark::Program("mformat")),
    tool(Need::Bochs, "bochs", Mark::Program("bochs-bin")),
    // Any display satisfies the package; this one brings no desktop along.
    tool(Need::Bochs, "bochs-term", Mark::File(BOCHS_TERM)),
    tool(
        Need::Bochs,
        "bochsbios",
        Mark::File("/usr/share/bochs/BIOS-bochs-latest"),
    ),
    tool(
        Need::Bochs,
        "vgabios",
        Mark::File("/usr/share/vgabios/vgabios.bin"),
    ),
    tool(
        Need::Qemu,
        "qemu-system-x86",
        Mark::Program("qemu-system-x86_64"),
    ),
    tool(Need::Guests, "apt", Mark::Program("apt-get")),
    tool(Need::Guests, "dpkg", Mark::Program("dpkg-deb")),
];

impl Tool {
    /// Where it is, if it is here.
    pub fn find(&self) -> Option<PathBuf> {
        match self.mark {
            Mark::Program(name) => which::which(name).ok(),
            Mark::File(path) => Some(PathBuf::from(path)).filter(|path| path.is_file()),
        }
    }

    /// What is looked for.
    pub fn mark(&self) -> &'static str {
        match self.mark {
            Mark::Program(name) | Mark::File(name) => name,
        }
    }
}

/// What a job may do about a missing tool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Install {
    /// Install it.
    Allowed,
    /// Refuse, and say what to type (`--no-install`).
    Refused,
}

/// The tools of a job.
pub fn tools(need: Need) -> impl Iterator<Item = &'static Tool> {
    TOOLS.iter().filter(move |tool| tool.need == need)
}

/// The packages of a job's tools that are not here.
pub fn missing(need: Need) -> Vec<&'static str> {
    tools(need)
        .filter(|tool| tool.find().is_none())
        .map(|tool| tool.package)
        .collect()
}

/// Sees to it that a job's tools are here.
///
/// # Errors
/// [`Failure::Missing`], with the command to type, if they are not and may or can not be
/// installed.
pub fn ensure(need: Need, install: Install) -> Result<()> {
    let packages = missing(need);
    if packages.is_empty() {
        return Ok(());
    }
    let typed = command::shown(&install_command(&packages));
    let refuse = |why: &str| {
        let list = packages.join(", ");
        Err(Failure::Missing(format!("missing: {list}; {why} `{typed}`")).into())
    };
    if install == Install::Refused {
        return refuse("--no-install was given; install them by");
    }
    if which::which("apt-get").is_err() {
        return refuse("there is no apt-get here; install what on Debian comes by");
    }
    install_packages(&packages)?;
    match missing(need) {
        left if left.is_empty() => Ok(()),
        left => refuse(&format!("{} still not found after", left.join(", "))),
    }
}

fn install_packages(packages: &[&str]) -> Result<()> {
    let step = say::Step::begin(format!("installing {}", packages.join(" ")));
    // Package lists that are absent or old are the usual reason for a failure.
    if command::output(&mut install_command(packages)).is_err() {
        update_lists()?;
        command::output(&mut install_command(packages))?;
    }
    step.done("installed");
    Ok(())
}

/// Fetches the package lists.
///
/// # Errors
/// `apt-get update` fails.
pub fn update_lists() -> Result<()> {
    let step = say::Step::begin("fetching Debian's package lists");
    command::output(&mut apt_get(&["update"]))?;
    step.done("");
    Ok(())
}

fn install_command(packages: &[&str]) -> Command {
    let mut command = apt_get(&["install", "-y", "--no-install-recommends"]);
    command.args(packages);
    command
}

/// `apt-get` with the rights to install, patient with another one at work.
fn apt_get(arguments: &[&str]) -> Command {
    let mut command = as_root();
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]);
    command
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .args(arguments);
    command
}

/// `env`, by sudo where we are not root. Without a terminal sudo must not ask.
fn as_root() -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new("env");
    }
    let mut command = Command::new("sudo");
    if !std::io::stdin().is_terminal() {
        command.arg("-n");
    }
    command.arg("env");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_type_waits_for_the_lock_and_takes_no_recommended_packages() {
        let typed = command::shown(&install_command(&["bochs", "vgabios"]));
        assert!(typed.contains("DPkg::Lock::Timeout=300"), "{typed}");
        assert!(
            typed.ends_with("install -y --no-install-recommends bochs vgabios"),
            "{typed}"
        );
    }

    #[test]
    fn a_program_that_no_machine_has_is_not_found() {
        let absent = tool(Need::Iso, "none", Mark::Program("no-such-program-anywhere"));
        assert_eq!(absent.find(), None);
        let absent = tool(Need::Iso, "none", Mark::File("/no/such/file"));
        assert_eq!(absent.find(), None);
    }
}
