//! Whatever the bytes are, a plan is sound or refused.
#![allow(missing_docs)]

mod common;

use common::{
    BzImage, Elf, MIB, Segment, headed_code, headed_elf, is_sound_beside, multiboot, multiboot2,
};
use proptest::prelude::*;
use skerry_load::{ImageKind, Module, Request, plan, rom_bytes};

const KINDS: [ImageKind; 8] = [
    ImageKind::Auto,
    ImageKind::LinuxBzImage,
    ImageKind::Pvh,
    ImageKind::Elf,
    ImageKind::Flat,
    ImageKind::Multiboot,
    ImageKind::Multiboot2,
    ImageKind::Rom,
];

/// Whether the planner's answer keeps the promise; a plan's error must also be printable.
fn keeps_promise(
    image: &[u8],
    kind: ImageKind,
    initrd_bytes: Option<usize>,
    memory_bytes: u64,
) -> bool {
    let initrd = initrd_bytes.map(|bytes| vec![1; bytes]);
    // With an initrd, also two modules of its size.
    let module = initrd.as_deref().map(|bytes| Module {
        bytes,
        cmdline: "text",
    });
    let modules = [module, module];
    let modules: Vec<_> = modules.into_iter().flatten().collect();
    let request = Request {
        image,
        kind,
        initrd: initrd.as_deref(),
        cmdline: "",
        modules: &modules,
        vcpus: 1,
        memory_bytes,
    };
    match plan(&request) {
        Ok(plan) => is_sound_beside(&plan, memory_bytes, rom_bytes(image, kind)),
        Err(error) => !error.to_string().is_empty(),
    }
}

fn images() -> impl Strategy<Value = Vec<u8>> {
    let segments = || {
        vec![
            Segment::pvh_note(&[0, 0, 0x10, 0]),
            Segment::load(1 << 20, b"x", 99),
        ]
    };
    prop_oneof![
        Just(BzImage::default().build()),
        Just(Elf::new(64, 1 << 20, segments()).build()),
        Just(Elf::new(32, 1 << 20, segments()).build()),
        Just(Elf::new(64, 1 << 20, vec![Segment::load(1 << 20, b"x", 99)]).build()),
        Just(headed_elf(32, &multiboot(3, &[]))),
        Just(headed_code(16, &multiboot(1 << 16, &AT_2_MIB))),
        Just(headed_elf(
            64,
            &multiboot2(&[(10, 0, &[0, u32::MAX, 1, 0])])
        )),
        Just(headed_code(16, &multiboot2(&ALL_OF_IT))),
        Just(vec![0xe9; 64 << 10]),
    ]
}

/// Address fields of an image whose header is behind 16 bytes.
const AT_2_MIB: [u32; 5] = [0x20_0010, 0x20_0000, 0, 0x20_4000, 0x20_0000];
/// The same and more as tags.
const ALL_OF_IT: [(u16, u16, &[u32]); 4] = [
    (1, 0, &[1, 2, 3, 4, 6, 15]),
    (2, 0, &[0x20_0010, 0x20_0000, 0, 0x20_4000]),
    (3, 0, &[0x20_0000]),
    (4, 0, &[2]),
];

/// Values that headers are apt to be wrong by.
fn nasty() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        prop::sample::select(vec![
            0,
            1,
            0x8000_0000,
            0xffff_ffff,
            0x9_ffff,
            0xc000_0000,
            1 << 32,
            1 << 63,
            u64::MAX,
        ]),
    ]
}

