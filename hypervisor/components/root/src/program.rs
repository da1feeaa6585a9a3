//! A component's file, made ready to be started any number of times.
//!
//! Owns what is shared by all instances (code and constants: one memory, filled once) and how
//! an instance's own memory is cut into data, stack and heap. Does not own what an instance is
//! for: `console` and `vm` do.

use crate::object::{Component, Object};
use crate::scratch::Scratch;
use alloc::vec::Vec;
use skerry_abi::layout::{FIRST_RSP, HEAP, MYSELF, STACK, STACK_PAGES};
use skerry_abi::{ComponentRecord, Handle, MapRequest, Refused, Rights, own};
use skerry_component::{calls, pages};
use skerry_component_image::{ComponentImage, ImageError, Segment};
use skerry_words::PAGE_BYTES;

const WRITABLE: Rights = Rights::READ.union(Rights::WRITE);

/// Pages of a memory, where they go in the component, and what they start with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part<'a> {
    request: MapRequest,
    bytes: &'a [u8],
}

impl<'a> Part<'a> {
    fn new(at: u64, pages: u64, rights: Rights, bytes: &'a [u8]) -> Self {
        let request = MapRequest {
            at,
            first_page: 0,
            pages,
            rights: rights.bits(),
            reserved: 0,
        };
        Self { request, bytes }
    }
}

/// What all instances of a component share: one memory in parts, all of it filled.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Shared<'a> {
    parts: Vec<Part<'a>>,
    pages: u64,
}

impl<'a> Shared<'a> {
    fn push(&mut self, segment: &Segment<'a>) {
        let mut part = Part::new(segment.at, segment.pages(), segment.rights, segment.bytes);
        part.request.first_page = self.pages;
        self.pages = self.pages.saturating_add(segment.pages());
        self.parts.push(part);
    }

    /// Makes the memory, and fills it through our own pages from `window` on.
    fn make(&self, window: u64) -> Result<Object, Refused> {
        let memory = Object::new(calls::memory_create(own::MACHINE, self.pages)?);
        map_whole(memory.handle(), window, self.pages, WRITABLE)?;
        for part in &self.parts {
            let at = after(window, part.request.first_page);
            pages::scratch_write(at, part.bytes);
        }
        Ok(memory)
    }

    fn map(&self, component: Handle, memory: Handle) -> Result<(), Refused> {
        let mut parts = self.parts.iter();
        parts.try_for_each(|part| calls::component_map(component, memory, &part.request))
    }
}

/// What each instance has for itself: parts that are a memory each, so that ring 0 counts
/// them as the instance's own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Private<'a>(Vec<Part<'a>>);

impl<'a> Private<'a> {
    /// Takes in a segment: its pages with bytes in the file, and those without.
    fn push(&mut self, segment: &Segment<'a>) {
        let filled = (segment.bytes.len() as u64).div_ceil(PAGE_BYTES);
        let zero = segment.pages().saturating_sub(filled);
        self.push_pages(segment.at, filled, segment.bytes);
        self.push_pages(after(segment.at, filled), zero, &[]);
    }

    fn push_pages(&mut self, at: u64, pages: u64, bytes: &'a [u8]) {
        if pages != 0 {
            self.0.push(Part::new(at, pages, WRITABLE, bytes));
        }
    }

    /// How many pages start with bytes of the file.
    fn filled_pages(&self) -> u64 {
        let filled = self.0.iter().filter(|part| !part.bytes.is_empty());
        filled.map(|part| part.request.pages).sum()
    }

    /// Makes and maps them, and fills them through our own pages from `window` on.
    fn make(&self, component: Handle, window: u64) -> Result<Vec<Object>, Refused> {
        let mut memories = Vec::with_capacity(self.0.len());
        let mut window = window;
        for part in &self.0 {
            let pages = part.request.pages;
            let memory = Object::new(calls::memory_create(own::MACHINE, pages)?);
            if !part.bytes.is_empty() {
                map_whole(memory.handle(), window, pages, WRITABLE)?;
                pages::scratch_write(window, part.bytes);
                window = after(window, pages);
            }
            calls::component_map(component, memory.handle(), &part.request)?;
            memories.push(memory);
        }
        Ok(memories)
    }
}

