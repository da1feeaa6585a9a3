//! The serial line's bytes, cut into lines.
//!
//! Owns the cutting, and what a line may do to a terminal. Called by `transcript`.

/// Longer lines are cut, so that no guest can fill our memory.
const LINE_BYTES: usize = 16 * 1024;

/// Cuts bytes into lines, however they arrive.
#[derive(Debug, Default)]
pub struct Splitter {
    rest: Vec<u8>,
}

impl Splitter {
    /// Takes `bytes` and calls `line` with every line that is now whole, without its end.
    pub fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        for &byte in bytes {
            if byte == b'\n' || self.rest.len() == LINE_BYTES {
                self.end_line(&mut line);
            }
            if byte != b'\n' {
                self.rest.push(byte);
            }
        }
    }

    /// Ends the last line, which had no end of its own.
    pub fn finish(&mut self, mut line: impl FnMut(&str)) {
        if !self.rest.is_empty() {
            self.end_line(&mut line);
        }
    }

    fn end_line(&mut self, line: &mut impl FnMut(&str)) {
        line(String::from_utf8_lossy(&self.rest).trim_end_matches('\r'));
        self.rest.clear();
    }
}

/// The line without what would move a terminal's cursor or change its mood: control
/// characters in caret notation, as `cat -v` shows them.
pub fn harmless(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for c in line.chars() {
        match c {
            '\t' => text.push(c),
            '\0'..='\x1f' | '\x7f' => {
                text.push('^');
                text.push(char::from((c as u32 as u8) ^ 0x40));
            }
            '\u{80}'..='\u{9f}' => text.push(char::REPLACEMENT_CHARACTER),
            _ => text.push(c),
        }
    }
    text
}

/// A guest's line apart: its VM's name and its text.
pub fn of_guest(line: &str) -> Option<(&str, &str)> {
    let (name, text) = line.strip_prefix('[')?.split_once(']')?;
    let is_name = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (is_name && !name.is_empty()).then(|| (name, text.strip_prefix(' ').unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&[u8]]) -> Vec<String> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for piece in pieces {
            splitter.push(piece, |line| lines.push(line.to_string()));
        }
        splitter.finish(|line| lines.push(line.to_string()));
        lines
    }

    #[test]
    fn a_line_may_arrive_byte_by_byte_and_end_either_way() {
        assert_eq!(
            split(&[b"[a] o", b"ne\r", b"\n[b] two\nlast"]),
            ["[a] one", "[b] two", "last"]
        );
    }

    #[test]
    fn an_endless_line_is_cut_and_loses_nothing() {
        let lines = split(&[&[b'x'; 2 * LINE_BYTES + 5]]);
        let lengths: Vec<usize> = lines.iter().map(String::len).collect();
        assert_eq!(lengths, [LINE_BYTES, LINE_BYTES, 5]);
    }

    #[test]
    fn escape_sequences_are_shown_not_obeyed() {
        assert_eq!(
            harmless("a\x1b[2Jb\tc\x7f\u{9b}1m"),
            "a^[[2Jb\tc^?\u{fffd}1m"
        );
    }

    #[test]
    fn a_guests_line_is_told_from_the_hypervisors() {
        assert_eq!(
            of_guest("[alpha] [    0.0] Linux"),
            Some(("alpha", "[    0.0] Linux"))
        );
        assert_eq!(of_guest("[alpha]"), Some(("alpha", "")));
        assert_eq!(of_guest("skerry: [alpha] x"), None);
        assert_eq!(of_guest("[    0.000000] Linux"), None);
    }
}
