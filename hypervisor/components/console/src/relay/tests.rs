//! What comes out in which order, and that nothing is lost on the way.

use super::*;
use crate::transmit::TRANSMIT_BYTES;
use alloc::vec;

/// What the console told others, and a log to read.
#[derive(Debug, Default)]
struct Others {
    log: Vec<u8>,
    woken: Vec<u32>,
    closed: Vec<u32>,
    told_root: u32,
}

impl Outside for Others {
    fn read_log(&mut self, into: &mut [u8]) -> usize {
        let count = self.log.len().min(into.len());
        into[..count].copy_from_slice(&self.log[..count]);
        self.log.drain(..count);
        count
    }

    fn wake(&mut self, vmm: Handle) {
        self.woken.push(vmm.0);
    }

    fn close(&mut self, handle: Handle) {
        self.closed.push(handle.0);
    }

    fn tell_root(&mut self) {
        self.told_root += 1;
    }
}

/// Two VMs, `a` and `b`, and a line that takes bytes when the test says so.
struct Desk {
    control: ControlPage,
    pages: Vec<ConsolePage>,
}

impl Desk {
    fn new() -> Self {
        let control = ControlPage::empty();
        for (vm, name) in control.vms.iter().zip(["a", "b"]) {
            vm.set_name(name);
        }
        control.count.store(2, Ordering::Relaxed);
        let pages = vec![ConsolePage::empty(), ConsolePage::empty()];
        Self { control, pages }
    }

    fn relay(&self) -> Relay<'_> {
        Relay::new(&self.control, |vm| &self.pages[vm])
    }

    fn write(&self, vm: usize, text: &str) {
        let mut writer = self.pages[vm].output_writer();
        assert!(text.bytes().all(|byte| writer.put(byte)));
    }

    fn end(&self, vm: usize) {
        self.control.vms[vm].ends.fetch_add(1, Ordering::Release);
    }

    fn hand_over(&self, vm: usize, wake: u32) {
        self.control.vms[vm].wake.store(wake, Ordering::Release);
    }

    fn typed(&self, vm: usize) -> String {
        let mut reader = self.pages[vm].input_reader();
        core::iter::from_fn(|| reader.take())
            .map(char::from)
            .collect()
    }
}

/// Everything that has been brought out.
fn text(output: &mut Transmit) -> String {
    let mut text = String::new();
    while !output.is_empty() {
        let front = output.front(usize::MAX).to_vec();
        output.forget(front.len());
        text.push_str(&String::from_utf8_lossy(&front));
    }
    text
}

fn keys(relay: &mut Relay<'_>, keys: &[u8], output: &mut Transmit, others: &mut Others) {
    for key in keys {
        relay.type_byte(*key, output, others);
    }
}

#[test]
fn a_vms_last_words_come_before_the_line_that_tells_of_its_end() {
    let (desk, mut others, mut output) = (Desk::new(), Others::default(), Transmit::new());
    let mut relay = desk.relay();
    desk.write(1, "second\n");
    desk.write(0, "first\nbye");
    desk.end(0);
    others.log.extend(b"skerry: a: triple fault\n@skerry x\n");
    assert!(relay.advance(&mut output, &mut others));
    assert_eq!(
        text(&mut output),
        "[a] first\n[a] bye\n[b] second\nskerry: a: triple fault\n@skerry x\n"
    );
}

#[test]
fn an_unfinished_line_waits_for_its_end_or_for_the_end_of_the_vm() {
    let (desk, mut others, mut output) = (Desk::new(), Others::default(), Transmit::new());
    let mut relay = desk.relay();
    desk.write(0, "half a ");
    relay.advance(&mut output, &mut others);
    assert_eq!(text(&mut output), "");
    desk.write(0, "line\n");
    relay.advance(&mut output, &mut others);
    assert_eq!(text(&mut output), "[a] half a line\n");
}

#[test]
fn the_log_is_read_only_when_there_is_news() {
    let (desk, mut others, mut output) = (Desk::new(), Others::default(), Transmit::new());
    let mut relay = desk.relay();
    relay.advance(&mut output, &mut others);
    others.log.extend(b"skerry: x\n");
    relay.advance(&mut output, &mut others);
    assert_eq!(text(&mut output), "");
    relay.expect_log();
    relay.advance(&mut output, &mut others);
    assert_eq!(text(&mut output), "skerry: x\n");
}

#[test]
fn more_than_the_buffer_holds_comes_out_whole_and_in_order() {
    let (desk, mut others, mut output) = (Desk::new(), Others::default(), Transmit::new());
    let mut relay = desk.relay();
    let mut expected = String::new();
    for number in 0..3000 {
        let line = format!("skerry: line {number}\n");
        others.log.extend(line.as_bytes());
        expected.push_str(&line);
    }
    // Empty lines grow most: each becomes a name.
    desk.write(0, &"\n".repeat(4096));
    let mut out = String::new();
    let mut steps = 0;
    while !relay.advance(&mut output, &mut others) {
        assert!(output.room() > 0, "the buffer overflowed");
        out.push_str(&text(&mut output));
        steps += 1;
        assert!(steps < 100);
    }
    out.push_str(&text(&mut output));
    assert_eq!(out, format!("{}{expected}", "[a] \n".repeat(4096)));
    assert!(expected.len() > TRANSMIT_BYTES && steps > 3);
}

