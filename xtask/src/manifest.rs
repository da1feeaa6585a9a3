//! Manifests as people write them: TOML, or the flags of `cargo xtask run`.
//!
//! Owns their reading and every check that can be made before the boot. What may stand in
//! a manifest is `skerry-manifest`'s, what an image must be is `skerry-load`'s; here each
//! refusal gets its file, line, VM and key, and all of them are shown at once. Where a
//! symbolic name (`debian:cloud`) gets its bytes is the caller's to say.
//!
//! ```text
//! let mut source = manifest::read(path)?;        // syntax, keys and types
//! source.check()?;                               // values, and files given by path
//! source.check_memory(recipe.guest_memory_bytes())?;
//! let files = source.files(&|name| guests.bytes(name))?; // every file, every plan
//! write_bundle(&source.manifest, ...)
//! ```
//! Every refusal is a [`Failure::Input`]. Called by `run`, `bundle` and `machine`.

mod file;
mod refusal;
#[cfg(test)]
mod tests;
mod text;
mod value;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use skerry_abi::layout::MOST_VMS;
use skerry_load::{LoadError, Module, Request};
use skerry_manifest::{Manifest, VmManifest};

use crate::failure::Failure;
use file::Reader;
use refusal::{Places, Refusals};

pub use file::Files;
pub use value::parse_size;

/// A manifest as it was written: what it says, and where each key stands.
#[derive(Clone, Debug)]
pub struct Source {
    /// What to run. `power_off` is empty: it is the engine's.
    pub manifest: Manifest,
    /// The manifest, for refusals that have no better place.
    shown: String,
    /// One for each VM, in their order.
    places: Vec<Places>,
    /// The folder that relative paths start in.
    folder: PathBuf,
}

/// Reads a manifest file. Paths in it are relative to its folder.
///
/// # Errors
/// It cannot be read, or is no manifest.
pub fn read(path: &Path) -> Result<Source> {
    let shown = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::Input(format!(
            "{shown}: the manifest cannot be read: {error}; name a TOML file"
        ))
    })?;
    parse(&shown, &text, path.parent().unwrap_or(Path::new("")))
}

/// Reads a manifest that is called `shown` in messages; paths in it are relative to
/// `folder`.
///
/// # Errors
/// It is no manifest.
pub fn parse(shown: &str, text: &str, folder: &Path) -> Result<Source> {
    let mut refusals = Refusals::default();
    let (drafts, attach) = text::read(shown, text, &mut refusals);
    refusals.into_result()?;
    let (vms, places) = drafts.into_iter().unzip();
    let manifest = Manifest {
        attach,
        vms,
        ..Manifest::default()
    };
    Ok(Source {
        manifest,
        shown: shown.to_string(),
        places,
        folder: folder.into(),
    })
}

/// A manifest of one VM that the command line describes.
pub fn single(vm: VmManifest, folder: &Path) -> Source {
    Source {
        manifest: Manifest {
            vms: vec![vm],
            ..Manifest::default()
        },
        shown: "command line".to_string(),
        places: vec![Places::of_flags()],
        folder: folder.into(),
    }
}

/// A manifest of VMs that nobody wrote down; their files are named by whole paths.
pub fn of_vms(vms: Vec<VmManifest>) -> Source {
    let places = vms.iter().map(|vm| Places::of_vm(&vm.name)).collect();
    Source {
        manifest: Manifest {
            vms,
            ..Manifest::default()
        },
        shown: "the VMs".to_string(),
        places,
        folder: PathBuf::new(),
    }
}

impl Source {
    /// Takes the VM of this name out.
    pub fn remove(&mut self, vm: &str) {
        while let Some(index) = self.manifest.vms.iter().position(|spec| spec.name == vm) {
            self.manifest.vms.remove(index);
            self.places.remove(index);
        }
    }

    /// Gives the VM of this name another command line.
    pub fn set_cmdline(&mut self, vm: &str, cmdline: &str) {
        let mut vms = self.manifest.vms.iter_mut();
        if let Some(spec) = vms.find(|spec| spec.name == vm) {
            spec.cmdline = cmdline.into();
        }
    }

    /// Checks the values and every file that is given by a path: what can be judged before
    /// anything is installed, built or fetched.
    ///
    /// # Errors
    /// Every refusal, a line each.
    pub fn check(&self) -> Result<()> {
        self.read_and_check(Reader::of_paths(&self.folder))
            .map(drop)
    }

    /// The files that the VMs name, by these names, each VM's start planned as the
    /// hypervisor will plan it. `symbolic` has the bytes of what is no path.
    ///
    /// # Errors
    /// As [`Source::check`]; or what `symbolic` fails with, if that is no refusal.
    pub fn files(&self, symbolic: &dyn Fn(&str) -> Result<Vec<u8>>) -> Result<Files> {
        self.read_and_check(Reader::of_all(&self.folder, symbolic))
    }

