//! What the saboteur says on its VM's console, in the words of a stub's report.

use alloc::format;
use skerry_abi::own;
use skerry_component::{calls, clock, pages};
use skerry_pages::Ring;

/// The console, and the verdicts so far.
#[derive(Debug)]
pub struct Voice {
    ring: Ring<'static>,
    full_tsc: u64,
    passed: u32,
    failed: u32,
}

impl Voice {
    /// The console of a machine with this time-stamp counter.
    pub fn new(tsc_hz: u64) -> Self {
        Self {
            ring: pages::console_page().output_writer(),
            full_tsc: tsc_hz / 1000,
            passed: 0,
            failed: 0,
        }
    }

    /// Says a line.
    pub fn line(&mut self, text: &str) {
        for byte in text.bytes().chain([b'\n']) {
            while !self.ring.put(byte) {
                let _ = calls::notify(own::CONSOLE);
                let _ = calls::wait(clock::now().after(self.full_tsc));
            }
        }
        let _ = calls::notify(own::CONSOLE);
    }

    /// Says what holds.
    pub fn pass(&mut self, claim: &str) {
        self.passed += 1;
        self.line(&format!("PASS: {claim}"));
    }

    /// Says what does not hold.
    pub fn fail(&mut self, claim: &str) {
        self.failed += 1;
        self.line(&format!("FAIL: {claim}"));
    }

    /// Says a claim, and the first case in which it does not hold.
    pub fn check(&mut self, claim: &str, counterexample: Option<&str>) {
        match counterexample {
            None => self.pass(claim),
            Some(case) => self.fail(&format!("{claim}: {case}")),
        }
    }

    /// Says the sum.
    pub fn sum(&mut self) {
        let Self { passed, failed, .. } = *self;
        self.line(&format!(
            "stub: {passed} passed, {failed} failed, 0 skipped"
        ));
    }

    /// 0 if nothing failed, else 1.
    pub fn status(&self) -> u32 {
        u32::from(self.failed > 0)
    }
}