fn memory_sizes() -> impl Strategy<Value = u64> {
    prop_oneof![
        (0..1u64 << 27),
        prop::sample::select(vec![1 << 20, 3 << 30, (3 << 30) + 1, 1 << 39, u64::MAX]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_headers_make_no_unsound_plan(
        mut image in images(),
        damage in prop::collection::vec((0usize..0x280, nasty(), 1usize..=8), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        kind in prop::sample::select(&KINDS[..]),
        memory_bytes in memory_sizes(),
        initrd in prop::option::of(0usize..9000),
    ) {
        for (at, value, width) in damage {
            let at = at % image.len();
            let width = width.min(image.len() - at);
            image[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        if let Some(cut) = cut {
            image.truncate(cut.index(image.len()));
        }
        prop_assert!(keeps_promise(&image, kind, initrd, memory_bytes));
    }

    #[test]
    fn arbitrary_bytes_make_no_unsound_plan(
        image in prop::collection::vec(any::<u8>(), 0..2000),
        kind in prop::sample::select(&KINDS[..]),
        memory_bytes in memory_sizes(),
    ) {
        prop_assert!(keeps_promise(&image, kind, None, memory_bytes));
    }

    #[test]
    fn arbitrary_segments_make_no_unsound_plan(
        spans in prop::collection::vec((0u64..1 << 23, 1u64..1 << 21), 1..8),
        memory_bytes in 1u64 << 20..1 << 24,
        initrd in prop::option::of(1usize..9000),
    ) {
        let entry = spans[0].0;
        let segments = spans.iter().map(|(at, bytes)| Segment::load(*at, b"x", *bytes)).collect();
        let image = Elf::new(64, entry, segments).build();
        prop_assert!(keeps_promise(&image, ImageKind::Elf, initrd, memory_bytes));
    }

    #[test]
    fn arbitrary_address_fields_make_no_unsound_plan(
        load in 0u32..0x40_0000,
        // How far behind it each of the fields is, unless it is 0 or anything.
        behind in prop::array::uniform4(0u32..0x2000),
        zero in prop::array::uniform2(prop::bool::weighted(0.3)),
        broken in prop::option::weighted(0.3, (0usize..4, any::<u32>())),
        before in 0usize..64,
        memory_bytes in memory_sizes(),
    ) {
        // The ends are apart, so that they are seldom in the wrong order.
        let [header, entry, load_end, bss_end] = behind;
        let mut fields = [header / 16, entry / 4, load_end, bss_end + 0x1000].map(|by| load + by);
        for (field, zero) in fields[2..].iter_mut().zip(zero) {
            *field = if zero { 0 } else { *field };
        }
        if let Some((index, value)) = broken {
            fields[index] = value;
        }
        let [header, entry, load_end, bss_end] = fields;
        let fields = [header, load, load_end, bss_end, entry];
        let image = headed_code(before * 4, &multiboot(1 << 16, &fields));
        prop_assert!(keeps_promise(&image, ImageKind::Multiboot, Some(5000), memory_bytes));
        let tags: [(u16, u16, &[u32]); 2] = [
            (2, 0, &[header, load, load_end, bss_end]),
            (3, 0, &[entry]),
        ];
        let image = headed_code(before * 8, &multiboot2(&tags));
        prop_assert!(keeps_promise(&image, ImageKind::Multiboot2, Some(5000), memory_bytes));
    }

    #[test]
    fn arbitrary_tags_make_no_unsound_plan(
        tags in prop::collection::vec(
            (0u16..24, 0u16..2, 0u32..64, prop::array::uniform6(any::<u32>())),
            0..20,
        ),
        with_end in any::<bool>(),
    ) {
        // Sizes that their fields do not have.
        let mut header = multiboot2(&[]);
        header.truncate(16);
        for (kind, flags, bytes, fields) in tags {
            header.extend(kind.to_le_bytes());
            header.extend(flags.to_le_bytes());
            header.extend(bytes.to_le_bytes());
            header.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        }
        if with_end {
            header.extend([0, 0, 0, 0, 8, 0, 0, 0]);
        }
        let bytes = header.len() as u32;
        header[8..12].copy_from_slice(&bytes.to_le_bytes());
        let checksum = 0_u32.wrapping_sub(0xe852_50d6).wrapping_sub(bytes);
        header[12..16].copy_from_slice(&checksum.to_le_bytes());
        let image = headed_elf(32, &header);
        prop_assert!(keeps_promise(&image, ImageKind::Multiboot2, None, 4 * MIB));
    }
}
