//! The consoles on our standard output, as they come.
//!
//! Owns how guest output looks: whole lines with coloured names, or, while a VM has the
//! keyboard, every byte at once so that prompts show. Report lines never show. Called by
//! `run`.

use std::io::{Write, stdout};

use skerry_manifest::report::PREFIX;

use crate::{lines, say};

/// Shows lines for people.
#[derive(Debug)]
pub struct Screen {
    colours: bool,
    names: Vec<String>,
}

impl Screen {
    /// A screen for VMs whose names get colours in this order.
    pub fn new(names: Vec<String>) -> Self {
        Self {
            colours: say::colours(),
            names,
        }
    }

    /// Prints one line.
    pub fn line(&self, line: &str) {
        let line = lines::harmless(line);
        let mut out = stdout().lock();
        // Nobody may be reading any more; the run goes on to its status.
        let _ = match self.style_of(&line) {
            Some((style, name, text)) => writeln!(out, "{style}[{name}]{style:#} {text}"),
            None => writeln!(out, "{line}"),
        };
        let _ = out.flush();
    }

    fn style_of<'a>(&self, line: &'a str) -> Option<(anstyle::Style, &'a str, &'a str)> {
        let (name, text) = lines::of_guest(line).filter(|_| self.colours)?;
        let number = self.names.iter().position(|known| known == name)?;
        Some((say::vm_style(number), name, text))
    }
}

/// Shows bytes as they come, but for report lines.
#[derive(Debug, Default)]
pub struct RawScreen {
    line: Vec<u8>,
    shown: usize,
}

impl RawScreen {
    /// Takes bytes, and returns those to show now.
    pub fn filter(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut show = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.line.push(byte);
            if !self.may_be_report() {
                show.extend(self.line.get(self.shown..).unwrap_or_default());
                self.shown = self.line.len();
            }
            if byte == b'\n' {
                self.line.clear();
                self.shown = 0;
            }
        }
        show
    }

    /// A line is held back as long as it may turn out to be a report.
    fn may_be_report(&self) -> bool {
        let length = self.line.len().min(PREFIX.len());
        self.line.get(..length) == PREFIX.as_bytes().get(..length)
    }

    /// Prints what `filter` lets through.
    pub fn show(&mut self, bytes: &[u8]) {
        let show = self.filter(bytes);
        let mut out = stdout().lock();
        let _ = out.write_all(&show).and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_shows_before_its_line_ends_and_a_report_never_shows() {
        let mut screen = RawScreen::default();
        assert_eq!(screen.filter(b"[a] / # "), b"[a] / # ");
        assert_eq!(screen.filter(b"ls\n@sk"), b"ls\n");
        assert_eq!(screen.filter(b"erry end {}\n[b] x"), b"[b] x");
    }

    #[test]
    fn a_line_that_only_starts_like_a_report_shows_whole() {
        let mut screen = RawScreen::default();
        assert_eq!(screen.filter(b"@ske"), b"");
        assert_eq!(screen.filter(b"leton\n"), b"@skeleton\n");
    }
}
