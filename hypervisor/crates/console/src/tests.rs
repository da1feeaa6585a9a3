//! Sentences, and the properties nobody may break: no forged line, no lost byte.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::{Key, LINE_BYTES, Mux};
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;

/// A mux and the terminal it writes to.
struct Screen {
    mux: Mux,
    bytes: Vec<u8>,
}

impl Screen {
    fn new() -> Self {
        Self {
            mux: Mux::new(["a", "b", "c"]),
            bytes: Vec::new(),
        }
    }

    fn output(&mut self, vm: usize, bytes: impl AsRef<[u8]>) {
        let screen = &mut self.bytes;
        self.mux.output(vm, bytes.as_ref(), &mut |piece| {
            screen.extend_from_slice(piece)
        });
    }

    fn host(&mut self, line: &str) {
        let screen = &mut self.bytes;
        self.mux
            .host_line(line, &mut |piece| screen.extend_from_slice(piece));
    }

    fn attach(&mut self, vm: Option<usize>) {
        let screen = &mut self.bytes;
        self.mux
            .attach(vm, &mut |piece| screen.extend_from_slice(piece));
    }

    fn flush(&mut self, vm: usize) {
        let screen = &mut self.bytes;
        self.mux
            .flush(vm, &mut |piece| screen.extend_from_slice(piece));
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

#[test]
fn lines_come_out_whole_and_with_their_names() {
    let mut screen = Screen::new();
    screen.output(0, "Linux ver");
    screen.output(1, "hello\nwor");
    screen.output(0, "sion 6.1\r\n");
    screen.host("skerry: tick");
    screen.output(1, "ld\n");
    assert_eq!(
        screen.text(),
        "[b] hello\n[a] Linux version 6.1\nskerry: tick\n[b] world\n"
    );
}

#[test]
fn the_attached_vm_shows_its_prompt_at_once() {
    let mut screen = Screen::new();
    screen.attach(Some(1));
    screen.output(1, "login: ");
    assert_eq!(screen.text(), "[b] login: ");
    screen.output(1, "root\r\n");
    assert_eq!(screen.text(), "[b] login: root\n");
}

#[test]
fn another_line_ends_the_prompt_and_it_goes_on_behind_a_fresh_prefix() {
    let mut screen = Screen::new();
    screen.attach(Some(0));
    screen.output(0, "# ec");
    screen.output(1, "noise\n");
    screen.output(0, "ho");
    screen.host("skerry: note");
    screen.output(0, "\n");
    assert_eq!(
        screen.text(),
        "[a] # ec\n[b] noise\n[a] ho\nskerry: note\n[a] \n"
    );
}

#[test]
fn attaching_shows_what_was_held_back_and_ends_the_other_line() {
    let mut screen = Screen::new();
    screen.attach(Some(0));
    screen.output(0, "# ");
    screen.output(1, "login: ");
    screen.attach(Some(1));
    screen.output(1, "x\n");
    assert_eq!(screen.text(), "[a] # \n[b] login: x\n");
    screen.attach(Some(9));
    assert_eq!(screen.mux.attached(), None);
}

#[test]
fn no_control_byte_of_an_unattached_vm_reaches_the_terminal() {
    let mut screen = Screen::new();
    screen.output(0, b"\x1b[2J\x07a\tb\x08\x7f\x0b\r\xc2\x9b\xc3\x9c\n");
    assert_eq!(screen.bytes, b"[a] [2Ja\tb\xc2\xc3\x9c\n");
}

#[test]
fn escape_sequences_of_the_attached_vm_pass() {
    let mut screen = Screen::new();
    screen.attach(Some(0));
    screen.output(0, "\x1b[1mbold\x1b[0m\n");
    assert_eq!(screen.text(), "[a] \x1b[1mbold\x1b[0m\n");
}

#[test]
fn a_lone_carriage_return_goes_back_no_further_than_the_prefix() {
    let mut screen = Screen::new();
    screen.attach(Some(0));
    screen.output(0, "\r10%\r20%\r\r\n\r");
    assert_eq!(screen.text(), "[a] 10%\r[a] 20%\n");
}

#[test]
fn a_line_without_end_comes_out_in_pieces() {
    let mut screen = Screen::new();
    screen.output(2, [b'x'; LINE_BYTES + 1]);
    let piece = "x".repeat(LINE_BYTES);
    assert_eq!(screen.text(), std::format!("[c] {piece}\n"));
    screen.flush(2);
    screen.flush(2);
    assert_eq!(screen.text(), std::format!("[c] {piece}\n[c] x\n"));
}

#[test]
fn a_name_cannot_smuggle_in_control_bytes() {
    let mut mux = Mux::new(["a\n@skerry"]);
    let mut bytes = Vec::new();
    mux.output(0, b"\n", &mut |piece| bytes.extend_from_slice(piece));
    assert_eq!(bytes, b"[a?@skerry] \n");
}

fn keys(mux: &mut Mux, bytes: &[u8]) -> Vec<Key> {
    bytes.iter().map(|&byte| mux.key(byte)).collect()
}

#[test]
fn keys_go_to_the_attached_vm_and_the_escape_key_doubled_is_itself() {
    let mut screen = Screen::new();
    assert_eq!(screen.mux.key(b'x'), Key::Nothing);
    screen.attach(Some(1));
    let input = |byte| Key::Input { vm: 1, byte };
    assert_eq!(
        keys(&mut screen.mux, b"n\x01\x01x"),
        [input(b'n'), Key::Nothing, input(1), input(b'x')]
    );
}

#[test]
fn the_escape_key_walks_the_ring_of_vms() {
    let mut screen = Screen::new();
    let escape = |screen: &mut Screen, byte| keys(&mut screen.mux, &[1, byte])[1];
    assert_eq!(escape(&mut screen, b'n'), Key::Attach(0));
    assert_eq!(escape(&mut screen, b'p'), Key::Attach(2));
    screen.attach(Some(2));
    assert_eq!(escape(&mut screen, b'n'), Key::Attach(0));
    assert_eq!(escape(&mut screen, b'p'), Key::Attach(1));
    assert_eq!(escape(&mut screen, b'1'), Key::Attach(0));
    assert_eq!(escape(&mut screen, b'4'), Key::Nothing);
    assert_eq!(escape(&mut screen, b'l'), Key::List);
    assert_eq!(escape(&mut screen, b'x'), Key::Quit);
    assert_eq!(escape(&mut screen, b'?'), Key::Help);
    assert_eq!(escape(&mut screen, b'~'), Key::Nothing);
    let nobody: [&str; 0] = [];
    assert_eq!(
        keys(&mut Mux::new(nobody), b"\x01n\x01p\x011"),
        [Key::Nothing; 6]
    );
}

#[derive(Clone, Debug)]
enum Step {
    Output(usize, Vec<u8>),
    Host(u32),
    Attach(Option<usize>),
    Flush(usize),
}

fn guest_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        6 => 0x20u8..0x7f,
        2 => Just(b'\n'),
        1 => Just(b'\r'),
        1 => prop::sample::select(b"[]@abc: \x1b\x08".as_slice()),
        1 => any::<u8>(),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0usize..4, proptest::collection::vec(guest_byte(), 0..30))
            .prop_map(|(vm, bytes)| Step::Output(vm, bytes)),
        2 => any::<u32>().prop_map(Step::Host),
        2 => proptest::option::of(0usize..4).prop_map(Step::Attach),
        1 => (0usize..4).prop_map(Step::Flush),
    ]
}

