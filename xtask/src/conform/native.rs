//! Images straight on an engine, one at a time.
//!
//! Owns the choice of how each is started there. Called by `work`.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use skerry_load::ImageKind;

use super::case::Case;
use super::end::End;
use super::guest::Run;
use super::watch::{Alone, Heard};
use crate::bundle::Packed;
use crate::engine::Engine;
use crate::engine::native::{Native, NativeImage, NativeRecipe, Start};
use crate::image::{KernelImage, Protocol};
use crate::paths::{self, After};
use crate::session::Boot;

/// An ELF file's byte with its class, and the one for 32 bits [System V ABI, "ELF Header"].
const CLASS: usize = 4;
const CLASS_32: u8 = 1;

/// Runs one image on the engine of this name.
///
/// # Errors
/// The engine cannot be started, a signal stopped us.
pub(super) fn run(engine: &dyn Engine, case: &Case, after: After) -> Result<Run> {
    let recipe = engine.recipe();
    let limit = Duration::from_secs(case.limit_s.saturating_mul(recipe.patience));
    let way = recipe
        .native
        .as_ref()
        .and_then(|native| start(case, native));
    let Some(start) = way else {
        return Ok(Run {
            heard: Heard::new(limit),
            end: End::Broke("the bare engine has no way to start such an image".into()),
        });
    };
    let name = case.file.rsplit(['/', ':']).next().unwrap_or("image");
    let image = NativeImage {
        start,
        name: name.into(),
        vcpus: case.vcpus,
        memory_mib: case.memory_bytes.div_ceil(1 << 20),
        test_devices: case.test_devices,
    };
    boot(&Native::new(engine, image)?, limit, after)
}

fn boot(native: &Native, limit: Duration, after: After) -> Result<Run> {
    let folder = paths::run_folder(after)?;
    let nothing = Packed {
        bytes: Vec::new(),
        guest_bytes: 0,
    };
    let boot = Boot {
        engine: native,
        hypervisor: Path::new(""),
        packed: &nothing,
        folder: folder.path(),
        limit: None,
    };
    let mut follow = native.follow(folder.path());
    let mut alone = Alone::new(Heard::new(limit), || follow.tells_value());
    let (ending, status) = boot.run_to_status(None, &mut alone)?;
    alone.finish();
    let ran_out = alone.image.end.clone();
    let end = native.end(&ending, status, folder.path(), alone.bytes);
    // We ended it: out of time, unless it was only the reset that never ends.
    let end = match (ran_out, end) {
        (Some(End::Limit), End::Dismissed) => native.end_at_limit(folder.path()),
        (_, end) => end,
    };
    Ok(Run {
        heard: alone.image,
        end,
    })
}

/// How a bare engine starts the image, if it can.
fn start(case: &Case, native: &NativeRecipe) -> Option<Start> {
    let kernel = |cmdline| Start::Kernel {
        bytes: case.image.to_vec(),
        cmdline,
    };
    let iso = |protocol| {
        Start::Iso(KernelImage {
            protocol,
            kernel: case.image.to_vec(),
            cmdline: case.arguments.clone(),
            module: environment(case),
        })
    };
    let multiboot = case.is_a(ImageKind::Multiboot);
    // The loader that engines have takes no 64-bit file by this protocol, and asks no further.
    let loadable = native.loads_kernels() && (!multiboot || !is_64_bit(&case.image));
    if loadable && (multiboot || case.is_a(ImageKind::Pvh)) {
        return Some(kernel(case.arguments.clone()));
    }
    if multiboot {
        return Some(iso(Protocol::Multiboot));
    }
    if case.is_a(ImageKind::Multiboot2) {
        return Some(iso(Protocol::Multiboot2));
    }
    match case.kind {
        ImageKind::Rom if native.takes_firmware() => Some(Start::Firmware(case.image.to_vec())),
        ImageKind::LinuxBzImage if native.loads_kernels() => Some(kernel(case.arguments.clone())),
        ImageKind::Rom
        | ImageKind::LinuxBzImage
        | ImageKind::Auto
        | ImageKind::Pvh
        | ImageKind::Elf
        | ImageKind::Flat
        | ImageKind::Multiboot
        | ImageKind::Multiboot2 => None,
    }
}

fn is_64_bit(image: &[u8]) -> bool {
    image.starts_with(b"\x7fELF") && image.get(CLASS) != Some(&CLASS_32)
}

/// What an image finds in its module where its machine cannot tell: kvm-unit-tests' variables
/// for a boot loader's sake.
fn environment(case: &Case) -> String {
    format!(
        "NR_CPUS={}\nMEMSIZE={}\nMEMLIMIT=0\nTEST_DEVICE=0\nBOOTLOADER=1\n",
        case.vcpus,
        case.memory_bytes >> 20
    )
}
