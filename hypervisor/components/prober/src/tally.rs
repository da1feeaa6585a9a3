//! What came of the probes, and the lines that tell it.

use alloc::format;
use alloc::string::String;
use skerry_abi::{Refused, own};
use skerry_component::calls;

/// Writes one line to ring 0's log, however long that takes.
pub fn say(line: &str) {
    let text = format!("{line}\n");
    let mut rest = text.as_bytes();
    while let Ok(taken) = calls::log_write(own::LOG, rest) {
        rest = rest.get(taken..).unwrap_or_default();
        if rest.is_empty() {
            return;
        }
        let _ = calls::yield_now();
    }
}

/// The probes so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// Since the last conclusion.
    tries: u32,
    failed_here: u32,
    failed: u32,
}

impl Tally {
    /// A call has to be refused for one of these reasons.
    pub fn expect(
        &mut self,
        call: &str,
        how: &str,
        result: Result<u64, Refused>,
        allowed: &[Refused],
    ) {
        match result {
            Err(refused) if allowed.contains(&refused) => self.passed(),
            Err(refused) => {
                let wanted = wanted(allowed);
                self.fail(&format!("{call}, {how}: \"{refused}\", not {wanted}"));
            }
            Ok(result) => self.fail(&format!("{call}, {how}: gave {result:#x}")),
        }
    }

    /// A call has to give this.
    pub fn expect_result(
        &mut self,
        call: &str,
        how: &str,
        result: Result<u64, Refused>,
        wanted: u64,
    ) {
        match result {
            Ok(given) if given == wanted => self.passed(),
            Ok(given) => self.fail(&format!("{call}, {how}: gave {given:#x}, not {wanted:#x}")),
            Err(refused) => self.fail(&format!("{call}, {how}: \"{refused}\"")),
        }
    }

    /// A call has to be done; what it gives, if it does.
    pub fn expect_done<T>(
        &mut self,
        call: &str,
        how: &str,
        result: Result<T, Refused>,
    ) -> Option<T> {
        match result {
            Ok(given) => {
                self.passed();
                Some(given)
            }
            Err(refused) => {
                self.fail(&format!("{call}, {how}: \"{refused}\""));
                None
            }
        }
    }

    /// Two values have to be equal.
    pub fn expect_equal<T: PartialEq + core::fmt::Debug>(&mut self, what: &str, is: T, wanted: T) {
        if is == wanted {
            self.passed();
        } else {
            self.fail(&format!("{what}: {is:x?}, not {wanted:x?}"));
        }
    }

    fn passed(&mut self) {
        self.tries = self.tries.saturating_add(1);
    }

    /// A try that came out wrong.
    pub fn fail(&mut self, what: &str) {
        self.passed();
        self.failed_here = self.failed_here.saturating_add(1);
        say(&format!("skerry: FAIL: {what}"));
    }

    /// Ends a group of tries, which together show this.
    pub fn conclude(&mut self, shown: &str) {
        if self.failed_here == 0 {
            say(&format!("skerry: PASS: {shown} ({} tries)", self.tries));
        }
        self.failed = self.failed.saturating_add(self.failed_here);
        self.tries = 0;
        self.failed_here = 0;
    }

    /// The status to end with.
    pub fn status(&self) -> u32 {
        u32::from(self.failed.saturating_add(self.failed_here) > 0)
    }
}

fn wanted(allowed: &[Refused]) -> String {
    let mut text = String::new();
    for refused in allowed {
        let or = if text.is_empty() { "" } else { " or " };
        text.push_str(&format!("{or}\"{refused}\""));
    }
    text
}
