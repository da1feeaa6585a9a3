//! The end of a run by a bug of ours: say where, then switch the machine off.
//!
//! Owns the lines a panic prints: some for people, one (`@skerry panic`) for `xtask`,
//! whose format is `skerry_manifest::report`'s. They go straight to the UART, past the
//! console and the log: whoever holds their locks may be what failed. Nothing allocates.

use core::{
    fmt::{self, Arguments, Write},
    panic::{Location, PanicInfo},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{power, serial};

static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(panic: &PanicInfo<'_>) -> ! {
    x86_64::instructions::interrupts::disable();
    if PANICKING.swap(true, Ordering::Relaxed) {
        power::cut();
    }
    // SAFETY: this function never returns.
    unsafe { serial::seize() };
    print(&panic.message(), panic.location());
    power::off()
}

/// A line about what failed, before the panic itself.
///
/// # Safety
/// The caller goes on to panic.
pub unsafe fn line(text: Arguments<'_>) {
    // SAFETY: the caller's promise.
    unsafe { serial::seize() };
    // The writer never fails.
    let _ = writeln!(serial::Writer, "skerry: {text}");
}

fn print(message: &dyn fmt::Display, location: Option<&Location<'_>>) {
    let (file, line) = location.map_or(("?", 0), |at| (at.file(), at.line()));
    // The writer never fails.
    let _ = writeln!(
        serial::Writer,
        "\nskerry: panic at {file}:{line}: {message}"
    );
    let _ = serial::Writer.write_str("@skerry panic {\"message\":\"");
    let _ = write!(Escaped, "{message}");
    let _ = serial::Writer.write_str("\",\"location\":\"");
    let _ = write!(Escaped, "{file}:{line}");
    let _ = serial::Writer.write_str("\"}\n");
}

/// Writes the inside of a JSON string.
struct Escaped;

impl fmt::Write for Escaped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '"' | '\\' => write!(serial::Writer, "\\{character}")?,
                '\0'..='\x1f' => write!(serial::Writer, "\\u{:04x}", u32::from(character))?,
                _ => serial::Writer.write_char(character)?,
            }
        }
        Ok(())
    }
}
