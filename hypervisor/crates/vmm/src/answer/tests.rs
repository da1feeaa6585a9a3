//! What a guest gets for each exit, from the exit to the page it is entered with.

use super::*;
use crate::CpuidTable;
use crate::cpuid::{CpuidRegisters, GuestAbilities};
use crate::vmm::VmmConfig;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;
use skerry_devices::PlatformConfig;
use skerry_verdict::{Registers, Unbacked};
use skerry_words::{
    Access, CrAccess, CrOperation, Direction, Event, EventKind, Gpa, Gpr, MemoryAccess, Port,
    PortAccess, Segment, StateGroups, StringIo, Vector, Width,
};

mod interrupts;

/// 64 KiB of RAM from 0 on.
struct Memory(Vec<u8>);

impl GuestMemory for Memory {
    fn read(&mut self, at: Gpa, into: &mut [u8]) -> Result<(), Unbacked> {
        let start = usize::try_from(at.0).map_err(|_| Unbacked(at))?;
        let end = start.checked_add(into.len()).ok_or(Unbacked(at))?;
        into.copy_from_slice(self.0.get(start..end).ok_or(Unbacked(at))?);
        Ok(())
    }

    fn write(&mut self, at: Gpa, from: &[u8]) -> Result<(), Unbacked> {
        let start = usize::try_from(at.0).map_err(|_| Unbacked(at))?;
        let end = start.checked_add(from.len()).ok_or(Unbacked(at))?;
        self.0
            .get_mut(start..end)
            .ok_or(Unbacked(at))?
            .copy_from_slice(from);
        Ok(())
    }
}

/// A CPU of 2 GHz with PAE, SSE and no extended state.
fn leaf(leaf: u32, _: u32) -> CpuidRegisters {
    match leaf {
        0 => CpuidRegisters {
            eax: 0x16,
            ebx: 1,
            ecx: u32::from_le_bytes(*b"ntel"),
            edx: 3,
        },
        1 => CpuidRegisters {
            eax: 0x50654,
            ebx: 0,
            ecx: 0,
            edx: !0,
        },
        _ => CpuidRegisters::default(),
    }
}

struct Guest {
    vmm: Vmm<Box<ApicPage>>,
    state: GuestState,
    memory: Memory,
    now: Tsc,
}

const HZ: u64 = 2_000_000_000;

impl Guest {
    fn new() -> Self {
        Self::with_others(0)
    }

    /// With so many vCPUs besides the first.
    fn with_others(others: usize) -> Self {
        let config = VmmConfig {
            cpuid: CpuidTable::new(&mut leaf, GuestAbilities::default(), HZ, 1),
            platform: PlatformConfig {
                tsc_hz: HZ,
                rtc_unix_seconds: 946_684_800,
                memory_bytes: 0x1_0000,
                mmio_uart: Some(Gpa(0xfe03_0000)),
                vcpus: 1 + others as u32,
                test_devices: skerry_devices::TestDevices::Absent,
            },
            delivery: skerry_devices::lapic::Delivery::Software,
        };
        let mut state = GuestState::at_reset();
        state.dirty = StateGroups::empty();
        let memory = Memory(alloc::vec![0; 0x1_0000]);
        let pages = core::iter::repeat_with(Box::default);
        Self {
            vmm: Vmm::new(config, Box::default(), pages.take(others), Tsc(0)),
            state,
            memory,
            now: Tsc(0),
        }
    }

    fn exit(&mut self, exit: VmExit) -> Resume {
        self.now = self.now.after(1000);
        self.state.instruction_bytes = 2;
        self.vmm
            .answer(&exit, &mut self.state, &mut self.memory, self.now)
    }

    fn out(&mut self, port: u16, value: u8) -> Resume {
        self.state.set(Gpr::Rax, u64::from(value));
        self.exit(port_exit(port, Direction::Out))
    }

    fn interrupts(&mut self, on: bool) {
        self.state.rflags = if on { 0x202 } else { 2 };
    }

    fn event(&self) -> Option<Event> {
        self.state.inject.decode()
    }
}

fn port_exit(port: u16, direction: Direction) -> VmExit {
    VmExit::Port(PortAccess {
        port: Port(port),
        width: Width::Byte,
        direction,
        string: None,
    })
}

fn exception(vector: u8, error_code: Option<u32>) -> Option<Event> {
    Some(Event {
        kind: EventKind::Exception,
        vector: Vector(vector),
        error_code,
    })
}

