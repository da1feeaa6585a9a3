//! One VM: its lives, one after the other, from the manifest to its report.
//!
//! Owns what a VM keeps over its lives (its files, its pages, its sums) and what one life is
//! made of. Does not own when a life ends or whether another follows (`course`, `machine`).

use crate::console::Console;
use crate::course::{self, Course};
use crate::diagnosis;
use crate::ground::{Ground, memory_of_file};
use crate::object::Object;
use crate::program::{Instance, Program, map_whole};
use crate::refusal::Refusal;
use crate::report;
use crate::start::{self, Files, Place};
use crate::tally::Tally;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use skerry_abi::layout::{CONSOLE_PAGE, FILES, START_PAGE, VCPU_APIC, VM_PAGE, vmm_bits};
use skerry_abi::{GuestRange, MachineRecord, Refused, Rights, VcpuRecord, own};
use skerry_component::{calls, pages};
use skerry_load::layout::backed;
use skerry_load::rom_bytes;
use skerry_manifest::report::VmReport;
use skerry_manifest::{ApicBy, VmManifest};
use skerry_pages::VmPage;
use skerry_verdict::StopReason;
use skerry_words::PAGE_BYTES;

/// [`MachineRecord`]'s abilities: the CPU can look after local APICs.
const APIC: u32 = 1 << 2;
const READ_WRITE: Rights = Rights::READ.union(Rights::WRITE);

/// One VM.
#[derive(Debug)]
pub struct Vm {
    manifest: VmManifest,
    index: u32,
    /// What follows the end of a life.
    pub course: Course,
    tally: Tally,
    program: Rc<Program>,
    kept: Kept,
    life: Option<Life>,
}

/// What a VM keeps over its lives.
#[derive(Debug)]
struct Kept {
    start_page: Object,
    told: &'static VmPage,
    told_page: Object,
    /// Its files, in the manifest's order.
    files: Vec<BundleFile>,
    /// What its image needs as a ROM.
    rom_bytes: u64,
    /// Tells the console of output.
    signal: Object,
    /// Where we fill the data of its VMM.
    window: u64,
    /// What its vCPUs are made with.
    vcpu_flags: u64,
}

/// A file as memory.
#[derive(Debug, Default)]
struct BundleFile {
    memory: Option<Object>,
    place: Place,
}

impl BundleFile {
    /// The file with this name, to be mapped `at` bytes behind `FILES`.
    fn of(ground: &Ground, name: &str, at: u64) -> Result<Self, Refused> {
        let Some(member) = ground.bundle.member(name) else {
            return Ok(Self::default());
        };
        let bytes = member.bytes.len() as u64;
        Ok(Self {
            memory: memory_of_file(member.at as u64, bytes)?,
            place: Place { at, bytes },
        })
    }

    /// All files of a VM, one behind the other.
    fn all(ground: &Ground, manifest: &VmManifest) -> Result<Vec<Self>, Refused> {
        let mut at = 0;
        let mut files = Vec::new();
        for name in manifest.files() {
            let file = Self::of(ground, name, at)?;
            at = file.place.end();
            files.push(file);
        }
        Ok(files)
    }

    fn map(&self, instance: &Instance) -> Result<(), Refused> {
        let Some(memory) = &self.memory else {
            return Ok(());
        };
        let at = FILES.saturating_add(self.place.at);
        let pages = self.place.bytes.div_ceil(PAGE_BYTES);
        instance.map(memory.handle(), at, pages, Rights::READ)
    }
}

/// One life: a fresh VMM with a fresh guest. What is first here ends first: a guest cannot
/// end before its VMM.
#[derive(Debug)]
struct Life {
    instance: Instance,
    _guest: Object,
    vcpus: Vec<Object>,
    /// Wakes the VMM.
    _wake: Object,
}

/// How a life has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LifeEnd {
    /// Why.
    pub reason: StopReason,
    /// What its VMM had to say about it.
    pub last_words: String,
}

