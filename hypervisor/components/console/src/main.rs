//! One serial line for all consoles.
//!
//! Owns COM1: its ports and its interrupt are this component's alone. Waits for bits, and has
//! a turn at each: the UART, the VMs' output, ring 0's log, keys, `root`'s wish to see all of
//! it out. What comes out when is `relay`'s, how the UART works `uart`'s.
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

mod desk;
mod lines;
mod ports;
mod relay;
mod transmit;
mod uart;

use desk::Desk;
use ports::{Com1, Ring0};
use relay::Relay;
use skerry_abi::layout::{self, LOG_BIT, console_bits};
use skerry_component::{calls, clock, pages};
use skerry_words::Tsc;
use uart::Uart;

skerry_component::component! {
    main: run,
    heap_pages: layout::SERVICE_HEAP_PAGES,
    last_words: ports::last_words,
}

fn run() -> ! {
    let relay = Relay::new(pages::control_page(), pages::console_page_of);
    ports::open_line();
    let mut desk = Desk::new(pages::control_page(), relay, Uart::start(Com1));
    desk.start(&mut Ring0);
    let mut bits = 0;
    loop {
        if bits & LOG_BIT != 0 {
            desk.expect_log();
        }
        if bits & console_bits::UART != 0 {
            // Opened first: what comes while the UART is served interrupts again.
            ports::open_line();
            desk.serve_uart();
        }
        let deadline = match desk.turn(&mut Ring0) {
            Some(ticks) => clock::now().after(ticks),
            None => Tsc::NEVER,
        };
        bits = calls::wait(deadline).unwrap_or(0);
        if bits == 0 {
            desk.serve_uart();
        }
    }
}
