//! What the 32-bit entries learn from their boot loader, made into one `BootInfo`.
//!
//! Owns the static memory that the `BootInfo` and its regions live in, and the rules who
//! owns which memory: firmware's non-usable entries, then the image, the bundle and the
//! boot data are taken out of the usable spans; the low 1 MiB is left alone.
//! Called by `pvh` and `multiboot2`, once a boot.

use bootloader_api::{
    BootInfo,
    info::{MemoryRegion, MemoryRegionKind, Optional},
};
use heapless::Vec;
use skerry_frames::{Span, spans};
use skerry_words::Hpa;
use static_cell::StaticCell;

use crate::{
    cpu::stack,
    mem::layout::{self, DIRECT_MAP, IMAGE_OFFSET},
};

/// Entries a firmware map may have, and regions that may result.
const ENTRIES: usize = 128;
/// E820's type for usable memory `[ACPI 6.5, "Address Range Types"]`.
const USABLE: u32 = 1;
/// Firmware, option ROMs and boot loaders keep data in the first MiB.
const LOW_MEMORY: Span = Span {
    start: Hpa(0),
    end: Hpa(0x10_0000),
};

static REGIONS: StaticCell<Vec<MemoryRegion, ENTRIES>> = StaticCell::new();
static BOOT_INFO: StaticCell<BootInfo> = StaticCell::new();

/// What has been learned so far.
pub(super) struct Survey {
    usable: Vec<Span, ENTRIES>,
    reserved: Vec<(Span, u32), ENTRIES>,
    taken: Vec<Span, 4>,
    bundle: Option<Span>,
    rsdp: Option<Hpa>,
}

impl Survey {
    /// Nothing but what holds on any machine.
    pub(super) fn new() -> Self {
        let mut survey = Self {
            usable: Vec::new(),
            reserved: Vec::new(),
            taken: Vec::new(),
            bundle: None,
            rsdp: None,
        };
        survey.take(LOW_MEMORY);
        survey.take(image());
        survey
    }

    /// An entry of the firmware's map, with its E820 type.
    pub(super) fn firmware(&mut self, span: Span, kind: u32) {
        let stored = if kind == USABLE {
            self.usable.push(span).is_ok()
        } else {
            self.reserved.push((span, kind)).is_ok()
        };
        assert!(
            stored,
            "more than {ENTRIES} entries in the firmware's memory map"
        );
    }

    /// Memory that is usable, but in use.
    pub(super) fn take(&mut self, span: Span) {
        assert!(self.taken.push(span).is_ok(), "too much boot data");
    }

    /// Where the bundle is.
    pub(super) fn bundle(&mut self, span: Span) {
        self.take(span);
        self.bundle = Some(span);
    }

    /// Where the ACPI root pointer is.
    pub(super) fn rsdp(&mut self, at: Hpa) {
        self.rsdp = Some(at);
    }

    /// The `BootInfo` that says all this.
    pub(super) fn finish(self) -> &'static mut BootInfo {
        let regions = REGIONS.init(self.regions());
        let boot = BOOT_INFO.init(BootInfo::new(regions.as_mut_slice().into()));
        boot.physical_memory_offset = Optional::Some(DIRECT_MAP);
        boot.rsdp_addr = self.rsdp.map_or(Optional::None, |at| Optional::Some(at.0));
        if let Some(bundle) = self.bundle {
            boot.ramdisk_addr = Optional::Some(DIRECT_MAP + bundle.start.0);
            boot.ramdisk_len = bundle.bytes();
        }
        boot.kernel_addr = image().start.0;
        boot.kernel_len = image().bytes();
        boot.kernel_image_offset = IMAGE_OFFSET;
        boot.kernel_stack_bottom = stack::BOOT.bottom().as_u64();
        boot.kernel_stack_len = stack::BOOT_BYTES as u64;
        boot
    }

    fn regions(&self) -> Vec<MemoryRegion, ENTRIES> {
        let mut regions = Vec::new();
        let mut push = |span: Span, kind| {
            let (start, end) = (span.start.0, span.end.0);
            let region = MemoryRegion { start, end, kind };
            assert!(
                regions.push(region).is_ok(),
                "memory map in too many pieces"
            );
        };
        let reserved = self.reserved.iter().map(|&(span, _)| span);
        let taken = reserved.chain(self.taken.iter().copied());
        for (index, &span) in self.usable.iter().enumerate() {
            let earlier = self.usable.iter().take(index).copied();
            for piece in spans::remainders(span, taken.clone().chain(earlier)) {
                push(piece, MemoryRegionKind::Usable);
            }
        }
        for &span in &self.taken {
            push(span, MemoryRegionKind::Bootloader);
        }
        for &(span, kind) in &self.reserved {
            push(span, MemoryRegionKind::UnknownBios(kind));
        }
        // Ascending, so that memory the temporary tables map is given out first.
        regions.sort_unstable_by_key(|region| region.start);
        regions
    }
}

/// Where the image is, when loaded where its program headers say.
fn image() -> Span {
    let image = layout::image();
    Span::new(Hpa(image.start - IMAGE_OFFSET), image.end - image.start)
}

/// Where the temporary tables map `at`, which is below 4 GiB.
pub(super) fn early_pointer(at: Hpa) -> *const u8 {
    assert!(at.0 < 1 << 32, "boot data above 4 GiB, at {at}");
    (DIRECT_MAP + at.0) as *const u8
}

/// Reads plain integers a boot loader left at `at`.
pub(super) fn early<T: Copy>(at: Hpa) -> T {
    // SAFETY: the boot loader's contract: its structures are in RAM below 4 GiB, which
    // the temporary tables map; `T` is a repr(C) struct of integers.
    unsafe { early_pointer(at).cast::<T>().read_unaligned() }
}
