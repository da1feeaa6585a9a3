//! Progress lines on standard error, and colours.
//!
//! Owns how `xtask` speaks while it works; `--quiet` silences it. Standard output is kept
//! for what was asked for: consoles, summaries, tables.

use std::io::{IsTerminal, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anstyle::{AnsiColor, Color, Style};

static QUIET: AtomicBool = AtomicBool::new(false);

/// Says nothing from here on but errors.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether `--quiet` was given.
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// One line about what goes on.
pub fn note(text: &str) {
    if !is_quiet() {
        let style = if stderr().is_terminal() {
            BOLD
        } else {
            Style::new()
        };
        eprintln!("{style}skerry:{style:#} {text}");
    }
}

/// A piece of work that takes time: says so at its start, and how long it took at its end.
#[derive(Debug)]
pub struct Step {
    what: String,
    start: Instant,
}

impl Step {
    /// Announces the work.
    pub fn begin(what: impl Into<String>) -> Self {
        let what = what.into();
        note(&format!("{what} ..."));
        Self {
            what,
            start: Instant::now(),
        }
    }

    /// Says that it is done, with anything worth knowing.
    pub fn done(self, result: &str) {
        let seconds = self.start.elapsed().as_secs_f64();
        let result = if result.is_empty() { "done" } else { result };
        note(&format!("{}: {result} ({seconds:.1} s)", self.what));
    }
}

/// What stands out on a terminal.
pub const BOLD: Style = Style::new().bold();

/// The colour of the VM with this number in the order of appearance.
pub fn vm_style(number: usize) -> Style {
    const COLOURS: [AnsiColor; 6] = [
        AnsiColor::Cyan,
        AnsiColor::Green,
        AnsiColor::Yellow,
        AnsiColor::Magenta,
        AnsiColor::Blue,
        AnsiColor::Red,
    ];
    let colour = COLOURS[number % COLOURS.len()];
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

/// Whether standard output shows colours: a terminal, and `NO_COLOR` is not set.
pub fn colours() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
