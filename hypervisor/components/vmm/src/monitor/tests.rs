//! The loop against a ring 0 that follows a script and keeps a log.

use super::*;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use skerry_abi::layout::vmm_bits;
use skerry_devices::PlatformConfig;
use skerry_pages::ConsolePage;
use skerry_verdict::{Registers, Unbacked};
use skerry_vmm::{CpuidRegisters, CpuidTable, GuestAbilities, VmmConfig};
use skerry_words::{Direction, Gpa, Gpr, MsrIndex, Port, PortAccess, StateGroups, Width};

const HZ: u64 = 50_000_000;
const COM1: u16 = 0x3f8;

/// What ring 0 gives for one call that runs the guest.
enum Step {
    /// The guest accesses a port with this in RAX.
    Port(u16, Direction, u64),
    /// Any other exit.
    Exit(VmExit),
    /// Notification bits.
    Notified(u64),
    /// Time passes in the guest; then a timer exit.
    Time(u64),
    /// The guest reads a port; before its VMM comes to answer, others have the CPU so long.
    Late(u16, u64),
}

/// What was asked of ring 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Announce,
    Wait(Tsc),
    Yield,
}

/// Ring 0. A sleeper is woken by the console, which then takes all output and types `types`.
struct Script {
    steps: VecDeque<Step>,
    state: Box<GuestState>,
    now: Tsc,
    page: &'static ConsolePage,
    asked: Vec<Asked>,
    taken: Vec<u8>,
    types: &'static [u8],
}

impl Script {
    fn console_turn(&mut self) {
        let mut output = self.page.output_reader();
        while let Some(byte) = output.take() {
            self.taken.push(byte);
        }
        self.type_bytes(self.types);
        self.types = &[];
    }

    fn type_bytes(&self, bytes: &[u8]) {
        let mut input = self.page.input_writer();
        for byte in bytes {
            assert!(input.put(*byte));
        }
    }
}

impl Ring0 for Script {
    fn now(&self) -> Tsc {
        self.now
    }

    fn run(&mut self) -> Run {
        self.state.dirty = StateGroups::empty();
        self.state.instruction_bytes = 2;
        self.state.exit_tsc = self.now;
        let exit = match self.steps.pop_front() {
            None => VmExit::TripleFault,
            Some(Step::Notified(bits)) => return Run::Notified(bits),
            Some(Step::Exit(exit)) => exit,
            Some(Step::Time(ticks)) => {
                self.now = self.now.after(ticks);
                self.state.exit_tsc = self.now;
                VmExit::Timer
            }
            Some(Step::Late(port, ticks)) => {
                self.now = self.now.after(ticks);
                byte_access(port, Direction::In)
            }
            Some(Step::Port(port, direction, value)) => {
                self.state.set(Gpr::Rax, value);
                byte_access(port, direction)
            }
        };
        self.state.exit = ExitWords::encode(&exit);
        Run::Exit
    }

    fn state(&mut self) -> &mut GuestState {
        &mut self.state
    }

    fn select(&mut self, _: usize) {}

    fn reset(&mut self) {}

    fn wait(&mut self, deadline: Tsc) -> u64 {
        self.asked.push(Asked::Wait(deadline));
        self.console_turn();
        vmm_bits::CONSOLE
    }

    fn yield_now(&mut self) {
        self.asked.push(Asked::Yield);
    }

    fn announce(&mut self) {
        self.asked.push(Asked::Announce);
    }
}

fn byte_access(port: u16, direction: Direction) -> VmExit {
    VmExit::Port(PortAccess {
        port: Port(port),
        width: Width::Byte,
        direction,
        string: None,
    })
}

struct NoMemory;

impl GuestMemory for NoMemory {
    fn read(&mut self, at: Gpa, _: &mut [u8]) -> Result<(), Unbacked> {
        Err(Unbacked(at))
    }
    fn write(&mut self, at: Gpa, _: &[u8]) -> Result<(), Unbacked> {
        Err(Unbacked(at))
    }
}

fn monitor(steps: impl IntoIterator<Item = Step>) -> Monitor<Script, NoMemory, Box<ApicPage>> {
    let page: &'static ConsolePage = Box::leak(Box::new(ConsolePage::empty()));
    let mut leaf = |_, _| CpuidRegisters::default();
    let config = VmmConfig {
        cpuid: CpuidTable::new(&mut leaf, GuestAbilities::default(), HZ, 1),
        platform: PlatformConfig {
            tsc_hz: HZ,
            rtc_unix_seconds: 0,
            memory_bytes: 1 << 20,
            mmio_uart: None,
            vcpus: 1,
            test_devices: skerry_devices::TestDevices::Absent,
        },
        delivery: skerry_devices::lapic::Delivery::Software,
    };
    let mut state = Box::new(GuestState::at_reset());
    state.rflags |= GuestState::INTERRUPT_FLAG;
    let ring0 = Script {
        steps: steps.into_iter().collect(),
        state,
        now: Tsc(1000),
        page,
        asked: Vec::new(),
        taken: Vec::new(),
        types: &[],
    };
    let words = Box::leak(Box::new(VmPage::empty()));
    let vmm = Vmm::new(config, Box::default(), core::iter::empty(), Tsc(0));
    let console = Console::new(page, HZ);
    Monitor::new(ring0, NoMemory, vmm, console, words)
}

