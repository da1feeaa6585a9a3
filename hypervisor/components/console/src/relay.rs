//! The way from the VMs' rings and ring 0's log to the line, and from the keys to the VMs.
//!
//! Owns the order in which things come out, and that nobody's output is taken before there is
//! room for it. A *round* takes what the log and the rings hold at its start: the log first,
//! so that a VM's last output, which was there before the line that tells of its end, comes
//! out before it too.
//!
//! Does not own the form of what comes out (`skerry_console`), nor the UART. Called by `main`.

use crate::lines::{LINE_BYTES, Lines};
use crate::transmit::Transmit;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use skerry_abi::Handle;
use skerry_console::{Key, Mux};
use skerry_pages::{ConsolePage, ControlPage, ControlVm, Ring};

/// Output is made only while so much is free in the buffer: more than one piece of a ring can
/// become, each byte of it a line with its name, with a held line before it; and more than a
/// line of the log.
const ROOM_BYTES: usize = 4096;
/// How much of a ring is taken at once.
const PIECE_BYTES: usize = 64;
/// A VMM whose ring held more than this may be waiting for room.
const CROWDED_BYTES: u32 = (skerry_pages::OUTPUT_BYTES / 2) as u32;

/// Whom the console tells, and who tells it.
pub trait Outside {
    /// Takes the oldest bytes of the log. Gives how many.
    fn read_log(&mut self, into: &mut [u8]) -> usize;
    /// Wakes a VMM.
    fn wake(&mut self, vmm: Handle);
    /// Closes a handle that is of no more use.
    fn close(&mut self, handle: Handle);
    /// Tells `root` that the control page has changed.
    fn tell_root(&mut self);
}

/// One VM.
#[derive(Debug)]
struct Lane<'a> {
    control: &'a ControlVm,
    output: Ring<'a>,
    input: Ring<'a>,
    /// What is left of this round's output.
    due: u32,
    /// Whether its VMM is to be woken when that is out.
    is_crowded: bool,
    /// How many ends of the VM we have seen, and how many are to be seen in this round.
    ends: u32,
    ends_due: u32,
    wake: Option<Handle>,
    name: String,
}

/// All of it.
#[derive(Debug)]
pub struct Relay<'a> {
    control: &'a ControlPage,
    lanes: Vec<Lane<'a>>,
    mux: Mux,
    lines: Lines,
    /// The log may hold something that has not been read.
    has_news: bool,
    /// A round is under way: something of it has not come out.
    in_round: bool,
}

impl<'a> Relay<'a> {
    /// For the VMs on the control page, each with its rings. All memory is taken here.
    pub fn new(control: &'a ControlPage, page_of: impl Fn(usize) -> &'a ConsolePage) -> Self {
        let count = control.count.load(Ordering::Acquire) as usize;
        let vms = control.vms.iter().take(count).enumerate();
        let lanes: Vec<Lane<'a>> = vms.map(|(vm, of)| Lane::new(of, page_of(vm))).collect();
        let mut mux = Mux::new(lanes.iter().map(|lane| lane.name.as_str()));
        take_memory(&mut mux, lanes.len());
        Self {
            control,
            lanes,
            mux,
            lines: Lines::new(),
            has_news: true,
            in_round: false,
        }
    }

    /// Gives the keyboard to whom `root` has named.
    pub fn attach_first(&mut self, output: &mut Transmit) {
        let vm = self.control.attached.load(Ordering::Relaxed) as usize;
        let vm = (vm < self.lanes.len()).then_some(vm);
        self.mux.attach(vm, &mut |bytes| output.push(bytes));
    }

    /// There may be something in the log.
    pub fn expect_log(&mut self) {
        self.has_news = true;
    }

    /// Brings out what waits, while there is room. True if nothing is left.
    pub fn advance(&mut self, output: &mut Transmit, outside: &mut impl Outside) -> bool {
        loop {
            if !self.in_round {
                self.in_round = self.open_round(outside);
            }
            if !self.in_round {
                return true;
            }
            if !self.bring_out(output, outside) {
                return false;
            }
            self.in_round = false;
        }
    }

    /// Takes down what is to come out in this round. False if there is nothing.
    fn open_round(&mut self, outside: &mut impl Outside) -> bool {
        let mut any = false;
        if self.has_news {
            let mut piece = [0; LINE_BYTES];
            let count = outside.read_log(&mut piece).min(LINE_BYTES);
            self.lines.push(piece.get(..count).unwrap_or_default());
            self.has_news = count != 0;
            any = self.has_news;
        }
        for lane in &mut self.lanes {
            any |= lane.open_round(outside);
        }
        any
    }

    /// Brings out the round's output, then its lines of the log. False if there is no room.
    fn bring_out(&mut self, output: &mut Transmit, outside: &mut impl Outside) -> bool {
        for (vm, lane) in self.lanes.iter_mut().enumerate() {
            while !lane.is_done() {
                if output.room() < ROOM_BYTES {
                    return false;
                }
                lane.bring_out(vm, &mut self.mux, output, outside);
            }
        }
        while output.room() >= ROOM_BYTES {
            let Some(line) = self.lines.next() else {
                return true;
            };
            self.mux.host_line(line, &mut |bytes| output.push(bytes));
        }
        false
    }

