//! Log lines, until somebody reads them: `skerry: text`, one line each.
//!
//! Owns their format, and the buffer between ring 0 (and who may write to the log) and the
//! console, which puts the lines between the guests'. Until the console reads, and after its
//! end, lines go straight to the UART. Everything in ring 0 that logs uses the crate `log`.
//! Nothing here allocates.

use core::fmt::Write;
use core::sync::atomic::{AtomicBool, Ordering};

use heapless::{Deque, String};
use log::{Level, LevelFilter, Log, Metadata, Record};
use spin::Mutex;

use crate::serial;

/// The longest line of ring 0's own; what is beyond is cut off.
const LINE_BYTES: usize = 512;
/// The room for lines that wait to be read.
const BUFFER_BYTES: usize = 16 << 10;

static BUFFER: Mutex<Deque<u8, BUFFER_BYTES>> = Mutex::new(Deque::new());
/// Whether somebody reads.
static READ: AtomicBool = AtomicBool::new(false);
/// Whether something has come that the reader was not told of.
static NEWS: AtomicBool = AtomicBool::new(false);

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
        let mut text = String::<LINE_BYTES>::new();
        // Fails when the line is full.
        let _ = write!(text, "skerry: {mark}{}", record.args());
        line(text.as_bytes());
    }

    fn flush(&self) {}
}

/// Makes the crate `log` print here.
pub fn start() {
    // Fails only if a logger is set already: then that is this one.
    let _ = log::set_logger(&Lines);
    log::set_max_level(LevelFilter::Info);
}

/// Puts out a line. One for which there is no room is lost: ring 0 waits for nobody.
pub fn line(text: &[u8]) {
    let _lost = append_parts(&[text, b"\n"]);
    NEWS.store(true, Ordering::Relaxed);
}

/// Puts out bytes, all or none; false if there is no room for all.
pub fn append(bytes: &[u8]) -> bool {
    append_parts(&[bytes])
}

fn append_parts(parts: &[&[u8]]) -> bool {
    if !READ.load(Ordering::Relaxed) {
        parts.iter().for_each(|part| serial::write(part));
        return true;
    }
    let mut buffer = BUFFER.lock();
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    if bytes > BUFFER_BYTES - buffer.len() {
        return false;
    }
    for byte in parts.iter().copied().flatten() {
        // There is room: that was just checked.
        let _ = buffer.push_back(*byte);
    }
    true
}

/// Gives the oldest bytes to the reader, from the first call on the only way out; how many.
pub fn take(into: &mut [u8]) -> usize {
    READ.store(true, Ordering::Relaxed);
    let mut buffer = BUFFER.lock();
    let mut taken = 0;
    for to in into {
        let Some(byte) = buffer.pop_front() else {
            break;
        };
        *to = byte;
        taken += 1;
    }
    taken
}

/// Whether ring 0 has logged something since the last time.
pub fn has_news() -> bool {
    let news = NEWS.load(Ordering::Relaxed) && READ.load(Ordering::Relaxed);
    if news {
        NEWS.store(false, Ordering::Relaxed);
    }
    news
}

/// Nobody reads any more: what waits goes to the UART, and so does all that follows.
pub fn print_again() {
    READ.store(false, Ordering::Relaxed);
    // Held only by what ends in a panic.
    if let Some(mut buffer) = BUFFER.try_lock() {
        while let Some(byte) = buffer.pop_front() {
            serial::write(&[byte]);
        }
    }
}
