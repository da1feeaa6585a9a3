//! When interrupts and debug exceptions come, and what a local APIC has a guest do.

use super::*;

#[test]
fn an_interrupt_waits_for_its_window() {
    let mut guest = Guest::new();
    arm_timer(&mut guest);
    guest.interrupts(false);
    guest.now = Tsc(20_000_000);
    assert_eq!(guest.exit(VmExit::Timer), Resume::Enter);
    assert_eq!((guest.event(), guest.state.interrupt_window), (None, 1));
    guest.interrupts(true);
    assert_eq!(guest.exit(VmExit::InterruptWindow), Resume::Enter);
    assert_eq!(guest.event().map(|event| event.vector), Some(Vector(0x20)));
    assert_eq!(guest.state.interrupt_window, 0);
}

#[test]
fn a_window_asked_for_stays_so_over_answers_that_change_nothing() {
    let mut guest = Guest::new();
    arm_timer(&mut guest);
    guest.interrupts(false);
    guest.now = Tsc(20_000_000);
    guest.exit(VmExit::Timer);
    assert_eq!(guest.exit(VmExit::Cpuid), Resume::Enter);
    guest.out(0xe9, 0x41);
    assert_eq!((guest.event(), guest.state.interrupt_window), (None, 1));
    // Masked at the 8259: nothing waits any longer, which is found out when it opens.
    guest.out(0x21, 0xff);
    guest.interrupts(true);
    assert_eq!(guest.exit(VmExit::InterruptWindow), Resume::Enter);
    assert_eq!((guest.event(), guest.state.interrupt_window), (None, 0));
}

impl Guest {
    fn wrmsr(&mut self, msr: u32, value: u64) {
        self.state.set(Gpr::Rcx, u64::from(msr));
        self.state.set(Gpr::Rax, value & 0xffff_ffff);
        self.state.set(Gpr::Rdx, value >> 32);
        assert_eq!(self.exit(VmExit::Wrmsr), Resume::Enter);
    }

    fn in_x2apic_mode() -> Self {
        let mut guest = Self::new();
        guest.wrmsr(0x1b, 0xfee0_0d00);
        guest.wrmsr(0x80f, 0x1ff);
        guest
    }

    fn vector(&self) -> Option<Vector> {
        self.event().map(|event| event.vector)
    }
}

#[test]
fn an_interrupt_to_oneself_comes_at_once_or_by_its_window() {
    let mut guest = Guest::in_x2apic_mode();
    guest.interrupts(false);
    guest.wrmsr(0x83f, 0x41);
    guest.wrmsr(0x83f, 0x61);
    assert_eq!((guest.event(), guest.state.interrupt_window), (None, 1));
    guest.interrupts(true);
    assert_eq!(guest.exit(VmExit::InterruptWindow), Resume::Enter);
    assert_eq!(guest.vector(), Some(Vector(0x61)));
    assert_eq!(
        guest.state.interrupt_window, 0,
        "the other is of a lower class"
    );
    guest.state.inject = EventWord::NONE;
    guest.wrmsr(0x80b, 0);
    assert_eq!(guest.vector(), Some(Vector(0x41)), "and comes at the end");
}

#[test]
fn a_deadline_that_has_passed_interrupts_at_once() {
    let mut guest = Guest::in_x2apic_mode();
    guest.interrupts(true);
    guest.wrmsr(0x832, 2 << 17 | 0x51);
    guest.wrmsr(0x6e0, 1);
    assert_eq!(guest.vector(), Some(Vector(0x51)));
}

#[test]
fn an_event_under_way_goes_before_an_interrupt() {
    let mut guest = Guest::new();
    arm_timer(&mut guest);
    guest.interrupts(true);
    guest.now = Tsc(20_000_000);
    guest.state.inject_fault(Fault::Page(0x1000, 2));
    guest.exit(VmExit::Timer);
    assert_eq!(guest.event(), exception(14, Some(2)));
    assert_eq!(guest.state.interrupt_window, 1);
}

#[test]
fn a_single_step_over_an_answered_instruction_is_trapped_before_an_interrupt_comes() {
    let mut guest = Guest::new();
    arm_timer(&mut guest);
    guest.interrupts(false);
    guest.now = Tsc(HZ);
    assert_eq!(guest.exit(VmExit::Timer), Resume::Enter);
    assert_eq!(guest.event(), None, "pending, with interrupts off");
    guest.interrupts(true);
    guest.state.rflags |= GuestState::TRAP_FLAG;
    assert_eq!(guest.exit(VmExit::Cpuid), Resume::Enter);
    assert_eq!(guest.event(), exception(1, None));
    assert_eq!(guest.state.debug_status, GuestState::SINGLE_STEP);
    assert_eq!(guest.state.interrupt_window, 1);
}

