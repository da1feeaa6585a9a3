//! A vector move from the exit to the registers that are put back.

use super::*;
use crate::cpuid::{CpuidRegisters, CpuidTable, GuestAbilities};
use crate::vmm::VmmConfig;
use alloc::vec::Vec;
use core::cell::RefCell;
use skerry_devices::PlatformConfig;
use skerry_verdict::{Registers, StopReason, Unbacked};
use skerry_words::{
    Access, AccessRights, Gpa, Gpr, MemoryAccess, Segment, SegmentRegister, Tsc, VmExit,
};

/// The HPET's counter, which stands and keeps what is written to it.
const COUNTER: Gpa = Gpa(0xfed0_00f0);
const MOVQ_STORE: [u8; 4] = [0x66, 0x0f, 0xd6, 0x0b]; // movq [ebx], xmm1
const MOVQ_LOAD: [u8; 4] = [0xf3, 0x0f, 0x7e, 0x13]; // movq xmm2, [ebx]

/// One vCPU's registers, and how often they were asked for and put back.
#[derive(Default)]
struct Kept(RefCell<(ExtendedState, [u32; 2])>);

impl VectorState for Kept {
    fn fetch(&self, index: usize, into: &mut ExtendedState) -> u64 {
        assert_eq!(index, 0);
        let (area, [fetched, _]) = &mut *self.0.borrow_mut();
        *fetched += 1;
        *into = area.clone();
        3
    }

    fn put_back(&self, _: usize, from: &ExtendedState) {
        let (area, [_, put_back]) = &mut *self.0.borrow_mut();
        *put_back += 1;
        *area = from.clone();
    }
}

/// Four bytes of code at 0.
struct Code([u8; 4]);

impl GuestMemory for Code {
    fn read(&mut self, at: Gpa, into: &mut [u8]) -> Result<(), Unbacked> {
        let rest = usize::try_from(at.0).ok().and_then(|at| self.0.get(at..));
        into.fill(0);
        let pairs = into.iter_mut().zip(rest.ok_or(Unbacked(at))?);
        pairs.for_each(|(to, from)| *to = *from);
        Ok(())
    }

    fn write(&mut self, at: Gpa, _: &[u8]) -> Result<(), Unbacked> {
        Err(Unbacked(at))
    }
}

fn vmm() -> Vmm<Box<ApicPage>> {
    let mut leaf = |_, _| CpuidRegisters::default();
    let config = VmmConfig {
        cpuid: CpuidTable::new(&mut leaf, GuestAbilities::default(), 1_000_000_000, 1),
        platform: PlatformConfig {
            tsc_hz: 1_000_000_000,
            rtc_unix_seconds: 0,
            memory_bytes: 1 << 20,
            mmio_uart: None,
            vcpus: 1,
            test_devices: skerry_devices::TestDevices::Absent,
        },
        delivery: skerry_devices::lapic::Delivery::Software,
    };
    Vmm::new(config, Box::default(), core::iter::empty(), Tsc(0))
}

/// In flat protected mode with SSE on, at 0, EBX at the counter.
fn state() -> GuestState {
    let mut state = GuestState::at_reset();
    (state.cr0, state.cr4, state.rip) = (0x11, 1 << 9, 0);
    let flat = |rights| SegmentRegister::new(8, 0, u32::MAX, rights);
    state.segments[Segment::Cs as usize] = flat(AccessRights::CODE32);
    state.segments[Segment::Ds as usize] = flat(AccessRights::DATA32);
    state.set(Gpr::Rbx, COUNTER.0);
    state
}

fn answer(vmm: &mut Vmm<Box<ApicPage>>, state: &mut GuestState, code: [u8; 4]) -> Resume {
    let exit = VmExit::Memory(MemoryAccess {
        gpa: COUNTER,
        access: Access::Read,
        gva: None,
        during_walk: false,
    });
    (state.rip, state.exit_tsc) = (0, Tsc(1));
    vmm.answer(&exit, state, &mut Code(code), Tsc(1))
}

fn with_registers() -> (Vmm<Box<ApicPage>>, &'static Kept) {
    let kept: &'static Kept = Box::leak(Box::default());
    let mut vmm = vmm();
    vmm.find_vectors_by(kept);
    (vmm, kept)
}

#[test]
fn a_store_fetches_the_registers_and_a_load_puts_them_back() {
    let (mut vmm, kept) = with_registers();
    kept.0.borrow_mut().0.set_in_use(3);
    let xmm1: Vec<u8> = (1..17).collect();
    kept.0.borrow_mut().0.set_bytes(176, &xmm1);
    let mut state = state();
    assert_eq!(answer(&mut vmm, &mut state, MOVQ_STORE), Resume::Enter);
    assert_eq!((kept.0.borrow().1, state.rip), ([1, 0], 4));
    assert_eq!(answer(&mut vmm, &mut state, MOVQ_LOAD), Resume::Enter);
    assert_eq!((kept.0.borrow().1, state.rip), ([2, 1], 4));
    let xmm2: [u8; 16] = kept.0.borrow().0.bytes(192);
    assert_eq!(xmm2, [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_fault_is_the_guests_and_puts_nothing_back() {
    let (mut vmm, kept) = with_registers();
    let mut state = state();
    state.cr0 |= 1 << 3;
    assert_eq!(answer(&mut vmm, &mut state, MOVQ_LOAD), Resume::Enter);
    let event = state.inject.decode().map(|event| event.vector.0);
    assert_eq!((event, state.rip), (Some(7), 0));
    assert_eq!(kept.0.borrow().1, [1, 0]);
}

#[test]
fn other_exits_ask_for_no_registers() {
    let (mut vmm, kept) = with_registers();
    let mut state = state();
    let movs: [u8; 4] = [0x8b, 0x03, 0x89, 0x03]; // mov eax, [ebx]; mov [ebx], eax
    assert_eq!(answer(&mut vmm, &mut state, movs), Resume::Enter);
    assert_eq!((kept.0.borrow().1, state.rip), ([0, 0], 2));
}

#[test]
fn without_registers_the_instruction_is_not_known() {
    let (mut vmm, mut state) = (vmm(), state());
    let stopped = Resume::Stop(StopReason::Emulation(0));
    assert_eq!(answer(&mut vmm, &mut state, MOVQ_LOAD), stopped);
}
