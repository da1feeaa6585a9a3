//! Lines of many guests and the host on one serial line.
//!
//! Owns each guest's unfinished line and who has an open line on the screen. A guest that
//! is not attached comes out whole lines at a time, freed of control bytes; the attached
//! one byte by byte, escape sequences and all, so that prompts and echo work. After every
//! end of a line a prefix follows: no guest can write a line that looks like the host's.
//!
//! Does not own the device or the decision who is attached. Memory is bounded by
//! [`LINE_BYTES`] for each VM.

use alloc::vec::Vec;

use crate::keys::{Command, ESCAPE, Key};

/// The longest piece of a line that is held back, in bytes; a longer line comes out in
/// pieces, each with its prefix.
pub const LINE_BYTES: usize = 1024;

/// The consoles of all VMs on one line. VMs go by their index in the list of names.
#[derive(Clone, Debug)]
pub struct Mux {
    lanes: Vec<Lane>,
    attached: Option<usize>,
    /// Whose unfinished line the cursor stands in.
    open: Option<usize>,
    escaped: bool,
}

/// One VM's way to the line.
#[derive(Clone, Debug)]
struct Lane {
    /// The prefix, then what is held back of the current line.
    line: Vec<u8>,
    prefix_bytes: usize,
    /// The last byte was a carriage return, whose meaning the next one decides.
    returned: bool,
}