/// Programs the PIC to vector 20h with line 0 open, and the PIT to one shot of 10000 ticks.
fn arm_timer(guest: &mut Guest) {
    let writes = [
        (0x20, 0x11),
        (0x21, 0x20),
        (0x21, 4),
        (0x21, 1),
        (0x21, 0xfe),
        (0x43, 0x30),
        (0x40, 0x10),
        (0x40, 0x27),
    ];
    for (port, value) in writes {
        assert_eq!(guest.out(port, value), Resume::Enter);
    }
}

#[test]
fn an_absent_port_reads_all_ones_and_is_counted() {
    let mut guest = Guest::new();
    guest.state.set(Gpr::Rax, 0x1122);
    assert_eq!(guest.exit(port_exit(0x5a5a, Direction::In)), Resume::Enter);
    assert_eq!(guest.state.get(Gpr::Rax), 0x11ff);
    assert_eq!(guest.vmm.refusals().absent, 1);
    assert_eq!(guest.state.rip, 0xfff2);
}

#[test]
fn console_bytes_come_out_in_order_and_once() {
    let mut guest = Guest::new();
    guest.out(0x3f8, b'h');
    guest.out(0xe9, b'i');
    assert_eq!(guest.vmm.console(), b"hi");
    guest.vmm.clear_console();
    assert!(guest.vmm.console().is_empty());
}

#[test]
fn an_unknown_msr_faults_and_is_counted_and_the_guest_goes_on() {
    let mut guest = Guest::new();
    guest.state.set(Gpr::Rcx, 0x1234);
    assert_eq!(guest.exit(VmExit::Rdmsr), Resume::Enter);
    assert_eq!(guest.event(), exception(13, Some(0)));
    assert_eq!(guest.vmm.refusals().msrs, 1);
    assert_eq!(guest.state.rip, 0xfff0, "the fault is at the instruction");
}

#[test]
fn what_this_cpu_does_not_have_is_undefined() {
    let mut guest = Guest::new();
    guest.exit(VmExit::Undefined(Undefined::Virtualization));
    assert_eq!(guest.event(), exception(6, None));
    guest.state.inject = EventWord::NONE;
    guest.exit(VmExit::Undefined(Undefined::Rdpmc));
    assert_eq!(guest.event(), exception(13, Some(0)));
    assert_eq!(guest.vmm.refusals().instructions, 2);
}

#[test]
fn halting_with_interrupts_off_is_an_end() {
    let mut guest = Guest::new();
    guest.interrupts(false);
    assert_eq!(guest.exit(VmExit::Hlt), Resume::Stop(StopReason::Halted));
}

#[test]
fn a_sleeper_tells_when_to_wake_it_and_wakes_with_its_interrupt() {
    let mut guest = Guest::new();
    arm_timer(&mut guest);
    guest.interrupts(true);
    assert_eq!(guest.exit(VmExit::Hlt), Resume::Halt);
    // 10000 ticks of 1.193182 MHz at 2 GHz, from the write of the count's second byte on.
    let due = guest.state.deadline.0;
    assert!((16_700_000..16_800_000).contains(&due), "{due}");
    guest.now = Tsc(due - 2000);
    assert_eq!(guest.exit(VmExit::Timer), Resume::Halt, "not yet");
    guest.now = Tsc(due);
    assert_eq!(guest.exit(VmExit::Timer), Resume::Enter);
    let event = Event {
        kind: EventKind::Interrupt,
        vector: Vector(0x20),
        error_code: None,
    };
    assert_eq!(guest.event(), Some(event));
}

#[test]
fn ends_carry_their_reason() {
    let mut guest = Guest::new();
    assert_eq!(guest.out(0xf4, 3), Resume::Stop(StopReason::DebugExit(3)));
    assert_eq!(guest.out(0x64, 0xfe), Resume::Reset);
    assert_eq!(
        guest.exit(VmExit::TripleFault),
        Resume::Stop(StopReason::TripleFault)
    );
    assert_eq!(
        guest.exit(VmExit::Unknown(99)),
        Resume::Stop(StopReason::UnknownExit(99))
    );
}

#[test]
fn fetching_from_nowhere_is_an_undefined_instruction() {
    let mut guest = Guest::new();
    let access = MemoryAccess {
        gpa: Gpa(0xfee0_0000),
        access: Access::Execute,
        gva: None,
        during_walk: false,
    };
    assert_eq!(guest.exit(VmExit::Memory(access)), Resume::Enter);
    assert_eq!(guest.event(), exception(6, None));
}

