//! Switching the machine off, which only who runs in `root`'s place can.
//!
//! Owns finding out how: the bundle's manifest says so, as it does to `root`.

use alloc::format;
use alloc::vec::Vec;
use skerry_abi::{OffWrite, Refused, Rights, layout, own};
use skerry_component::{calls, pages};
use skerry_manifest::Bundle;

use crate::{desk, tally};

/// Tells ring 0 the writes that switch this machine off. Maps the bundle for that, which stays
/// there, read only.
pub fn prepare() {
    if let Err(refused) = try_prepare() {
        tally::say(&format!("skerry: FAIL: no way to switch off: {refused}"));
    }
}

fn try_prepare() -> Result<(), Refused> {
    let bytes = calls::machine_read(own::MACHINE)?.bundle_bytes;
    let bundle = calls::memory_of_bundle(own::MACHINE, 0, bytes)?;
    let page_count = bytes.div_ceil(4096);
    desk::map(bundle, layout::FILES, 0, Rights::READ, page_count)?;
    let manifest = match Bundle::parse(pages::files(0, bytes)) {
        Ok(bundle) => bundle.manifest,
        Err(error) => {
            tally::say(&format!("skerry: FAIL: {error}"));
            return Ok(());
        }
    };
    let writes = manifest.power_off.iter().map(|write| OffWrite {
        port: write.port,
        width_bytes: u16::from(write.width_bytes),
        value: write.value,
    });
    calls::machine_off_by(own::MACHINE, &writes.collect::<Vec<_>>())
}

/// Switches off.
pub fn switch() -> ! {
    let Err(refused) = calls::machine_off(own::MACHINE);
    tally::say(&format!("skerry: FAIL: MachineOff: {refused}"));
    calls::end(1, 0)
}