#[test]
fn a_single_step_over_hlt_does_not_sleep() {
    let mut guest = Guest::new();
    guest.interrupts(false);
    guest.state.rflags |= GuestState::TRAP_FLAG;
    assert_eq!(guest.exit(VmExit::Hlt), Resume::Enter);
    assert_eq!(guest.event(), exception(1, None));
}

#[test]
fn the_only_vcpu_starts_over_when_it_sends_itself_init() {
    const APIC_BASE: u32 = 0x1b;
    const COMMAND: u32 = 0x830;
    let mut guest = Guest::new();
    guest.state.rip = 0x7000;
    for (msr, value) in [(APIC_BASE, 0xfee0_0d00_u64), (COMMAND, 0x4500)] {
        guest.state.set(Gpr::Rcx, u64::from(msr));
        guest.state.set(Gpr::Rax, value);
        guest.state.set(Gpr::Rdx, 0);
        let resume = guest.exit(VmExit::Wrmsr);
        let starts_over = msr == COMMAND;
        assert_eq!(resume == Resume::Halt, starts_over, "it does not go on");
    }
    assert_eq!(guest.vmm.next_to_run(), Some(0));
    let switched = guest.vmm.switch_to(0, &mut guest.state, guest.now);
    assert_eq!(switched, crate::Switched::Starts);
    assert_eq!(guest.state.rip, 0xfff0);
    assert_eq!(guest.vmm.look(&mut guest.state, guest.now), Resume::Enter);
}

#[test]
fn each_write_of_a_repeated_one_to_the_apic_counts() {
    let mut guest = Guest::new();
    guest.wrmsr(0x1b, 0xfee0_0900);
    guest.memory.0[..3].copy_from_slice(&[0xf3, 0x66, 0xab]); // rep stosd
    guest.state.segments[Segment::Cs as usize].base = 0;
    guest.state.segments[Segment::Es as usize].base = 0xfee0_0000;
    guest.state.rip = 0;
    // INIT to itself by the command register, then the same word to the one behind it.
    for (register, value) in [(Gpr::Rdi, 0x300), (Gpr::Rcx, 5), (Gpr::Rax, 0x4500)] {
        guest.state.set(register, value);
    }
    let access = MemoryAccess {
        gpa: Gpa(0xfee0_0300),
        access: Access::Write,
        gva: None,
        during_walk: false,
    };
    let resume = guest.exit(VmExit::Memory(access));
    assert_eq!((guest.state.get(Gpr::Rcx), guest.event()), (0, None));
    assert_eq!(resume, Resume::Halt);
    let switched = guest.vmm.switch_to(0, &mut guest.state, guest.now);
    assert_eq!(switched, crate::Switched::Starts);
}

#[test]
fn a_loop_of_pause_gives_its_turn_to_another_vcpu_that_has_something_to_do() {
    const COMMAND: u32 = 0x830;
    const TO_THE_SECOND: u64 = 1 << 32;
    let mut guest = Guest::with_others(1);
    guest.wrmsr(0x1b, 0xfee0_0d00);
    assert_eq!(
        guest.exit(VmExit::Pause),
        Resume::Enter,
        "it waits for INIT"
    );
    guest.wrmsr(COMMAND, TO_THE_SECOND | 0x4500);
    assert_eq!(
        guest.exit(VmExit::Pause),
        Resume::Enter,
        "and for its start"
    );
    guest.wrmsr(COMMAND, TO_THE_SECOND | 0x4608);
    assert_eq!(guest.exit(VmExit::Pause), Resume::Yield);
    assert_eq!(guest.vmm.next_to_run(), Some(1));
}

#[test]
fn a_line_that_another_vcpu_raises_wakes_the_first_though_that_one_has_a_window_asked_for() {
    const COMMAND: u32 = 0x830;
    let mut guest = Guest::with_others(1);
    guest.wrmsr(0x1b, 0xfee0_0d00);
    guest.wrmsr(COMMAND, 1 << 32 | 0x4500);
    guest.wrmsr(COMMAND, 1 << 32 | 0x4608);
    arm_timer(&mut guest);
    guest.interrupts(true);
    assert_eq!(guest.exit(VmExit::Hlt), Resume::Halt);
    let mut other = GuestState::at_reset();
    assert_eq!(
        guest.vmm.switch_to(1, &mut other, guest.now),
        crate::Switched::Starts
    );
    guest.state = other;
    guest.interrupts(false);
    guest.wrmsr(0x1b, 0xfee0_0c00);
    guest.wrmsr(0x80f, 0x1ff);
    guest.wrmsr(0x83f, 0x41);
    assert_eq!(guest.state.interrupt_window, 1);
    assert_eq!(guest.vmm.next_to_run(), Some(1), "the first sleeps");
    guest.now = Tsc(guest.now.0 + 20_000_000);
    // A read of the timer's count lets it run up to now, which raises its line.
    guest.exit(port_exit(0x40, Direction::In));
    assert_eq!(guest.vmm.next_to_run(), Some(0));
    assert_ne!(guest.state.deadline, Tsc::NEVER, "its turn comes");
}