/// The address so many pages behind another.
fn after(at: u64, pages: u64) -> u64 {
    at.saturating_add(pages.saturating_mul(PAGE_BYTES))
}

/// Maps the first pages of a memory in `root` itself.
pub fn map_whole(memory: Handle, at: u64, pages: u64, rights: Rights) -> Result<(), Refused> {
    map(MYSELF, memory, at, pages, rights)
}

/// Maps the first pages of a memory in a component.
pub fn map(
    component: Handle,
    memory: Handle,
    at: u64,
    pages: u64,
    rights: Rights,
) -> Result<(), Refused> {
    let request = MapRequest {
        at,
        first_page: 0,
        pages,
        rights: rights.bits(),
        reserved: 0,
    };
    calls::component_map(component, memory, &request)
}

/// What of a file is shared by all instances, and what each has for itself.
fn cut<'a>(image: &ComponentImage<'a>, heap_pages: u64) -> (Shared<'a>, Private<'a>) {
    let (mut shared, mut private) = (Shared::default(), Private::default());
    for segment in image.segments() {
        if segment.rights.contains(Rights::WRITE) {
            private.push(segment);
        } else {
            shared.push(segment);
        }
    }
    private.push_pages(STACK, STACK_PAGES, &[]);
    private.push_pages(HEAP, heap_pages, &[]);
    (shared, private)
}

/// A component's file, ready.
#[derive(Debug)]
pub struct Program {
    entry: u64,
    shared: Shared<'static>,
    shared_memory: Option<Object>,
    private: Private<'static>,
}

impl Program {
    /// Reads a file. What its instances share is made by [`Program::load`].
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn read(file: &'static [u8], heap_pages: u64) -> Result<Self, ImageError> {
        let image = ComponentImage::parse(file)?;
        let (shared, private) = cut(&image, heap_pages);
        Ok(Self {
            entry: image.entry(),
            shared,
            shared_memory: None,
            private,
        })
    }

    /// Makes and fills what its instances share.
    ///
    /// # Errors
    /// What ring 0 refuses.
    pub fn load(&mut self, scratch: &mut Scratch) -> Result<(), Refused> {
        let window = scratch.take(self.shared.pages);
        self.shared_memory = Some(self.shared.make(window)?);
        Ok(())
    }

    /// How many pages of scratch it takes to make an instance.
    pub fn window_pages(&self) -> u64 {
        self.private.filled_pages()
    }

    /// What is shared, for who makes a single instance and keeps that.
    pub fn into_objects(self) -> Vec<Object> {
        self.shared_memory.into_iter().collect()
    }

    /// Makes an instance with its own data, stack and heap, not yet started. Its data is
    /// written through our pages from `window` on, which are free again when its memory ends.
    ///
    /// # Errors
    /// What ring 0 refuses.
    pub fn instance(&self, weight: u32, window: u64) -> Result<Instance, Refused> {
        let component = Component::create(own::MACHINE, weight)?;
        if let Some(shared) = &self.shared_memory {
            self.shared.map(component.handle(), shared.handle())?;
        }
        let memories = self.private.make(component.handle(), window)?;
        Ok(Instance {
            component,
            _memories: memories,
            entry: self.entry,
            filled_pages: self.window_pages(),
        })
    }
}

/// A component with its own memory.
#[derive(Debug)]
pub struct Instance {
    /// The component.
    pub component: Component,
    _memories: Vec<Object>,
    entry: u64,
    filled_pages: u64,
}

impl Instance {
    /// What ring 0 tells of it. Pages that we have too, having filled them, are its own as
    /// well.
    pub fn record(&self) -> ComponentRecord {
        let mut record = self.component.record();
        let filled = self.filled_pages.saturating_mul(PAGE_BYTES);
        record.own_bytes = record.own_bytes.saturating_add(filled);
        record
    }

