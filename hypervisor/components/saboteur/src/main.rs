//! A component in a VMM's place that means harm: it tries what no component may do.
//!
//! The VM's command line says what: `way=` and a name, below. It ends by its attempt, or, if
//! nothing stops it, with a line `FAIL` and debug exit 1; ways that are only to be refused
//! (`calls`, `wild-ring`, `wild-state`) end with debug exit 0 if all was well. Scenarios run it
//! beside guests that must not notice.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod calls_refused;
mod endings;
mod extended;
mod instructions;
mod random;
mod voice;
mod wild;

use skerry_abi::layout;
use skerry_component::{calls, component, pages};
use skerry_verdict::StopReason;
use skerry_words::Tsc;
use voice::Voice;

component! {
    main: run,
    heap_pages: layout::VMM_HEAP_PAGES,
    last_words: pages::say_to_root,
}

fn run() -> ! {
    let start = pages::start_page();
    let bytes = start.cmdlines.get(..start.cmdline_bytes as usize);
    let cmdline = core::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default();
    let mut voice = Voice::new(start.tsc_hz);
    let Some(way) = value(cmdline, "way") else {
        voice.fail("the command line names no way");
        end(1)
    };
    voice.line(&alloc::format!("saboteur: {way}"));
    try_way(way, cmdline, &mut voice);
    voice.sum();
    end(voice.status())
}

/// The value of `key=` on the command line.
fn value<'a>(cmdline: &'a str, key: &str) -> Option<&'a str> {
    let words = cmdline.split_ascii_whitespace();
    let mut pairs = words.filter_map(|word| word.split_once('='));
    pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// The value of `key=` as a number.
fn number(cmdline: &str, key: &str) -> Option<u64> {
    let text = value(cmdline, key)?;
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Goes one way. What should have ended the component and has not is a failure.
fn try_way(way: &str, cmdline: &str, voice: &mut Voice) {
    match way {
        "calls" => return calls_refused::try_all(voice),
        "wild-ring" => return wild::ring(voice),
        "wild-state" => return wild::state(voice),
        "idle" => idle(),
        "end" => {
            let code = number(cmdline, "code").unwrap_or(99);
            calls::end(code, number(cmdline, "value").unwrap_or(0))
        }
        "panic" => panic!("the saboteur was told to panic"),
        "stack" => _ = endings::overflow_stack(0),
        "heap" => endings::exhaust_heap(),
        "loop" => endings::compute_without_end(),
        "popf" => endings::compute_without_interrupts(),
        "wild-read" => endings::read(value(cmdline, "at")),
        "wild-write" => endings::write(value(cmdline, "at")),
        "execute-data" => endings::execute(value(cmdline, "at")),
        "int" => endings::interrupt(number(cmdline, "vector")),
        _ if instructions::execute(way) => {}
        _ => return voice.fail("no way of this name is known"),
    }
    voice.fail("nothing has stopped it");
}

fn idle() -> ! {
    loop {
        // Whatever bits come are taken, and forgotten.
        let _ = calls::wait(Tsc::NEVER);
    }
}

fn end(status: u32) -> ! {
    let (code, value) = StopReason::DebugExit(status).encode().unwrap_or((0, 0));
    calls::end(code, value)
}
