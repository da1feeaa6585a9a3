//! Reads the manifest, makes the VMs and watches over them.
//!
//! Owns what a run is: which components there are, what each may do, what happens when one
//! ends, what is told at the end. Ring 0 starts it with the right to make objects; everybody
//! else has only what is given here. A table of contents, and the order of things.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

extern crate alloc;

mod bell;
mod brand;
mod console;
mod course;
mod diagnosis;
mod ground;
mod log;
mod machine;
mod object;
mod power;
mod program;
mod refusal;
mod report;
mod scratch;
mod start;
mod tally;
mod vm;
mod warm;

use console::Console;
use ground::Ground;
use machine::Machine;
use refusal::Refusal;
use skerry_abi::layout;

skerry_component::component! {
    main: run,
    heap_pages: layout::SERVICE_HEAP_PAGES,
    last_words: log::panic,
}

fn run() -> ! {
    match Ground::read() {
        Ok(ground) => run_on(ground),
        Err(refusal) => power::off(refuse(&refusal), None),
    }
}

fn run_on(mut ground: Ground) -> ! {
    match Console::start(&mut ground) {
        Ok(console) => {
            let status = run_vms(&mut ground, &console);
            let status = status.unwrap_or_else(|refusal| refuse(&refusal));
            power::off(status, Some(&console))
        }
        Err(refusal) => power::off(refuse(&refusal), None),
    }
}

fn run_vms(ground: &mut Ground, console: &Console) -> Result<u32, Refusal> {
    let mut machine = Machine::build(ground, console)?;
    machine.run()?;
    Ok(machine.finish())
}

/// Says why there is no run, or no further one. Gives its status.
fn refuse(refusal: &Refusal) -> u32 {
    log::error(format_args!("{refusal}"));
    1
}
