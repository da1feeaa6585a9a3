//! The machine's serial line as the console of all VMs.
//!
//! Owns the one multiplexer (`skerry_console`): guest output in, lines out; keys in, what
//! they mean out. Does not own the UART (`serial`). Called by a VM's turn, by the loop of
//! the CPU and by the log.

use crate::serial;
use alloc::format;
use skerry_console::{Key, Mux};
use spin::Mutex;

static MUX: Mutex<Option<Mux>> = Mutex::new(None);

/// Starts multiplexing for VMs of these names, the keyboard on `attached`.
pub fn start<'a>(names: impl Iterator<Item = &'a str>, attached: Option<usize>) {
    let mut mux = Mux::new(names);
    mux.attach(attached, &mut serial::write);
    *MUX.lock() = Some(mux);
}

fn with(act: impl FnOnce(&mut Mux)) {
    if let Some(mux) = MUX.lock().as_mut() {
        act(mux);
    }
}

/// Output of VM `vm`.
pub fn output(vm: usize, bytes: &[u8]) {
    with(|mux| mux.output(vm, bytes, &mut serial::write));
}

/// Ends the unfinished line of a VM that has ended.
pub fn flush(vm: usize) {
    with(|mux| mux.flush(vm, &mut serial::write));
}

/// A line of the hypervisor's own, on a fresh line. Before [`start`] it goes out as it is.
pub fn host_line(line: &str) {
    match MUX.lock().as_mut() {
        Some(mux) => mux.host_line(line, &mut serial::write),
        None => {
            serial::write(line.as_bytes());
            serial::write(b"\n");
        }
    }
}

/// Whether keys wait to be read.
#[inline]
pub fn has_input() -> bool {
    serial::has_input()
}

/// The meaning of the next key, if one waits. Attaching is done here already.
pub fn next_key() -> Option<Key> {
    let byte = serial::read()?;
    let mut meaning = None;
    with(|mux| {
        let key = mux.key(byte);
        if let Key::Attach(vm) = key {
            mux.attach(Some(vm), &mut serial::write);
        }
        meaning = Some(key);
    });
    meaning
}

/// Shows the keys.
pub fn help() {
    host_line("skerry: Ctrl-A n next VM, p previous, 1-9 pick, l list, x quit, h help");
}

/// Shows one line about a VM.
pub fn list_line(index: usize, name: &str, state: &str) {
    let mark = MUX.lock().as_ref().and_then(Mux::attached) == Some(index);
    let mark = if mark { '*' } else { ' ' };
    host_line(&format!("skerry: {mark} {index} {name}: {state}"));
}