#[test]
fn nothing_is_taken_from_a_ring_while_the_line_is_stuck() {
    let (desk, mut others, mut output) = (Desk::new(), Others::default(), Transmit::new());
    let mut relay = desk.relay();
    output.push(&[b'.'; TRANSMIT_BYTES - ROOM_BYTES + 1]);
    desk.write(0, "wait\n");
    assert!(!relay.advance(&mut output, &mut others));
    assert_eq!(desk.pages[0].output_reader().waiting(), 5);
    text(&mut output);
    assert!(relay.advance(&mut output, &mut others));
    assert_eq!(text(&mut output), "[a] wait\n");
}

#[test]
fn a_vmm_that_may_wait_for_room_is_woken_and_others_are_not() {
    let (desk, mut others, mut output) = (Desk::new(), Others::default(), Transmit::new());
    let mut relay = desk.relay();
    desk.hand_over(0, 4);
    desk.hand_over(1, 5);
    desk.write(0, &"x".repeat(2048));
    desk.write(1, &"x".repeat(2049));
    relay.advance(&mut output, &mut others);
    assert_eq!(others.woken, [5]);
}

#[test]
fn the_handle_of_a_new_life_replaces_the_one_before() {
    let (desk, mut others, mut output) = (Desk::new(), Others::default(), Transmit::new());
    let mut relay = desk.relay();
    for wake in [4, 6, 6, 7] {
        desk.hand_over(0, wake);
        relay.advance(&mut output, &mut others);
        let left = desk.control.vms[0].wake.load(Ordering::Relaxed);
        assert_eq!(left, ControlPage::NONE);
    }
    assert_eq!(others.closed, [4, 6]);
}

#[test]
fn keys_go_to_the_attached_vm_and_wake_it() {
    let (desk, mut others, mut output) = (Desk::new(), Others::default(), Transmit::new());
    desk.control.attached.store(1, Ordering::Relaxed);
    let mut relay = desk.relay();
    relay.attach_first(&mut output);
    desk.hand_over(1, 9);
    keys(&mut relay, b"ls\r", &mut output, &mut others);
    assert_eq!((desk.typed(0), desk.typed(1)), ("".into(), "ls\r".into()));
    assert_eq!(others.woken, [9, 9, 9]);
}

#[test]
fn the_escape_key_attaches_and_asks_root() {
    let (desk, mut others, mut output) = (Desk::new(), Others::default(), Transmit::new());
    let mut relay = desk.relay();
    keys(
        &mut relay,
        b"\x012\x01l\x01x\x01h",
        &mut output,
        &mut others,
    );
    assert_eq!(desk.control.attached.load(Ordering::Relaxed), 1);
    let asked = desk.control.requests.load(Ordering::Relaxed);
    assert_eq!(asked, ControlPage::LIST | ControlPage::QUIT);
    assert_eq!(others.told_root, 2);
    let text = text(&mut output);
    assert!(text.starts_with("skerry: * 1 b: attached\nskerry: Ctrl-A n next VM"));
    keys(&mut relay, b"q", &mut output, &mut others);
    assert_eq!(desk.typed(1), "q");
}

#[test]
fn a_vm_that_does_not_read_loses_keys_and_nobody_waits() {
    let (desk, mut others, mut output) = (Desk::new(), Others::default(), Transmit::new());
    desk.control.attached.store(0, Ordering::Relaxed);
    let mut relay = desk.relay();
    relay.attach_first(&mut output);
    keys(&mut relay, &[b'k'; 2000], &mut output, &mut others);
    assert_eq!(desk.typed(0).len(), 1024);
}

#[test]
fn a_lying_vmm_disturbs_nobody_and_is_heard_when_it_is_honest_again() {
    let (desk, mut others, mut output) = (Desk::new(), Others::default(), Transmit::new());
    let mut relay = desk.relay();
    let page = &desk.pages[0];
    page.output_written.store(0x7000_0000, Ordering::Relaxed);
    page.output_read.store(3, Ordering::Relaxed);
    desk.write(1, "calm\n");
    assert!(relay.advance(&mut output, &mut others));
    assert_eq!(text(&mut output), "[b] calm\n");
    page.output_written.store(0, Ordering::Relaxed);
    desk.write(0, "honest\n");
    assert!(relay.advance(&mut output, &mut others));
    assert_eq!(text(&mut output), "[a] honest\n");
}

#[test]
fn the_life_after_a_lying_one_is_heard_and_gets_only_keys_of_its_own() {
    let (desk, mut others, mut output) = (Desk::new(), Others::default(), Transmit::new());
    desk.control.attached.store(0, Ordering::Relaxed);
    let mut relay = desk.relay();
    relay.attach_first(&mut output);
    keys(&mut relay, b"old", &mut output, &mut others);
    let page = &desk.pages[0];
    page.output_written.store(0x7000_0000, Ordering::Relaxed);
    page.output_read.store(3, Ordering::Relaxed);
    desk.end(0);
    assert!(relay.advance(&mut output, &mut others));
    keys(&mut relay, b"new", &mut output, &mut others);
    desk.write(0, "hello\n");
    assert!(relay.advance(&mut output, &mut others));
    assert_eq!(text(&mut output), "[a] hello\n");
    assert_eq!(desk.typed(0), "new");
}
