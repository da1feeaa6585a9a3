//! The monitor of one VM: loads its image, runs its guest, answers its exits, to the end.
//!
//! Owns the system calls behind [`Ring0`] and the way to an end. What it does between them is
//! `lib.rs`. Started by `root`, once for each life of a VM; it has its guest's memory, its own
//! pages, handles to its vCPUs and the console, and nothing else.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::fmt;
use core::mem::replace;
use skerry_abi::{Handle, Refused, VERSION, layout, own};
use skerry_component::pages::{self, ApicFrame, StatePage};
use skerry_component::{GuestWindow, calls, clock, component, cpuid};
use skerry_load::Firmware;
use skerry_pages::{StartPage, VmPage};
use skerry_verdict::{MonitorEnd, StopReason};
use skerry_vmm::{CpuidRegisters, VectorState, Vmm, permitted_cr0};
use skerry_words::{ExtendedState, GuestState, Tsc};
use vmm::console::Console;
use vmm::{Monitor, Ring0, Run, load, start};

component! {
    main: run,
    heap_pages: layout::VMM_HEAP_PAGES,
    last_words: pages::say_to_root,
}

/// One life of the VM.
fn run() -> ! {
    let start = pages::start_page();
    assert!(
        start.version == VERSION,
        "the start page is of version {}",
        start.version
    );
    let vcpus = start::vcpus(start);
    let mut ring0 = Calls::new(vcpus);
    let config = start::vmm_config(start, &mut leaf);
    let others = (1..vcpus).map(apic_page);
    let mut vmm = Vmm::new(config, apic_page(0), others, clock::now());
    let mut window = GuestWindow::new(start::backed(start, pages::files));
    permit(vcpus, &vmm);
    vmm.find_vectors_by(&Registers);
    match load_guest(start, &mut window, &mut ring0.state) {
        Ok(Firmware::None) => {}
        Ok(Firmware::Bios) => vmm.as_bios_leaves_it(clock::now()),
        Err(error) => {
            say_all(pages::vm_page(), &error);
            end(StopReason::Image);
        }
    }
    vmm.prepare(&mut ring0.state);
    ring0.reset();
    let console = Console::new(pages::console_page(), start.tsc_hz);
    end(Monitor::new(ring0, window, vmm, console, pages::vm_page()).run())
}

fn leaf(leaf: u32, subleaf: u32) -> CpuidRegisters {
    let [eax, ebx, ecx, edx] = cpuid::leaf(leaf, subleaf);
    CpuidRegisters { eax, ebx, ecx, edx }
}

fn apic_page(index: u32) -> ApicFrame {
    pages::take_apic_page(index).expect("each APIC page is taken once, here")
}

fn permit(vcpus: u32, vmm: &Vmm<ApicFrame>) {
    for vcpu in (0..vcpus).map(own::vcpu) {
        let permitted = calls::vcpu_permit(vcpu, permitted_cr0(), vmm.permitted_cr4());
        granted("vcpu_permit", permitted);
    }
}

/// Copies the image in and has the state page say where it is entered.
fn load_guest(
    start: &'static StartPage,
    window: &mut GuestWindow,
    state: &mut StatePage,
) -> Result<Firmware, Failure> {
    let modules = start::modules(start, pages::files);
    let request = start::request(start, &modules, pages::files);
    let plan = skerry_load::plan(&request).map_err(Failure::Load)?;
    let alive = || {
        granted("version", calls::version());
    };
    load::apply(&plan, window, alive).map_err(Failure::Memory)?;
    **state = (*plan.entry).clone();
    Ok(plan.firmware)
}

/// Why the guest cannot be started.
enum Failure {
    Load(skerry_load::LoadError),
    Memory(skerry_verdict::Unbacked),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => error.fmt(f),
            Self::Memory(unbacked) => unbacked.fmt(f),
        }
    }
}

fn say_all(page: &VmPage, words: &impl fmt::Display) {
    struct Words<'a>(&'a VmPage);
    impl fmt::Write for Words<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.say(text);
            Ok(())
        }
    }
    // The writer never fails.
    let _ = fmt::Write::write_fmt(&mut Words(page), format_args!("{words}"));
}

fn end(reason: StopReason) -> ! {
    // A reason that is not this component's to say is a mistake of its own.
    let mistake = (StopReason::Monitor(MonitorEnd::Panicked).encode()).unwrap_or_default();
    let (code, value) = reason.encode().unwrap_or(mistake);
    calls::end(code, value)
}

/// The result of a call that a VMM which was made well is never refused.
#[inline(always)]
fn granted<T>(call: &str, result: Result<T, Refused>) -> T {
    match result {
        Ok(result) => result,
        Err(refused) => refuse(call, refused),
    }
}

#[cold]
#[inline(never)]
fn refuse(call: &str, refused: Refused) -> ! {
    panic!("ring 0 has refused {call}: {refused}")
}

/// The vCPUs' registers that ring 0 keeps.
struct Registers;

impl VectorState for Registers {
    fn fetch(&self, index: usize, into: &mut ExtendedState) -> u64 {
        let saved = calls::vcpu_save(own::vcpu(index as u32), into);
        granted("vcpu_save", saved)
    }

    fn put_back(&self, index: usize, from: &ExtendedState) {
        let restored = calls::vcpu_restore(own::vcpu(index as u32), from);
        granted("vcpu_restore", restored);
    }
}

/// The monitor's way to ring 0.
struct Calls {
    /// The current vCPU's.
    state: StatePage,
    vcpu: Handle,
    index: usize,
    /// The pages of all vCPUs but the current one's.
    others: Vec<Option<StatePage>>,
}

impl Calls {
    fn new(vcpus: u32) -> Self {
        let page = |index| StatePage::take(index).expect("each state page is taken once, here");
        Self {
            state: page(0),
            vcpu: own::VCPU,
            index: 0,
            others: (0..vcpus)
                .map(|index| (index != 0).then(|| page(index)))
                .collect(),
        }
    }
}

impl Ring0 for Calls {
    #[inline(always)]
    fn now(&self) -> Tsc {
        clock::now()
    }

    #[inline(always)]
    fn run(&mut self) -> Run {
        match granted("vcpu_run", calls::vcpu_run(self.vcpu, &mut self.state)) {
            calls::Run::Exit => Run::Exit,
            calls::Run::Notified(bits) => Run::Notified(bits),
        }
    }

    #[inline(always)]
    fn state(&mut self) -> &mut GuestState {
        &mut self.state
    }

    fn select(&mut self, index: usize) {
        let Some(page) = self.others.get_mut(index).and_then(Option::take) else {
            return;
        };
        let before = replace(&mut self.state, page);
        if let Some(place) = self.others.get_mut(self.index) {
            *place = Some(before);
        }
        self.index = index;
        self.vcpu = own::vcpu(index as u32);
    }

    fn reset(&mut self) {
        granted("vcpu_reset", calls::vcpu_reset(self.vcpu, &mut self.state));
    }

    fn wait(&mut self, deadline: Tsc) -> u64 {
        granted("wait", calls::wait(deadline))
    }

    fn yield_now(&mut self) {
        granted("yield", calls::yield_now());
    }

    fn announce(&mut self) {
        // Without a console nobody listens; the guest runs on.
        let _ = calls::notify(own::CONSOLE);
    }
}
