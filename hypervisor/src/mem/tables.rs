//! Ring 0's own page tables: nothing is both writable and executable.
//!
//! Owns the address space of `layout`: the image by sections, its stacks' guard pages left
//! out; the direct map of usable memory and, read only, of the bundle (so the image cannot
//! be written through it); the heap; device registers. No identity map, no page at 0.

use core::ops::Range;

use bootloader_api::{BootInfo, info::MemoryRegion};
use skerry_frames::Span;
use skerry_words::{HostFrame, Hpa, PAGE_BYTES};
use spin::Mutex;
use x86_64::{
    PhysAddr, VirtAddr,
    registers::control::{Cr3, Cr3Flags},
    structures::paging::{
        FrameAllocator, Mapper, OffsetPageTable, Page, PageSize, PageTable, PageTableFlags,
        PhysFrame, Size1GiB, Size2MiB, Size4KiB, Translate,
    },
};

use super::{frames, layout};
use crate::cpu::{features, stack};

const READ: PageTableFlags = PageTableFlags::PRESENT.union(PageTableFlags::NO_EXECUTE);
const READ_WRITE: PageTableFlags = READ.union(PageTableFlags::WRITABLE);
const EXECUTE: PageTableFlags = PageTableFlags::PRESENT;
const DEVICE: PageTableFlags = READ_WRITE
    .union(PageTableFlags::NO_CACHE)
    .union(PageTableFlags::WRITE_THROUGH);

struct Space {
    tables: OffsetPageTable<'static>,
    frames: TableFrames,
}

/// Counts the tables it gives out.
struct TableFrames {
    given: u64,
}

static SPACE: Mutex<Option<Space>> = Mutex::new(None);

// SAFETY: `allocate` gives each frame out once.
unsafe impl FrameAllocator<Size4KiB> for TableFrames {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        self.given += 1;
        frames::allocate()
            .map(|frame| PhysFrame::containing_address(PhysAddr::new(frame.start().0)))
    }
}

/// The memory that page tables take.
pub(super) fn bytes() -> u64 {
    SPACE
        .lock()
        .as_ref()
        .map_or(0, |space| space.frames.given * PAGE_BYTES)
}

/// Where the bundle is, found through the boot loader's tables.
pub(super) fn bundle_span(boot: &BootInfo) -> Span {
    let Some(start) = boot.ramdisk_addr.as_ref().copied() else {
        return Span::new(Hpa(0), 0);
    };
    let tables = current();
    let span = Span::new(physical(&tables, start), boot.ramdisk_len);
    if let Some(last) = boot.ramdisk_len.checked_sub(1) {
        let expected = Hpa(span.start.0 + last);
        assert!(
            physical(&tables, start + last) == expected,
            "the bundle is in pieces"
        );
    }
    span
}

/// The bundle in the direct map.
pub(super) fn bundle_bytes(span: Span) -> &'static [u8] {
    if span.bytes() == 0 {
        return &[];
    }
    let start = super::pointer(span.start);
    // SAFETY: `start` has mapped these pages read only; no allocator owns them.
    unsafe { core::slice::from_raw_parts(start, span.bytes() as usize) }
}

/// Builds the address space and switches to it.
pub(super) fn start(map: &[MemoryRegion], bundle: Span) {
    let loader = current();
    let mut space = Space::new();
    space.map_image(&loader, layout::text(), EXECUTE);
    space.map_image(&loader, layout::rodata(), READ);
    space.map_image(&loader, layout::data(), READ_WRITE);
    for span in frames::usable(map) {
        space.map_direct(span, READ_WRITE);
    }
    space.map_direct(bundle.grown_to_pages(), READ);
    space.switch();
    *SPACE.lock() = Some(space);
}

/// Maps a 2 MiB page of the heap.
pub(super) fn map_large(at: u64, first: HostFrame) {
    with_space(|space| space.map::<Size2MiB>(at, first.start(), READ_WRITE));
}

/// Device registers at `at`, uncached. Mapping a page again gives the same address.
pub fn map_device(at: Hpa, bytes: u64) -> *mut u8 {
    let span = Span::new(at, bytes).grown_to_pages();
    with_space(|space| {
        for page in (span.start.0..span.end.0).step_by(PAGE_BYTES as usize) {
            let address = layout::DEVICES + page;
            if space
                .tables
                .translate_addr(VirtAddr::new(address))
                .is_none()
            {
                space.map::<Size4KiB>(address, Hpa(page), DEVICE);
            }
        }
    });
    (layout::DEVICES + at.0) as *mut u8
}

/// The root of ring 0's own tables, without a lower half.
pub(super) fn root() -> HostFrame {
    with_space(|space| {
        let top = VirtAddr::from_ptr(space.tables.level_4_table()).as_u64() - layout::DIRECT_MAP;
        Hpa(top).frame()
    })
}

