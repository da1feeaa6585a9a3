//! The machine: everything that exists, and its way from the bundle to the first component.
//!
//! Owns all objects, the scheduler, and who is on the CPU. `run` is the loop of the CPU, `turn`
//! one thread's turn, `guest` the walk of an exit, `fault` what a component does wrong or for
//! the first time, `wake` who is told of what, `end` how things cease. What calls do is in
//! `calls`. Called once, by `main`.

mod end;
mod fault;
mod guest;
mod run;
mod turn;
mod wake;

use crate::boot::Started;
use crate::object::Target;
use crate::object::component::{Component, Region};
use crate::object::guest::Guest;
use crate::object::memory::Memory;
use crate::object::vcpu::{Apic, Vcpu};
use crate::virt::Backend;
use crate::{cpu, mem, power};
use alloc::vec::Vec;
use skerry_abi::{ComponentState, MapRequest, Refused, Rights, layout};
use skerry_component_image::ComponentImage;
use skerry_frames::Span;
use skerry_rights::{Arena, Id};
use skerry_sched::Scheduler;
use skerry_second_stage::PageSize;
use skerry_words::{PAGE_BYTES, Tsc};
use wake::Lines;

pub use turn::{Step, Turn};

/// The time slice: this fraction of a second of the time-stamp counter.
const SLICES_PER_SECOND: u64 = 100;
/// A turn ends after this fraction of a second though nobody else wants the CPU, because not
/// every CPU lets the host's interrupts through while its guest has interrupts off.
const TURNS_PER_SECOND: u64 = 20;
/// The bundle's member that is started.
const ROOT: &str = "component/root";
/// The weight of `root`: it sleeps nearly always, and decides for all when it does not.
const ROOT_WEIGHT: u32 = 1000;

/// Everything that exists.
pub struct Machine {
    /// The virtualization hardware.
    pub backend: Backend,
    /// Who runs when.
    scheduler: Scheduler,
    /// All components.
    pub components: Arena<Component>,
    /// All memory that components have.
    pub memories: Arena<Memory>,
    /// All guests.
    pub guests: Arena<Guest>,
    /// All vCPUs.
    pub vcpus: Arena<Vcpu>,
    /// Who waits for which interrupt line.
    pub lines: Lines,
    /// Who reads the log.
    pub log_reader: Option<Id<Component>>,
    /// Where the bundle is.
    pub bundle: Span,
    /// Whose place in the scheduler is which.
    places: Vec<Option<Id<Component>>>,
    /// The longest turn, in ticks.
    turn_tsc: u64,
    /// When to look for sleepers that are due: not after the first deadline of theirs.
    pub next_wake: Tsc,
    /// Whose state is on the CPU.
    loaded: Option<Id<Vcpu>>,
    started: Started,
    first_guest: Option<Tsc>,
    idle_tsc: u64,
}

/// Starts `root`, and runs everything from then on.
pub fn start(bundle: Span, started: Started) -> ! {
    let backend = Backend::detect().unwrap_or_else(|refusal| refuse("cpu", &refusal));
    let mut machine = Machine::new(backend, bundle, started);
    match machine.start_root() {
        Ok(()) => machine.run(),
        Err(why) => refuse("bundle", &why),
    }
}

/// Ends the boot with one line that says why.
fn refuse(what: &str, why: &dyn core::fmt::Display) -> ! {
    log::error!("{what}: {why}");
    crate::log::line(b"@skerry end {\"status\":1}");
    power::off()
}

impl Machine {
    fn new(backend: Backend, bundle: Span, started: Started) -> Self {
        Self {
            backend,
            scheduler: Scheduler::new(cpu::tsc::hz() / SLICES_PER_SECOND),
            components: Arena::default(),
            memories: Arena::default(),
            guests: Arena::default(),
            vcpus: Arena::default(),
            lines: Lines::default(),
            log_reader: None,
            bundle,
            places: Vec::new(),
            turn_tsc: cpu::tsc::hz() / TURNS_PER_SECOND,
            next_wake: Tsc::NEVER,
            loaded: None,
            started,
            first_guest: None,
            idle_tsc: 0,
        }
    }

