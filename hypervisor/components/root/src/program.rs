//! A component's file, made ready to be started any number of times.
//!
//! Owns what is shared by all instances (code and constants: one memory, filled once) and how
//! an instance's own memory is cut into data, stack and heap. Does not own what an instance is
//! for: `console` and `vm` do.

use crate::object::{Component, Object};
use crate::scratch::Scratch;
use alloc::vec::Vec;
use skerry_abi::layout::{HEAP, MYSELF, STACK_PAGES, STACK_TOP};
use skerry_abi::{Handle, MapRequest, Refused, Rights, own};
use skerry_component::{calls, pages};
use skerry_component_image::{ComponentImage, ImageError};
use skerry_words::PAGE_BYTES;

const WRITABLE: Rights = Rights::READ.union(Rights::WRITE);

/// Pages of a memory, where they go in the component, and what they start with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part<'a> {
    request: MapRequest,
    bytes: &'a [u8],
}

/// A memory, cut into parts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Cut<'a> {
    parts: Vec<Part<'a>>,
    pages: u64,
}

impl<'a> Cut<'a> {
    fn push(&mut self, at: u64, pages: u64, rights: Rights, bytes: &'a [u8]) {
        let request = MapRequest {
            at,
            first_page: self.pages,
            pages,
            rights: rights.bits(),
            reserved: 0,
        };
        self.parts.push(Part { request, bytes });
        self.pages = self.pages.saturating_add(pages);
    }

    /// The parts that do not start with zeros alone.
    fn filled(&self) -> impl Iterator<Item = &Part<'a>> {
        self.parts.iter().filter(|part| !part.bytes.is_empty())
    }

    /// How many pages, counted from the first, hold all that is not zero.
    fn filled_pages(&self) -> u64 {
        let ends = self.filled().map(|part| {
            let pages = (part.bytes.len() as u64).div_ceil(PAGE_BYTES);
            part.request.first_page.saturating_add(pages)
        });
        ends.max().unwrap_or(0)
    }

    /// Makes the memory, and fills it through our own pages from `window` on.
    fn make(&self, window: u64) -> Result<Object, Refused> {
        let memory = Object::new(calls::memory_create(own::MACHINE, self.pages)?);
        if self.filled_pages() != 0 {
            map_whole(memory.handle(), window, self.filled_pages(), WRITABLE)?;
        }
        for part in self.filled() {
            let offset = part.request.first_page.saturating_mul(PAGE_BYTES);
            pages::scratch_write(window.saturating_add(offset), part.bytes);
        }
        Ok(memory)
    }

    fn map(&self, component: Handle, memory: Handle) -> Result<(), Refused> {
        let mut parts = self.parts.iter();
        parts.try_for_each(|part| calls::component_map(component, memory, &part.request))
    }
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
fn cut<'a>(image: &ComponentImage<'a>, heap_pages: u64) -> (Cut<'a>, Cut<'a>) {
    let (mut shared, mut private) = (Cut::default(), Cut::default());
    for segment in image.segments() {
        let of = if segment.rights.contains(Rights::WRITE) {
            &mut private
        } else {
            &mut shared
        };
        of.push(segment.at, segment.pages(), segment.rights, segment.bytes);
    }
    let stack = STACK_TOP.saturating_sub(STACK_PAGES.saturating_mul(PAGE_BYTES));
    private.push(stack, STACK_PAGES, WRITABLE, &[]);
    private.push(HEAP, heap_pages, WRITABLE, &[]);
    (shared, private)
}

/// A component's file, ready.
#[derive(Debug)]
pub struct Program {
    entry: u64,
    shared: Cut<'static>,
    shared_memory: Option<Object>,
    private: Cut<'static>,
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
        let window = scratch.take(self.shared.filled_pages());
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
        let memory = self.private.make(window)?;
        self.private.map(component.handle(), memory.handle())?;
        Ok(Instance {
            component,
            _memory: memory,
            entry: self.entry,
        })
    }
}

/// A component with its own memory.
#[derive(Debug)]
pub struct Instance {
    /// The component.
    pub component: Component,
    _memory: Object,
    entry: u64,
}

impl Instance {
    /// Starts it, with `argument` for its entry.
    ///
    /// # Errors
    /// What ring 0 refuses.
    pub fn start(&self, argument: u64) -> Result<(), Refused> {
        let stack = STACK_TOP.saturating_sub(8);
        calls::component_start(self.component.handle(), self.entry, stack, argument)
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

    fn places(cut: &Cut<'_>) -> Vec<(u64, u64, u64, u32)> {
        let place = |part: &Part<'_>| {
            let MapRequest {
                at,
                first_page,
                pages,
                rights,
                ..
            } = part.request;
            (at, first_page, pages, rights)
        };
        cut.parts.iter().map(place).collect()
    }

    #[test]
    fn code_and_constants_are_shared_and_all_that_is_written_is_not() {
        let file = file();
        let image = ComponentImage::parse(&file).unwrap();
        let (shared, private) = cut(&image, 256);
        let (read, run, write) = (1, 1 | 4, 1 | 2);
        assert_eq!(
            places(&shared),
            [(0x40_0000, 0, 2, run), (0x40_2000, 2, 1, read)]
        );
        assert_eq!(
            places(&private),
            [
                (0x40_3000, 0, 2, write),
                (0x1fff_0000, 2, 16, write),
                (0x1000_0000, 18, 256, write)
            ]
        );
        assert_eq!((shared.pages, private.pages), (3, 274));
    }

    #[test]
    fn only_pages_with_bytes_of_the_file_are_filled() {
        let file = file();
        let image = ComponentImage::parse(&file).unwrap();
        let (shared, private) = cut(&image, 256);
        assert_eq!((shared.filled_pages(), private.filled_pages()), (3, 1));
        let bytes: Vec<_> = shared.filled().map(|part| part.bytes.len()).collect();
        assert_eq!(bytes, [0x1800, 0x10]);
        assert_eq!(Cut::default().filled_pages(), 0);
    }
}
