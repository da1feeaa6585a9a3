//! A stub's verdict: one sentence per claim, and the status they add up to.

use crate::{console, cpu, port, println};
use core::fmt::{self, Debug, Display, Formatter, LowerHex};

/// Counts what held and what did not.
#[derive(Debug)]
pub struct Report {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Report {
    pub(crate) fn begin(question: &str) -> Self {
        println!("stub: {question}");
        Self {
            passed: 0,
            failed: 0,
            skipped: 0,
        }
    }

    /// Says `claim`, and whether it `holds`.
    pub fn check(&mut self, claim: &str, holds: bool) {
        let verdict = self.count(holds.into());
        println!("{verdict}: {claim}");
    }

    /// Says `claim` of `subject`, and whether it `holds`.
    pub fn check_of(&mut self, subject: &str, claim: &str, holds: bool) {
        let verdict = self.count(holds.into());
        println!("{verdict}: {subject}: {claim}");
    }

    /// Says `claim`, and both values where they differ.
    pub fn check_eq<T: PartialEq + LowerHex>(&mut self, claim: &str, found: T, wanted: T) {
        if found == wanted {
            self.check(claim, true);
        } else {
            self.failed += 1;
            println!("FAIL: {claim}: found {found:#x}, wanted {wanted:#x}");
        }
    }

    /// Says `claim` of `subject`, and both values where they differ.
    pub fn check_eq_of<T: PartialEq + Debug>(
        &mut self,
        subject: &str,
        claim: &str,
        found: T,
        wanted: T,
    ) {
        if found == wanted {
            self.check_of(subject, claim, true);
        } else {
            self.failed += 1;
            println!("FAIL: {subject}: {claim}: found {found:x?}, wanted {wanted:x?}");
        }
    }

    /// Says `claim`, and how many of `rounds` broke it with the first that did.
    pub fn check_none<T: Debug>(&mut self, claim: &str, broken: u64, first: Option<T>) {
        match first {
            None => self.check(claim, true),
            Some(first) => {
                self.failed += 1;
                println!("FAIL: {claim}: {broken} did not, the first is {first:x?}");
            }
        }
    }

    fn count(&mut self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Pass => self.passed += 1,
            Verdict::Fail => self.failed += 1,
        }
        verdict
    }

    /// Says that a claim was not asked, and why.
    pub fn skip(&mut self, why: &str) {
        self.skipped += 1;
        println!("SKIP: {why}");
    }

    /// Whether this machine is Skerry's; if not, says that `claim` was not asked.
    pub fn on_skerry(&mut self, claim: &str) -> bool {
        let skerry = cpu::is_skerry();
        if !skerry {
            self.skipped += 1;
            println!("SKIP: {claim} (asked under Skerry only)");
        }
        skerry
    }

    /// Prints the sum and ends the machine: status 0 if nothing failed, else 1.
    pub fn finish(&self) -> ! {
        self.sum();
        port::exit(self.status())
    }

    /// Prints the sum, for a stub that ends in its own way.
    pub fn sum(&self) {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        println!("stub: {passed} passed, {failed} failed, {skipped} skipped");
        console::drain();
    }

    /// 0 if nothing failed, else 1.
    #[must_use]
    pub fn status(&self) -> u32 {
        u32::from(self.failed > 0)
    }
}

/// Whether a claim holds.
#[derive(Clone, Copy)]
enum Verdict {
    Pass,
    Fail,
}

impl From<bool> for Verdict {
    fn from(holds: bool) -> Self {
        if holds { Self::Pass } else { Self::Fail }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
        })
    }
}
