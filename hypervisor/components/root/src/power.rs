//! The end of the run: the last line, then off.

use crate::console::Console;
use crate::log;
use skerry_abi::{OffWrite, own};
use skerry_component::calls;
use skerry_manifest::PortWrite;
use skerry_manifest::report::{End, Report};

/// Tells ring 0 how this machine is switched off.
///
/// # Errors
/// What ring 0 refuses.
pub fn off_by(writes: &[PortWrite]) -> Result<(), skerry_abi::Refused> {
    let writes: alloc::vec::Vec<OffWrite> = writes.iter().map(off_write).collect();
    calls::machine_off_by(own::MACHINE, &writes)
}

fn off_write(write: &PortWrite) -> OffWrite {
    OffWrite {
        port: write.port,
        width_bytes: u16::from(write.width_bytes),
        value: write.value,
    }
}

/// Prints the last line and switches the machine off, when everything is on the line.
pub fn off(status: u32, console: Option<&Console>) -> ! {
    log::report(&Report::End(End { status }));
    if let Some(console) = console {
        console.drain();
    }
    let _ = calls::machine_off(own::MACHINE);
    // Not reached, unless ring 0 refuses: then it sees to a machine without a root.
    calls::end(u64::from(status), 0)
}
