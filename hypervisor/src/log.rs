//! Log lines: `skerry: text`, one line each.
//!
//! Owns their format; the console puts them between the guests' lines. Everything that
//! logs uses the crate `log`. Nothing here allocates.

use core::fmt::Write;

use heapless::String;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::console;

/// The longest line; what is beyond is cut off.
const LINE_BYTES: usize = 512;

struct Lines;

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mark = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            Level::Info | Level::Debug | Level::Trace => "",
        };
        let mut line = String::<LINE_BYTES>::new();
        // Fails when the line is full.
        let _ = write!(line, "skerry: {mark}{}", record.args());
        console::host_line(&line);
    }

    fn flush(&self) {
        crate::serial::flush();
    }
}

/// Makes the crate `log` print here.
pub fn start() {
    // Fails only if a logger is set already: then that is this one.
    let _ = log::set_logger(&Lines);
    log::set_max_level(LevelFilter::Info);
}