impl Mux {
    /// A line for VMs of these names, none attached. Bytes of a name that are no visible
    /// ASCII come out as `?`.
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        Self {
            lanes: names
                .into_iter()
                .map(|name| Lane::new(name.as_ref()))
                .collect(),
            attached: None,
            open: None,
            escaped: false,
        }
    }

    /// Which VM the keyboard and the live screen belong to.
    #[must_use]
    pub fn attached(&self) -> Option<usize> {
        self.attached
    }

    /// Attaches the keyboard to `vm`, or to nobody. What the VM has written of its current
    /// line shows at once. An index out of range attaches nobody.
    pub fn attach(&mut self, vm: Option<usize>, sink: &mut impl FnMut(&[u8])) {
        let vm = vm.filter(|&vm| vm < self.lanes.len());
        if vm == self.attached {
            return;
        }
        self.close(sink);
        self.attached = vm;
        let Some(index) = vm else { return };
        let Some(lane) = self.lanes.get_mut(index) else {
            return;
        };
        if lane.holds_text() {
            sink(&lane.line);
            lane.clear();
            self.open = Some(index);
        }
    }

    /// Output of VM `vm`: any bytes, in pieces of any size. An unknown index is dropped.
    pub fn output(&mut self, vm: usize, bytes: &[u8], sink: &mut impl FnMut(&[u8])) {
        let live = self.attached == Some(vm);
        for &byte in bytes {
            if live {
                self.live_byte(vm, byte, sink);
            } else {
                self.held_byte(vm, byte, sink);
            }
        }
    }

    /// A line of the host, without its end. It starts on a fresh line.
    pub fn host_line(&mut self, line: impl AsRef<[u8]>, sink: &mut impl FnMut(&[u8])) {
        self.close(sink);
        sink(line.as_ref());
        sink(b"\n");
    }

    /// Ends the unfinished line of `vm`, if there is one: for a VM that has stopped.
    pub fn flush(&mut self, vm: usize, sink: &mut impl FnMut(&[u8])) {
        if self.open == Some(vm) {
            self.close(sink);
        }
        if self.lanes.get(vm).is_some_and(Lane::holds_text) {
            self.emit(vm, sink);
        }
    }

    /// What a byte from the keyboard means.
    pub fn key(&mut self, byte: u8) -> Key {
        if !self.escaped {
            self.escaped = byte == ESCAPE;
            return if self.escaped {
                Key::Nothing
            } else {
                self.input(byte)
            };
        }
        self.escaped = false;
        match Command::of(byte) {
            Command::Next => self.step(1),
            Command::Previous => self.step(self.lanes.len().saturating_sub(1)),
            Command::Pick(vm) if vm < self.lanes.len() => Key::Attach(vm),
            Command::Pick(_) | Command::Unknown => Key::Nothing,
            Command::List => Key::List,
            Command::Quit => Key::Quit,
            Command::Help => Key::Help,
            Command::Literal => self.input(ESCAPE),
        }
    }

    fn input(&self, byte: u8) -> Key {
        self.attached
            .map_or(Key::Nothing, |vm| Key::Input { vm, byte })
    }

    /// The VM `steps` further on in the ring; the first or last one if none is attached.
    fn step(&self, steps: usize) -> Key {
        let vm = match self.attached {
            Some(vm) => vm.saturating_add(steps),
            None if steps == 1 => 0,
            None => steps,
        };
        match vm.checked_rem(self.lanes.len()) {
            Some(vm) => Key::Attach(vm),
            None => Key::Nothing,
        }
    }

    /// One byte of the attached VM, passed on at once.
    fn live_byte(&mut self, vm: usize, byte: u8, sink: &mut impl FnMut(&[u8])) {
        let Some(lane) = self.lanes.get_mut(vm) else {
            return;
        };
        if byte == b'\r' {
            lane.returned = true;
            return;
        }
        let returned = core::mem::take(&mut lane.returned);
        if self.open != Some(vm) {
            if self.open.is_some() {
                sink(b"\n");
            }
            sink(&lane.line);
            self.open = Some(vm);
        } else if returned && byte != b'\n' {
            // Back to the start of the line, but behind the prefix.
            sink(b"\r");
            sink(&lane.line);
        }
        sink(&[byte]);
        if byte == b'\n' {
            self.open = None;
        }
    }

    /// One byte of a VM that is not attached, held back until its line is whole.
    fn held_byte(&mut self, vm: usize, byte: u8, sink: &mut impl FnMut(&[u8])) {
        let Some(lane) = self.lanes.get_mut(vm) else {
            return;
        };
        if byte == b'\n' {
            self.emit(vm, sink);
        } else if lane.shows(byte) {
            lane.line.push(byte);
            if lane.line.len() >= lane.prefix_bytes.saturating_add(LINE_BYTES) {
                self.emit(vm, sink);
            }
        }
    }

    /// Writes the held line of `vm` as a line of its own.
    fn emit(&mut self, vm: usize, sink: &mut impl FnMut(&[u8])) {
        self.close(sink);
        if let Some(lane) = self.lanes.get_mut(vm) {
            lane.line.push(b'\n');
            sink(&lane.line);
            lane.clear();
        }
    }

    /// Ends the line the cursor stands in.
    fn close(&mut self, sink: &mut impl FnMut(&[u8])) {
        if self.open.take().is_some() {
            sink(b"\n");
        }
    }
}

impl Lane {
    fn new(name: &str) -> Self {
        let visible = name
            .bytes()
            .map(|byte| if byte.is_ascii_graphic() { byte } else { b'?' });
        let line: Vec<u8> = b"[".iter().copied().chain(visible).chain(*b"] ").collect();
        Self {
            prefix_bytes: line.len(),
            line,
            returned: false,
        }
    }

    fn holds_text(&self) -> bool {
        self.line.len() > self.prefix_bytes
    }

    fn clear(&mut self) {
        self.line.truncate(self.prefix_bytes);
        self.returned = false;
    }

    /// Whether `byte` may stand in a held line: no C0 control but the tab, no DEL, and no
    /// second byte of a C1 control in UTF-8 (U+0080 to U+009F, C2 80 to C2 9F), which
    /// terminals obey like an escape sequence.
    fn shows(&self, byte: u8) -> bool {
        match byte {
            b'\t' => true,
            0..0x20 | 0x7f => false,
            0x80..0xa0 => self.line.last() != Some(&0xc2),
            _ => true,
        }
    }
}