/// What must be on the screen of one VM's text: no line ends, no carriage returns.
fn visible(bytes: &[u8]) -> Vec<u8> {
    let kept = |byte: &u8| matches!(byte, b'\t' | 0x20..0x7f | 0xa0..);
    bytes.iter().copied().filter(kept).collect()
}

/// Runs the steps; the bytes of each VM, and the host's lines.
fn run(screen: &mut Screen, steps: &[Step]) -> ([Vec<u8>; 3], Vec<String>) {
    let mut sent: [Vec<u8>; 3] = Default::default();
    let mut host = Vec::new();
    for step in steps {
        match step {
            Step::Output(vm, bytes) => {
                if let Some(sent) = sent.get_mut(*vm) {
                    sent.extend(bytes);
                }
                screen.output(*vm, bytes);
            }
            Step::Host(number) => {
                host.push(std::format!("skerry: {number}"));
                screen.host(&std::format!("skerry: {number}"));
            }
            Step::Attach(vm) => screen.attach(*vm),
            Step::Flush(vm) => screen.flush(*vm),
        }
    }
    (0..3).for_each(|vm| screen.flush(vm));
    (sent, host)
}

proptest! {
    #[test]
    fn every_line_is_a_named_guest_s_or_the_host_s_and_no_byte_is_lost(
        steps in proptest::collection::vec(step(), 0..30),
    ) {
        let mut screen = Screen::new();
        let (sent, host) = run(&mut screen, &steps);
        prop_assert!(screen.bytes.is_empty() || screen.bytes.ends_with(b"\n"));
        let mut shown: [Vec<u8>; 3] = Default::default();
        let mut host_shown = Vec::new();
        let text = screen.bytes.strip_suffix(b"\n").unwrap_or(&[]);
        for line in text.split(|&byte| byte == b'\n').filter(|_| !screen.bytes.is_empty()) {
            let prefixes = [b"[a] ", b"[b] ", b"[c] "];
            match prefixes.iter().position(|prefix| line.starts_with(*prefix)) {
                Some(vm) => {
                    for piece in line.split(|&byte| byte == b'\r') {
                        let text = piece.strip_prefix(prefixes[vm]);
                        prop_assert!(text.is_some(), "a carriage return without a prefix");
                        shown[vm].extend_from_slice(text.unwrap_or_default());
                    }
                }
                None => host_shown.push(String::from_utf8_lossy(line).into_owned()),
            }
        }
        prop_assert_eq!(host_shown, host);
        for (shown, sent) in shown.iter().zip(&sent) {
            prop_assert_eq!(visible(shown), visible(sent));
        }
    }

    #[test]
    fn an_unattached_vm_never_holds_more_than_a_line(
        runs in proptest::collection::vec((guest_byte(), 0usize..700), 0..8),
    ) {
        let mut screen = Screen::new();
        let bytes: Vec<u8> = runs
            .into_iter()
            .flat_map(|(byte, times)| std::iter::repeat_n(byte, times))
            .collect();
        screen.output(0, &bytes);
        let lines = screen.bytes.split(|&byte| byte == b'\n');
        prop_assert!(lines.clone().all(|line| line.len() <= LINE_BYTES + 4));
        let shown: usize = lines.map(|line| visible(line).len().saturating_sub(4)).sum();
        prop_assert!(visible(&bytes).len() - shown < LINE_BYTES);
        prop_assert!(!screen.bytes.contains(&0x1b));
    }
}
