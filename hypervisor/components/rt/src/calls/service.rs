//! The calls of services: the log, ports, interrupt lines.

use super::{call, give, plain};
use skerry_abi::{Call, Handle, Refused};
use skerry_words::{Port, Width};

/// Appends whole lines to ring 0's log, at most 2048 bytes. Gives the bytes taken.
///
/// # Errors
/// As [`Call::LogWrite`] says.
pub fn log_write(log: Handle, lines: &[u8]) -> Result<usize, Refused> {
    give(Call::LogWrite, log, lines, 0).map(|taken| taken as usize)
}

/// Takes the log's oldest bytes. Gives how many, 0 if there are none.
///
/// # Errors
/// As [`Call::LogRead`] says.
pub fn log_read(log: Handle, into: &mut [u8]) -> Result<usize, Refused> {
    let (at, bytes) = (into.as_mut_ptr() as u64, into.len() as u64);
    // SAFETY: ring 0 writes no further than the buffer goes.
    unsafe { call(Call::LogRead, [log.word(), at, bytes]) }.map(|(taken, _)| taken as usize)
}

/// Reads a port.
///
/// # Errors
/// As [`Call::PortRead`] says.
pub fn port_read(ports: Handle, port: Port, width: Width) -> Result<u32, Refused> {
    let arguments = [ports.word(), u64::from(port.0), width.bytes()];
    plain(Call::PortRead, arguments).map(|value| value as u32)
}

/// Writes to a port.
///
/// # Errors
/// As [`Call::PortWrite`] says.
pub fn port_write(ports: Handle, port: Port, width: Width, value: u32) -> Result<(), Refused> {
    let (port, width_bytes) = (u64::from(port.0), width.bytes());
    let arguments = [ports.word(), port, width_bytes, u64::from(value)];
    plain(Call::PortWrite, arguments).map(drop)
}

/// Writes at most 64 bytes to one port in turn.
///
/// # Errors
/// As [`Call::PortWriteBytes`] says.
pub fn port_write_bytes(ports: Handle, port: Port, bytes: &[u8]) -> Result<(), Refused> {
    let (at, count) = (bytes.as_ptr() as u64, bytes.len() as u64);
    let arguments = [ports.word(), u64::from(port.0), at, count];
    // SAFETY: ring 0 reads no further than the slice goes.
    unsafe { call(Call::PortWriteBytes, arguments) }.map(drop)
}

/// Opens an interrupt line; when it interrupts, it closes and `bits` are set in the caller.
///
/// # Errors
/// As [`Call::LineWait`] says.
pub fn line_wait(line: Handle, bits: u64) -> Result<(), Refused> {
    plain(Call::LineWait, [line.word(), bits]).map(drop)
}