#[test]
fn lmsw_of_a_word_on_the_bus_changes_four_bits_of_cr0() {
    let mut guest = Guest::new();
    guest.memory.0[..5].copy_from_slice(&[0x0f, 0x01, 0x36, 0, 0]); // lmsw [0]
    guest.state.segments[Segment::Cs as usize].base = 0;
    // Nobody is there: all ones.
    guest.state.segments[Segment::Ds as usize].base = 0xf000_0000;
    guest.state.rip = 0;
    let access = MemoryAccess {
        gpa: Gpa(0xf000_0000),
        access: Access::Read,
        gva: None,
        during_walk: false,
    };
    assert_eq!(guest.exit(VmExit::Memory(access)), Resume::Enter);
    assert_eq!((guest.state.cr0, guest.state.rip), (0x6000_001f, 5));
    assert!(guest.state.dirty.contains(StateGroups::CONTROL));
    assert_eq!(guest.event(), None);
}

#[test]
fn ins_to_a_device_writes_it() {
    let mut guest = Guest::new();
    guest.state.segments[Segment::Es as usize].base = 0xfe03_0000;
    guest.state.set(Gpr::Rdi, 0);
    let access = PortAccess {
        port: Port(0x5a5a),
        width: Width::Byte,
        direction: Direction::In,
        string: Some(StringIo {
            repeat: false,
            address_bytes: 2,
            segment: Segment::Es,
        }),
    };
    assert_eq!(guest.exit(VmExit::Port(access)), Resume::Enter);
    assert_eq!(guest.vmm.console(), [0xff]);
}

fn any_exit() -> impl Strategy<Value = VmExit> {
    let width = prop_oneof![Just(Width::Byte), Just(Width::Word), Just(Width::Dword)];
    let direction = prop_oneof![Just(Direction::In), Just(Direction::Out)];
    let port = (any::<u16>(), width, direction).prop_map(|(port, width, direction)| {
        VmExit::Port(PortAccess {
            port: Port(port),
            width,
            direction,
            string: None,
        })
    });
    let operation = prop_oneof![
        (0_u8..32).prop_map(CrOperation::Write),
        (0_u8..32).prop_map(CrOperation::Read),
        Just(CrOperation::Clts),
        any::<u16>().prop_map(CrOperation::Lmsw),
    ];
    let cr = (any::<u8>(), operation).prop_map(|(register, operation)| {
        VmExit::Cr(CrAccess {
            register,
            operation,
        })
    });
    let memory = (any::<u64>(), any::<bool>()).prop_map(|(gpa, during_walk)| {
        let access = if gpa & 1 == 0 {
            Access::Read
        } else {
            Access::Write
        };
        VmExit::Memory(MemoryAccess {
            gpa: Gpa(gpa),
            access,
            gva: None,
            during_walk,
        })
    });
    prop_oneof![
        Just(VmExit::Cpuid),
        Just(VmExit::Hypercall),
        Just(VmExit::Rdmsr),
        Just(VmExit::Wrmsr),
        Just(VmExit::Hlt),
        Just(VmExit::Xsetbv),
        Just(VmExit::Timer),
        Just(VmExit::InterruptWindow),
        port,
        cr,
        memory,
    ]
}

proptest! {
    #[test]
    fn no_sequence_of_exits_breaks_the_monitor(
        steps in prop::collection::vec((any_exit(), any::<[u64; 4]>(), any::<u64>()), 1..60),
    ) {
        let mut guest = Guest::new();
        for (exit, [rax, rcx, rdx, rdi], flags) in steps {
            guest.state.set(Gpr::Rax, rax);
            guest.state.set(Gpr::Rcx, rcx);
            guest.state.set(Gpr::Rdx, rdx);
            guest.state.set(Gpr::Rdi, rdi);
            guest.state.rflags = flags;
            guest.state.inject = EventWord::NONE;
            let resume = guest.exit(exit);
            if let Some(event) = guest.event() {
                let wanted = event.kind != EventKind::Interrupt || flags & 0x200 != 0;
                prop_assert!(wanted, "an interrupt with IF clear after {exit:?}");
            }
            if resume == Resume::Halt {
                prop_assert!(guest.state.inject == EventWord::NONE);
            }
            if !matches!(resume, Resume::Enter | Resume::Yield) {
                // Only its wake-up may follow, or nothing; the sequence goes on with another life.
                guest = Guest::new();
            }
        }
    }
}