    /// Makes a component of the bundle's `root`, with the right to everything.
    fn start_root(&mut self) -> Result<(), RootError> {
        let bytes = mem::bundle_bytes(self.bundle);
        if bytes.is_empty() || !self.bundle.start.is_aligned(PAGE_BYTES) {
            return Err(RootError::Bundle);
        }
        let file = skerry_newc::find(bytes, ROOT).ok_or(RootError::NoRoot)?;
        let image = ComponentImage::parse(file.bytes).map_err(|_| RootError::Image)?;
        let root = Component::new(None, ROOT_WEIGHT).map_err(|_| RootError::Memory)?;
        let id = self.components.insert(root).ok_or(RootError::Memory)?;
        self.fill_root(id, &image).map_err(|_| RootError::Memory)?;
        self.start_thread(id, image.entry(), layout::FIRST_RSP, 0)
            .map_err(|_| RootError::Image)
    }

    fn fill_root(&mut self, id: Id<Component>, image: &ComponentImage<'_>) -> Result<(), Refused> {
        for segment in image.segments() {
            let memory =
                self.new_memory(Memory::own(segment.memory_bytes.div_ceil(PAGE_BYTES))?)?;
            self.map(id, memory, segment.at, segment.rights)?;
            self.fill(memory, segment.bytes)?;
        }
        for (at, pages) in [
            (layout::STACK, layout::STACK_PAGES),
            (layout::HEAP, layout::SERVICE_HEAP_PAGES),
        ] {
            let memory = self.new_memory(Memory::own(pages)?)?;
            self.map(id, memory, at, Rights::READ | Rights::WRITE)?;
        }
        let component = self.components.get_mut(id).ok_or(Refused::Revoked)?;
        component.table.grant(Target::Machine, Rights::all())?;
        component.table.grant(Target::Log, Rights::all())?;
        Ok(())
    }

    /// Takes an object in.
    ///
    /// # Errors
    /// [`Refused::Exhausted`].
    pub fn new_memory(&mut self, memory: Memory) -> Result<Id<Memory>, Refused> {
        self.memories.insert(memory).ok_or(Refused::Exhausted)
    }

    /// Copies bytes into memory, from its start on.
    fn fill(&mut self, memory: Id<Memory>, bytes: &[u8]) -> Result<(), Refused> {
        let memory = self.memories.get_mut(memory).ok_or(Refused::Revoked)?;
        for (index, page) in (0..).zip(bytes.chunks(PAGE_BYTES as usize)) {
            let to = memory.page(index)?;
            // SAFETY: a page of this memory's own, which nobody has mapped yet.
            unsafe { mem::write(to, page) };
        }
        Ok(())
    }

    /// Maps all of a memory at `at`.
    fn map(
        &mut self,
        id: Id<Component>,
        memory: Id<Memory>,
        at: u64,
        rights: Rights,
    ) -> Result<(), Refused> {
        let pages = self.memories.get(memory).map_or(0, Memory::pages);
        let request = MapRequest {
            at,
            first_page: 0,
            pages,
            rights: rights.bits(),
            reserved: 0,
        };
        self.add_region(id, Region { memory, request })
    }

    /// Adds a mapping that has been checked.
    ///
    /// # Errors
    /// Those of [`Component::add_region`]; an object has ended.
    pub fn add_region(&mut self, id: Id<Component>, region: Region) -> Result<(), Refused> {
        let component = self.components.get_mut(id).ok_or(Refused::Revoked)?;
        component.add_region(region)?;
        if let Some(memory) = self.memories.get_mut(region.memory) {
            memory.mappings += 1;
        }
        Ok(())
    }

    /// Has a component run.
    ///
    /// # Errors
    /// [`Refused::WrongState`] if it has run already.
    pub fn start_thread(
        &mut self,
        id: Id<Component>,
        rip: u64,
        rsp: u64,
        argument: u64,
    ) -> Result<(), Refused> {
        let component = self.components.get_mut(id).ok_or(Refused::Revoked)?;
        if component.record.state != ComponentState::New as u32 {
            return Err(Refused::WrongState);
        }
        component.thread.start(rip, rsp, argument);
        component.record.state = ComponentState::Running as u32;
        let place = self.scheduler.add(component.weight);
        component.thread.place = Some(place);
        if self.places.len() <= place.0 {
            self.places.resize(place.0 + 1, None);
        }
        self.places[place.0] = Some(id);
        Ok(())
    }

