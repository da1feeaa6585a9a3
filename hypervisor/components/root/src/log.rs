//! Lines of our own, by ring 0's log: `skerry: text` for people, `@skerry kind json` for
//! programs.
//!
//! Owns their form. Where they come out is ring 0's affair, and the console's from its start
//! on.

use crate::bell;
use alloc::format;
use alloc::string::String;
use core::fmt::{self, Arguments, Write};
use skerry_abi::own;
use skerry_component::calls;
use skerry_manifest::report::{Report, write_panic};

/// The most bytes of one call.
const CALL_BYTES: usize = 2048;
/// How often a full log is tried again before a line is given up: some seconds.
const TRIES: u32 = 10_000;

/// Writes a log line.
pub fn say(text: Arguments<'_>) {
    line(format!("skerry: {text}"));
}

/// Writes a log line about an error.
pub fn error(text: Arguments<'_>) {
    line(format!("skerry: error: {text}"));
}

/// Writes a report line.
pub fn report(report: &Report) {
    line(format!("{report}"));
}

fn line(mut text: String) {
    text.push('\n');
    write(text.as_bytes());
}

/// Appends bytes to the log, and waits while it is full.
fn write(bytes: &[u8]) {
    let mut rest = bytes;
    for _ in 0..TRIES {
        let piece = rest.get(..CALL_BYTES).unwrap_or(rest);
        let taken = calls::log_write(own::LOG, piece).unwrap_or(0);
        rest = rest.get(taken..).unwrap_or_default();
        if rest.is_empty() {
            return;
        }
        if taken == 0 {
            bell::pause();
        }
    }
}

/// The lines of a panic of our own. Nothing here allocates.
pub fn panic(text: &str) {
    let mut lines = Buffer::new();
    // Fails when the buffer is full.
    let _ = writeln!(lines, "skerry: error: root: {text}");
    lines.flush();
    let _ = write_panic(&mut lines, text, "root");
    let _ = lines.write_char('\n');
    lines.flush();
}

/// A line before it is whole.
struct Buffer {
    bytes: [u8; CALL_BYTES],
    count: usize,
}

impl Buffer {
    const fn new() -> Self {
        Self {
            bytes: [0; CALL_BYTES],
            count: 0,
        }
    }

    fn flush(&mut self) {
        write(self.bytes.get(..self.count).unwrap_or_default());
        self.count = 0;
    }
}

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.count.saturating_add(text.len());
        let room = self.bytes.get_mut(self.count..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.count = end;
        Ok(())
    }
}
