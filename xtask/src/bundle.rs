//! From a manifest to the bundle the hypervisor reads.
//!
//! Owns putting together what `manifest` read, what `guests` fetched and how the machine
//! is switched off. Called by `machine` and `produce`.

use anyhow::Result;
use skerry_manifest::{Manifest, PortWrite, write_bundle};

use crate::failure::Failure;
use crate::guests::Guests;
use crate::manifest::Source;

/// A bundle, ready for a boot loader.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The archive.
    pub bytes: Vec<u8>,
    /// The memory of all VMs together.
    pub guest_bytes: u64,
}

/// Packs a manifest with its files, for a machine that is switched off by `power_off`.
///
/// # Errors
/// [`Failure::Input`] naming file, VM, key and value; a guest that cannot be fetched.
pub fn pack(source: &Source, guests: &Guests, power_off: &[PortWrite]) -> Result<Packed> {
    let files = source.files(&|name| guests.bytes(name))?;
    let members: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let manifest = Manifest {
        power_off: power_off.to_vec(),
        ..source.manifest.clone()
    };
    let bytes =
        write_bundle(&manifest, &members).map_err(|error| Failure::Input(error.to_string()))?;
    let guest_bytes = manifest.vms.iter().map(|vm| vm.memory_bytes).sum();
    Ok(Packed { bytes, guest_bytes })
}
