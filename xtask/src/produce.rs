//! `cargo xtask image` and `cargo xtask build`: results in a folder, nothing booted.
//!
//! Owns these two commands. Called by `main`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::image::{self, Firmware};
use crate::machine::{self, Machine, MachineArgs};
use crate::packages::{self, Install, Need};
use crate::summary::size;
use crate::{bare, manifest, paths, say};

/// `build`'s options.
#[derive(Debug, clap::Args)]
pub struct BuildArgs {
    /// Install nothing; if the toolchain is missing, say what to type
    #[arg(long)]
    no_install: bool,
}

/// `image`'s options.
#[derive(Debug, clap::Args)]
pub struct ImageArgs {
    /// The VMs to put into it [default: qemu/demo.toml]
    #[arg(value_name = "MANIFEST.toml")]
    manifest: Option<PathBuf>,
    /// The folder to write skerry.iso, skerry (ELF) and bundle into
    #[arg(short, long, value_name = "FOLDER", default_value = "target/image")]
    output: PathBuf,
    #[command(flatten)]
    machine: MachineArgs,
}

/// Builds for bare metal and says where the files are.
///
/// # Errors
/// The toolchain is missing, or the build fails.
pub fn build(args: &BuildArgs) -> Result<()> {
    let install = if args.no_install {
        Install::Refused
    } else {
        Install::Allowed
    };
    let built = bare::build(install)?;
    println!("hypervisor  {}", built.hypervisor().display());
    for name in bare::component_names() {
        println!(
            "component   {name}, {}",
            size(built.component(name)?.len() as u64)
        );
    }
    for name in bare::stub_names()? {
        println!("stub        {}", built.stub(&name)?.display());
    }
    Ok(())
}

/// Writes the image. The machine it will run on is the one that `--on` names: its
/// `power_off` goes into the bundle.
///
/// # Errors
/// The manifest is refused, a tool is missing, the folder cannot be written.
pub fn image(args: &ImageArgs) -> Result<()> {
    let path = args
        .manifest
        .clone()
        .unwrap_or_else(|| paths::recipes().join("demo.toml"));
    let source = manifest::read(&path)?;
    let engine = machine::choose(&args.machine, args.machine.wishes(), &source)?;
    packages::ensure(Need::Iso, args.machine.install())?;
    let machine = Machine::set_up(engine, &args.machine)?;
    let packed = machine.pack(&source)?;
    let folder = &args.output;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let (hypervisor, bundle) = (folder.join("skerry"), folder.join("bundle"));
    fs::copy(machine.built.hypervisor(), &hypervisor)?;
    fs::write(&bundle, packed.bytes)?;
    let step = say::Step::begin("writing the ISO");
    let iso = image::write_iso(folder, &hypervisor, &bundle, Firmware::All)?;
    step.done("");
    for file in [&iso, &hypervisor, &bundle] {
        println!("{}", shown(file)?);
    }
    Ok(())
}

fn shown(file: &Path) -> Result<String> {
    let bytes = fs::metadata(file)
        .with_context(|| format!("look at {}", file.display()))?
        .len();
    Ok(format!(
        "{:>10}  {}",
        crate::summary::size(bytes),
        file.display()
    ))
}
