//! A component: an address space, a thread, a table of handles.

use super::Target;
use super::memory::Memory;
use super::vcpu::Vcpu;
use crate::cpu::ring3::UserFrame;
use crate::mem::{Exhausted, Space};
use alloc::boxed::Box;
use alloc::vec::Vec;
use skerry_abi::{ComponentRecord, ComponentState, EndCause, MapRequest, Refused, Rights, layout};
use skerry_rights::{Id, Table};
use skerry_sched::VcpuId;
use skerry_words::{PAGE_BYTES, Tsc};

/// The mappings one component has at most.
const MOST_REGIONS: usize = 1024;

/// A component.
pub struct Component {
    /// Its address space, until its end.
    pub space: Option<Space>,
    /// Its rights.
    pub table: Table<Target>,
    /// Its thread.
    pub thread: Thread,
    /// The vCPU whose VMM it is; of several, the one that has run last.
    pub vcpu: Option<Id<Vcpu>>,
    /// Who made it, and is told of its end.
    pub maker: Option<Id<Component>>,
    /// Its share of the CPU.
    pub weight: u32,
    /// What there is to tell of it.
    pub record: ComponentRecord,
    regions: Vec<Region>,
}

/// The one thread of a component.
pub struct Thread {
    /// Its registers in ring 3.
    pub frame: Box<UserFrame>,
    /// Where it goes on.
    pub mode: Mode,
    /// Its place in the scheduler, once it runs.
    pub place: Option<VcpuId>,
    /// Notification bits that wait to be taken.
    pub pending: u64,
    /// When it wants to be woken; it sleeps if this is something.
    pub sleeps_until: Option<Tsc>,
    /// Ticks it has computed since its last call, up to `since`.
    pub busy_tsc: u64,
    /// From when on to count more.
    pub since: Tsc,
}

/// Where a thread goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// In ring 3.
    Ring3,
    /// In the guest of its vCPU, in the middle of a call with this handle.
    Guest(Id<Vcpu>, u64),
}

/// Pages of memory in an address space.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// What.
    pub memory: Id<Memory>,
    /// Where, and how.
    pub request: MapRequest,
}

impl Region {
    fn end(&self) -> u64 {
        self.request.at + self.request.pages * PAGE_BYTES
    }

    /// The memory's page behind an address of the region.
    pub fn page_of(&self, at: u64) -> u64 {
        self.request.first_page + (at - self.request.at) / PAGE_BYTES
    }

    /// What may be done there.
    pub fn rights(&self) -> Rights {
        Rights::from_bits_truncate(self.request.rights)
    }
}

impl Component {
    /// One without memory, rights or a start.
    ///
    /// # Errors
    /// No frame is left.
    pub fn new(maker: Option<Id<Component>>, weight: u32) -> Result<Self, Exhausted> {
        Ok(Self {
            space: Some(Space::new().ok_or(Exhausted)?),
            table: Table::default(),
            thread: Thread::new(),
            vcpu: None,
            maker,
            weight,
            record: ComponentRecord::default(),
            regions: Vec::new(),
        })
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.record.state == ComponentState::Ended as u32
    }

    /// Takes a checked mapping in.
    ///
    /// # Errors
    /// [`Refused::BadArgument`] over another one or a vCPU's windows, [`Refused::Exhausted`].
    pub fn add_region(&mut self, region: Region) -> Result<(), Refused> {
        let windows = [
            (layout::STATE_PAGE, layout::STATE_PAGE + PAGE_BYTES),
            (
                layout::GUEST_WINDOW,
                layout::GUEST_WINDOW + layout::GUEST_END,
            ),
        ];
        let taken = self.regions.iter().map(|old| (old.request.at, old.end()));
        let overlaps = |(start, end)| region.request.at < end && start < region.end();
        if taken.chain(windows).any(overlaps) {
            return Err(Refused::BadArgument);
        }
        if self.regions.len() >= MOST_REGIONS {
            return Err(Refused::Exhausted);
        }
        self.regions.push(region);
        Ok(())
    }

    /// The mapping around an address.
    pub fn region(&self, at: u64) -> Option<Region> {
        let mut regions = self.regions.iter();
        regions
            .find(|region| region.request.at <= at && at < region.end())
            .copied()
    }

    /// All mappings.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Forgets the mappings of one memory; the pages go too.
    pub fn remove_memory(&mut self, memory: Id<Memory>) {
        if let Some(space) = &mut self.space {
            for region in self.regions.iter().filter(|region| region.memory == memory) {
                let pages = (region.request.at..region.end()).step_by(PAGE_BYTES as usize);
                pages.for_each(|page| space.unmap(page));
            }
        }
        self.regions.retain(|region| region.memory != memory);
    }

    /// Ends it: all but the record is gone. The mappings it had are the result.
    pub fn end(&mut self, cause: EndCause, code: u64, value: u64) -> Vec<Region> {
        self.record.state = ComponentState::Ended as u32;
        self.record.cause = cause as u32;
        self.record.code = code;
        self.record.value = value;
        self.record.rip = self.thread.frame.rip();
        self.space = None;
        self.table.clear();
        self.thread.mode = Mode::Ring3;
        self.thread.sleeps_until = None;
        core::mem::take(&mut self.regions)
    }
}

impl Thread {
    fn new() -> Self {
        Self {
            frame: Box::new(UserFrame::new(0, 0, 0)),
            mode: Mode::Ring3,
            place: None,
            pending: 0,
            sleeps_until: None,
            busy_tsc: 0,
            since: Tsc(0),
        }
    }

    /// Has it start there.
    pub fn start(&mut self, rip: u64, rsp: u64, argument: u64) {
        *self.frame = UserFrame::new(rip, rsp, argument);
    }

    /// Takes the notification bits.
    pub fn take_pending(&mut self) -> u64 {
        core::mem::take(&mut self.pending)
    }

    /// It has made a call: whatever it computes next is counted from here.
    #[inline(always)]
    pub fn has_called(&mut self, now: Tsc) {
        self.busy_tsc = 0;
        self.since = now;
    }
}
