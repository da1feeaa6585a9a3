//! From a manifest to the bundle the hypervisor reads.
//!
//! Owns putting together what `manifest` read, what `guests` fetched, what `bare` built and
//! how the machine is switched off. Called by `machine`.

use anyhow::Result;
use skerry_manifest::{Manifest, ROOT, write_bundle};

use crate::failure::Failure;
use crate::guests::Guests;
use crate::manifest::Source;
use crate::recipe::Recipe;

/// The memory that a VM's VMM and what ring 0 has for it take at most, its heap being 1 MiB.
const VMM_BYTES: u64 = 2 << 20;

/// A bundle, ready for a boot loader.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The archive.
    pub bytes: Vec<u8>,
    /// The memory of all VMs together, with their ROMs, and of their VMMs.
    pub guest_bytes: u64,
}

/// Packs a manifest with its files, for the machine of this recipe.
///
/// # Errors
/// [`Failure::Input`] naming file, VM, key and value; a guest that cannot be fetched.
pub fn pack(source: &Source, guests: &Guests, recipe: &Recipe) -> Result<Packed> {
    let files = source.files(&|name| guests.bytes(name))?;
    let members: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let manifest = Manifest {
        power_off: recipe.power_off.clone(),
        apic_fails: recipe.apic_fails,
        ..source.manifest.clone()
    };
    let built = components(&manifest, guests)?;
    let components: Vec<(&str, &[u8])> = built
        .iter()
        .map(|(name, bytes)| (*name, bytes.as_slice()))
        .collect();
    let bytes = write_bundle(&manifest, &components, &members)
        .map_err(|error| Failure::Input(error.to_string()))?;
    let vms = manifest.vms.iter();
    let guest_bytes = vms
        .map(|vm| {
            let kernel = files.get(&vm.kernel).map_or(&[][..], Vec::as_slice);
            let rom_bytes = skerry_load::rom_bytes(kernel, vm.kind);
            (vm.memory_bytes)
                .saturating_add(rom_bytes)
                .saturating_add(VMM_BYTES)
        })
        .sum();
    Ok(Packed { bytes, guest_bytes })
}

/// The components that the manifest needs, by the names they go by in the bundle.
fn components<'a>(manifest: &'a Manifest, guests: &Guests) -> Result<Vec<(&'a str, Vec<u8>)>> {
    let needed = manifest.components().into_iter();
    needed
        .map(|name| {
            let program = match (&manifest.root, name) {
                (Some(other), ROOT) => other,
                _ => name,
            };
            Ok((name, guests.built.component(program)?))
        })
        .collect()
}
