//! The log, the machine's ports and its interrupt lines.

use super::{Caller, Outcome};
use crate::log;
use crate::machine::Machine;
use crate::object::{Ports, Target};
use skerry_abi::{Refused, Rights, layout};
use x86_64::instructions::port::Port;

/// The most bytes of one write to the log, and of one read.
const LOG_BYTES: usize = 2048;
/// The most bytes of one write to a port.
const PORT_BYTES: usize = 64;

impl Machine {
    pub(super) fn log_write(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        self.check_log(caller, Rights::WRITE)?;
        let mut buffer = [0; LOG_BYTES];
        let bytes = usize::try_from(caller.argument(2)).ok();
        let into = bytes.and_then(|bytes| buffer.get_mut(..bytes));
        let into = into.ok_or(Refused::BadArgument)?;
        self.copy_in(caller.id, caller.argument(1), into)?;
        let taken = if log::append(into) { into.len() } else { 0 };
        self.tell_reader();
        Ok(Outcome::Answer(taken as u64))
    }

    pub(super) fn log_read(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        self.check_log(caller, Rights::READ)?;
        let wanted = usize::try_from(caller.argument(2)).unwrap_or(usize::MAX);
        let mut buffer = [0; LOG_BYTES];
        let most = wanted.min(LOG_BYTES);
        self.check_writable(caller, most)?;
        self.log_reader = Some(caller.id);
        let taken = log::take(&mut buffer[..most]);
        self.copy_out(caller.id, caller.argument(1), &buffer[..taken])?;
        Ok(Outcome::Answer(taken as u64))
    }

    /// Nothing is taken from the log for a pointer that cannot take it.
    fn check_writable(&mut self, caller: &Caller, bytes: usize) -> Result<(), Refused> {
        let zeros = [0; LOG_BYTES];
        self.copy_out(caller.id, caller.argument(1), &zeros[..bytes])
    }

    fn check_log(&self, caller: &Caller, rights: Rights) -> Result<(), Refused> {
        self.find(caller, 0, rights, |target| {
            (target == Target::Log).then_some(())
        })
    }

    fn tell_reader(&mut self) {
        if let Some(reader) = self.log_reader {
            // Fails if it has ended: the loop of the CPU sees to that.
            let _ = self.notify(reader, layout::LOG_BIT);
        }
    }

    pub(super) fn port_read(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let (port, width) = self.port(caller, Rights::READ)?;
        // SAFETY: the ports are the caller's; what a device does when it is read is its
        // driver's affair.
        let value = unsafe { input(port, width) };
        Ok(Outcome::Answer(u64::from(value)))
    }

    pub(super) fn port_write(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let (port, width) = self.port(caller, Rights::WRITE)?;
        // SAFETY: as in `port_read`. Who got these ports from `root` may program the device.
        unsafe { output(port, width, caller.argument(3) as u32) };
        Ok(Outcome::Answer(0))
    }

    pub(super) fn port_write_bytes(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let ports = self.ports(caller, Rights::WRITE)?;
        let port = inside(ports, caller.argument(1), 1)?;
        let mut buffer = [0; PORT_BYTES];
        let bytes = usize::try_from(caller.argument(3)).ok();
        let into = bytes.and_then(|bytes| buffer.get_mut(..bytes));
        let into = into.ok_or(Refused::BadArgument)?;
        self.copy_in(caller.id, caller.argument(2), into)?;
        for byte in into {
            // SAFETY: as in `port_write`.
            unsafe { output(port, 1, u32::from(*byte)) };
        }
        Ok(Outcome::Answer(0))
    }

    pub(super) fn line_wait(&mut self, caller: &Caller) -> Result<Outcome, Refused> {
        let line = self.find(caller, 0, Rights::SIGNAL, |target| match target {
            Target::Line(line) => Some(line),
            _ => None,
        })?;
        self.lines.wait(line, caller.id, caller.argument(1))?;
        Ok(Outcome::Answer(0))
    }

    fn ports(&self, caller: &Caller, rights: Rights) -> Result<Ports, Refused> {
        self.find(caller, 0, rights, |target| match target {
            Target::Ports(ports) => Some(ports),
            _ => None,
        })
    }

    fn port(&self, caller: &Caller, rights: Rights) -> Result<(u16, u64), Refused> {
        let ports = self.ports(caller, rights)?;
        let width = caller.argument(2);
        let port = inside(ports, caller.argument(1), width)?;
        Ok((port, width))
    }
}

fn inside(ports: Ports, port: u64, width_bytes: u64) -> Result<u16, Refused> {
    let fits = matches!(width_bytes, 1 | 2 | 4) && ports.contain(port, width_bytes);
    match u16::try_from(port) {
        Ok(port) if fits => Ok(port),
        _ => Err(Refused::BadArgument),
    }
}

/// # Safety
/// Whoever asked may read this port.
unsafe fn input(port: u16, width_bytes: u64) -> u32 {
    match width_bytes {
        // SAFETY: the caller's promise; so for the others.
        1 => u32::from(unsafe { Port::<u8>::new(port).read() }),
        // SAFETY: as above.
        2 => u32::from(unsafe { Port::<u16>::new(port).read() }),
        // SAFETY: as above.
        _ => unsafe { Port::<u32>::new(port).read() },
    }
}

/// # Safety
/// Whoever asked may write to this port.
unsafe fn output(port: u16, width_bytes: u64, value: u32) {
    match width_bytes {
        // SAFETY: the caller's promise; so for the others.
        1 => unsafe { Port::new(port).write(value as u8) },
        // SAFETY: as above.
        2 => unsafe { Port::new(port).write(value as u16) },
        // SAFETY: as above.
        _ => unsafe { Port::new(port).write(value) },
    }
}