fn prints(text: &[u8]) -> impl Iterator<Item = Step> + '_ {
    text.iter()
        .map(|byte| Step::Port(COM1, Direction::Out, u64::from(*byte)))
}

/// UART, PIC and IER set up so that a typed byte interrupts by vector 24h.
fn listens() -> impl Iterator<Item = Step> {
    let writes = [
        (0x20, 0x11),
        (0x21, 0x20),
        (0x21, 4),
        (0x21, 1),
        (0x21, 0xef),
    ];
    let uart = [(COM1 + 4, 8), (COM1 + 1, 1)];
    writes
        .into_iter()
        .chain(uart)
        .map(|(port, value)| Step::Port(port, Direction::Out, value))
}

fn reads(register: u16) -> Step {
    Step::Port(COM1 + register, Direction::In, 0)
}

#[test]
fn a_line_is_announced_at_its_end_and_once() {
    let mut monitor = monitor(prints(b"hello\nyou"));
    assert_eq!(monitor.run(), StopReason::TripleFault);
    let ring0 = &mut monitor.ring0;
    assert_eq!(
        ring0.asked,
        [Asked::Announce, Asked::Announce],
        "the second at the end"
    );
    ring0.console_turn();
    assert_eq!(ring0.taken, b"hello\nyou");
}

#[test]
fn a_line_without_end_is_announced_when_it_is_long() {
    let mut monitor = monitor(prints(&[b'x'; 2047]));
    monitor.console.announce_rest(&mut monitor.ring0);
    for _ in 0..2047 {
        let _ = monitor.enter();
    }
    assert_eq!(monitor.ring0.asked, []);
    monitor.ring0.steps.extend(prints(b"x"));
    let _ = monitor.enter();
    assert_eq!(monitor.ring0.asked, [Asked::Announce]);
}

#[test]
fn a_prompt_is_announced_when_it_is_old_though_the_guest_does_nothing() {
    let old_tsc = HZ / 100;
    let steps = prints(b"> ").chain([Step::Time(old_tsc - 1), Step::Time(1)]);
    let mut monitor = monitor(steps);
    for _ in 0..3 {
        let _ = monitor.enter();
    }
    assert_eq!(monitor.ring0.asked, []);
    assert_eq!(monitor.ring0.state.deadline, Tsc(1000 + old_tsc));
    let _ = monitor.enter();
    assert_eq!(monitor.ring0.asked, [Asked::Announce]);
    assert_eq!(monitor.ring0.state.deadline, Tsc::NEVER);
}

#[test]
fn a_full_ring_stops_the_guest_until_there_is_room_and_loses_nothing() {
    let text: Vec<u8> = (0..10_000_u32).map(|n| (n % 200) as u8 + 20).collect();
    let mut monitor = monitor(prints(&text));
    let _ = monitor.run();
    let ring0 = &mut monitor.ring0;
    assert!(ring0.asked.contains(&Asked::Wait(Tsc(1000 + HZ / 1000))));
    ring0.console_turn();
    assert!(ring0.taken == text);
}

#[test]
fn typed_bytes_reach_the_uart_and_wait_for_the_next_exit() {
    let steps = listens().chain([
        Step::Notified(vmm_bits::CONSOLE),
        reads(5),
        reads(0),
        Step::Exit(VmExit::InterruptWindow),
    ]);
    let mut monitor = monitor(steps);
    for _ in 0..7 {
        let _ = monitor.enter();
    }
    monitor.ring0.type_bytes(b"k");
    let _ = monitor.enter();
    assert_eq!(monitor.ring0.state.deadline, Tsc(0));
    assert!(
        !monitor.ring0.state.inject.is_some(),
        "the page may be stale"
    );
    let _ = monitor.enter();
    assert_eq!(monitor.ring0.state.get(Gpr::Rax) & 1, 1, "data ready");
    assert_eq!(monitor.ring0.state.inject.0 & 0xff, 0x24);
    let _ = monitor.enter();
    assert_eq!(monitor.ring0.state.get(Gpr::Rax), u64::from(b'k'));
}

#[test]
fn bits_of_nothing_known_change_nothing() {
    let mut monitor = monitor([Step::Notified(1 << 40)]);
    let _ = monitor.enter();
    monitor.ring0.type_bytes(b"k");
    let resume = monitor.enter();
    assert_eq!(resume, Some(Resume::Stop(StopReason::TripleFault)));
    assert_eq!(monitor.ring0.asked, []);
}

