//! What a start page says, in the words of who needs it.
//!
//! `root` fills the page from the manifest; `main.rs` hands it on to here.

use alloc::vec::Vec;
use core::ops::Range;

use skerry_devices::PlatformConfig;
use skerry_devices::TestDevices;
use skerry_devices::lapic::Delivery;
use skerry_load::{ImageKind, Module, Request, layout};
use skerry_pages::StartPage;
use skerry_vmm::{CpuidRegisters, CpuidTable, GuestAbilities, VmmConfig};
use skerry_words::Gpa;

/// Where the optional memory-mapped UART is.
const MMIO_UART: Gpa = Gpa(0xfe03_0000);
/// [`StartPage`]'s abilities: RDTSCP and RDPID work in a guest.
const RDTSCP: u64 = 1 << 0;
/// INVPCID does.
const INVPCID: u64 = 1 << 1;
/// The CPU can look after local APICs.
const APIC: u64 = 1 << 2;
/// The most vCPUs of a VM.
const MOST_VCPUS: u64 = 16;

/// What the monitor is made from. `leaf` asks the physical CPU's CPUID.
pub fn vmm_config(
    start: &StartPage,
    leaf: &mut impl FnMut(u32, u32) -> CpuidRegisters,
) -> VmmConfig {
    let abilities = GuestAbilities {
        rdtscp: start.abilities & RDTSCP != 0,
        invpcid: start.abilities & INVPCID != 0,
    };
    VmmConfig {
        cpuid: CpuidTable::new(leaf, abilities, start.tsc_hz, vcpus(start)),
        platform: PlatformConfig {
            tsc_hz: start.tsc_hz,
            rtc_unix_seconds: start.rtc_unix_seconds,
            memory_bytes: start.memory_bytes,
            mmio_uart: (start.mmio_uart != 0).then_some(MMIO_UART),
            vcpus: vcpus(start),
            test_devices: test_devices(start),
        },
        delivery: if start.abilities & APIC != 0 {
            Delivery::Hardware
        } else {
            Delivery::Software
        },
    }
}

/// The ranges of the guest's memory, as `root` has made it. `file` gives the bytes of a file by
/// place and length.
pub fn backed<'a>(
    start: &StartPage,
    file: impl Fn(u64, u64) -> &'a [u8],
) -> impl Iterator<Item = Range<Gpa>> {
    let kernel = file(start.kernel_at, start.kernel_bytes);
    let rom_bytes = skerry_load::rom_bytes(kernel, image_kind(start.kind));
    layout::backed(start.memory_bytes, rom_bytes)
}

/// How many vCPUs the VM has: 1 to 16.
#[must_use]
pub fn vcpus(start: &StartPage) -> u32 {
    start.vcpus.clamp(1, MOST_VCPUS) as u32
}

/// Whether the VM has the devices that test kernels want.
#[must_use]
pub fn test_devices(start: &StartPage) -> TestDevices {
    match start.test_devices {
        0 => TestDevices::Absent,
        _ => TestDevices::Present,
    }
}

/// The modules that the image is handed. `file` gives the bytes of a file by place and length.
pub fn modules<'a>(start: &'a StartPage, file: impl Fn(u64, u64) -> &'a [u8]) -> Vec<Module<'a>> {
    let count = usize::try_from(start.module_count).unwrap_or(usize::MAX);
    let places = start.modules.iter().take(count);
    places
        .map(|place| Module {
            bytes: file(place.at, place.bytes),
            cmdline: text(start, place.cmdline_at, place.cmdline_bytes),
        })
        .collect()
}

/// What is to be started, with these [`modules`]. `file` gives the bytes of a file by place
/// and length.
pub fn request<'m, 'f: 'm>(
    start: &'f StartPage,
    modules: &'m [Module<'f>],
    file: impl Fn(u64, u64) -> &'f [u8],
) -> Request<'m> {
    Request {
        image: file(start.kernel_at, start.kernel_bytes),
        kind: image_kind(start.kind),
        initrd: (start.initrd_bytes != 0).then(|| file(start.initrd_at, start.initrd_bytes)),
        cmdline: cmdline(start),
        modules,
        vcpus: vcpus(start),
        memory_bytes: start.memory_bytes,
    }
}

/// The command line; empty if it is not text.
#[must_use]
pub fn cmdline(start: &StartPage) -> &str {
    text(start, 0, start.cmdline_bytes)
}

/// One of the command lines; empty if it is not text.
fn text(start: &StartPage, at: u64, bytes: u64) -> &str {
    let bytes = (usize::try_from(at).ok())
        .and_then(|at| start.cmdlines.get(at..))
        .zip(usize::try_from(bytes).ok())
        .and_then(|(rest, bytes)| rest.get(..bytes));
    core::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
}

