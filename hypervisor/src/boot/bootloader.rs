//! Booted by the `bootloader` crate: its `entry_point!` and what we ask it for.
//!
//! Owns the configuration. The loader starts us in long mode, on its page tables and with
//! its own `BootInfo`; only the physical addresses of the image differ from the other ways
//! (not contiguous), and `mem` finds them in the loader's tables.

use bootloader_api::{
    BootInfo, BootloaderConfig,
    config::{Mapping, Mappings},
    entry_point,
};
use core::sync::atomic::Ordering;

use crate::{cpu::tsc, mem::layout::DIRECT_MAP};

const CONFIG: BootloaderConfig = {
    let mut mappings = Mappings::new_default();
    mappings.physical_memory = Some(Mapping::FixedAddress(DIRECT_MAP));
    let mut config = BootloaderConfig::new_default();
    config.mappings = mappings;
    config
};

entry_point!(enter, config = &CONFIG);

fn enter(boot: &'static mut BootInfo) -> ! {
    super::ENTRY_TSC.store(tsc::now().0, Ordering::Relaxed);
    super::enter_main(boot)
}
