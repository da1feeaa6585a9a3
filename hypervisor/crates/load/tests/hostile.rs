//! Whatever the bytes are, a plan is sound or refused.
#![allow(missing_docs)]

mod common;

use common::{BzImage, Elf, Segment, is_sound};
use proptest::prelude::*;
use skerry_load::{ImageKind, Request, plan};

const KINDS: [ImageKind; 5] = [
    ImageKind::Auto,
    ImageKind::LinuxBzImage,
    ImageKind::Pvh,
    ImageKind::Elf,
    ImageKind::Flat,
];

/// Whether the planner's answer keeps the promise; a plan's error must also be printable.
fn keeps_promise(
    image: &[u8],
    kind: ImageKind,
    initrd_bytes: Option<usize>,
    memory_bytes: u64,
) -> bool {
    let initrd = initrd_bytes.map(|bytes| vec![1; bytes]);
    let request = Request {
        image,
        kind,
        initrd: initrd.as_deref(),
        cmdline: "",
        modules: &[],
        vcpus: 1,
        memory_bytes,
    };
    match plan(&request) {
        Ok(plan) => is_sound(&plan, memory_bytes),
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
    ]
}

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
    #![proptest_config(ProptestConfig::with_cases(500))]

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
}