    /// Carries out what a typed byte means. There must be [`Relay::has_room`].
    pub fn type_byte(&mut self, byte: u8, output: &mut Transmit, outside: &mut impl Outside) {
        match self.mux.key(byte) {
            Key::Input { vm, byte } => {
                if let Some(lane) = self.lanes.get_mut(vm) {
                    lane.type_byte(byte, outside);
                }
            }
            Key::Attach(vm) => self.attach(vm, output),
            Key::List => self.ask(ControlPage::LIST, outside),
            Key::Quit => self.ask(ControlPage::QUIT, outside),
            Key::Help => self.host_line(
                "skerry: Ctrl-A n next VM, p previous, 1-9 pick, l list, x quit, h help",
                output,
            ),
            Key::Nothing => {}
        }
    }

    /// Whether there is room for what a key can bring out.
    pub fn has_room(output: &Transmit) -> bool {
        output.room() >= ROOM_BYTES
    }

    /// Sets bits of [`ControlPage`]'s requests.
    pub fn ask(&mut self, request: u32, outside: &mut impl Outside) {
        self.control.requests.fetch_or(request, Ordering::AcqRel);
        outside.tell_root();
    }

    fn attach(&mut self, vm: usize, output: &mut Transmit) {
        self.mux.attach(Some(vm), &mut |bytes| output.push(bytes));
        self.control.attached.store(vm as u32, Ordering::Relaxed);
        if let Some(lane) = self.lanes.get(vm) {
            let line = format!("skerry: * {vm} {}: attached", lane.name);
            self.host_line(&line, output);
        }
    }

    fn host_line(&mut self, line: &str, output: &mut Transmit) {
        self.mux.host_line(line, &mut |bytes| output.push(bytes));
    }
}

impl<'a> Lane<'a> {
    fn new(control: &'a ControlVm, page: &'a ConsolePage) -> Self {
        Self {
            control,
            output: page.output_reader(),
            input: page.input_writer(),
            due: 0,
            is_crowded: false,
            ends: 0,
            ends_due: 0,
            wake: None,
            name: control.name().collect(),
        }
    }

    /// Takes down what there is; ends first, since all output before an end is in the ring by
    /// then. False if there is nothing.
    fn open_round(&mut self, outside: &mut impl Outside) -> bool {
        self.ends_due = self.control.ends.load(Ordering::Acquire);
        self.take_wake(outside);
        if self.ends_due == self.ends {
            self.output.tell();
        } else {
            self.output.meet_new_writer();
            self.input.meet_new_reader();
        }
        self.due = self.output.waiting();
        self.is_crowded = self.due > CROWDED_BYTES;
        !self.is_done()
    }

    fn is_done(&self) -> bool {
        self.due == 0 && self.ends_due == self.ends
    }

    /// Takes over what wakes the VMM of a new life.
    fn take_wake(&mut self, outside: &mut impl Outside) {
        let number = self.control.wake.swap(ControlPage::NONE, Ordering::AcqRel);
        if number == ControlPage::NONE {
            return;
        }
        let before = self.wake.replace(Handle(number));
        if let Some(before) = before.filter(|before| before.0 != number) {
            outside.close(before);
        }
    }

    /// One piece of output, or the end of the line of a VM that has ended.
    fn bring_out(
        &mut self,
        vm: usize,
        mux: &mut Mux,
        output: &mut Transmit,
        outside: &mut impl Outside,
    ) {
        let mut sink = |bytes: &[u8]| output.push(bytes);
        if self.due == 0 {
            self.ends = self.ends_due;
            mux.flush(vm, &mut sink);
            return;
        }
        let mut piece = [0; PIECE_BYTES];
        let count = self.take_piece(&mut piece);
        mux.output(vm, piece.get(..count).unwrap_or_default(), &mut sink);
        if self.due == 0 && self.is_crowded {
            self.wake(outside);
        }
    }

    /// Takes some of what is due, at least one byte or what is due has come to nothing. Gives
    /// how many.
    fn take_piece(&mut self, piece: &mut [u8; PIECE_BYTES]) -> usize {
        let mut count = 0_usize;
        for to in piece.iter_mut().take(self.due as usize) {
            let Some(byte) = self.output.take() else {
                // The writer has taken its word back.
                self.due = 0;
                return count;
            };
            *to = byte;
            count = count.saturating_add(1);
        }
        self.due = self.due.saturating_sub(count as u32);
        count
    }

    /// Types a byte. What a VM does not read is lost past a limit, as on a serial line.
    fn type_byte(&mut self, byte: u8, outside: &mut impl Outside) {
        self.take_wake(outside);
        let _fits = self.input.put(byte);
        self.wake(outside);
    }

    fn wake(&self, outside: &mut impl Outside) {
        if let Some(wake) = self.wake {
            outside.wake(wake);
        }
    }
}

/// Has the multiplexer take the memory for the longest lines of all VMs.
fn take_memory(mux: &mut Mux, vms: usize) {
    for vm in 0..vms {
        let long = [b' '; skerry_console::LINE_BYTES];
        mux.output(vm, &long, &mut |_| {});
        mux.flush(vm, &mut |_| {});
    }
}

#[cfg(test)]
mod tests;