#[test]
fn what_the_uart_has_no_room_for_is_offered_again_and_keeps_its_order() {
    let mut monitor = monitor([Step::Notified(vmm_bits::CONSOLE)]);
    let text: Vec<u8> = (0..200).collect();
    monitor.ring0.type_bytes(&text);
    let _ = monitor.enter();
    let retry = monitor.ring0.now.after(100_000);
    assert_eq!(monitor.ring0.state.deadline, retry);
    let mut read = Vec::new();
    for _ in 0..2000 {
        monitor.ring0.steps.extend([Step::Time(10_000), reads(5)]);
        let _ = (monitor.enter(), monitor.enter());
        if monitor.ring0.state.get(Gpr::Rax) & 1 != 0 {
            monitor.ring0.steps.push_back(reads(0));
            let _ = monitor.enter();
            read.push(monitor.ring0.state.get(Gpr::Rax) as u8);
        }
    }
    assert_eq!(read, text);
    assert_eq!(monitor.ring0.state.deadline, Tsc::NEVER);
}

#[test]
fn an_exit_is_answered_for_the_time_it_came_at() {
    const TIMER_2: u16 = 0x42;
    const CONTROL: u16 = 0x43;
    const GATE: u16 = 0x61;
    let starts = [(GATE, 1), (CONTROL, 0x90), (TIMER_2, 0xff)];
    let starts = starts.map(|(port, value)| Step::Port(port, Direction::Out, value));
    let reads = [Step::Late(TIMER_2, HZ / 10_000), Step::Late(TIMER_2, 0)];
    let mut monitor = monitor(starts.into_iter().chain(reads));
    for _ in 0..4 {
        let _ = monitor.enter();
    }
    assert_eq!(monitor.ring0.state.get(Gpr::Rax), 0xff, "it had only begun");
    let _ = monitor.enter();
    // 100 us of a clock of 1.193182 MHz.
    assert_eq!(monitor.ring0.state.get(Gpr::Rax), 0xff - 119);
}

#[test]
fn a_sleeper_is_woken_by_a_key_and_gets_its_interrupt() {
    let steps = listens()
        .chain(prints(b"$"))
        .chain([Step::Exit(VmExit::Hlt)]);
    let mut monitor = monitor(steps);
    monitor.ring0.types = b"k";
    assert_eq!(monitor.run(), StopReason::TripleFault);
    let ring0 = &monitor.ring0;
    assert_eq!(ring0.asked, [Asked::Announce, Asked::Wait(Tsc::NEVER)]);
    assert_eq!(ring0.state.inject.0 & 0xff, 0x24);
    assert_eq!(ring0.taken, b"$", "announced before the sleep");
}

#[test]
fn typed_bytes_that_find_no_room_do_not_keep_a_sleeper_awake() {
    let mut monitor = monitor([Step::Notified(vmm_bits::CONSOLE), Step::Exit(VmExit::Hlt)]);
    monitor.ring0.type_bytes(&[7; 300]);
    let _ = (monitor.enter(), monitor.enter());
    let _ = monitor.sleep();
    assert_eq!(monitor.ring0.asked, [Asked::Wait(Tsc::NEVER)]);
}

#[test]
fn every_end_is_told_with_what_was_refused() {
    let exits = [
        (
            Step::Port(0x64, Direction::Out, 0xfe),
            StopReason::ResetAsked,
        ),
        (
            Step::Port(0xf4, Direction::Out, 3),
            StopReason::DebugExit(3),
        ),
    ];
    for (last, reason) in exits {
        let steps = [
            Step::Port(0x5a5a, Direction::In, 0),
            Step::Exit(VmExit::Rdmsr),
        ];
        let mut monitor = monitor(steps.into_iter().chain([last]));
        monitor
            .ring0
            .state
            .set(Gpr::Rcx, u64::from(MsrIndex(0xdead).0));
        assert_eq!(monitor.run(), reason);
        let count = |counter: &core::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!(count(&monitor.page.absent_accesses), 1);
        assert_eq!(count(&monitor.page.refused_msrs), 1);
    }
}

#[test]
fn a_yield_hypercall_gives_the_slice_to_others() {
    const YIELD: u64 = 2;
    let mut monitor = monitor([Step::Exit(VmExit::Hypercall)]);
    monitor.ring0.state.set(Gpr::Rax, YIELD);
    let _ = monitor.run();
    assert_eq!(monitor.ring0.asked, [Asked::Yield]);
}

#[test]
fn a_loop_of_pause_waits_for_the_time_where_there_is_no_other_vcpu() {
    let mut monitor = monitor([Step::Exit(VmExit::Pause)]);
    let _ = monitor.run();
    assert_eq!(monitor.ring0.asked, []);
}