    /// Starts it, with `argument` for its entry.
    ///
    /// # Errors
    /// What ring 0 refuses.
    pub fn start(&self, argument: u64) -> Result<(), Refused> {
        calls::component_start(self.component.handle(), self.entry, FIRST_RSP, argument)
    }

    /// Maps the first pages of a memory in it.
    ///
    /// # Errors
    /// What ring 0 refuses.
    pub fn map(&self, memory: Handle, at: u64, pages: u64, rights: Rights) -> Result<(), Refused> {
        map(self.component.handle(), memory, at, pages, rights)
    }

    /// Gives it a handle, which must become this one of its table.
    ///
    /// # Errors
    /// What ring 0 refuses; [`Refused::WrongState`] if it has become another.
    pub fn grant(&self, object: Handle, rights: Rights, number: Handle) -> Result<(), Refused> {
        let given = calls::component_grant(self.component.handle(), object, rights)?;
        if given == number {
            Ok(())
        } else {
            Err(Refused::WrongState)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// A file with code, constants, and data of which the last page is zeros.
    fn file() -> Vec<u8> {
        let segments = [
            (5_u32, 0x40_0000_u64, 0x1800_u64, 0x1800_u64),
            (4, 0x40_2000, 0x10, 0x10),
            (6, 0x40_3000, 0x20, 0x1020),
        ];
        let mut file = vec![0; 0x4000];
        file[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0");
        file[20] = 1;
        file[24..32].copy_from_slice(&0x40_0004_u64.to_le_bytes());
        file[32] = 64;
        file[52] = 64;
        file[54] = 56;
        file[56] = segments.len() as u8;
        for (index, (flags, at, file_bytes, memory_bytes)) in segments.into_iter().enumerate() {
            let words = [at - 0x40_0000, at, at, file_bytes, memory_bytes, 4096];
            let header = &mut file[64 + index * 56..][..56];
            header[0] = 1;
            header[4] = flags as u8;
            for (bytes, word) in header[8..].chunks_mut(8).zip(words) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
        }
        file
    }

    fn places(parts: &[Part<'_>]) -> Vec<(u64, u64, u64, u32, usize)> {
        let place = |part: &Part<'_>| {
            let MapRequest {
                at,
                first_page,
                pages,
                rights,
                ..
            } = part.request;
            (at, first_page, pages, rights, part.bytes.len())
        };
        parts.iter().map(place).collect()
    }

    #[test]
    fn code_and_constants_are_shared_and_all_that_is_written_is_not() {
        let file = file();
        let image = ComponentImage::parse(&file).unwrap();
        let (shared, private) = cut(&image, 256);
        let (read, run, write) = (1, 1 | 4, 1 | 2);
        assert_eq!(
            places(&shared.parts),
            [
                (0x40_0000, 0, 2, run, 0x1800),
                (0x40_2000, 2, 1, read, 0x10)
            ]
        );
        assert_eq!(
            places(&private.0),
            [
                (0x40_3000, 0, 1, write, 0x20),
                (0x40_4000, 0, 1, write, 0),
                (0x1fff_0000, 0, 16, write, 0),
                (0x1000_0000, 0, 256, write, 0)
            ]
        );
        assert_eq!((shared.pages, private.filled_pages()), (3, 1));
    }

    #[test]
    fn data_that_is_all_zeros_or_all_bytes_is_one_part() {
        let mut segment = Segment {
            at: 0x40_0000,
            bytes: &[],
            bytes_at: 0,
            memory_bytes: 0x1001,
            rights: WRITABLE,
        };
        let mut private = Private::default();
        private.push(&segment);
        assert_eq!(places(&private.0), [(0x40_0000, 0, 2, 3, 0)]);
        assert_eq!(private.filled_pages(), 0);
        let bytes = [1; 0x1001];
        segment.bytes = &bytes;
        let mut private = Private::default();
        private.push(&segment);
        assert_eq!(places(&private.0), [(0x40_0000, 0, 2, 3, 0x1001)]);
    }
}