    /// Makes a vCPU of a guest, whose VMM a component will be.
    ///
    /// # Errors
    /// [`Refused::WrongState`] if the guest has another VMM or the component another guest, or
    /// the component has started; [`Refused::Exhausted`], [`Refused::Revoked`].
    pub fn new_vcpu(
        &mut self,
        guest: Id<Guest>,
        component: Id<Component>,
        apic: Apic,
    ) -> Result<Id<Vcpu>, Refused> {
        let index = self.next_vcpu_of(component, guest)?;
        let owner = self.components.get_mut(component).ok_or(Refused::Revoked)?;
        if owner.record.state != ComponentState::New as u32 {
            return Err(Refused::WrongState);
        }
        let vm = self.guests.get_mut(guest).ok_or(Refused::Revoked)?;
        let space = owner.space.as_mut().ok_or(Refused::Revoked)?;
        let number = component.index() as u64 * layout::MOST_VCPUS + index;
        let number = u16::try_from(number).map_err(|_| Refused::Exhausted)?;
        let apic_access = match apic {
            Apic::Software => None,
            Apic::Hardware => vm.apic_access(&self.backend)?,
        };
        let hardware = self
            .backend
            .new_vcpu(number, (vm.stage(), apic_access), space.cr3());
        let hardware = hardware.ok_or(Refused::Exhausted)?;
        let at = layout::STATE_PAGE + index * layout::VCPU_STRIDE;
        for (at, page) in (at..).step_by(PAGE_BYTES as usize).zip(hardware.pages()) {
            let rights = Rights::READ | Rights::WRITE;
            space
                .map(at, page, PageSize::Kib4, rights)
                .map_err(|_| Refused::Exhausted)?;
        }
        let vcpu = Vcpu::new(hardware, guest, component);
        let id = self.vcpus.insert(vcpu).ok_or(Refused::Exhausted)?;
        owner.vcpu = Some(id);
        Ok(id)
    }

    /// The index of a component's next vCPU, if that may be one of this guest's.
    fn next_vcpu_of(&self, component: Id<Component>, guest: Id<Guest>) -> Result<u64, Refused> {
        let mut index = 0;
        for (_, vcpu) in self.vcpus.iter() {
            match (vcpu.component == component, vcpu.guest == guest) {
                (true, true) => index += 1,
                (false, false) => {}
                _ => return Err(Refused::WrongState),
            }
        }
        if index < layout::MOST_VCPUS {
            Ok(index)
        } else {
            Err(Refused::Exhausted)
        }
    }

    /// What there is to tell of the machine.
    pub fn record(&self) -> skerry_abi::MachineRecord {
        let usage = mem::usage();
        let entry = self.started.entry;
        skerry_abi::MachineRecord {
            tsc_hz: cpu::tsc::hz(),
            first_guest_tsc: self.first_guest.map_or(0, |first| first.since(entry)),
            total_tsc: cpu::tsc::now().since(entry),
            idle_tsc: self.idle_tsc,
            image_bytes: usage.image_bytes,
            resident_bytes: usage.image_bytes + usage.tables_bytes + usage.heap_bytes,
            free_frames: mem::free_frames(),
            bundle_bytes: self.bundle.bytes(),
            backend: self.backend.number(),
            abilities: self.backend.abilities(),
        }
    }
}

/// Why `root` cannot be started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RootError {
    Bundle,
    NoRoot,
    Image,
    Memory,
}

impl core::fmt::Display for RootError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Bundle => "there is none, or not at a page's start; load it as a module",
            Self::NoRoot => "it has no member \"component/root\"; make it with `cargo xtask`",
            Self::Image => "\"component/root\" is no component",
            Self::Memory => "too little memory for \"component/root\"",
        })
    }
}