impl Vm {
    /// Makes what VM `index` keeps.
    ///
    /// # Errors
    /// What keeps it from being made.
    pub fn prepare(index: u32, ground: &mut Ground, console: &Console) -> Result<Self, Refusal> {
        let found = ground.bundle.manifest.vms.get(index as usize).cloned();
        let manifest = found.ok_or_else(|| Refusal::new("bundle", "a VM is not there"))?;
        let program = ground.monitor(manifest.monitor())?;
        let window = ground.scratch.take(program.window_pages());
        let kept = Kept::make(&manifest, index, window, ground, console)
            .map_err(|refused| Refusal::of_call(&manifest.name, refused))?;
        Ok(Self {
            course: Course::new(&manifest),
            manifest,
            index,
            tally: Tally::new(),
            program,
            kept,
            life: None,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// Makes a life, not yet started.
    ///
    /// # Errors
    /// What ring 0 refuses.
    pub fn make_life(&mut self, console: &Console) -> Result<(), Refused> {
        self.kept.told.clear();
        self.life = Some(self.new_life(console)?);
        Ok(())
    }

    /// Starts the life that has been made.
    ///
    /// # Errors
    /// What ring 0 refuses.
    pub fn start(&self) -> Result<(), Refused> {
        let life = self.life.as_ref().ok_or(Refused::WrongState)?;
        life.instance.start(START_PAGE)
    }

    fn new_life(&self, console: &Console) -> Result<Life, Refused> {
        // Made first, so that it ends last if the rest cannot be made.
        let guest = self.new_guest()?;
        let instance = self
            .program
            .instance(self.manifest.weight, self.kept.window)?;
        self.kept.map(&instance)?;
        let (rings, count) = console.rings_of(self.index).ok_or(Refused::BadArgument)?;
        instance.map(rings, CONSOLE_PAGE, count, READ_WRITE)?;
        let component = instance.component.handle();
        instance.grant(self.kept.signal.handle(), Rights::SIGNAL, own::CONSOLE)?;
        let mut vcpus = Vec::new();
        for number in 0..self.manifest.vcpus {
            let guest = guest.handle();
            let vcpu = calls::vcpu_create(own::MACHINE, guest, component, self.kept.vcpu_flags);
            let vcpu = Object::new(vcpu?);
            let rights = Rights::RUN | Rights::READ;
            instance.grant(vcpu.handle(), rights, own::vcpu(number))?;
            vcpus.push(vcpu);
        }
        let wake = calls::notification_create(component, vmm_bits::CONSOLE);
        let wake = Object::new(wake?);
        console.hand_over(self.index, &wake)?;
        Ok(Life {
            instance,
            _guest: guest,
            vcpus,
            _wake: wake,
        })
    }

    fn new_guest(&self) -> Result<Object, Refused> {
        let ranges: Vec<GuestRange> = backed(self.manifest.memory_bytes, self.kept.rom_bytes)
            .map(|range| GuestRange {
                start: range.start.0,
                end: range.end.0,
            })
            .collect();
        let largest = self.manifest.page_size.bytes();
        calls::guest_create(own::MACHINE, &ranges, largest).map(Object::new)
    }

    /// Whether it has a life whose VMM has ended.
    pub fn has_ended_life(&self) -> bool {
        self.life
            .as_ref()
            .is_some_and(|life| life.instance.component.has_ended())
    }

    /// Ends its life, if that has not ended of itself, for the reason `meant`. Adds up what it
    /// has used and gives everything back.
    pub fn close_life(&mut self, meant: Option<StopReason>) -> Option<LifeEnd> {
        let life = self.life.take()?;
        life.instance.component.end();
        let record = life.instance.record();
        let used = used(&life.vcpus);
        self.tally.add(&used, &record, self.kept.told);
        let reason = course::reason(&record, meant);
        if let StopReason::EntryFailed(code) = reason {
            for vcpu in &life.vcpus {
                diagnosis::of_refused_entry(vcpu.handle(), code);
            }
        }
        Some(LifeEnd {
            reason,
            last_words: self.kept.told.last_words().collect(),
        })
    }

    /// What there is to tell of it.
    pub fn report(&self) -> VmReport {
        report::of_vm(&self.manifest, &self.course, &self.tally)
    }

    /// Where its VMM's data is filled, with how many pages.
    pub fn window(&self) -> (u64, u64) {
        (self.kept.window, self.program.window_pages())
    }
}

/// What the CPU does for the VM's guest, of what it can: it looks after local APICs only where
/// that is wanted.
fn abilities(manifest: &VmManifest, ground: &Ground) -> u32 {
    let apic = match manifest.apic {
        ApicBy::Auto if ground.bundle.manifest.apic_fails => 0,
        ApicBy::Auto | ApicBy::Hardware => APIC,
        ApicBy::Software => 0,
    };
    ground.machine.abilities & (!APIC | apic)
}

/// What all vCPUs of one VM have used.
fn used(vcpus: &[Object]) -> VcpuRecord {
    let records = vcpus
        .iter()
        .filter_map(|vcpu| calls::vcpu_read(vcpu.handle()).ok());
    records.reduce(together).unwrap_or_else(VcpuRecord::default)
}

/// What two vCPUs have used. Each record has the memory of their one guest, and counts all that
/// their one VMM has run but the vCPU's own time as the host's.
fn together(mut sum: VcpuRecord, other: VcpuRecord) -> VcpuRecord {
    for (sum, more) in sum.exits.iter_mut().zip(other.exits) {
        *sum = sum.saturating_add(more);
    }
    sum.guest_tsc = sum.guest_tsc.saturating_add(other.guest_tsc);
    sum.host_tsc = sum.host_tsc.saturating_sub(other.guest_tsc);
    sum.overhead_bytes = sum.overhead_bytes.saturating_add(other.overhead_bytes);
    sum
}

impl Kept {
    fn make(
        manifest: &VmManifest,
        index: u32,
        window: u64,
        ground: &mut Ground,
        console: &Console,
    ) -> Result<Self, Refused> {
        let kernel = ground.bundle.file(&manifest.kernel).unwrap_or_default();
        let files = BundleFile::all(ground, manifest)?;
        let places: Vec<Place> = files.iter().map(|file| file.place).collect();
        let (start_page, start_at) = page_of_ours(ground)?;
        let files_told = Files::of(manifest, &places);
        let machine = MachineRecord {
            abilities: abilities(manifest, ground),
            ..ground.machine
        };
        let page = start::page(manifest, index, &machine, files_told);
        pages::scratch_write_start_page(start_at, &page);
        let (told_page, told_at) = page_of_ours(ground)?;
        let told: &VmPage = pages::shared_at(told_at);
        // Its first use, which gives it its frame.
        told.clear();
        Ok(Self {
            start_page,
            told,
            told_page,
            files,
            rom_bytes: rom_bytes(kernel, manifest.kind),
            signal: console.signal_of(index)?,
            window,
            vcpu_flags: match machine.abilities & APIC {
                0 => 0,
                _ => VCPU_APIC,
            },
        })
    }

    /// Maps all of it in a VMM.
    fn map(&self, instance: &Instance) -> Result<(), Refused> {
        instance.map(self.start_page.handle(), START_PAGE, 1, Rights::READ)?;
        instance.map(self.told_page.handle(), VM_PAGE, 1, READ_WRITE)?;
        self.files.iter().try_for_each(|file| file.map(instance))
    }
}

/// Makes a page that we have too.
fn page_of_ours(ground: &mut Ground) -> Result<(Object, u64), Refused> {
    let memory = Object::new(calls::memory_create(own::MACHINE, 1)?);
    let at = ground.scratch.take(1);
    map_whole(memory.handle(), at, 1, READ_WRITE)?;
    Ok((memory, at))
}
