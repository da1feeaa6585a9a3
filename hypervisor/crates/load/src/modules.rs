//! The modules of an image: the initial RAM disk, and behind it those of the manifest.
//!
//! Owns their order, their checks and the two ways of placing them. What an image is told of
//! them is its loader's to write.

use alloc::vec::Vec;

use skerry_words::{Gpa, PAGE_BYTES};

use crate::layout::{HOLE_START, MIB};
use crate::plan::Builder;
use crate::{ImageKind, LoadError, MOST_MODULES, Module, Part, Request};

/// A module that has its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Placed<'a> {
    /// Its first byte, at the start of a page.
    pub(crate) at: Gpa,
    /// How many bytes it has.
    pub(crate) bytes: u64,
    /// Its command line.
    pub(crate) cmdline: &'a str,
}

impl Placed<'_> {
    /// The first address behind it.
    pub(crate) fn end(&self) -> u64 {
        self.at.0.saturating_add(self.bytes)
    }
}

/// Refuses modules that no image can be handed.
pub(crate) fn check(request: &Request<'_>) -> Result<(), LoadError> {
    if request.modules.len() > MOST_MODULES {
        return Err(LoadError::TooManyModules(request.modules.len()));
    }
    for (index, module) in request.modules.iter().enumerate() {
        if module.bytes.is_empty() {
            return Err(LoadError::EmptyModule(index));
        }
        if module.cmdline.contains('\0') {
            return Err(LoadError::ModuleCmdlineNul(index));
        }
    }
    Ok(())
}

/// Refuses modules for a kind of image that takes none.
pub(crate) fn refuse(request: &Request<'_>, kind: ImageKind) -> Result<(), LoadError> {
    if !request.modules.is_empty() {
        return Err(LoadError::Unused("modules", kind));
    }
    Ok(())
}

/// Refuses all companions, for an image that is handed nothing.
pub(crate) fn refuse_companions(request: &Request<'_>, kind: ImageKind) -> Result<(), LoadError> {
    if request.initrd.is_some() {
        return Err(LoadError::Unused("initrd", kind));
    }
    if !request.cmdline.is_empty() {
        return Err(LoadError::Unused("cmdline", kind));
    }
    refuse(request, kind)
}

/// Places them as high as they go, the first one highest.
pub(crate) fn place_high<'a>(
    request: &Request<'a>,
    builder: &mut Builder<'a>,
) -> Result<Vec<Placed<'a>>, LoadError> {
    place_each(request, |part, bytes| {
        builder.place_high(part, bytes, HOLE_START)
    })
}

/// Places them behind the image and behind each other, as boot loaders do; where there is no
/// room, in front of it.
pub(crate) fn place_behind_image<'a>(
    request: &Request<'a>,
    builder: &mut Builder<'a>,
) -> Result<Vec<Placed<'a>>, LoadError> {
    let behind = builder.low_end()..HOLE_START;
    let windows = [behind, MIB..HOLE_START];
    place_each(request, |part, bytes| {
        builder.place_low(part, bytes, PAGE_BYTES, &windows)
    })
}

fn place_each<'a>(
    request: &Request<'a>,
    mut place: impl FnMut(Part, &'a [u8]) -> Result<Gpa, LoadError>,
) -> Result<Vec<Placed<'a>>, LoadError> {
    let initrd = request.initrd.map(|bytes| {
        let module = Module { bytes, cmdline: "" };
        (Part::Initrd, module)
    });
    let listed = (0..).map(Part::Module).zip(request.modules.iter().copied());
    let all = initrd.into_iter().chain(listed);
    all.map(|(part, Module { bytes, cmdline })| {
        Ok(Placed {
            at: place(part, bytes)?,
            bytes: bytes.len() as u64,
            cmdline,
        })
    })
    .collect()
}
