//! The host's frame allocator.
//!
//! Owns the one `Frames` of the machine and the memory of its bookkeeping, taken from the
//! first usable region that has room. The logic is `skerry-frames`.

use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use skerry_frames::{Block, Frames, Span};
use skerry_words::{HostFrame, Hpa, PAGE_BYTES};
use spin::Mutex;

use skerry_frames::Statistics;

static FRAMES: Mutex<Option<Frames<'static>>> = Mutex::new(None);
static BOOKKEEPING: spin::Once<Span> = spin::Once::new();

/// A free frame, content unspecified, or `None` when memory is exhausted.
#[inline]
pub fn allocate() -> Option<HostFrame> {
    FRAMES.lock().as_mut()?.allocate()
}

/// A free frame, filled with zeroes, or `None` when memory is exhausted.
pub fn allocate_zeroed() -> Option<HostFrame> {
    let frame = allocate()?;
    super::bytes::zero_frame(frame);
    Some(frame)
}

/// 512 contiguous free frames from a 2 MiB boundary on, content unspecified.
pub fn allocate_large() -> Option<HostFrame> {
    FRAMES.lock().as_mut()?.allocate_large()
}

/// 2^18 contiguous free frames from a 1 GiB boundary on, content unspecified. They come
/// back 2 MiB at a time, by [`free_large`].
pub fn allocate_gib() -> Option<HostFrame> {
    FRAMES.lock().as_mut()?.allocate_gib()
}

/// Takes back a frame from [`allocate`] or [`allocate_zeroed`].
///
/// # Panics
/// If it is not out: a bug of ours.
#[inline]
pub fn free(frame: HostFrame) {
    let result = FRAMES.lock().as_mut().map(|frames| frames.free(frame));
    if let Some(Err(error)) = result {
        panic!("{error}");
    }
}

/// Takes back what [`allocate_large`] gave, by its first frame.
///
/// # Panics
/// If it is not out: a bug of ours.
pub fn free_large(frame: HostFrame) {
    let result = FRAMES
        .lock()
        .as_mut()
        .map(|frames| frames.free_large(frame));
    if let Some(Err(error)) = result {
        panic!("{error}");
    }
}

/// How many frames there are.
pub fn statistics() -> Statistics {
    let frames = FRAMES.lock();
    frames.as_ref().map(Frames::statistics).unwrap_or_default()
}

/// What the allocator itself takes.
pub(super) fn bookkeeping_bytes() -> u64 {
    BOOKKEEPING.get().map_or(0, |span| span.bytes())
}

/// The usable memory of a map: page-aligned, above the first MiB.
pub(super) fn usable(map: &[MemoryRegion]) -> impl DoubleEndedIterator<Item = Span> {
    const FIRST: u64 = 0x10_0000;
    map.iter()
        .filter(|region| region.kind == MemoryRegionKind::Usable && region.end > FIRST)
        .map(|region| Span {
            start: Hpa(region.start.max(FIRST)),
            end: Hpa(region.end),
        })
        .map(Span::shrunk_to_pages)
}

/// Takes over all usable memory of `map`.
pub(super) fn start(map: &[MemoryRegion]) {
    let end = usable(map).map(|span| span.end).max().unwrap_or(Hpa(0));
    let count = Frames::blocks_up_to(end);
    let bytes = (count * size_of::<Block>() as u64).next_multiple_of(PAGE_BYTES);
    // Below 4 GiB, because the temporary tables map no more.
    let home = usable(map)
        .find(|span| span.bytes() >= bytes && span.start.0 + bytes <= 1 << 32)
        .unwrap_or_else(|| panic!("no room for {bytes} bytes of frame bookkeeping"));
    let home = Span::new(home.start, bytes);
    BOOKKEEPING.call_once(|| home);
    let mut frames = Frames::new(absent_blocks(home.start, count as usize));
    for span in usable(map).rev() {
        frames.add(if span.start == home.start {
            Span {
                start: home.end,
                ..span
            }
        } else {
            span
        });
    }
    *FRAMES.lock() = Some(frames);
}

fn absent_blocks(at: Hpa, count: usize) -> &'static mut [Block] {
    let first = super::pointer(at).cast::<Block>();
    for index in 0..count {
        let block = first.wrapping_add(index);
        // SAFETY: `at` starts usable memory of this many blocks, mapped, and nobody's yet.
        unsafe { block.write(Block::ABSENT) };
    }
    // SAFETY: all blocks have just been written, and only the caller gets them.
    unsafe { core::slice::from_raw_parts_mut(first, count) }
}