    /// Refuses the first VM whose memory, with that of the VMs before it, is more than
    /// `limit_bytes`, and those after it.
    ///
    /// # Errors
    /// Every refusal, a line each.
    pub fn check_memory(&self, limit_bytes: u64) -> Result<()> {
        let mut refusals = Refusals::default();
        let mut total_bytes = 0_u64;
        for (vm, places) in self.vms() {
            total_bytes = total_bytes.saturating_add(vm.memory_bytes);
            if total_bytes > limit_bytes {
                refusals.add(places.of("memory"), too_much(vm, total_bytes, limit_bytes));
            }
        }
        refusals.into_result()
    }

    fn vms(&self) -> impl Iterator<Item = (&VmManifest, &Places)> {
        self.manifest.vms.iter().zip(&self.places)
    }

    fn read_and_check(&self, mut reader: Reader) -> Result<Files> {
        let mut refusals = Refusals::default();
        self.check_values(&mut refusals);
        for (vm, places) in self.vms() {
            check_image(vm, places, &mut reader, &mut refusals)?;
        }
        refusals.into_result()?;
        Ok(reader.into_files())
    }

    fn check_values(&self, refusals: &mut Refusals) {
        match self.manifest.vms.len() {
            0 if self.manifest.root.is_none() => refusals.add(
                &self.shown,
                "no VM; add a [[vm]] with `name`, `memory` and `kernel`",
            ),
            count if count > MOST_VMS => refusals.add(
                &self.shown,
                format!("{count} VMs; a machine has at most {MOST_VMS}: split the manifest"),
            ),
            _ => {}
        }
        let mut names = BTreeSet::new();
        for (vm, places) in self.vms() {
            if let Err(error) = vm.check() {
                refusals.add(places.of(error.key()), error);
            }
            if !names.insert(&vm.name) {
                let text = format!("two VMs are named \"{}\"; rename one of them", vm.name);
                refusals.add(places.of("name"), text);
            }
        }
        match &self.manifest.attach {
            Some(name) if !names.contains(name) => {
                let text = format!("no VM is named \"{name}\" to attach the keyboard to");
                refusals.add(
                    &self.shown,
                    format!("{text}; there are: {}", listed(&names)),
                );
            }
            _ => {}
        }
    }
}

fn listed(names: &BTreeSet<&String>) -> String {
    names
        .iter()
        .map(|name| name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn too_much(vm: &VmManifest, total_bytes: u64, limit_bytes: u64) -> String {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    format!(
        "{} MiB, {} MiB with the VMs before it, is more than the {} MiB that this machine has \
         for guests; lower it, or run fewer VMs",
        mib(vm.memory_bytes),
        mib(total_bytes),
        limit_bytes >> 20
    )
}

/// Reads a VM's files and plans its start, only to see whether there is a plan.
fn check_image(
    vm: &VmManifest,
    places: &Places,
    reader: &mut Reader,
    refusals: &mut Refusals,
) -> Result<()> {
    reader.read(&vm.kernel, places.of("kernel"), refusals)?;
    if let Some(initrd) = &vm.initrd {
        reader.read(initrd, places.of("initrd"), refusals)?;
    }
    for module in &vm.modules {
        reader.read(&module.file, places.of("modules"), refusals)?;
    }
    // Wrong values have their refusal already; the plan would repeat it.
    let (Some(modules), Ok(())) = (modules(vm, reader), vm.check()) else {
        return Ok(());
    };
    let Some(request) = request(vm, &modules, reader) else {
        return Ok(());
    };
    if let Err(error) = skerry_load::plan(&request) {
        let file = blamed(vm, &error);
        refusals.add(places.of(error.key()), format!("\"{file}\": {error}"));
    }
    Ok(())
}

/// The file that an error is about.
fn blamed<'a>(vm: &'a VmManifest, error: &LoadError) -> &'a str {
    let module = error.module().and_then(|index| vm.modules.get(index));
    match (module, &vm.initrd) {
        (Some(module), _) => &module.file,
        (None, Some(initrd)) if error.key() == "initrd" => initrd,
        (None, _) => &vm.kernel,
    }
}

/// The VM's modules, if their files are there.
fn modules<'a>(vm: &'a VmManifest, reader: &'a Reader) -> Option<Vec<Module<'a>>> {
    let modules = vm.modules.iter().map(|module| {
        Some(Module {
            bytes: reader.bytes(&module.file)?,
            cmdline: &module.cmdline,
        })
    });
    modules.collect()
}

/// What is asked of the loader, if the VM's files are there.
fn request<'a>(
    vm: &'a VmManifest,
    modules: &'a [Module<'a>],
    reader: &'a Reader,
) -> Option<Request<'a>> {
    let initrd = match &vm.initrd {
        Some(initrd) => Some(reader.bytes(initrd)?),
        None => None,
    };
    Some(Request {
        image: reader.bytes(&vm.kernel)?,
        kind: vm.kind,
        initrd,
        cmdline: &vm.cmdline,
        modules,
        vcpus: vm.vcpus,
        memory_bytes: vm.memory_bytes,
    })
}
