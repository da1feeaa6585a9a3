//! The calls of a VMM, and those that every component makes.

use super::{both, call, plain};
use crate::pages::StatePage;
use skerry_abi::{Call, Handle, Refused, RunEnd};
use skerry_words::{ExtendedState, Tsc};

/// How a run of the guest ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Run {
    /// The guest has exited; the state page says how.
    Exit,
    /// These notification bits came.
    Notified(u64),
}

/// The interface's version; also a sign of life to the watchdog.
///
/// # Errors
/// Of a working ring 0 none.
#[inline]
pub fn version() -> Result<u64, Refused> {
    plain(Call::Version, [])
}

/// Runs the guest until its VMM is needed.
///
/// # Errors
/// As [`Call::VcpuRun`] says; the guest has not run.
#[inline(always)]
pub fn vcpu_run(vcpu: Handle, state: &mut StatePage) -> Result<Run, Refused> {
    // The page's address is no argument of the call. It stands here because ring 0 writes to
    // that page, which the compiler must know.
    let arguments = [vcpu.word(), state.address()];
    // SAFETY: ring 0 changes the page that `state` borrows, and nothing else.
    let (end, bits) = unsafe { both(Call::VcpuRun, arguments) };
    if end == RunEnd::Exit as u64 {
        return Ok(Run::Exit);
    }
    Refused::read(end).map(|_| Run::Notified(bits))
}

/// Makes the whole state page the guest's state.
///
/// # Errors
/// As [`Call::VcpuReset`] says.
pub fn vcpu_reset(vcpu: Handle, state: &mut StatePage) -> Result<(), Refused> {
    let arguments = [vcpu.word(), state.address()];
    // SAFETY: as in `vcpu_run`.
    unsafe { call(Call::VcpuReset, arguments) }.map(drop)
}

/// Says which bits of CR0 and CR4 the guest changes without an exit.
///
/// # Errors
/// As [`Call::VcpuPermit`] says.
pub fn vcpu_permit(vcpu: Handle, cr0: u64, cr4: u64) -> Result<(), Refused> {
    plain(Call::VcpuPermit, [vcpu.word(), cr0, cr4]).map(drop)
}

/// Fills in the vCPU's extended state. Gives its XCR0, or 0.
///
/// # Errors
/// As [`Call::VcpuSave`] says.
pub fn vcpu_save(vcpu: Handle, into: &mut ExtendedState) -> Result<u64, Refused> {
    let arguments = [vcpu.word(), &raw mut *into as u64];
    // SAFETY: ring 0 fills the area, which is bytes.
    unsafe { call(Call::VcpuSave, arguments) }.map(|(xcr0, _)| xcr0)
}

/// Makes this the vCPU's extended state.
///
/// # Errors
/// As [`Call::VcpuRestore`] says; nothing was changed.
pub fn vcpu_restore(vcpu: Handle, from: &ExtendedState) -> Result<(), Refused> {
    let arguments = [vcpu.word(), &raw const *from as u64];
    // SAFETY: ring 0 reads the area.
    unsafe { call(Call::VcpuRestore, arguments) }.map(drop)
}

/// Sleeps until a notification bit is set or the deadline has passed ([`Tsc::NEVER`]: it does
/// not). Gives the bits, 0 for the deadline.
///
/// # Errors
/// Of a working ring 0 none.
pub fn wait(deadline: Tsc) -> Result<u64, Refused> {
    // SAFETY: the call takes no address.
    let (end, bits) = unsafe { both(Call::Wait, [deadline.0]) };
    if end == 0 {
        return Ok(bits);
    }
    Refused::read(end)
}

/// Sets a notification's bits.
///
/// # Errors
/// As [`Call::Notify`] says.
#[inline]
pub fn notify(notification: Handle) -> Result<(), Refused> {
    plain(Call::Notify, [notification.word()]).map(drop)
}

/// Gives the rest of the time slice to others.
///
/// # Errors
/// Of a working ring 0 none.
pub fn yield_now() -> Result<(), Refused> {
    plain(Call::Yield, []).map(drop)
}

/// Ends the component; both numbers stand in its record.
pub fn end(code: u64, value: u64) -> ! {
    // The call does not come back. If it did, there would be nothing else to do.
    #[cfg(target_os = "none")]
    loop {
        let _ = plain(Call::End, [code, value]);
    }
    #[cfg(not(target_os = "none"))]
    {
        let _ = (Call::End, code, value);
        std::process::exit(1)
    }
}