fn image_kind(place: u64) -> ImageKind {
    match place {
        1 => ImageKind::LinuxBzImage,
        2 => ImageKind::Pvh,
        3 => ImageKind::Elf,
        4 => ImageKind::Flat,
        5 => ImageKind::Multiboot,
        6 => ImageKind::Multiboot2,
        7 => ImageKind::Rom,
        _ => ImageKind::Auto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_pages::{MOST_MODULES, ModulePlace};

    fn page() -> StartPage {
        StartPage {
            version: skerry_abi::VERSION,
            tsc_hz: 50_000_000,
            abilities: 0,
            vm_index: 0,
            kernel_at: 0x1000,
            kernel_bytes: 3,
            initrd_at: 0x2000,
            initrd_bytes: 0,
            memory_bytes: 64 << 20,
            kind: 0,
            rtc_unix_seconds: 0,
            mmio_uart: 0,
            vcpus: 1,
            test_devices: 0,
            module_count: 0,
            modules: [ModulePlace::default(); MOST_MODULES],
            cmdline_bytes: 0,
            cmdlines: [0; skerry_pages::CMDLINE_BYTES],
        }
    }

    #[test]
    fn every_kind_of_image_has_the_place_it_is_declared_at() {
        for kind in [
            ImageKind::Auto,
            ImageKind::LinuxBzImage,
            ImageKind::Pvh,
            ImageKind::Elf,
            ImageKind::Flat,
            ImageKind::Multiboot,
            ImageKind::Multiboot2,
            ImageKind::Rom,
        ] {
            assert_eq!(image_kind(kind as u64), kind);
        }
    }

    #[test]
    fn a_command_line_is_cut_to_its_length_and_none_that_is_too_long_is_read() {
        let mut start = page();
        start.cmdlines[..9].copy_from_slice(b"quiet=1 x");
        start.cmdline_bytes = 7;
        assert_eq!(cmdline(&start), "quiet=1");
        start.cmdline_bytes = u64::MAX;
        assert_eq!(cmdline(&start), "");
        start.cmdlines[0] = 0xff;
        start.cmdline_bytes = 3;
        assert_eq!(cmdline(&start), "");
    }

    #[test]
    fn an_initrd_of_no_bytes_is_none() {
        let file = |at: u64, _| if at == 0x1000 { &b"abc"[..] } else { b"i" };
        let start = page();
        let asked = request(&start, &[], file);
        assert_eq!((asked.image, asked.initrd.is_none()), (&b"abc"[..], true));
        let mut start = page();
        start.initrd_bytes = 1;
        assert_eq!(request(&start, &[], file).initrd, Some(&b"i"[..]));
    }

    #[test]
    fn modules_come_in_order_with_their_texts_and_no_more_than_the_page_has() {
        let start = |module_count| {
            let mut start = page();
            start.module_count = module_count;
            start.cmdlines[..9].copy_from_slice(b"kernelone");
            start.modules[0] = ModulePlace {
                at: 0x5000,
                bytes: 2,
                cmdline_at: 6,
                cmdline_bytes: 3,
            };
            start.modules[1].cmdline_at = u64::MAX;
            start.modules[1].cmdline_bytes = u64::MAX;
            start
        };
        let file = |at: u64, _| if at == 0x5000 { &b"ab"[..] } else { b"" };
        let [none, start, absurd] = [0, 2, u64::MAX].map(start);
        assert!(modules(&none, file).is_empty());
        assert_eq!(modules(&absurd, file).len(), 8);
        let found = modules(&start, file);
        assert_eq!((found[0].bytes, found[0].cmdline), (&b"ab"[..], "one"));
        assert_eq!((found[1].bytes, found[1].cmdline), (&b""[..], ""));
        assert_eq!(request(&start, &found, file).modules.len(), 2);
    }

    #[test]
    fn a_vm_has_at_least_one_vcpu_and_at_most_16() {
        let mut start = page();
        for (told, meant) in [(0, 1), (1, 1), (16, 16), (u64::MAX, 16)] {
            start.vcpus = told;
            assert_eq!(vcpus(&start), meant);
        }
        assert_eq!(test_devices(&start), TestDevices::Absent);
        start.test_devices = 1;
        assert_eq!(test_devices(&start), TestDevices::Present);
    }

    #[test]
    fn memory_holds_a_rom_if_the_image_is_one() {
        let image = [0x90; 4096];
        let file = |_, _| &image[..];
        let mut start = page();
        let last = |start: &StartPage| backed(start, file).last().map(|range| range.start);
        assert_eq!(last(&start), Some(Gpa(0xc_0000)));
        start.kind = ImageKind::Rom as u64;
        assert_eq!(last(&start), Some(Gpa(0xffff_f000)));
    }

    #[test]
    fn only_abilities_that_are_told_reach_cpuid() {
        let all = CpuidRegisters {
            eax: u32::MAX,
            ebx: u32::MAX,
            ecx: u32::MAX,
            edx: u32::MAX,
        };
        let mut start = page();
        let rdtscp = |start: &StartPage| {
            let table = vmm_config(start, &mut |_, _| all).cpuid;
            let view = skerry_vmm::View {
                cr4: 0,
                xcr0: 0,
                apic_id: 0,
                apic_base: 0,
            };
            table.look_up(0x8000_0001, 0, view).edx >> 27 & 1
        };
        assert_eq!(rdtscp(&start), 0);
        start.abilities = RDTSCP;
        assert_eq!(rdtscp(&start), 1);
    }
}
