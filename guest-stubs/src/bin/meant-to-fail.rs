//! Does a failure reach the one who asked? This stub always fails.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::{Boot, Report, stub};

stub!("a stub that fails is reported as failed", run);

fn run(report: &mut Report, _boot: &Boot) {
    report.check(
        "this claim is false, so the run must be reported as failed",
        false,
    );
}