/// The root of the tables the CPU uses.
pub(super) fn current_root() -> HostFrame {
    Hpa(Cr3::read().0.start_address().as_u64()).frame()
}

/// Makes the CPU use the tables with this root.
pub(super) fn use_root(root: HostFrame) {
    if current_root() == root {
        return;
    }
    let frame = PhysFrame::containing_address(PhysAddr::new(root.start().0));
    // SAFETY: the upper half of all tables is the same, and ring 0 uses no other.
    unsafe { Cr3::write(frame, Cr3Flags::empty()) };
}

fn with_space<T>(change: impl FnOnce(&mut Space) -> T) -> T {
    match SPACE.lock().as_mut() {
        Some(space) => change(space),
        None => panic!("page tables are used before they are built"),
    }
}

impl Space {
    /// An empty address space.
    fn new() -> Self {
        let mut frames = TableFrames { given: 0 };
        let Some(top) = frames.allocate_frame() else {
            panic!("no memory for page tables");
        };
        super::bytes::zero_frame(HostFrame(top.start_address().as_u64() >> 12));
        Self {
            tables: at_top(top),
            frames,
        }
    }

    /// One page of size `S`. The old tables may still be in use: nothing is flushed.
    fn map<S>(&mut self, at: u64, to: Hpa, flags: PageTableFlags)
    where
        S: PageSize + core::fmt::Debug,
        OffsetPageTable<'static>: Mapper<S>,
    {
        let page = Page::<S>::containing_address(VirtAddr::new(at));
        let frame = PhysFrame::<S>::containing_address(PhysAddr::new(to.0));
        // SAFETY: the callers map each frame for one purpose: the image's by section, the
        // others by who owns them; a page that was absent needs no flush.
        let result = unsafe { self.tables.map_to(page, frame, flags, &mut self.frames) };
        match result {
            Ok(flush) => flush.ignore(),
            Err(error) => panic!("page table for {at:#x}: {error:?}"),
        }
    }

    /// The image's pages of one section. Their frames are wherever the loader put them.
    fn map_image(
        &mut self,
        loader: &OffsetPageTable<'_>,
        pages: Range<u64>,
        flags: PageTableFlags,
    ) {
        let guards = stack::guards();
        for page in pages.step_by(PAGE_BYTES as usize) {
            if !guards.contains(&VirtAddr::new(page)) {
                self.map::<Size4KiB>(page, physical(loader, page), flags);
            }
        }
    }

    /// Memory in the direct map, by the largest pages that fit.
    fn map_direct(&mut self, span: Span, flags: PageTableFlags) {
        let largest = if features::large_pages_1g() {
            Size1GiB::SIZE
        } else {
            Size2MiB::SIZE
        };
        let mut at = span.start;
        while at < span.end {
            let left = span.end.0 - at.0;
            let fits = |bytes| bytes <= largest && at.is_aligned(bytes) && bytes <= left;
            let to = layout::DIRECT_MAP + at.0;
            let bytes = if fits(Size1GiB::SIZE) {
                self.map::<Size1GiB>(to, at, flags);
                Size1GiB::SIZE
            } else if fits(Size2MiB::SIZE) {
                self.map::<Size2MiB>(to, at, flags);
                Size2MiB::SIZE
            } else {
                self.map::<Size4KiB>(to, at, flags);
                Size4KiB::SIZE
            };
            at = Hpa(at.0 + bytes);
        }
    }

    /// Makes this the CPU's address space.
    fn switch(&self) {
        let top = VirtAddr::from_ptr(self.tables.level_4_table()).as_u64() - layout::DIRECT_MAP;
        let frame = PhysFrame::containing_address(PhysAddr::new(top));
        // SAFETY: the image, the stack this runs on and usable memory are mapped where
        // they were; nothing else is referred to from here on.
        unsafe { Cr3::write(frame, Cr3Flags::empty()) };
    }
}

/// The tables the CPU uses now.
fn current() -> OffsetPageTable<'static> {
    at_top(Cr3::read().0)
}

fn at_top(top: PhysFrame) -> OffsetPageTable<'static> {
    let table = (layout::DIRECT_MAP + top.start_address().as_u64()) as *mut PageTable;
    // SAFETY: every way of booting maps page tables in the direct map, and so do ours.
    let table = unsafe { &mut *table };
    // SAFETY: the same holds for the tables below it.
    unsafe { OffsetPageTable::new(table, VirtAddr::new(layout::DIRECT_MAP)) }
}

fn physical(tables: &OffsetPageTable<'_>, at: u64) -> Hpa {
    match tables.translate_addr(VirtAddr::new(at)) {
        Some(address) => Hpa(address.as_u64()),
        None => panic!("{at:#x} is not mapped by the boot loader"),
    }
}
