//! The console's turn: what it does each time it is woken.
//!
//! Owns the order within a turn, and when all that was written is on the line. Called by
//! `main`; needs no hardware, so it is tested on the host.

use crate::relay::{Outside, Relay};
use crate::uart::{Registers, Uart};
use core::sync::atomic::Ordering;
use skerry_pages::ControlPage;

/// How long the UART may take for what is in it before it is looked at again, in ticks. Its
/// interrupt comes earlier, unless it is lost.
const LATE_TSC: u64 = 20_000_000;
/// How often the end of the last byte is looked for, which has no interrupt, in ticks.
const LAST_BYTE_TSC: u64 = 100_000;

/// The console between its two sides.
#[derive(Debug)]
pub struct Desk<'a, R> {
    control: &'a ControlPage,
    relay: Relay<'a>,
    uart: Uart<R>,
}

impl<'a, R: Registers> Desk<'a, R> {
    /// With everything it needs.
    pub fn new(control: &'a ControlPage, relay: Relay<'a>, uart: Uart<R>) -> Self {
        Self {
            control,
            relay,
            uart,
        }
    }

    /// Gives the keyboard to its first owner and tells `root` that it serves.
    pub fn start(&mut self, outside: &mut impl Outside) {
        self.relay.attach_first(&mut self.uart.output);
        self.relay.ask(ControlPage::READY, outside);
    }

    /// There may be something in the log.
    pub fn expect_log(&mut self) {
        self.relay.expect_log();
    }

    /// Serves the UART's interrupt.
    pub fn serve_uart(&mut self) {
        self.uart.serve();
    }

    /// Brings out what waits and carries out keys, as far as there is room. Gives the ticks
    /// after which it wants to be woken even if nothing happens.
    pub fn turn(&mut self, outside: &mut impl Outside) -> Option<u64> {
        let asked = self.control.drain_asked.load(Ordering::Acquire);
        let is_asked = asked != self.control.drain_done.load(Ordering::Relaxed);
        if is_asked {
            // What was logged before the wish is to be out too.
            self.relay.expect_log();
        }
        self.bring_out(outside);
        if !self.uart.output.is_empty() {
            return Some(LATE_TSC);
        }
        if !is_asked {
            return None;
        }
        if !self.uart.is_drained() {
            return Some(LAST_BYTE_TSC);
        }
        self.control.drain_done.store(asked, Ordering::Release);
        outside.tell_root();
        None
    }

    /// Brings out all that waits, or as much as the line has room for.
    fn bring_out(&mut self, outside: &mut impl Outside) {
        loop {
            let is_all_taken = self.relay.advance(&mut self.uart.output, outside);
            self.carry_out_keys(outside);
            self.uart.send();
            if is_all_taken || !self.uart.output.is_empty() {
                return;
            }
        }
    }

    fn carry_out_keys(&mut self, outside: &mut impl Outside) {
        while Relay::has_room(&self.uart.output) {
            let Some(byte) = self.uart.typed() else {
                return;
            };
            self.relay.type_byte(byte, &mut self.uart.output, outside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uart::tests::Fake;
    use alloc::string::String;
    use alloc::vec::Vec;
    use skerry_abi::Handle;

    /// `root` and a log.
    #[derive(Debug, Default)]
    struct Root {
        log: Vec<u8>,
        told: u32,
    }

    impl Outside for Root {
        fn read_log(&mut self, into: &mut [u8]) -> usize {
            let count = self.log.len().min(into.len());
            into[..count].copy_from_slice(&self.log[..count]);
            self.log.drain(..count);
            count
        }

        fn wake(&mut self, _vmm: Handle) {}

        fn close(&mut self, _handle: Handle) {}

        fn tell_root(&mut self) {
            self.told += 1;
        }
    }

    fn desk(control: &ControlPage, uart: Fake) -> Desk<'_, Fake> {
        let relay = Relay::new(control, |_| unreachable!("there are no VMs"));
        Desk::new(control, relay, Uart::start(uart))
    }

    fn lines(count: u32) -> String {
        (0..count)
            .map(|at| alloc::format!("skerry: {at}\n"))
            .collect()
    }

    #[test]
    fn root_hears_that_the_console_serves() {
        let (control, mut root) = (ControlPage::empty(), Root::default());
        desk(&control, Fake::default()).start(&mut root);
        let asked = control.requests.load(Ordering::Relaxed);
        assert_eq!((asked, root.told), (ControlPage::READY, 1));
    }

    #[test]
    fn a_drain_is_done_when_the_last_byte_is_on_the_line_and_not_before() {
        let (control, mut root) = (ControlPage::empty(), Root::default());
        let mut desk = desk(&control, Fake::default());
        assert_eq!(desk.turn(&mut root), None);
        let text = lines(1500);
        root.log.extend(text.bytes());
        control.drain_asked.store(1, Ordering::Relaxed);
        for _ in 0..text.len() {
            if desk.turn(&mut root).is_none() {
                break;
            }
            assert_eq!(
                (control.drain_done.load(Ordering::Relaxed), root.told),
                (0, 0)
            );
            desk.uart.run_once();
        }
        assert_eq!(
            (control.drain_done.load(Ordering::Relaxed), root.told),
            (1, 1)
        );
        assert_eq!(desk.uart.line(), text.as_bytes());
        assert_eq!((desk.turn(&mut root), root.told), (None, 1));
    }

    #[test]
    fn without_a_uart_all_is_taken_and_dropped() {
        let (control, mut root) = (ControlPage::empty(), Root::default());
        let mut desk = desk(&control, Fake::absent());
        root.log.extend(lines(4000).bytes());
        control.drain_asked.store(1, Ordering::Relaxed);
        assert_eq!(desk.turn(&mut root), None);
        assert_eq!(control.drain_done.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_key_has_its_effect_in_the_next_turn() {
        let (control, mut root) = (ControlPage::empty(), Root::default());
        let mut desk = desk(&control, Fake::default());
        desk.uart.type_bytes(b"\x01l");
        desk.turn(&mut root);
        assert_eq!(control.requests.load(Ordering::Relaxed), ControlPage::LIST);
    }
}
